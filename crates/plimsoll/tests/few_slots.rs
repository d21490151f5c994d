//! Few slots, and requests that need several: nobody waits for what nobody will give back.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use testkit::{Client, Origin, Server, serve};

/// One thread and so many slots beside the listening socket and the channel.
fn slots(count: u32, http: &str, server: &str) -> Server {
    serve(format!(
        "worker_processes 1; events {{ worker_connections {}; }}
         http {{ {http} server {{ listen 127.0.0.1:%%PORT%%; overload_wait 15s; {server} }} }}",
        count + 2
    ))
}

fn signal(server: &Server, signal: Signal) {
    let worker = rustix::process::Pid::from_raw(server.workers()[0]).unwrap();
    rustix::process::kill_process(worker, signal).unwrap();
}

fn origin() -> Origin {
    Origin::new(|exchange| exchange.ok("x"))
}

/// So many at once, each over a connection of its own: the bodies of their answers, which are all 200.
fn at_once(server: &Server, clients: usize, target: &str) -> Vec<String> {
    std::thread::scope(|scope| {
        let ask = || {
            let answer = server.get(target);
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            answer.text()
        };
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn all_idle_clients_wake_together() {
    let origin = origin();
    let locations =
        format!("location / {{ proxy_pass http://{}; }} location /x {{ return 200 x; }}", origin.address());
    for keep in ["keep-alive", "close"] {
        let server = slots(8, "", &locations);
        // Whoever is let in leaves a slot for an upstream connection.
        let mut idle: Vec<Client> = (0..7).map(|_| server.client()).collect();
        idle.iter_mut().for_each(|client| assert_eq!(client.get("/x").status, 200));
        // All of them within one turn of its loop.
        signal(&server, Signal::STOP);
        idle.iter_mut().for_each(|client| {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {keep}\r\n\r\n"));
        });
        signal(&server, Signal::CONT);
        idle.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    }
}

#[test]
fn pages_that_include_pages() {
    let origin = Origin::new(|exchange| {
        let target = exchange.request.head.split(' ').nth(1).unwrap_or_default().to_owned();
        exchange.ok(match &*target {
            "/a" => "a(<!--# include virtual=\"/b\" --><!--# include virtual=\"/c\" -->)",
            "/b" => "b(<!--# include virtual=\"/c\" wait=\"yes\" -->)",
            _ => "c",
        });
    });
    let locations = format!(
        "ssi on; ssi_types *; location / {{ proxy_pass http://{0}; proxy_set_header Accept-Encoding \"\"; }}",
        origin.address()
    );
    for count in [2, 4] {
        let server = slots(count, "", &locations);
        assert_eq!(at_once(&server, 12, "/a"), vec!["a(b(c)c)"; 12], "{count} slots");
    }
}

#[test]
fn the_next_server_is_tried_over_the_same_slot() {
    let origin = origin();
    let group = format!(
        "upstream all {{ server 127.0.0.1:1 max_fails=0; server 127.0.0.2:1 max_fails=0; server {} backup; }}",
        origin.address()
    );
    let server = slots(2, &group, "location / { proxy_pass http://all; }");
    assert_eq!(at_once(&server, 12, "/"), vec!["x"; 12]);
    assert!(!server.error_log().text().contains("not enough while"), "{}", server.error_log().text());
}

#[test]
fn what_is_asked_before_and_beside_a_request_needs_no_more_slots() {
    let origin = origin();
    let locations = format!(
        "location / {{ auth_request /auth; mirror /mirror; mirror /mirror; proxy_pass http://{0}; }}
         location /auth {{ internal; proxy_pass http://{0}; }}
         location /mirror {{ internal; proxy_pass http://{0}; }}",
        origin.address()
    );
    let server = slots(4, "", &locations);
    assert_eq!(at_once(&server, 12, "/"), vec!["x"; 12]);
}
