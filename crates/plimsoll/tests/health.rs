//! Active health checks: what nginx sells. Not compared.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use testkit::{Binary, Origin, Server, Site, eventually};

/// An origin that answers checks at /health with the status it is told to, and all else with its name.
fn origin(name: &'static str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let origin = Origin::new(move |exchange| match &*exchange.request.target {
        "/health" => {
            let status = told.load(SeqCst);
            exchange
                .send(format!("HTTP/1.1 {status} X\r\nX-State: {status}\r\nContent-Length: 5\r\n\r\nstate"));
        }
        _ => exchange.ok(name),
    });
    (origin, status)
}

fn serve(a: &Origin, b: &Origin, check: &str, matches: &str) -> Server {
    let text = format!(
        "{matches} upstream u {{ zone u 64k; server %%A%%; server %%B%%; }}\n\
        server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://u; health_check uri=/health interval=20ms {check}; }} }}"
    );
    testkit::serve(Site::new(text).with("A", a.address()).with("B", b.address()))
}

fn all(server: &Server) -> String {
    (0..6).map(|_| server.get("/").text()).collect()
}

#[test]
fn an_unhealthy_server_gets_no_requests_until_it_is_well() {
    let ((a, state), (b, _)) = (origin("a"), origin("b"));
    let server = serve(&a, &b, "fails=2 passes=2", "");
    a.wait_requests(3);
    assert!(all(&server).contains('a'));
    state.store(500, SeqCst);
    let line = server.error_log().wait_for("peer is unhealthy");
    let expected = format!(
        "peer is unhealthy while checking status code, health check \"\" of peer {} in upstream \"u\"",
        a.address()
    );
    assert!(line.ends_with(&expected) && line.contains("[warn]"), "{line}");
    assert_eq!(all(&server), "bbbbbb");
    state.store(301, SeqCst);
    server.error_log().wait_for("peer is healthy, health check \"\" of peer");
    assert!(all(&server).contains('a'));
    let check = a.requests().into_iter().find(|r| r.target == "/health").expect("a check");
    assert_eq!((check.method.as_str(), check.header("host")), ("GET", Some("u")));
}

#[test]
fn a_server_that_does_not_answer_is_unhealthy() {
    let (a, _) = origin("a");
    let silent = Origin::wires(|wire| drop(wire.read_what_comes()));
    let server = serve(&a, &silent, "timeout=100ms", "");
    server.error_log().wait_for("peer is unhealthy while reading response header from upstream, ");
    assert_eq!(all(&server), "aaaaaa");
    drop(a);
    server.error_log().wait_for("peer is unhealthy while connecting to upstream, ");
    assert_eq!(server.get("/").status, 502);
    server.error_log().wait_for("no live upstreams");
}

#[test]
fn a_mandatory_check_comes_before_any_request() {
    let ((a, state), (b, other)) = (origin("a"), origin("b"));
    state.store(503, SeqCst);
    other.store(503, SeqCst);
    let server = serve(&a, &b, "mandatory", "");
    a.wait_requests(2);
    assert_eq!(server.get("/").status, 502);
    other.store(200, SeqCst);
    eventually("a healthy server", || server.get("/").status == 200);
    assert_eq!(all(&server), "bbbbbb");
}

#[test]
fn match_blocks_say_what_an_answer_must_be_like() {
    for (test, holds) in [
        ("status 200-299;", true),
        ("status 201 204;", false),
        ("status ! 200;", false),
        ("status ! 500-599;", true),
        ("header X-State;", true),
        ("header ! X-State;", false),
        ("header x-state = 200;", true),
        ("header X-State != 200;", false),
        ("header X-State ~ ^2;", true),
        ("header X-State !~ ^2;", false),
        ("body ~ \"sta.e\";", true),
        ("body !~ \"sta.e\";", false),
        ("status 200; body ~ other;", false),
    ] {
        let ((a, _), (b, _)) = (origin("a"), origin("b"));
        let server = serve(&a, &b, "match=m mandatory", &format!("match m {{ {test} }}"));
        match holds {
            true => drop(server.error_log().wait_for("peer is healthy, health check \"m\"")),
            // Unknown is out anyway, so nothing changes that could be logged.
            false => drop(a.wait_requests(3)),
        }
        assert_eq!(server.get("/").status, if holds { 200 } else { 502 }, "{test}");
    }
}

#[test]
fn what_checks_do_not_accept() {
    let server = |inside: &str| format!("server {{ listen 127.0.0.1:%%PORT%%; location / {{ {inside} }} }}");
    let with = |check: &str| {
        format!(
            "upstream u {{ server 127.0.0.1; }} {}",
            server(&format!("proxy_pass http://u; health_check {check};"))
        )
    };
    for (text, error) in [
        (with("interval=0"), "invalid parameter \"interval=0\""),
        (with("fails=0"), "invalid parameter \"fails=0\""),
        (with("uri=x"), "invalid parameter \"uri=x\""),
        (with("persistent"), "invalid parameter \"persistent\""),
        (with("type=grpc"), "invalid parameter \"type=grpc\""),
        (with("match=none"), "match \"none\" is not found"),
        (server("health_check;"), "no upstream group for \"health_check\" in this location"),
        (format!("match m {{ status 99; }} {}", with("")), "invalid status \"99\""),
        (format!("match m {{ cookie a; }} {}", with("")), "unknown directive \"cookie\""),
        (format!("match m {{ }} match m {{ }} {}", with("")), "duplicate match \"m\""),
    ] {
        let exit = Binary::Plimsoll.check(text.as_str());
        assert!(exit.code == Some(1) && exit.stderr.contains(error), "{text}: {exit}");
    }
}
