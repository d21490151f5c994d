//! Pages put together from others. They are met without the filters: what is included passes those of the page that
//! includes it, where nginx asks its own location.

use super::{EMPTY, Theme};

pub const THEME: Theme = Theme {
    name: "includes",
    anywhere: &[
        &[
            "add_before_body /found.txt;",
            "add_before_body /b/o/ok;",
            "add_before_body /none;",
            "add_before_body '';",
        ],
        &[
            "add_after_body /a/x.html;",
            "add_after_body /ssi/plain.html;",
            "add_after_body /b/o/chunked;",
            "add_after_body /b/o/500;",
        ],
        &["addition_types *;", "addition_types text/plain;"],
        &["ssi on;", "ssi on;", "ssi on; ssi_silent_errors on;", "ssi on; ssi_last_modified on;", "ssi off;"],
        &["ssi_types text/plain;", "ssi_types *;"],
        &["error_page 404 /ssi/plain.html;", "error_page 404 = @named;"],
        &["default_type text/html;", "default_type text/plain;"],
        &["expires 1h;", "add_header Last-Modified '';"],
        &["etag off;"],
    ],
    content: &[
        "",
        "",
        "",
        "return 200 \"one text, $uri\";",
        "proxy_pass http://%%ORIGIN%%;",
        "try_files $uri /found.txt;",
    ],
    names: &["/", "/ssi/", "/b/", "/a/", "= /found.txt", "~ \\.txt$"],
    targets: &[
        "/ssi/all.html",
        "/ssi/all.html?v=1",
        "/ssi/plain.html",
        "/ssi/include.html",
        "/ssi/include.html",
        "/ssi/if.html?a=1",
        "/ssi/if.html?a=xyz",
        "/ssi/if.html",
        "/ssi/bad.html",
        "/ssi/cut.html",
        "/ssi/loop.html",
        "/ssi/vars.html?v=1",
        "/found.txt",
        "/a/x.html",
        "/a/",
        "/b/o/ssi",
        "/b/o/ok",
        "/b/o/chunked",
        "/b/o/close",
        "/b/o/500",
        "/b/o/empty",
        "/empty.txt",
        "/big.txt",
        "/none",
    ],
    fields: &[
        "Range: bytes=0-3",
        "Range: bytes=-5",
        "If-None-Match: W/\"6955b900-10\"",
        "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
        "Cookie: id=7",
    ],
    methods: &["GET", "GET", "GET", "HEAD"],
    ..EMPTY
};
