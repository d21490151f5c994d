//! Limits that bind whatever the clock says: so slow that nothing is given back while a case runs, or never reached.

use super::{EMPTY, Theme};

pub const THEME: Theme = Theme {
    name: "limits",
    http: "limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m;\nlimit_req_zone $uri zone=byuri:1m rate=1r/m;\n\
        limit_req_zone $arg_k zone=bykey:1m rate=1r/m;\nlimit_conn_zone $binary_remote_addr zone=conns:1m;\n\
        limit_conn_zone $arg_k zone=keyed:1m;\n",
    anywhere: &[
        &[
            "limit_req zone=all burst=20 nodelay;",
            "limit_req zone=all burst=4 nodelay;",
            "limit_req zone=all burst=1000 nodelay;",
        ],
        &[
            "limit_req zone=byuri;",
            "limit_req zone=byuri burst=1 nodelay;",
            "limit_req zone=bykey burst=2 nodelay; limit_req zone=byuri burst=5 nodelay;",
        ],
        &["limit_req_dry_run on;"],
        &["limit_req_status 429;", "limit_req_status 444;", "limit_req_status 599;"],
        &["limit_req_log_level warn;", "limit_req_log_level notice;"],
        &["limit_conn conns 100;", "limit_conn conns 65535; limit_conn keyed 50;"],
        &["limit_conn_status 418;", "limit_conn_dry_run on;"],
        &[
            "error_page 503 429 /50x.html;",
            "error_page 503 =200 @named;",
            "error_page 413 414 400 /found.txt;",
            "error_page 405 413 =200 /a/x.html;",
        ],
        &[
            "client_max_body_size 5;",
            "client_max_body_size 0;",
            "client_max_body_size 4;",
            "client_max_body_size 1k;",
        ],
        &["client_body_in_single_buffer on;", "client_body_in_file_only clean;"],
        &["limit_rate 0; limit_rate_after 1k;"],
        &["keepalive_requests 1;", "keepalive_requests 2;", "keepalive_requests 3;"],
        &["keepalive_disable none;", "keepalive_disable msie6 safari;"],
        &["send_timeout 5s; reset_timedout_connection on;"],
        &["lingering_close always;", "lingering_close off;"],
        &[
            "add_header X-Limits \"$limit_req_status|$limit_conn_status|$connection_requests|$content_length|$request_body\" always;",
        ],
        &["chunked_transfer_encoding off;"],
        &["msie_padding off;"],
    ],
    location: &[&["limit_except GET { deny all; }", "limit_except POST PUT { allow 10.0.0.0/8; deny all; }"]],
    content: &["", "proxy_pass http://%%ORIGIN%%;", "try_files $uri =404;", "error_page 404 = @other;"],
    names: &["/", "/b/", "/a/", "= /found.txt", "/o/"],
    targets: &[
        "/found.txt",
        "/found.txt?k=1",
        "/a/x.html?k=1",
        "/a/x.html",
        "/b/o/echo?k=2",
        "/b/o/echo",
        "/none",
        "/o/echo",
    ],
    fields: &[
        "Expect: x",
        "Connection: keep-alive",
        "Keep-Alive: 5",
        "User-Agent: MSIE 6.",
        "User-Agent: Safari",
    ],
    methods: &["GET", "GET", "POST", "POST", "PUT", "HEAD"],
    raw: &[
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n",
        "POST /found.txt HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nx\r\ncdef\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "POST /b/o/echo HTTP/1.1\r\nHost: main.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /b/o/echo HTTP/1.0\r\nHost: main.example\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        "POST /b/o/echo HTTP/1.0\r\nHost: main.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /found.txt HTTP/1.1\r\nHost: main.example\r\nContent-Length: 6\r\n\r\n123456",
    ],
    ..EMPTY
};
