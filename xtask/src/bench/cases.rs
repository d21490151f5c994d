//! What is measured: configurations and the load on them. Everything that the two servers default differently, or
//! that a later version may, is set explicitly.

use testkit::Site;

/// One workload.
pub struct Case {
    /// As given on the command line.
    pub name: &'static str,
    /// Path to request.
    pub path: &'static str,
    /// Whether each request has a connection of its own.
    pub close: bool,
    /// Directives of the server block.
    server: &'static str,
}

/// All workloads, in the order they are reported.
pub const CASES: &[Case] = &[
    Case { name: "return", path: "/", close: false, server: "location / { return 200 hello; }" },
    Case { name: "static-1k", path: "/1k", close: false, server: "" },
    Case { name: "static-64k", path: "/64k", close: false, server: "" },
    Case { name: "proxy-small", path: "/small", close: false, server: PROXY },
    Case { name: "proxy-64k", path: "/64k", close: false, server: PROXY },
    Case { name: "conn-per-request", path: "/", close: true, server: "location / { return 200 hello; }" },
];

const PROXY: &str = "location / { proxy_pass http://origin; proxy_http_version 1.1; \
    proxy_set_header Connection \"\"; proxy_buffering on; proxy_buffers 8 16k; proxy_buffer_size 8k; }";

/// Connections that the load generator holds.
pub const CONNECTIONS: usize = 64;

/// The workload of this name.
pub fn named(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

impl Case {
    /// The configuration. `single`: one process only, for callgrind.
    pub fn site(&self, origin: &str, single: bool) -> Site {
        let master = if single { "master_process off;" } else { "" };
        let text = format!(
            "{master} worker_processes 1; worker_rlimit_nofile 16384; error_log logs/error.log error;\n\
             events {{ worker_connections 12000; }}\n\
             http {{\n\
             access_log off; sendfile on; tcp_nopush off; keepalive_requests 100000000; keepalive_timeout 600s;\n\
             upstream origin {{ server %%ORIGIN%%; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ listen 127.0.0.1:%%PORT%% backlog=4096; {} }}\n\
             }}\n",
            self.server
        );
        let files = Site::new(text).with("ORIGIN", origin);
        files.file("html/1k", vec![b'x'; 1024]).file("html/64k", vec![b'x'; 65536])
    }
}

/// What stands behind the proxied cases: an nginx, cheap and the same for both.
pub fn origin() -> Site {
    let text = "worker_processes 1; worker_rlimit_nofile 16384; events { worker_connections 12000; }\n\
        http { access_log off; sendfile on; keepalive_requests 100000000; keepalive_timeout 600s;\n\
        server { listen 127.0.0.1:%%PORT%% backlog=4096; location = /small { return 200 hello; } } }\n";
    Site::new(text).file("html/64k", vec![b'x'; 65536])
}
