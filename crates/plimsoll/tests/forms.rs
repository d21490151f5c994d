//! Forms that configurations in use have, if not those that one would write today: they load, with nginx's remarks.
#![forbid(unsafe_code)]

use testkit::{Binary, Exit, Site, each};

fn check(binary: Binary, http: &str) -> Exit {
    binary.check(Site::bare(format!("pid logs/p; events {{}}\nhttp {{ access_log off; {http} }}")))
}
/// It loads, and says these words; or says nothing.
fn loads(table: &[(&str, &[&str])]) {
    each(|binary| {
        for (text, words) in table {
            let exit = check(binary, text);
            assert_eq!(exit.code, Some(0), "{text}: {exit}");
            assert!(words.iter().all(|words| exit.stderr.contains(words)), "{text}: {exit}");
            assert_eq!(exit.stderr.matches("[warn]").count(), words.len(), "{text}: {exit}");
        }
    });
}

#[test]
fn lists_of_words_may_be_continued() {
    loads(&[
        ("ssl_protocols TLSv1.2; ssl_protocols TLSv1.3;", &[]),
        ("proxy_ssl_protocols TLSv1.2; proxy_ssl_protocols TLSv1.3;", &[]),
        ("proxy_next_upstream error; proxy_next_upstream timeout;", &[]),
        (
            "fastcgi_cache_use_stale error; fastcgi_cache_use_stale updating error;",
            &["duplicate value \"error\""],
        ),
        ("proxy_ignore_headers Expires Expires;", &["duplicate value \"Expires\""]),
        ("gzip_proxied auth; gzip_proxied expired AUTH;", &["duplicate value \"AUTH\""]),
        ("dav_methods PUT; dav_methods DELETE put;", &["duplicate value \"put\""]),
        ("userid_flags secure; userid_flags httponly;", &[]),
        ("userid_flags samesite=lax samesite=none;", &["duplicate value \"samesite=none\""]),
        ("keepalive_disable none; keepalive_disable msie6;", &[]),
    ]);
}

#[test]
fn types_that_are_named_twice_are_told() {
    for name in ["gzip_types", "sub_filter_types", "ssi_types", "addition_types", "charset_types"] {
        let said: &[&str] = &["duplicate MIME type \"text/html\"", "duplicate MIME type \"text/css\""];
        loads(&[
            (&format!("{name} text/html text/css text/CSS * text/css;"), said),
            (&format!("{name} text/css; {name} text/xml;"), &[]),
        ]);
    }
}

#[test]
fn names_that_nobody_needs() {
    loads(&[
        ("server { listen 127.0.0.1:%%PORT%%; server_name a a b.. x*y; }", &[]),
        (
            "server { listen 127.0.0.1:%%PORT%%; server_name /a; }",
            &["server name \"/a\" has suspicious symbols"],
        ),
        (
            "server { listen 127.0.0.1:%%PORT%%; server_name a; } server { listen 127.0.0.1:%%PORT%%; server_name b a; }",
            &["conflicting server name \"a\" on 127.0.0.1:"],
        ),
    ]);
    each(|binary| {
        for name in ["x*y", "a..b", "*.*", "*.a.*"] {
            let exit = check(
                binary,
                &format!(
                    "server {{ listen 127.0.0.1:%%PORT%%; server_name {name}; }} server {{ listen 127.0.0.1:%%PORT%%; }}"
                ),
            );
            let words = format!("[emerg] invalid server name or wildcard \"{name}\" on 127.0.0.1:");
            assert!(exit.code == Some(1) && exit.stderr.contains(&words), "{exit}");
        }
        for name in ["*a", "*.", "*", "."] {
            let exit = check(binary, &format!("server {{ server_name {name}; }}"));
            assert!(exit.stderr.contains(&format!("[emerg] server name \"{name}\" is invalid")), "{exit}");
        }
    });
}

#[test]
fn directives_in_wider_blocks() {
    loads(&[
        ("fastcgi_split_path_info ^(.+\\.php)(.*)$; server { fastcgi_split_path_info ^(.+)(.*)$; }", &[]),
        ("server { ssl_reject_handshake on; ssl_ciphers aNULL; }", &[]),
    ]);
}

#[test]
fn an_upstream_without_servers_is_told_where_it_ends() {
    each(|binary| {
        let exit = check(binary, "upstream u {\n least_conn;\n}");
        assert!(exit.stderr.contains("no servers are inside upstream in %%DIR%%/nginx.conf:4"), "{exit}");
        let exit = check(binary, "upstream u {\n server 127.0.0.1:1 backup;\n}");
        assert!(exit.stderr.contains("no servers in upstream \"u\" in %%DIR%%/nginx.conf:2"), "{exit}");
    });
}
