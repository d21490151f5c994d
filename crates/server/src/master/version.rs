//! What `-v`, `-V` and `-h` print.

use crate::modules::core::variables::NGINX_VERSION;

/// What is always built in, in nginx's notation: what tools look for in `nginx -V`.
const ALWAYS: &[&str] = &["--with-threads", "--with-file-aio", "--with-pcre-jit"];

/// nginx's modules that are built only on demand, each with a directive of its own: `--with-` where we have it.
const ON_DEMAND: &[(&str, &str)] = &[
    ("http_ssl_module", "ssl_certificate"),
    ("http_v2_module", "http2"),
    ("http_v3_module", "http3"),
    ("http_realip_module", "set_real_ip_from"),
    ("http_addition_module", "addition_types"),
    ("http_sub_module", "sub_filter"),
    ("http_dav_module", "dav_methods"),
    ("http_flv_module", "flv"),
    ("http_mp4_module", "mp4"),
    ("http_gunzip_module", "gunzip"),
    ("http_gzip_static_module", "gzip_static"),
    ("http_auth_request_module", "auth_request"),
    ("http_random_index_module", "random_index"),
    ("http_secure_link_module", "secure_link"),
    ("http_slice_module", "slice"),
    ("http_stub_status_module", "stub_status"),
    ("mail", "mail"),
    ("stream", "stream"),
    ("stream_ssl_preread_module", "ssl_preread"),
];
/// nginx's modules that are built unless they are left out: `--without-` where we have not got it.
const USUAL: &[(&str, &str)] = &[
    ("http_charset_module", "charset"),
    ("http_gzip_module", "gzip"),
    ("http_ssi_module", "ssi"),
    ("http_userid_module", "userid"),
    ("http_access_module", "allow"),
    ("http_auth_basic_module", "auth_basic"),
    ("http_mirror_module", "mirror"),
    ("http_autoindex_module", "autoindex"),
    ("http_geo_module", "geo"),
    ("http_map_module", "map"),
    ("http_split_clients_module", "split_clients"),
    ("http_referer_module", "valid_referers"),
    ("http_rewrite_module", "rewrite"),
    ("http_proxy_module", "proxy_pass"),
    ("http_fastcgi_module", "fastcgi_pass"),
    ("http_uwsgi_module", "uwsgi_pass"),
    ("http_scgi_module", "scgi_pass"),
    ("http_grpc_module", "grpc_pass"),
    ("http_tunnel_module", "tunnel_pass"),
    ("http_memcached_module", "memcached_pass"),
    ("http_limit_conn_module", "limit_conn"),
    ("http_limit_req_module", "limit_req"),
    ("http_empty_gif_module", "empty_gif"),
    ("http_browser_module", "modern_browser"),
    ("http_upstream_hash_module", "hash"),
    ("http_upstream_ip_hash_module", "ip_hash"),
    ("http_upstream_least_conn_module", "least_conn"),
    ("http_upstream_least_time_module", "least_time"),
    ("http_upstream_random_module", "random"),
    ("http_upstream_keepalive_module", "keepalive"),
    ("http_upstream_zone_module", "zone"),
    ("http_upstream_sticky_module", "sticky"),
    ("http-cache", "proxy_cache_path"),
    ("mail_pop3_module", "pop3_auth"),
    ("mail_imap_module", "imap_auth"),
    ("mail_smtp_module", "smtp_auth"),
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
    let tables = crate::program::tables();
    let has = |directive: &str| !tables.rows(directive).is_empty();
    let mut text = format!(
        "built with rustls on AWS-LC\nTLS SNI support enabled\nconfigure arguments: --prefix={} {}",
        super::flags::PREFIX,
        ALWAYS.join(" ")
    );
    for (module, _) in ON_DEMAND.iter().filter(|(_, directive)| has(directive)) {
        text.push_str(&format!(" --with-{module}"));
    }
    for (module, _) in USUAL.iter().filter(|(_, directive)| !has(directive)) {
        text.push_str(&format!(" --without-{module}"));
    }
    text + "\n"
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

    #[test]
    fn what_is_built_in_is_claimed_and_nothing_else() {
        let text = configure();
        for module in [
            "--with-http_ssl_module",
            "--with-http_v2_module",
            "--with-http_gunzip_module",
            "--with-threads",
            "--with-file-aio",
            "--without-mail_imap_module",
        ] {
            assert!(text.split_whitespace().any(|word| word == module), "{module}: {text}");
        }
        for module in [
            "--without-http_proxy_module",
            "--without-http_autoindex_module",
            "--without-http_upstream_ip_hash_module",
            "--without-http-cache",
            "--with-mail",
        ] {
            assert!(!text.split_whitespace().any(|word| word == module), "{module}: {text}");
        }
    }
}
