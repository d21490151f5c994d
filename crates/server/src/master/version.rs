//! What `-v`, `-V` and `-h` print.

use crate::modules::core::variables::NGINX_VERSION;

/// What is built in, in nginx's notation: what tools look for in `nginx -V`.
const CONFIGURE: &[&str] = &[
    "--with-threads",
    "--with-pcre-jit",
    "--with-http_ssl_module",
    "--with-http_stub_status_module",
    "--with-http_sub_module",
    "--without-http_charset_module",
    "--without-http_ssi_module",
    "--without-http_userid_module",
    "--without-http_auth_basic_module",
    "--without-http_mirror_module",
    "--without-http_autoindex_module",
    "--without-http_geo_module",
    "--without-http_split_clients_module",
    "--without-http_referer_module",
    "--without-http_fastcgi_module",
    "--without-http_uwsgi_module",
    "--without-http_scgi_module",
    "--without-http_grpc_module",
    "--without-http_memcached_module",
    "--without-http_limit_conn_module",
    "--without-http_limit_req_module",
    "--without-http_empty_gif_module",
    "--without-http_browser_module",
    "--without-http_upstream_hash_module",
    "--without-http_upstream_random_module",
    "--without-mail_pop3_module",
    "--without-mail_imap_module",
    "--without-mail_smtp_module",
];

/// `-v`: two lines, ours and the one that tools look for.
pub fn version() -> String {
    format!(
        "plimsoll version: plimsoll/{}\nnginx version: nginx/{NGINX_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// `-V`: how it was built.
pub fn configure() -> String {
    format!("configure arguments: --prefix={} {}\n", super::flags::PREFIX, CONFIGURE.join(" "))
}

/// `-h`
pub fn usage() -> String {
    format!(
        "\
Usage: plimsoll [-?hvVtTq] [-s signal] [-p prefix]
                [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  --capacity    : with -t, show the capacity chain: what binds, and what raises it
  --json        : with -t, the same for programs
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {prefix})
  -e filename   : set error log file (default: {prefix}logs/error.log)
  -c filename   : set configuration file (default: {prefix}plimsoll.conf)
  -g directives : set global directives out of configuration file

",
        prefix = super::flags::PREFIX
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that `-V` says is missing must have no directive here, and the other way round.
    #[test]
    fn nothing_is_claimed_that_is_not_there() {
        let has = |directive: &str| !crate::program::tables().rows(directive).is_empty();
        for (word, directive) in [
            ("http_ssl_module", "ssl_certificate"),
            ("http_stub_status_module", "stub_status"),
            ("http_sub_module", "sub_filter"),
            ("http_charset_module", "charset"),
            ("http_ssi_module", "ssi"),
            ("http_userid_module", "userid"),
            ("http_auth_basic_module", "auth_basic"),
            ("http_mirror_module", "mirror"),
            ("http_autoindex_module", "autoindex"),
            ("http_geo_module", "geo"),
            ("http_split_clients_module", "split_clients"),
            ("http_referer_module", "valid_referers"),
            ("http_fastcgi_module", "fastcgi_pass"),
            ("http_uwsgi_module", "uwsgi_pass"),
            ("http_scgi_module", "scgi_pass"),
            ("http_grpc_module", "grpc_pass"),
            ("http_memcached_module", "memcached_pass"),
            ("http_limit_conn_module", "limit_conn"),
            ("http_limit_req_module", "limit_req"),
            ("http_empty_gif_module", "empty_gif"),
            ("http_browser_module", "modern_browser"),
            ("http_upstream_hash_module", "hash"),
            ("http_upstream_random_module", "random"),
        ] {
            let claim = if has(directive) { "--with-" } else { "--without-" };
            assert!(CONFIGURE.contains(&format!("{claim}{word}").as_str()), "{claim}{word}");
        }
    }
}
