//! A server's whole life, as a test suite leads it: relative paths below `-p`, signals, and nothing alarming in the log.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::http2::{Frames, kind};
use testkit::{Binary, Client, Origin, each, eventually, within};

const CONF: &str = "daemon off; pid run.pid; error_log error.log debug; events { worker_connections 128; }
    http { access_log access.log; root html; client_body_temp_path body_temp; proxy_temp_path proxy_temp;
    fastcgi_temp_path fastcgi_temp; uwsgi_temp_path uwsgi_temp; scgi_temp_path scgi_temp;
    proxy_cache_path cache keys_zone=z:1m;
    server { listen unix:%%DIR%%/door; client_body_buffer_size 1k; location / { }
    location /proxied/ { proxy_pass http://unix:%%DIR%%/door:/; proxy_cache z; proxy_cache_valid 1m; } } }";

/// A server that was told nothing but its folder. Dropped, it is killed.
struct Life {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Life {
    fn begin(binary: Binary, more: &str) -> Life {
        let folder = tempfile::Builder::new().prefix("plimsoll-life-").tempdir().unwrap();
        let root = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let conf = CONF.replace("%%DIR%%", folder.path().to_str().unwrap());
        fs::create_dir(folder.path().join("html")).unwrap();
        fs::write(folder.path().join("html/index.html"), "hello").unwrap();
        fs::write(folder.path().join("nginx.conf"), format!("{root} {more} {conf}")).unwrap();
        let mut command = Command::new(binary.path());
        command.env_remove("NGINX").env_remove("PLIMSOLL").current_dir("/").stdin(Stdio::null());
        // As nginx needs it, the folder ends with a slash.
        command.arg("-p").arg(format!("{}/", folder.path().display()));
        let child = command.args(["-c", "nginx.conf", "-e", "error.log"]).spawn().unwrap();
        let life = Life { folder, child };
        eventually("the pid file", || life.pid().is_some());
        life
    }
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.path("run.pid")).ok()?.trim().parse().ok()
    }
    fn tell(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().unwrap()).unwrap(), signal).unwrap();
    }
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> u16 {
        let stream = UnixStream::connect(self.path("door")).unwrap();
        Client::new(stream.into()).request(method, target, &[("Connection", "close")], body).status
    }
    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn ends(life: &mut Life) -> bool {
    within(|| life.child.try_wait().unwrap()).is_some_and(|status| status.success())
}

fn lead(binary: Binary, master: bool, last: Signal) {
    let mut life = Life::begin(binary, if master { "" } else { "master_process off;" });
    assert_eq!(life.pid(), Some(life.child.id() as i32));
    for target in ["/", "/proxied/", "/proxied/"] {
        assert_eq!(life.ask("GET", target, b""), 200);
    }
    assert_eq!(life.ask("GET", "/none", b""), 404);
    assert_eq!(life.ask("POST", "/proxied/", &[b'x'; 5000]), 405);
    // nginx without a master does not outlive this with its sockets whole.
    if master {
        life.tell(Signal::HUP);
        eventually("the reload", || life.log("error.log").contains("reconfiguring"));
        assert_eq!(life.ask("GET", "/", b""), 200);
        fs::rename(life.path("error.log"), life.path("error.log.1")).unwrap();
        life.tell(Signal::USR1);
        eventually("the new log", || life.path("error.log").exists());
        assert_eq!(life.ask("GET", "/", b""), 200);
    }
    life.tell(last);
    assert!(ends(&mut life), "{binary:?}, {last:?}");
    let log = life.log("error.log.1") + &life.log("error.log");
    let alarming = |line: &&str| ["[alert]", "[emerg]", "[crit]"].iter().any(|level| line.contains(level));
    assert_eq!(log.lines().filter(alarming).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(log.contains("\"/none\" failed") || log.contains("/html/none\" failed"), "{log}");
    assert!(!life.path("run.pid").exists() && life.path("access.log").exists());
    for folder in ["body_temp", "proxy_temp", "cache"] {
        assert!(life.path(folder).is_dir(), "{folder}");
    }
}

#[test]
fn nothing_alarming_is_logged() {
    each(|binary| {
        for last in [Signal::QUIT, Signal::TERM] {
            lead(binary, true, last);
            lead(binary, false, last);
        }
    });
}

/// An application that does not answer: without a limit, an end waits for it as long as `proxy_read_timeout`.
#[test]
fn an_end_waits_only_so_long() {
    each(|binary| {
        let application = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = application.local_addr().unwrap();
        let location = format!("location / {{ proxy_read_timeout 1h; proxy_pass http://{address}; }}");
        let text = format!("http {{ server {{ listen 127.0.0.1:%%PORT%%; {location} }} }}");
        let begun = |limit: &str| {
            let server = binary.serve(format!("worker_processes 1; {limit} {text}"));
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let (upstream, _) = application.accept().unwrap();
            server.signal(Signal::QUIT);
            server.error_log().wait_for("gracefully shutting down");
            (server, client, upstream)
        };
        let (mut server, mut client, _upstream) = begun("worker_shutdown_timeout 50ms;");
        client.expect_close();
        assert!(server.wait_exit().success());
        let (mut server, mut client, mut upstream) = begun("");
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\non").unwrap();
        assert_eq!(client.response().text(), "on");
        assert!(server.wait_exit().success());
    });
}

#[test]
fn a_worker_works_where_it_is_told() {
    each(|binary| {
        let text = "http { server { listen 127.0.0.1:%%PORT%%; return 200 on; } }";
        let server = binary.serve(format!("worker_processes 1; working_directory /usr; {text}"));
        eventually("a worker", || server.workers().len() == 1);
        let folder = || fs::read_link(format!("/proc/{}/cwd", server.workers()[0])).unwrap();
        eventually("its folder", || folder().as_os_str() == "/usr");
        assert_eq!(server.get("/").text(), "on");
    });
}

/// A client of what a configuration that was replaced began, and its request.
struct Begun {
    client: Client,
    target: &'static str,
}

/// An application that begins everything and ends nothing: one path is never answered, one never to its end, one is a tunnel.
fn endless() -> Origin {
    Origin::wires(|wire| {
        let Ok(Some(request)) = wire.read_request() else { return };
        let head = match request.target.as_str() {
            "/none" => "",
            "/part" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
            _ => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nwelcome",
        };
        let _ = wire.send(head);
        while let Ok(bytes) = wire.read_some(4096) {
            if bytes.is_empty() || wire.send(bytes).is_err() {
                return;
            }
        }
    })
}

fn begin(server: &testkit::Server, origin: &Origin, target: &'static str) -> Begun {
    let mut client = server.client();
    let before = origin.open_connections();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"));
    origin.wait_open(before + 1);
    if target != "/none" {
        client.wire().read_through(if target == "/part" { b"part" } else { b"welcome" }).unwrap();
    }
    Begun { client, target }
}

/// What a configuration began lasts so long after it was replaced, and no longer; what the next one began goes on.
#[test]
fn what_an_old_configuration_began_ends_in_time() {
    const LIMIT: Duration = Duration::from_millis(300);
    each(|binary| {
        let origin = endless();
        let text = |number: usize| {
            format!(
                "worker_processes 1; worker_shutdown_timeout 300ms; http {{ log_format f '$uri $status $body_bytes_sent'; \
                 access_log logs/access.log f; server {{ listen 127.0.0.1:%%PORT%%; location = / {{ return 200 {number}; }} \
                 location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                 proxy_set_header Connection upgrade; proxy_read_timeout 1h; proxy_buffering off; }} }} }}",
                origin.address()
            )
        };
        let server = binary.serve(text(1));
        let old = ["/none", "/part", "/tunnel"].map(|target| begin(&server, &origin, target));
        server.reload(&text(2));
        let reloaded = Instant::now();
        // Until then the old one still accepts.
        server.error_log().wait_for(match binary {
            Binary::Plimsoll => "reconfigured",
            Binary::Nginx => "gracefully shutting down",
        });
        let mut new = begin(&server, &origin, "/tunnel");
        for mut begun in old {
            let _ = begun.client.read_to_end();
            assert!(reloaded.elapsed() >= LIMIT / 2, "{binary:?} {} ended at once", begun.target);
        }
        new.client.send("still there");
        assert_eq!(new.client.read(11), b"still there");
        let mut lines = Vec::new();
        eventually("the log lines", || {
            lines = server.access_log().lines();
            lines.retain(|line| !line.starts_with("/ "));
            lines.len() == 3
        });
        lines.sort();
        assert_eq!(lines, ["/none 000 0", "/part 200 4", "/tunnel 101 7"], "{binary:?}");
    });
}

/// Not compared: with nginx the connections end with their worker.
#[test]
fn connections_outlast_what_an_old_configuration_began() {
    for binary in Binary::wanted().into_iter().filter(|b| *b == Binary::Plimsoll) {
        let origin = endless();
        let text = |number: usize| {
            format!(
                "worker_processes 1; worker_shutdown_timeout 50ms; http {{ http2 on; server {{ listen 127.0.0.1:%%PORT%%; \
                 location = / {{ return 200 {number}; }} \
                 location / {{ proxy_pass http://{}; proxy_buffering off; }} }} }}",
                origin.address()
            )
        };
        let server = binary.serve(text(1));
        let mut idle = server.client();
        assert_eq!(idle.get("/").text(), "1");
        let mut streams = Frames::connect(&server, &[]);
        streams.request(1, "GET", "/part", &[], true);
        assert_eq!(streams.wait(kind::DATA, 1).payload, b"part");
        server.reload(&text(2));
        streams.wait(kind::RST_STREAM, 1);
        streams.request(3, "GET", "/", &[], true);
        assert_eq!(streams.answer(3).1, b"2");
        assert_eq!(idle.get("/").text(), "2");
    }
}

/// A client that is still sending when it is told to go is listened to for a while, as the configuration in force says: that it
/// came under another one, with fewer locations, is no matter.
#[test]
fn an_http2_connection_ends_under_the_newest_configuration() {
    for binary in Binary::wanted().into_iter().filter(|b| *b == Binary::Plimsoll) {
        let text = |number: usize| {
            let places: String =
                (1..number).map(|i| format!("location = /{i} {{ return 200 {i}; }} ")).collect();
            format!(
                "worker_processes 1; http {{ http2 on; server {{ listen 127.0.0.1:%%PORT%%; {places} \
                 location / {{ return 200 new; }} }} }}"
            )
        };
        let server = binary.serve(text(1));
        let mut streams = Frames::connect(&server, &[]);
        streams.request(1, "GET", "/", &[], true);
        assert_eq!(streams.answer(1).1, b"new");
        server.reload(&text(20));
        server.error_log().wait_for("reconfigured");
        assert_eq!(server.get("/19").text(), "19");
        streams.try_send(kind::DATA, 0, 0, b"to no stream").unwrap();
        streams.wait(kind::GOAWAY, 0);
        assert_eq!(server.get("/").text(), "new");
        assert!(!server.error_log().text().contains("panicked"));
    }
}
