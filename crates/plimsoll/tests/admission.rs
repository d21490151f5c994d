//! More clients than there is room for: everybody gets an answer, and the server recovers by itself.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use testkit::http2::{Frames, kind};
use testkit::{Origin, Server, eventually, serve};

/// A whole configuration: one thread, so many slots, one server with these locations.
fn with_slots(connections: u32, server: &str) -> String {
    format!(
        "worker_processes 1; events {{ worker_connections {connections}; }}
         http {{ server {{ listen 127.0.0.1:%%PORT%%; {server} }} }}"
    )
}

/// What so many clients at once get: a status each, or what went wrong.
fn storm(server: &Server, clients: usize, target: &str) -> BTreeMap<String, usize> {
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = server.client();
                let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                let sent = client.try_send(request);
                let outcome = match sent.and_then(|()| client.try_response("GET")) {
                    Ok(response) => response.status.to_string(),
                    Err(error) => error.kind().to_string(),
                };
                *outcomes.lock().unwrap().entry(outcome).or_insert(0) += 1;
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn only(status: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(status.to_owned(), count)])
}

#[test]
fn four_slots_serve_a_hundred_clients_through_a_proxy() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    for connections in [4, 5, 7] {
        let locations =
            format!("overload_wait 15s; location / {{ proxy_pass http://{}; }}", origin.address());
        let server = serve(with_slots(connections, &locations));
        assert_eq!(storm(&server, 100, "/"), only("200", 100), "{connections} worker_connections");
    }
}

#[test]
fn upstream_connections_at_rest_are_used_or_give_way() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    let site = format!(
        "worker_processes 2; events {{ worker_connections 6; }}
         http {{ upstream app {{ server {0}; }} upstream other {{ server {0}; }}
                 server {{ listen 127.0.0.1:%%PORT%%; overload_wait 15s; location / {{ proxy_pass http://app; }}
                           location /b {{ proxy_pass http://other; }} location /c {{ return 200 x; }} }} }}",
        origin.address()
    );
    let server = serve(site);
    for target in ["/", "/b", "/c", "/"] {
        assert_eq!(storm(&server, 60, target), only("200", 60), "{target}");
    }
}

#[test]
fn who_finds_no_room_is_told_so_and_room_comes_back() {
    let (gate, origin) = Origin::gated("x");
    // Eight slots beside the listening socket and the channel: four requests.
    let locations = format!(
        "http2 on; overload_wait 30ms;
         location / {{ proxy_pass http://{}; }} location /free {{ return 200 free; }}",
        origin.address()
    );
    let server = serve(with_slots(10, &locations));
    let mut admitted: Vec<_> = (0..4).map(|_| server.client()).collect();
    admitted.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    origin.wait_requests(4);
    let refused = server.get("/");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    // Over the same connection it would be refused again, even when there is room.
    let mut client = server.client();
    assert_eq!((client.get("/free").status, client.expect_close()), (503, ()));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/free", &[], true);
    client.wait(kind::GOAWAY, 0);
    assert_eq!(storm(&server, 20, "/"), only("503", 20));
    let log = server.error_log();
    log.wait_for("[alert] ");
    log.wait_for("8 worker_connections are not enough (slots bind: 8 of 8, ");
    log.wait_for("; descriptors allow worker_connections ");
    gate.open();
    for mut client in admitted {
        assert_eq!(client.response().status, 200, "what was admitted is answered");
    }
    eventually("room for others", || server.get("/free").status == 200);
    assert_eq!(storm(&server, 4, "/free"), only("200", 4));
}

#[test]
fn idle_clients_give_way_to_new_ones() {
    let server = serve(with_slots(10, "location / { return 200 x; }"));
    let mut idle: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.client();
            assert_eq!(client.get("/").status, 200);
            client
        })
        .collect();
    assert_eq!(server.get("/").status, 200);
    idle[0].expect_close();
    // The one that asked last was the last to go.
    assert_eq!(idle[7].get("/").status, 200);
    // Nobody was turned away: that is a warning, in nginx's words.
    let line =
        server.error_log().wait_for("8 worker_connections are not enough, reusing connections (slots bind: ");
    assert!(line.contains("[warn]") && line.contains(" idle reclaimed, 0 refused"), "{line}");
}

#[test]
fn who_keeps_asking_has_a_turn_and_then_others() {
    // Eight slots beside the listening socket and the channel.
    let server = serve(with_slots(10, "overload_wait 15s; location / { return 200 x; }"));
    let over = std::sync::atomic::AtomicBool::new(false);
    let asking = std::sync::atomic::Ordering::Relaxed;
    let (requests, turns) = std::thread::scope(|scope| {
        let busy = || {
            let (mut requests, mut turns) = (0, 0);
            while !over.load(asking) {
                let mut client = server.client();
                turns += 1;
                loop {
                    let answer = client.get("/");
                    assert_eq!(answer.status, 200);
                    requests += 1;
                    if answer.header("connection") == Some("close") || over.load(asking) {
                        break;
                    }
                }
            }
            (requests, turns)
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(busy)).collect();
        // All seats are theirs, and none of them ever rests.
        for _ in 0..10 {
            assert_eq!(server.get("/").status, 200);
        }
        over.store(true, asking);
        let each = all.into_iter().map(|client| client.join().unwrap());
        each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    assert!(requests >= 4 * turns, "{requests} requests over {turns} connections");
}

#[test]
fn clients_that_send_nothing_give_way_to_those_that_ask() {
    let server = serve(with_slots(10, "location / { return 200 x; } overload_wait 15s;"));
    let silent: Vec<_> = (0..8).map(|_| server.client()).collect();
    // They have a second for their first byte.
    assert_eq!(server.get("/").status, 200);
    drop(silent);
}

#[test]
fn the_operator_gets_in_whatever_happens() {
    let (gate, origin) = Origin::gated("x");
    let server = serve(format!(
        "worker_processes 1; events {{ worker_connections 8; }} http {{ overload_wait 15s;
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://{}; }} }}
         server {{ listen 127.0.0.1:%%PORT_1%% capacity_reserve; location / {{ capacity_status json; }} }} }}",
        origin.address()
    ));
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    origin.wait_requests(2);
    for _ in 0..3 {
        let answer = server.client_on(1).get("/");
        let status: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(status["binding"]["kind"], "slots", "{status:#}");
        let seats = &status["seats"];
        assert!(seats["reserve"].as_u64() >= Some(1) && seats["reserve_total"] == 16, "{seats}");
    }
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_status_on_an_ordinary_listener_waits_its_turn_and_is_answered() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    let locations = format!(
        "overload_wait 15s; location / {{ proxy_pass http://{}; }}
         location = /status {{ capacity_status json; }} location = /stub {{ stub_status; }}",
        origin.address()
    );
    let server = serve(with_slots(8, &locations));
    std::thread::scope(|scope| {
        let storms: Vec<_> = (0..3).map(|_| scope.spawn(|| storm(&server, 60, "/"))).collect();
        for target in ["/status", "/stub", "/status", "/stub"] {
            assert_eq!(server.get(target).status, 200, "{target}");
        }
        storms.into_iter().for_each(|storm| assert_eq!(storm.join().unwrap(), only("200", 60)));
    });
}

#[test]
fn descriptors_bind_before_they_run_out() {
    let locations = "overload_wait 15s; location / { root .; }";
    let site = format!("worker_rlimit_nofile 96; {}", with_slots(1024, locations));
    let server = serve(testkit::Site::new(site).file("x", "x".repeat(100_000)));
    assert_eq!(storm(&server, 200, "/x"), only("200", 200));
    assert!(!server.error_log().text().contains("(24:"), "{}", server.error_log().text());
}

#[test]
fn seats_are_not_lost() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    let server = serve(format!(
        "worker_processes 2; events {{ worker_connections 8; }} http {{ overload_wait 15s;
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://{}; }}
                   location /gone {{ proxy_pass http://127.0.0.1:1; }} location /close {{ return 444; }} }}
         server {{ listen 127.0.0.1:%%PORT_1%% capacity_reserve; location / {{ capacity_status json; }} }} }}",
        origin.address()
    ));
    let used = || {
        let answer = server.client_on(1).request("GET", "/", &[("Connection", "close")], b"");
        let status: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let links = status["links"].as_array().unwrap().clone();
        links.iter().find(|link| link["kind"] == "slots").unwrap()["used"].as_u64().unwrap()
    };
    storm(&server, 40, "/");
    storm(&server, 20, "/gone");
    storm(&server, 20, "/close");
    // Some who leave while they wait.
    for _ in 0..10 {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.reset();
    }
    eventually("every seat is free again", || used() == 0);
}

#[test]
fn subrequests_and_error_pages_share_what_there_is() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    // Two slots beside the listening socket and the channel: a client and one upstream connection.
    let locations = format!(
        "overload_wait 15s;
         location / {{ auth_request /auth; mirror /mirror; proxy_pass http://{0}; }}
         location /auth {{ internal; proxy_pass http://{0}; }} location /mirror {{ internal; proxy_pass http://{0}; }}
         location /page {{ error_page 418 = @other; return 418; }} location @other {{ proxy_pass http://{0}; }}",
        origin.address()
    );
    let server = serve(with_slots(4, &locations));
    assert_eq!(server.get("/").status, 200);
    assert_eq!(storm(&server, 10, "/page"), only("200", 10));
    assert_eq!(storm(&server, 10, "/"), only("200", 10));
}

#[test]
fn each_stream_claims_the_seat_it_needs() {
    let (gate, origin) = Origin::gated("ok");
    let text = with_slots(8, &format!("http2 on; location / {{ proxy_pass http://{}; }}", origin.address()));
    let server = serve(text);
    let mut client = Frames::connect(&server, &[]);
    for stream in 0..20 {
        client.request(2 * stream + 1, "GET", "/", &[], true);
    }
    origin.wait_requests(4);
    assert!(origin.connections() < 8, "{} connections", origin.connections());
    gate.open();
    let mut left = 20;
    while left > 0 {
        let frame = client.receive().expect("a frame");
        if frame.kind == kind::HEADERS {
            assert_eq!(frame.payload[0], 0x88);
            left -= 1;
        }
    }
    assert!(!server.error_log().text().contains("not enough"));
}
