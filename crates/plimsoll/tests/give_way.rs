//! Where slots or descriptors are short, connections give way that are idle, or take their time, and keep those apart that
//! do not.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use testkit::http2::{Frames, kind};
use testkit::{Gate, Origin, Server, Site, eventually, serve};

/// One thread with eight slots beside its listening sockets and the channel, and a way in for the operator.
fn eight_slots(server: &str) -> String {
    format!(
        "worker_processes 1; events {{ worker_connections 11; }}
         http {{ overload_wait 15s; server {{ listen 127.0.0.1:%%PORT%%; {server} }}
                 server {{ listen 127.0.0.1:%%PORT_1%% capacity_reserve; location / {{ capacity_status json; }} }} }}"
    )
}

fn status(server: &Server) -> serde_json::Value {
    let answer = server.client_on(1).request("GET", "/", &[("Connection", "close")], b"");
    serde_json::from_str(&answer.text()).unwrap()
}

fn slots_used(server: &Server) -> u64 {
    let links = status(server)["links"].as_array().unwrap().clone();
    links.iter().find(|link| link["kind"] == "slots").unwrap()["used"].as_u64().unwrap()
}

#[test]
fn heads_that_drip_in_give_way_the_oldest_first() {
    let server = serve(eight_slots("location / { return 200 x; }"));
    let mut slow: Vec<_> = (0..8)
        .map(|i| {
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
            eventually("a slot for each", || slots_used(&server) == i + 1);
            client
        })
        .collect();
    assert_eq!(server.get("/").status, 200);
    let gone = slow[0].response();
    assert_eq!(
        (gone.status, gone.header("retry-after"), gone.header("connection")),
        (503, Some("1"), Some("close"))
    );
    // Whoever came last is not asked: there is room again.
    let last = slow.last_mut().unwrap();
    last.send("x\r\n\r\n");
    assert_eq!(last.response().status, 200);
}

#[test]
fn a_slow_head_is_left_alone_while_there_is_room() {
    let server = serve(eight_slots("location / { return 200 x; }"));
    let mut slow = server.client();
    slow.send_slowly("GET / HTTP/1.1\r\nHost: a\r\nX: a-few-bytes-more\r\n\r\n");
    assert_eq!(slow.response().status, 200);
}

/// Nobody waits for the end of that.
const LINGERING: &str = "lingering_time 60s; lingering_timeout 60s;";

#[test]
fn who_was_answered_gives_way_with_the_rest_of_its_body() {
    let server = serve(eight_slots(&format!("{LINGERING} location / {{ return 200 x; }}")));
    let _slow: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.client();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\nsome");
            assert_eq!(client.response().status, 200);
            client
        })
        .collect();
    assert_eq!(slots_used(&server), 8);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn idle_http2_connections_give_way() {
    let server = serve(eight_slots(&format!("{LINGERING} http2 on; location / {{ return 200 x; }}")));
    let mut idle: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Frames::connect(&server, &[]);
            client.request(1, "GET", "/", &[], true);
            assert_eq!(client.answer(1).0, 0x88);
            client
        })
        .collect();
    assert_eq!(server.get("/").status, 200);
    // Told so, not cut off.
    idle[0].wait(kind::GOAWAY, 0);
}

#[test]
fn http2_clients_that_keep_asking_have_turns() {
    let server = serve(eight_slots("http2 on; location / { return 200 x; }"));
    let over = AtomicBool::new(false);
    let connections = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    connections.fetch_add(1, Relaxed);
                    ask_until_told_to_leave(&server, &over);
                }
            });
        }
        eventually("all seats to be theirs", || connections.load(Relaxed) >= 8);
        for _ in 0..4 {
            assert_eq!(server.get("/").status, 200);
        }
        over.store(true, Relaxed);
    });
    assert!(connections.load(Relaxed) > 8);
}

/// Every stream that was begun is answered, also the last: the server says which that is.
fn ask_until_told_to_leave(server: &Server, over: &AtomicBool) {
    let mut client = Frames::connect(server, &[]);
    for stream in (1..).step_by(2) {
        client.request(stream, "GET", "/", &[], true);
        let mut last = None;
        loop {
            let frame = client.receive().expect("an answer");
            if frame.kind == kind::GOAWAY {
                last = frame.payload.get(..4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
            }
            if frame.kind == kind::DATA && frame.stream == stream {
                break;
            }
            if last.is_some_and(|last| last < stream) {
                return;
            }
        }
        if last.is_some() || over.load(Relaxed) {
            return;
        }
    }
}

#[test]
fn streams_and_tunnels_hold_the_slots_of_their_upstreams() {
    let gate = Gate::new();
    let opened = gate.clone();
    let origin = Origin::new(move |exchange| {
        if exchange.request.head.contains("pgrade: echo") {
            exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
        }
        opened.pass();
        exchange.ok("x");
    });
    let server = serve(eight_slots(&format!(
        "http2 on; location / {{ proxy_pass http://{0}; }}
         location /t {{ proxy_pass http://{0}; proxy_http_version 1.1; proxy_set_header Upgrade echo;
                        proxy_set_header Connection upgrade; }}",
        origin.address()
    )));
    let mut client = Frames::connect(&server, &[]);
    [1, 3, 5].iter().for_each(|stream| client.request(*stream, "GET", "/", &[], true));
    origin.wait_requests(3);
    assert_eq!(slots_used(&server), 4, "a connection, and one for each stream");
    let mut tunnel = server.client();
    tunnel.send("GET /t HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
    assert_eq!(tunnel.response().status, 101);
    assert_eq!(slots_used(&server), 6);
    gate.open();
    let heads = std::iter::from_fn(|| client.receive()).filter(|frame| frame.kind == kind::HEADERS);
    assert!(heads.take(3).all(|frame| frame.payload[0] == 0x88));
    drop((client, tunnel));
    eventually("all slots are free again", || slots_used(&server) == 0);
}

#[test]
fn files_that_are_only_kept_give_way() {
    let origin = Origin::new(|exchange| exchange.ok("x"));
    let text = format!(
        "worker_processes 1; worker_rlimit_nofile 64; events {{ worker_connections 512; }}
         http {{ overload_wait 15s; open_file_cache max=1000; root .;
                 server {{ listen 127.0.0.1:%%PORT%%; location / {{ }} location /p {{ proxy_pass http://{}; }}
                           location /b {{ client_body_in_file_only clean; proxy_pass http://{0}; }} }} }}",
        origin.address()
    );
    let site = (0..80).fold(Site::new(text), |site, i| site.file(&format!("f{i}"), "file"));
    let server = serve(site);
    let eat = || (0..80).for_each(|i| assert_eq!(server.get(&format!("/f{i}")).text(), "file", "f{i}"));
    eat();
    assert_eq!(server.get("/p").text(), "x");
    eat();
    assert_eq!(server.post("/b", "a body").text(), "x");
    eat();
    let mut many: Vec<_> = (0..10).map(|_| server.client()).collect();
    many.iter_mut()
        .for_each(|client| client.send("GET /f7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    many.iter_mut().for_each(|client| assert_eq!(client.response().text(), "file"));
}

#[test]
fn what_is_open_is_accounted_for() {
    let (gate, origin) = Origin::gated("x");
    let text = eight_slots(&format!(
        "open_file_cache max=100; root .; location / {{ }}
         location /b {{ client_body_in_file_only clean; proxy_pass http://{}; }}",
        origin.address()
    ));
    let server = serve((0..5).fold(Site::new(text), |site, i| site.file(&format!("f{i}"), "file")));
    let open = || status(&server)["descriptors"].clone();
    let before = open();
    assert_eq!((&before["files"], &before["temporary"]), (&0.into(), &0.into()), "{before}");
    (0..5).for_each(|i| assert_eq!(server.get(&format!("/f{i}")).text(), "file"));
    let mut client = server.client();
    client.send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    origin.wait_requests(1);
    let now = open();
    assert_eq!(
        (&now["files"], &now["temporary"], &now["upstreams"]),
        (&5.into(), &1.into(), &1.into()),
        "{now}"
    );
    // Logs, loops and the way to the master are no more than before.
    eventually("all is accounted for", || open()["others"] == before["others"]);
    gate.open();
    assert_eq!(client.response().status, 200);
    eventually("the body's file is closed", || open()["temporary"] == 0);
}
