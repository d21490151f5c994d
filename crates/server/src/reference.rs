//! The directive reference, made from the modules' tables and nginx's list: supported, differs how, or refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use conf::{Directive, Known};

use crate::modules;

/// What a user of nginx would not expect, by directive.
const DIFFERENCES: &[(&str, &str)] = &[
    ("worker_processes", "threads of one process; `auto` respects CPU affinity and the cgroup quota"),
    (
        "worker_connections",
        "one pool for all threads: `worker_processes` x `worker_connections`; unset or `auto`: what the limits allow",
    ),
    ("worker_rlimit_nofile", "read as per worker, and multiplied by the threads"),
    ("tcp_nopush", "head and file always travel together, as with `on`"),
    ("pcre_jit", "always on where the machine has it"),
    ("timer_resolution", "no effect: the clock is read once per turn of the loop"),
    ("use", "only `epoll`, no effect"),
    ("accept_mutex", "no effect: the kernel wakes one thread per connection"),
    ("accept_mutex_delay", "no effect"),
    ("multi_accept", "no effect"),
    ("worker_aio_requests", "no effect"),
    ("postpone_output", "no effect: what is ready goes out"),
    ("send_lowat", "as in nginx on Linux, ignored with a warning"),
    ("aio", "no effect: what is not in memory is always read by threads"),
    ("aio_write", "no effect: temporary files are written at once"),
    ("directio", "files below 16k travel with the head and come from the cache"),
    ("output_buffers", "the size is how much is read at once; the number has no effect"),
    ("sendfile_max_chunk", "of everything that one client gets in a turn of the loop, not of files alone"),
    ("thread_pool", "one pool has the threads and queues of all"),
    ("connection_pool_size", "no effect"),
    ("request_pool_size", "no effect"),
    ("subrequest_output_buffer_size", "for answers in variables of `ssi`"),
    ("client_body_in_single_buffer", "no effect: a body in memory is one buffer"),
    ("ssl_object_cache_inheritable", "no effect: equal certificates are shared by content"),
    ("debug_points", "no effect"),
    ("debug_connection", "ignored with a warning: there are no debugging messages"),
    ("open_file_cache", "for each thread, as for each worker in nginx"),
    ("lock_file", "no effect: no lock is needed"),
    ("server_names_hash_max_size", "no effect: tables grow as they must"),
    ("server_names_hash_bucket_size", "no effect"),
    ("variables_hash_max_size", "no effect"),
    ("variables_hash_bucket_size", "no effect"),
    ("types_hash_max_size", "no effect"),
    ("types_hash_bucket_size", "no effect"),
    ("ssl_protocols", "TLS 1.2 and 1.3; older ones in a list are ignored with a warning"),
    ("ssl_ciphers", "OpenSSL's notation; the AEAD suites with forward secrecy are what there is"),
    ("ssl_certificate", "`engine:` is refused"),
    ("ssl_certificate_key", "as `ssl_certificate`; with a pass phrase only where AES encrypts it"),
    ("ssl_certificate_cache", "files are read again when `valid` is over, changed or not"),
    ("ssl_dhparam", "the file must be there; no effect: every cipher here uses elliptic curves"),
    (
        "ssl_ecdh_curve",
        "X25519, prime256v1, secp384r1, X25519MLKEM768, SecP256r1MLKEM768; others in a list warn",
    ),
    (
        "ssl_conf_command",
        "Ciphersuites, CipherString, Groups, MinProtocol, MaxProtocol, and the Options that can be had",
    ),
    (
        "ssl_early_data",
        "with `on` sessions stay in the server's cache, and each is taken up once: nothing can be played back",
    ),
    ("ssl_certificate_compression", "with zlib"),
    (
        "ssl_stapling",
        "names of responders are looked up when the configuration is read; not for certificates named by variables",
    ),
    (
        "ssl_stapling_verify",
        "the answer is to be signed by the certificate's signer, or by whom it lets sign answers",
    ),
    ("ssl_ocsp", "answers are to be signed as for `ssl_stapling_verify`"),
    ("ssl_session_ticket_key", "a ticket made by nginx is not understood, nor ours by nginx"),
    ("ssl_client_certificate", "an intermediate certificate in the file is trusted by itself"),
    ("ssl_verify_client", "certificates of version 1 are not taken in the handshake"),
    ("http2_recv_buffer_size", "checked, no effect"),
    ("http2_pool_size", "checked, no effect"),
    ("http2_streams_index_size", "checked, no effect"),
    ("ssl_session_cache", "in the worker's memory; `shared` goes on over a reload"),
    (
        "ssl_session_tickets",
        "with keys of our own: those of the shared session cache, else of each server and new after a reload",
    ),
    ("lingering_close", "the end of the answer is signalled before the wait, not after it (RFC 9112 9.6)"),
    ("access_log", "`buffer` is per thread"),
    (
        "error_log",
        "`json` as in the commercial edition; `memory:` is read from the process or its core file, behind `MEMLOG`; control characters that clients sent are written as `?`",
    ),
    ("keepalive", "idle connections per thread; a number of processes is a number of threads here"),
    ("zone", "the threads share every group's state anyway: nothing needs room"),
    ("proxy_ssl_protocols", "TLS 1.2 and 1.3; older ones in a list are ignored with a warning"),
    ("proxy_ssl_ciphers", "as `ssl_ciphers`"),
    (
        "proxy_ssl_verify",
        "certificates of version 3; one that may sign others is believed only if it is trusted itself",
    ),
    ("ssl_crl", "lists of version 2, as today's programs write them; an older one is refused"),
    ("proxy_ssl_crl", "as `ssl_crl`"),
    ("grpc_ssl_crl", "as `ssl_crl`"),
    ("uwsgi_ssl_crl", "as `ssl_crl`"),
    ("proxy_ssl_verify_depth", "counts the certificates between the server's own and a root"),
    (
        "ssl_buffer_size",
        "where it is not written, what a new or silent connection sends first, 14 KB, is in records of one segment each",
    ),
    ("proxy_ssl_session_reuse", "sessions belong to their location"),
    ("proxy_http_version", "with `2` several requests share a connection where `keepalive` keeps it"),
    (
        "proxy_buffers",
        "their sum is what is kept in memory for a slow client; quick clients get what came at once",
    ),
    ("proxy_bind", "`transparent` needs the right to it (`user root`, or a capability of the worker's)"),
    ("proxy_send_lowat", "no effect, as in nginx on Linux"),
    ("proxy_limit_rate", "counted without steps: a second's worth at once, then evenly"),
    (
        "grpc_pass",
        "several requests share a connection where `keepalive` keeps it; what a client of HTTP/1 sends behind the head of the answer is not passed on",
    ),
    (
        "grpc_next_upstream",
        "requests that the server says it has not begun with are asked again, whatever their method",
    ),
    ("tunnel_send_lowat", "no effect, as in nginx on Linux"),
    ("tunnel_buffer_size", "where it is not written, as much is read as there is"),
    ("grpc_ssl_protocols", "as `proxy_ssl_protocols`"),
    ("grpc_ssl_ciphers", "as `ssl_ciphers`"),
    ("grpc_ssl_verify", "as `proxy_ssl_verify`"),
    ("grpc_ssl_verify_depth", "as `proxy_ssl_verify_depth`"),
    ("grpc_ssl_session_reuse", "as `proxy_ssl_session_reuse`"),
    (
        "proxy_cache_path",
        "files have nginx's names and a form of their own; `use_temp_path` changes nothing: a file is written beside its \
        place; `purger` is refused",
    ),
    ("proxy_busy_buffers_size", "checked, no effect: a client gets what it takes"),
    ("proxy_temp_file_write_size", "checked, no effect: what was read is written at once"),
    ("proxy_headers_hash_max_size", "no effect: the table grows as it must"),
    ("proxy_headers_hash_bucket_size", "no effect"),
    ("geo", "binary bases (`name.bin`) are neither read nor written"),
    ("mirror", "the next request on the connection does not wait for the mirrors"),
    ("add_after_body", "asked before the page goes out; filters see page and additions as one"),
    (
        "limit_req_zone",
        "the zone's size bounds how many keys there are, as in nginx; the memory is taken as it is needed",
    ),
    ("limit_conn_zone", "as `limit_req_zone`"),
    ("referer_hash_max_size", "no effect: the table grows as it must"),
    ("referer_hash_bucket_size", "no effect"),
    ("epoll_events", "no effect"),
    ("open_file_cache_events", "no effect"),
    ("gzip_no_buffer", "no effect"),
    ("gzip_window", "no effect: 32 KB"),
    ("gzip_hash", "no effect"),
    ("postpone_gzipping", "no effect"),
    ("ssi_ignore_recycled_buffers", "no effect"),
    ("brotli_buffers", "the size of the pieces that go out; no effect with that module"),
    ("zstd_comp_level", "no level has a window of more than 8 MB"),
    (
        "listen",
        "without `backlog`: what net.core.somaxconn allows; `capacity_reserve`: seats beside the pool; `quic`, `setfib` and `accept_filter` are refused",
    ),
];

/// The names of all variables; those of families end with an underscore.
pub fn variables() -> impl Iterator<Item = &'static str> {
    modules::ALL.iter().flat_map(|module| module.variables).map(|variable| variable.name)
}

/// The reference as Markdown.
pub fn directives() -> String {
    let ours = ours();
    let mut text = String::from(HEAD);
    let mut by_module: BTreeMap<&str, Vec<Known>> = BTreeMap::new();
    for known in Known::all().filter(|known| !known.commercial) {
        by_module.entry(known.module).or_default().push(known);
    }
    let _ = writeln!(text, "{}\n", count(&ours));
    text.push_str(&summary(&by_module, &ours));
    for (module, rows) in &by_module {
        let _ = writeln!(text, "## {module}\n\n| directive | contexts | here |\n|---|---|---|");
        for known in rows {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                known.name,
                known.contexts.replace(',', ", "),
                state(known, &ours)
            );
        }
        text.push('\n');
    }
    text.push_str(OTHERS);
    for (row, module) in rows().filter(|(row, _)| !Known::all().any(|known| known.name == row.name)) {
        let _ = writeln!(text, "| `{}` | {} | {} |", row.name, row.within, supported(row.name, module));
    }
    text
}

const OTHERS: &str = "\
## Beyond nginx

Directives of well-known modules of others, those that nginx has and does not write about, and Plimsoll's own.

| directive | contexts | here |
|---|---|---|
";

const HEAD: &str = "\
# Directives

Every directive of nginx's open edition, and what becomes of it here. A directive that is not supported is an
`[emerg]` at start that says so; none is silently ignored. Made from the modules' tables; a test keeps it true.

";

/// Which module has a directive.
type Ours = BTreeMap<&'static str, &'static str>;

fn ours() -> Ours {
    rows().map(|(row, module)| (row.name, module)).collect()
}
/// Every directive with its module's name.
fn rows() -> impl Iterator<Item = (&'static Directive, &'static str)> {
    modules::ALL.iter().flat_map(|module| module.directives.iter().map(|row| (row, module.name)))
}

fn is_http_or_core(known: &Known) -> bool {
    known.module.starts_with("ngx_http_") || known.module == "ngx_core_module"
}

fn state(known: &Known, ours: &Ours) -> String {
    if known.name == "include" && known.module == "ngx_core_module" {
        return "supported (conf)".into();
    }
    // A block of that module has a `resolver` of its own.
    let elsewhere = !is_http_or_core(known) || known.module == "ngx_http_acme_module";
    match ours.get(known.name).filter(|_| !elsewhere) {
        Some(module) => supported(known.name, module),
        None => "refused".into(),
    }
}
fn supported(name: &str, module: &str) -> String {
    match DIFFERENCES.iter().find(|(other, _)| *other == name) {
        Some((_, how)) => format!("supported ({module}); {how}"),
        None => format!("supported ({module})"),
    }
}

/// How many rows of each module are supported.
fn summary(by_module: &BTreeMap<&str, Vec<Known>>, ours: &Ours) -> String {
    let mut text = String::from(SUMMARY);
    for (module, rows) in by_module.iter().filter(|(_, rows)| rows.iter().all(is_http_or_core)) {
        let refused: Vec<String> = rows
            .iter()
            .filter(|known| state(known, ours) == "refused")
            .map(|known| format!("`{}`", known.name))
            .collect();
        let which = match refused.len() {
            all if all == rows.len() => "all".into(),
            _ => refused.join(", "),
        };
        let _ = writeln!(text, "| {module} | {} | {} | {which} |", rows.len(), rows.len() - refused.len());
    }
    text.push('\n');
    text
}

const SUMMARY: &str = "\
Each supported row is in a test of its behaviour (`every_setting.rs` fails otherwise), which runs on nginx, too, wherever Debian's
knows the directive.

| module | rows | supported | refused |
|---|---|---|---|
";

fn count(ours: &Ours) -> String {
    let all = Known::all().filter(|known| !known.commercial && is_http_or_core(known));
    let (yes, no): (Vec<_>, Vec<_>) = all.partition(|known| state(known, ours) != "refused");
    format!("Of the core and HTTP modules' rows, {} are supported and {} refused.", yes.len(), no.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_about_directives_that_exist() {
        let ours = ours();
        for (name, _) in DIFFERENCES {
            assert!(ours.contains_key(name), "{name}");
        }
    }
}
