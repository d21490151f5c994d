//! The ledger of descriptors against the kernel's: what is open is what the status says, at rest and under load.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use testkit::{Client, Gate, Origin, Server, Site, eventually, serve};

fn status(server: &Server) -> Value {
    let answer = server.client_on(1).request("GET", "/", &[("Connection", "close")], b"");
    serde_json::from_str::<Value>(&answer.text()).unwrap()["descriptors"].clone()
}

/// Sockets, descriptors of event loops and files below the server's folder that a worker has open.
fn open(server: &Server) -> [u64; 3] {
    let worker = server.workers()[0];
    let folder = server.path("");
    let mut counts = [0; 3];
    for entry in std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap().flatten() {
        let standard = ["0", "1", "2"].iter().any(|name| entry.file_name() == *name);
        let Ok(what) = std::fs::read_link(entry.path()) else { continue };
        let text = what.to_string_lossy();
        let kinds =
            [text.starts_with("socket:"), text.starts_with("anon_inode:[event"), what.starts_with(&folder)];
        counts.iter_mut().zip(kinds).for_each(|(count, is)| *count += u64::from(is && !standard));
    }
    counts
}

/// The same by the ledger; `syslog`: so many of the logs are sockets. The status' own client has gone since.
fn written(status: &Value, syslog: u64) -> [u64; 3] {
    let of = |kinds: &[&str]| kinds.iter().map(|kind| status[*kind].as_u64().unwrap()).sum::<u64>();
    let way_to_the_master = 1;
    [
        of(&["clients", "waiting", "upstreams", "listeners"]) - 1 + way_to_the_master + syslog,
        of(&["loops"]),
        of(&["files", "temporary", "cached", "logs"]) - syslog,
    ]
}

/// `others`: so many descriptors are nobody's. The number of all is a moment older than the ledger.
fn agree(server: &Server, syslog: u64, others: Option<&Value>) -> Value {
    let mut seen = Value::Null;
    eventually("the ledger and the kernel agree", || {
        let status = status(server);
        let (theirs, ours) = (open(server), written(&status, syslog));
        let same = theirs == ours && others.is_none_or(|others| status["others"] == *others);
        seen = status;
        same
    });
    seen
}

/// Asks, and reads nothing.
fn stalled(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

#[test]
fn what_is_open_is_written_down() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::new(move |exchange| {
        if exchange.request.head.starts_with("GET /kept") {
            return exchange.ok("x".repeat(1_000_000));
        }
        held.pass();
        exchange.ok("x");
    });
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "worker_processes 2; events {{ worker_connections 64; }}
         http {{ overload_wait 15s; root .; proxy_cache_path cache keys_zone=z:1m; open_log_file_cache max=10;
           log_format short '$uri'; upstream app {{ server {0}; keepalive 8; }}
           server {{ listen 127.0.0.1:%%PORT%% sndbuf=16k; access_log logs/a.log; access_log logs/$host.log short;
             access_log syslog:server={1}; dav_methods PUT COPY DELETE; dav_access user:rw;
             location /files {{ open_file_cache max=10; }}
             location /direct {{ directio 512; output_buffers 1 8k; }}
             location /kept {{ proxy_cache z; proxy_cache_valid 1h; proxy_buffering on; proxy_pass http://app; }}
             location /p {{ mirror /mirror; client_body_in_file_only clean; proxy_pass http://app; }}
             location /mirror {{ internal; proxy_pass http://app/mirror; }} }}
           server {{ listen 127.0.0.1:%%PORT_1%% capacity_reserve; access_log off;
                     location / {{ capacity_status json; }} }} }}",
        origin.address(),
        syslog.local_addr().unwrap()
    );
    let big = "x".repeat(1_000_000);
    let server = serve(Site::new(text).file("files/a", &big).file("direct/a", &big));
    let rest = agree(&server, 0, None);
    assert_eq!(
        (&rest["loops"], &rest["upstreams"], &rest["files"]),
        (&4.into(), &0.into(), &0.into()),
        "{rest}"
    );

    assert_eq!(server.get("/kept").text().len(), big.len());
    let body = |client: &mut Client| {
        client.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    };
    let mut asked: Vec<Client> = (0..3).map(|_| server.client()).collect();
    asked.iter_mut().for_each(body);
    let slow: Vec<Client> = ["/files/a", "/direct/a", "/kept"].map(|target| stalled(&server, target)).into();
    // One for what was kept, three with a mirror each.
    origin.wait_requests(7);
    eventually("three files on their way", || {
        let now = status(&server);
        now["files"].as_u64() >= Some(2) && now["cached"].as_u64() == Some(1)
    });
    let load = agree(&server, 1, Some(&rest["others"]));
    // The connection that brought what is kept rests, or was taken up again by the same thread.
    assert!(matches!(load["upstreams"].as_u64(), Some(6 | 7)), "{load}");
    assert!(load["temporary"].as_u64() >= Some(3), "{load}");

    gate.open();
    asked.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    drop((asked, slow));
    assert_eq!(server.request("PUT", "/files/b", &[], b"new").status, 201);
    assert_eq!(server.request("COPY", "/files/b", &[("Destination", "/files/c")], b"").status, 204);
    eventually("bodies and kept answers are closed", || {
        let now = status(&server);
        ["temporary", "cached"].iter().all(|kind| now[*kind] == 0)
    });
    agree(&server, 1, Some(&rest["others"]));
}

#[test]
fn those_who_wait_at_the_door_are_written_down_too() {
    let (gate, origin) = Origin::gated("x");
    let server = serve(format!(
        "worker_processes 1; events {{ worker_connections 8; }} http {{ overload_wait 15s;
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://{}; }} }}
         server {{ listen 127.0.0.1:%%PORT_1%% capacity_reserve; location / {{ capacity_status json; }} }} }}",
        origin.address()
    ));
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    origin.wait_requests(2);
    eventually("one is held, the others are in the accept queue", || status(&server)["waiting"] == 1);
    agree(&server, 0, None);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

#[test]
fn files_that_cannot_be_opened_are_said_once_a_second() {
    let site = Site::new("worker_processes 1; http { server { listen 127.0.0.1:%%PORT%%; root files; } }");
    let server = serve(site.file("files/a", "text"));
    eventually("the worker", || server.workers().len() == 1);
    let worker = Pid::from_raw(server.workers()[0]);
    let mut client = server.client();
    assert_eq!(client.get("/a").text(), "text");
    let before = getrlimit(Resource::Nofile);
    prlimit(worker, Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    for _ in 0..20 {
        let answer = client.get("/a");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    let said = |log: &str| log.matches("failed (24: Too many open files)").count();
    let log = server.error_log();
    log.wait_for("open() \"");
    eventually("the next second", || {
        assert_eq!(client.get("/a").status, 503);
        log.text().contains("more of the kind since it was said last")
    });
    assert!(said(&log.text()) <= 3, "{}", log.text());
    prlimit(worker, Resource::Nofile, before).unwrap();
    assert_eq!(client.get("/a").text(), "text");
}
