//! What is measured: configurations and the load on them. Everything that the two servers default differently, or
//! that a later version may, is set explicitly.

use testkit::Site;

use super::{growth, tls};

/// One workload. All of them differ from [`PLAIN`] in what they name.
#[derive(Clone, Copy)]
pub struct Case {
    /// As given on the command line.
    pub name: &'static str,
    /// What the tables say of it.
    pub about: &'static str,
    /// Path to request.
    pub path: &'static str,
    /// How clients ask.
    pub load: Load,
    /// `worker_processes`.
    pub workers: usize,
    /// The ratio of CPU time that Plimsoll is to stay below.
    pub budget: Option<f64>,
    /// What haproxy does beside the two, where it has such a thing.
    pub haproxy: Option<&'static str>,
    /// Whether answers are errors, and meant to be.
    pub errors: bool,
    /// Whether a latency at a fixed rate says something: the generator wants short answers of constant length.
    pub latency: bool,
    /// Further directives of the main context.
    main: &'static str,
    /// Directives of the http block.
    http: fn() -> String,
    /// Directives of the server block.
    server: &'static str,
    /// Further header fields of the request.
    pub fields: &'static [(&'static str, &'static str)],
    /// Files below `html/`, and their lengths.
    files: &'static [(&'static str, usize)],
}

/// How clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Over connections that are kept.
    Kept,
    /// Each request has a connection of its own.
    Close,
    /// As `Kept`, with a body of so many bytes.
    Upload(usize),
    /// As `Kept`, over TLS.
    Tls,
    /// A full TLS handshake and one request on each connection.
    TlsClose,
    /// HTTP/2 over TLS with so many streams at a time.
    Http2(usize),
}

const PLAIN: Case = Case {
    name: "",
    about: "",
    path: "/",
    load: Load::Kept,
    workers: 1,
    budget: None,
    haproxy: None,
    errors: false,
    latency: true,
    main: "error_log logs/error.log error;",
    http: || "access_log off;".to_owned(),
    server: RETURN,
    fields: &[],
    files: &[],
};

const RETURN: &str = "location / { return 200 hello; }";
const HAPROXY_RETURN: &str = "http-request return status 200 content-type text/plain string hello";
const HAPROXY_ORIGIN: &str = "default_backend origin";

/// Equal buffers on both servers, and connections to the origin that are kept.
const PROXY: &str = "location / { proxy_pass http://origin; proxy_http_version 1.1; \
    proxy_set_header Connection \"\"; proxy_buffering on; proxy_buffers 8 16k; proxy_buffer_size 8k; }";
/// Buffers as each server has them by itself.
const PROXY_DEFAULTS: &str = "location / { proxy_pass http://origin; proxy_http_version 1.1; \
    proxy_set_header Connection \"\"; }";
const PROXY_CLOSE: &str = "location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.0; \
    proxy_set_header Connection close; }";
const UPLOAD: &str = "client_max_body_size 8m; client_body_buffer_size 16k; \
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";

const MAPS: &str = r#"
    map $http_user_agent $bot { default 0; ~*(crawler|spider|bot) 1; "" 1; }
    map $http_accept_language $language { default en; ~*^de de; ~*^fr fr; ~*^es es; }
    map $uri $cache { default "no-cache"; ~^/articles/ "public, max-age=60"; ~\.(css|js|png)$ "public, max-age=31536000"; }
    map $language$bot $variant { default full; en1 plain; de1 plain; fr1 plain; }"#;
const REWRITES: &str = r#"
    set $session none;
    if ($bot) { return 429; }
    if ($request_method !~ ^(GET|HEAD|POST)$) { return 405; }
    if ($http_cookie ~* "session=([0-9a-f]+)") { set $session $1; }
    if ($arg_debug) { return 403; }
    rewrite ^/old/(.*)$ /articles/$1 permanent;
    rewrite ^/blog/(\d+)/(\d+)/(.*)$ /articles/$3 permanent;
    rewrite ^/articles/([0-9a-z]+)/(\d+)$ /$1?article=$2 last;
    add_header X-Frame-Options SAMEORIGIN;
    add_header X-Content-Type-Options nosniff;
    add_header Cache-Control $cache;
    add_header Content-Language $language;
    add_header X-Variant $variant-$session;
    location / { }
    location ~ ^/(admin|internal)/ { return 403; }
    location ~* \.(php|asp)$ { return 404; }"#;

/// All workloads, in the order they are reported.
pub const CASES: &[Case] = &[
    Case {
        name: "return",
        about: "return 200 hello",
        budget: Some(0.70),
        haproxy: Some(HAPROXY_RETURN),
        ..PLAIN
    },
    Case { name: "static-0", about: "an empty file", path: "/0", server: "", files: &[("0", 0)], ..PLAIN },
    Case {
        name: "static-1k",
        about: "a file of 1 KB",
        path: "/1k",
        server: "",
        files: &[("1k", 1024)],
        budget: Some(0.75),
        ..PLAIN
    },
    Case {
        name: "static-64k",
        about: "a file of 64 KB",
        path: "/64k",
        server: "",
        files: &[("64k", 65536)],
        budget: Some(0.90),
        ..PLAIN
    },
    Case {
        name: "static-1m",
        about: "a file of 1 MB",
        path: "/1m",
        server: "",
        files: &[("1m", 1 << 20)],
        latency: false,
        ..PLAIN
    },
    Case {
        name: "static-100m",
        about: "a file of 100 MB",
        path: "/100m",
        server: "",
        files: &[("100m", 100 << 20)],
        latency: false,
        ..PLAIN
    },
    Case {
        name: "proxy-small",
        about: "proxied, 5 bytes",
        path: "/small",
        server: PROXY,
        budget: Some(0.75),
        haproxy: Some(HAPROXY_ORIGIN),
        ..PLAIN
    },
    Case {
        name: "proxy-close",
        about: "proxied, 5 bytes, no upstream keep-alive",
        path: "/small",
        server: PROXY_CLOSE,
        ..PLAIN
    },
    Case {
        name: "proxy-64k",
        about: "proxied, 64 KB, equal buffers",
        path: "/64k",
        server: PROXY,
        budget: Some(0.95),
        haproxy: Some(HAPROXY_ORIGIN),
        ..PLAIN
    },
    Case {
        name: "proxy-64k-default",
        about: "proxied, 64 KB, each server's own buffers",
        path: "/64k",
        server: PROXY_DEFAULTS,
        budget: Some(0.50),
        ..PLAIN
    },
    Case {
        name: "proxy-1m",
        about: "proxied, 1 MB",
        path: "/1m",
        server: PROXY,
        haproxy: Some(HAPROXY_ORIGIN),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "proxy-upload",
        about: "proxied, body of 1 MB sent up",
        path: "/small",
        load: Load::Upload(1 << 20),
        server: UPLOAD,
        latency: false,
        ..PLAIN
    },
    Case {
        name: "proxy-chunked",
        about: "proxied, 8 KB in chunks",
        path: "/chunked.shtml",
        server: PROXY,
        haproxy: Some(HAPROXY_ORIGIN),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "conn-per-request",
        about: "a connection for each request",
        load: Load::Close,
        budget: Some(0.80),
        haproxy: Some(HAPROXY_RETURN),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "log-combined",
        about: "return, access log in combined format",
        http: || "access_log logs/access.log combined;".to_owned(),
        budget: Some(0.75),
        ..PLAIN
    },
    Case {
        name: "log-json",
        about: "return, access log in JSON, buffered",
        http: || JSON_LOG.to_owned(),
        budget: Some(0.75),
        ..PLAIN
    },
    Case {
        name: "gzip",
        about: "a page of 16 KB, compressed",
        path: "/page.txt",
        http: || "access_log off; gzip on; gzip_types text/plain; gzip_comp_level 1;".to_owned(),
        server: "default_type text/plain;",
        fields: &[("Accept-Encoding", "gzip")],
        files: &[("page.txt", 16 << 10)],
        latency: false,
        ..PLAIN
    },
    Case {
        name: "people",
        about: "30 locations, maps, rewrite, limit_req, headers, log; proxied",
        path: "/api/v1/small?x=1",
        http: || include_str!("people/http.conf").to_owned(),
        server: include_str!("people/server.conf"),
        budget: Some(0.80),
        ..PLAIN
    },
    Case {
        name: "rewrites",
        about: "map, rewrite, if, set and headers; a file of 1 KB",
        path: "/articles/1k/17?page=2",
        http: || format!("access_log off; {MAPS}"),
        server: REWRITES,
        fields: &[
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            ("Accept-Language", "de-AT,de;q=0.9,en;q=0.5"),
            ("Cookie", "theme=dark; session=0123456789abcdef"),
        ],
        files: &[("1k", 1024)],
        budget: Some(0.80),
        ..PLAIN
    },
    Case { name: "threads-2", about: "return, two workers", workers: 2, latency: false, ..PLAIN },
    Case {
        name: "servers-10000",
        about: "return, the last of 10,000 servers",
        http: || format!("access_log off; {}", growth::servers(10_000)),
        fields: &[("Host", "s10000.test")],
        ..PLAIN
    },
    Case {
        name: "error-storm",
        about: "404 with a line in the error log each",
        path: "/none",
        server: "",
        errors: true,
        ..PLAIN
    },
    Case {
        name: "https-small",
        about: "return over TLS",
        load: Load::Tls,
        budget: Some(0.85),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "https-64k",
        about: "a file of 64 KB over TLS",
        path: "/64k",
        load: Load::Tls,
        server: "",
        files: &[("64k", 65536)],
        budget: Some(0.85),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "https-1m",
        about: "a file of 1 MB over TLS",
        path: "/1m",
        load: Load::Tls,
        server: "",
        files: &[("1m", 1 << 20)],
        latency: false,
        ..PLAIN
    },
    Case {
        name: "handshake",
        about: "a full TLS handshake for each request, ECDSA P-256",
        load: Load::TlsClose,
        budget: Some(1.0),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "h2-16",
        about: "return over HTTP/2, 16 streams at a time",
        load: Load::Http2(16),
        budget: Some(1.1),
        latency: false,
        ..PLAIN
    },
    Case {
        name: "h2-100",
        about: "return over HTTP/2, 100 streams at a time",
        load: Load::Http2(100),
        budget: Some(1.1),
        latency: false,
        ..PLAIN
    },
];

const JSON_LOG: &str = r#"log_format json escape=json '{"time":"$time_iso8601","remote":"$remote_addr",'
    '"request":"$request","status":$status,"bytes":$body_bytes_sent,"agent":"$http_user_agent",'
    '"seconds":$request_time}';
access_log logs/access.log json buffer=64k flush=1s;"#;

/// Connections that the load generator holds.
pub const CONNECTIONS: usize = 64;

/// The workload of this name.
pub fn named(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

impl Case {
    /// Whether clients speak TLS.
    pub fn tls(&self) -> bool {
        matches!(self.load, Load::Tls | Load::TlsClose | Load::Http2(_))
    }

    /// How many connections the load holds: long answers would only share the wire among more of them.
    pub fn connections(&self) -> usize {
        match self.path {
            "/100m" => 1,
            _ if self.heavy() => 8,
            _ => CONNECTIONS,
        }
    }

    /// Whether one request takes so long that fewer of them are counted.
    pub fn heavy(&self) -> bool {
        matches!(self.load, Load::Upload(_)) || self.path.ends_with('m')
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls() { "https" } else { "http" }
    }

    /// The configuration. `single`: one process only, for callgrind.
    pub fn site(&self, origin: &str, single: bool) -> Site {
        let text = format!(
            "{} worker_processes {}; worker_rlimit_nofile 16384; {}\n\
             events {{ worker_connections 12000; }}\n\
             http {{\n\
             sendfile on; tcp_nopush off; keepalive_requests 100000000; keepalive_timeout 600s;\n{}\n\
             upstream origin {{ server %%ORIGIN%%; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ listen 127.0.0.1:%%PORT%% {} backlog=4096; server_name localhost;\n{}\n{} }}\n\
             }}\n",
            if single { "master_process off;" } else { "" },
            self.workers,
            self.main,
            (self.http)(),
            if let Load::Http2(_) = self.load {
                "ssl http2"
            } else if self.tls() {
                "ssl"
            } else {
                ""
            },
            if self.tls() { tls::SETTINGS } else { "" },
            self.server,
        );
        let files = self.files.iter().fold(Site::new(text).with("ORIGIN", origin), |site, (name, length)| {
            site.file(&format!("html/{name}"), vec![b'x'; *length])
        });
        if self.tls() { tls::with_certificate(files) } else { files }
    }
}

/// What stands behind the proxied cases: an nginx, cheap and the same for both.
pub fn origin() -> Site {
    let text = "worker_processes 1; worker_rlimit_nofile 16384; events { worker_connections 12000; }\n\
        http { access_log off; sendfile on; keepalive_requests 100000000; keepalive_timeout 600s;\n\
        client_max_body_size 8m; client_body_buffer_size 2m;\n\
        server { listen 127.0.0.1:%%PORT%% backlog=4096; location = /small { return 200 hello; }\n\
        location /api/ { return 200 hello; } location ~ shtml$ { ssi on; ssi_types *; } } }\n";
    let files = Site::new(text).file("html/64k", vec![b'x'; 65536]).file("html/1m", vec![b'x'; 1 << 20]);
    files.file("html/chunked.shtml", vec![b'x'; 8192])
}
