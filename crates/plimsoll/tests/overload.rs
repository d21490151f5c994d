//! An upstream whose accept queue is full. nginx answers 502 at once and takes the server out; here it is waited for.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use testkit::{Origin, Server, Site};

/// A socket that has room for one connection more than none, and has it.
struct Full {
    dir: tempfile::TempDir,
    listener: UnixListener,
    waiting: UnixStream,
}

impl Full {
    fn new() -> Full {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let path = dir.path().join("s.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("permissions");
        rustix::net::listen(&listener, 0).expect("the shortest queue");
        let waiting = UnixStream::connect(&path).expect("the only place");
        Full { dir, listener, waiting }
    }
    fn address(&self) -> String {
        format!("unix:{}", self.dir.path().join("s.sock").display())
    }
}
/// How often the upstream's queue was the reason for a refusal.
fn refusals(server: &Server) -> u64 {
    let text = server.get("/status").text();
    let name = "plimsoll_refused_total{link=\"upstream_queue\",cause=\"upstream_queue\"} ";
    let count = text.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
    count.parse().expect("a number")
}
fn serve(full: &Full, text: &str) -> Server {
    testkit::serve(Site::new(text).with("FULL", full.address()))
}

#[test]
fn a_full_queue_is_waited_for() {
    let full = Full::new();
    let server = serve(
        &full,
        "overload_wait 10s; location / { proxy_pass http://%%FULL%%; } location /x { return 204; }
         location /status { capacity_status prometheus; }",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Answered after the first was tried: there is one loop.
    assert_eq!(server.get("/x").status, 204);
    drop(full.listener.accept().expect("who was there"));
    let (mut stream, _) = full.listener.accept().expect("the server");
    let mut request = [0; 16];
    let read = stream.read(&mut request).expect("a request");
    assert!(request[..read].starts_with(b"GET / "));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("a client");
    assert_eq!(client.response().text(), "ok");
    assert!(!server.error_log().text().contains("connect() to"));
    assert_eq!(refusals(&server), 0, "who waited and found room was not refused");
    drop(full.waiting.shutdown(std::net::Shutdown::Both));
}

#[test]
fn a_queue_that_stays_full_is_named_in_the_log() {
    let full = Full::new();
    let server = serve(
        &full,
        "overload_wait 50ms; location / { proxy_pass http://%%FULL%%; }
         location /status { capacity_status prometheus; }",
    );
    assert_eq!(server.get("/").status, 502);
    assert_eq!(refusals(&server), 1);
    let line = server.error_log().wait_for("connect() to unix:");
    let expected = "s.sock failed (11: Resource temporarily unavailable) while connecting to upstream, \
        accept queue: 1 of 0; the upstream's queue binds: more workers there, or a longer backlog \
        and net.core.somaxconn, client: 127.0.0.1, ";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn a_full_queue_is_named_once_a_second_with_the_rest_counted() {
    let full = Full::new();
    let server = serve(&full, "overload_wait 1ms; location / { proxy_pass http://%%FULL%%; }");
    let (begun, mut failed) = (std::time::Instant::now(), 0);
    testkit::eventually("a second line", || {
        failed += usize::from(server.get("/").status == 502);
        server.error_log().text().contains(" more of the kind since it was said last")
    });
    let log = server.error_log().text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("s.sock failed (11: ")).collect();
    assert!(lines.len() as u64 <= begun.elapsed().as_secs() + 1, "{lines:#?}");
    let more =
        format!("while connecting to upstream, {} more of the kind since it was said last; ", failed - 2);
    assert!(lines[1].replace(", accept queue: 1 of 0", "").contains(&more), "{failed}: {}", lines[1]);
}

#[test]
fn another_server_is_asked_at_once_and_the_full_one_is_not_taken_out() {
    let (full, good) = (Full::new(), Origin::new(|exchange| exchange.ok("good")));
    let text = "overload_wait 10s; upstream u { server %%FULL%%; server %%GOOD%%; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; add_header X-Tries $upstream_status; } }";
    let server = testkit::serve(Site::new(text).with("FULL", full.address()).with("GOOD", good.address()));
    let tries: Vec<String> = (0..4)
        .map(|_| {
            let response = server.get("/");
            assert_eq!(response.text(), "good");
            response.header("x-tries").unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(tries.iter().filter(|tries| *tries == "502, 200").count(), 2, "{tries:?}");
    assert!(!server.error_log().text().contains("temporarily disabled"));
}

#[test]
fn overload_wait_is_a_time() {
    let exit = testkit::Binary::Plimsoll.check("overload_wait long;");
    assert!(
        exit.code == Some(1) && exit.stderr.contains("\"overload_wait\" directive invalid value"),
        "{exit}"
    );
}
