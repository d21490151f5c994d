//! What the load plays on: a server with every kind of location, two applications behind it, and what is measured.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::LazyLock;

use testkit::{Origin, Server, Site, Wire, eventually, peers};

/// Bytes of the large file.
pub const FILE: usize = 4 << 20;
/// Bytes of an upload.
pub const UPLOAD: usize = 1 << 20;

/// Bytes in which no two places look alike.
pub fn pattern() -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 1u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(FILE).collect()
    });
    &ALL
}

/// Tells bodies apart.
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, b| (sum * 31 + u64::from(*b)) % 1_000_000_007)
}

/// The application: takes uploads, gives the large file, opens tunnels, and says its path to anything else.
pub fn application() -> Origin {
    Origin::wires(|wire| while exchange(wire) {})
}

fn exchange(wire: &mut Wire) -> bool {
    let request = match wire.read_request() {
        Ok(Some(request)) => request,
        // A pooled connection may wait longer than a test is patient.
        Err(e) => return e.kind() == ErrorKind::TimedOut,
        Ok(None) => return false,
    };
    match request.target.as_str() {
        "/up" => answer(wire, format!("{} {}", request.body.len(), sum(&request.body)).as_bytes()),
        "/down" => answer(wire, pattern()),
        "/ws" => tunnel(wire),
        path => answer(wire, path.as_bytes()),
    }
}

fn answer(wire: &mut Wire, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    wire.send([head.as_bytes(), body].concat()).is_ok()
}

fn tunnel(wire: &mut Wire) -> bool {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut open = wire.send(switch).is_ok();
    while open {
        open = match wire.read_some(4096) {
            Ok(bytes) => !bytes.is_empty() && wire.send(bytes).is_ok(),
            Err(e) => e.kind() == ErrorKind::TimedOut,
        };
    }
    false
}

/// A site whose first configuration is this text, with a certificate if there can be one.
fn site(text: &str) -> Site {
    let site = Site::new(text).file("ports", "%%PORT_4%%");
    match certificate() {
        Some((certificate, key)) => site.file("cert.pem", certificate).file("key.pem", key),
        None => site,
    }
}

/// A certificate for `localhost`, and its key.
fn certificate() -> Option<(Vec<u8>, Vec<u8>)> {
    let openssl = peers::require("openssl")?;
    let folder = tempfile::tempdir().ok()?;
    let made = Command::new(openssl)
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
                .split(' '),
        )
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&folder)
        .output()
        .ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| fs::read(folder.path().join(name)).ok();
    Some((read("cert.pem")?, read("key.pem")?))
}

/// One of the configurations a test goes through.
pub struct Conf<'a> {
    /// Shown in every answer.
    pub number: usize,
    /// `worker_processes`
    pub threads: usize,
    /// Where `proxy_pass` leads.
    pub application: &'a Origin,
    pub tls: bool,
    /// What goes before `http`.
    pub main: String,
}

impl Conf<'_> {
    /// The text: sockets, upstream and threads differ from number to number.
    pub fn text(&self) -> String {
        let Conf { number, threads, application, tls, main } = self;
        let more = if number % 2 == 1 { "listen 127.0.0.1:%%PORT_1%%;" } else { "" };
        let tls = match tls {
            true => {
                "server { listen 127.0.0.1:%%PORT_3%% ssl; ssl_certificate cert.pem; \
                     ssl_certificate_key key.pem; include locations; }"
            }
            false => "",
        };
        let application = application.address();
        format!(
            "worker_processes {threads}; error_log logs/error.log notice; {main}
             events {{ worker_connections 1024; }}
             http {{
                upstream app {{ server {application}; keepalive 16; }}
                keepalive_requests 1000000;
                client_max_body_size 8m;
                proxy_http_version 1.1;
                server {{
                    listen 127.0.0.1:%%PORT%%; {more} listen unix:%%DIR%%/{socket}.sock;
                    listen 127.0.0.1:%%PORT_2%% reuseport;
                    location / {{ return 200 g{number}; }}
                    location = /file {{ root html; }}
                    location /p {{ proxy_pass http://app; proxy_set_header Connection \"\"; }}
                    location /up {{ proxy_pass http://app; proxy_set_header Connection \"\"; }}
                    location /down {{ proxy_pass http://app; proxy_set_header Connection \"\"; }}
                    location /ws {{
                        proxy_pass http://app; proxy_set_header Connection upgrade;
                        proxy_set_header Upgrade $http_upgrade; proxy_read_timeout 1h;
                    }}
                }}
                {tls}
             }}",
            socket = number % 3,
        )
        .replace(
            "include locations;",
            "location / { return 200 g; } location /p { proxy_pass http://app; proxy_set_header Connection \"\"; }",
        )
    }
}

/// Starts it. The large file is written once: a reload writes the site's files again.
pub fn start(text: &str) -> Server {
    let server = testkit::serve(site(text));
    server.write("html/file", pattern());
    server
}

/// Whether a process runs; one that ended and was not waited for does not.
pub fn is_alive(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// Reloads and waits until the new configuration is in force.
pub fn reload(server: &Server, text: &str) {
    let count = || server.error_log().lines().iter().filter(|line| line.ends_with("reconfigured")).count();
    let before = count();
    server.reload(text);
    eventually("the reload", || count() > before);
}

/// The worker, when there is exactly one.
pub fn worker(server: &Server) -> i32 {
    let mut workers = Vec::new();
    eventually("one worker", || {
        workers = server.workers();
        workers.len() == 1
    });
    workers[0]
}

/// What descriptors a process has open, without the numbers that tell two sockets apart.
pub fn descriptors(pid: i32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut kinds: Vec<String> = targets
        .map(|path| path.to_string_lossy().split(":[").next().unwrap_or_default().to_owned())
        .collect();
    kinds.sort();
    kinds
}

/// Bytes a process holds that are its own: not the pages of its program file, which come as they are first used.
pub fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    (kib("RssAnon:") + kib("RssShmem:")) * 1024
}
