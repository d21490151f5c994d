//! Groups of servers: what nginx has since 1.29.6 and 1.31.0, or sells. Not compared: the oracle is older.
#![forbid(unsafe_code)]

use testkit::{Binary, Gate, Origin, Server, Site, eventually};

const SERVER: &str =
    "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_connect_timeout 2s; } }";

fn group(origins: &[&Origin], members: &str) -> Server {
    let mut site = Site::new(format!("upstream u {{ {members} }}\n{SERVER}"));
    for (n, origin) in origins.iter().enumerate() {
        site = site.with(&format!("O{n}"), origin.address());
    }
    testkit::serve(site)
}
fn named(name: &'static str) -> Origin {
    Origin::new(move |exchange| exchange.ok(name))
}
/// An origin that answers when the gate is open.
fn gated(gate: &Gate, name: &'static str) -> Origin {
    let gate = gate.clone();
    Origin::new(move |exchange| {
        gate.pass();
        exchange.ok(name);
    })
}
fn texts(server: &Server, count: usize) -> String {
    (0..count).map(|_| server.get("/").text()).collect()
}

#[test]
fn a_cookie_binds_a_client_to_a_server() {
    let (a, b) = (named("a"), named("b"));
    let server = group(
        &[&a, &b],
        "sticky cookie srv expires=1h domain=.a.test path=/x httponly secure samesite=lax; \
        server %%O0%% route=one; server %%O1%% route=two;",
    );
    let first = server.get("/");
    let cookie = first.header("set-cookie").expect("a cookie");
    let parts = r"srv=one; expires=\w{3}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT; max-age=3600; domain=.a.test; httponly; secure; samesite=lax; path=/x";
    assert!(testkit::matches(&format!("^{parts}$"), cookie), "{cookie}");
    for (bond, who) in [("one", "a"), ("two", "b")] {
        for _ in 0..3 {
            let response = server.get_with("/", &[("Cookie", &format!("x=1; srv={bond}"))]);
            assert_eq!(response.text(), who);
        }
    }
    drop(b);
    let other = server.get_with("/", &[("Cookie", "srv=two")]);
    assert_eq!((other.text().as_str(), other.header("set-cookie").map(|c| &c[..7])), ("a", Some("srv=one")));
}

#[test]
fn without_a_route_the_cookie_is_a_hash_of_the_address() {
    let (a, b) = (named("a"), named("b"));
    let server = group(&[&a, &b], "sticky cookie s; server %%O0%%; server %%O1%%;");
    let cookies: Vec<String> =
        (0..2).map(|_| server.get("/").header("set-cookie").expect("a cookie").to_owned()).collect();
    for (cookie, who) in cookies.iter().zip(["a", "b"]) {
        assert!(testkit::matches("^s=[0-9a-f]{32}$", cookie), "{cookie}");
        assert_eq!(server.get_with("/", &[("Cookie", cookie)]).text(), who);
    }
    assert_ne!(cookies[0], cookies[1]);
}

#[test]
fn a_route_is_found_in_the_first_variable_that_has_one() {
    let (a, b) = (named("a"), named("b"));
    let server = group(
        &[&a, &b],
        "sticky route $cookie_r $arg_r; server %%O0%% route=1; server %%O1%% route=2 drain;",
    );
    for _ in 0..2 {
        assert_eq!(server.get("/?r=2").text(), "b");
        assert_eq!(server.get_with("/?r=2", &[("Cookie", "r=1")]).text(), "a");
        // Nobody else's requests go to a server that is drained.
        assert_eq!(server.get("/?r=3").text(), "a");
        assert_eq!(server.get("/").header("set-cookie"), None);
    }
}

#[test]
fn sessions_are_learned_from_what_servers_say() {
    let login = |name: &'static str| {
        Origin::new(move |exchange| {
            let sets = if exchange.request.target == "/login" {
                format!("Set-Cookie: sid={name}1\r\n")
            } else {
                String::new()
            };
            exchange.send(format!("HTTP/1.1 200 OK\r\n{sets}Content-Length: 1\r\n\r\n{name}"));
        })
    };
    let (a, b) = (login("a"), login("b"));
    let server = group(
        &[&a, &b],
        "sticky learn create=$upstream_cookie_sid lookup=$cookie_sid zone=sessions:1m; \
        server %%O0%%; server %%O1%%;",
    );
    assert_eq!(server.get("/login").text() + &server.get("/login").text(), "ab");
    for _ in 0..3 {
        assert_eq!(server.get_with("/", &[("Cookie", "sid=b1")]).text(), "b");
        assert_eq!(server.get_with("/", &[("Cookie", "sid=a1")]).text(), "a");
    }
}

#[test]
fn a_request_waits_in_the_queue_for_its_turn() {
    let gate = Gate::new();
    let origin = gated(&gate, "a");
    let server = group(&[&origin], "queue 2 timeout=10s; server %%O0%% max_conns=1;");
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    clients[0].send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    for (n, client) in clients.iter_mut().enumerate().skip(1) {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    // Two wait; a third finds the queue full.
    eventually("the queue to be full", || {
        let mut late = server.client();
        late.wire().set_timeout(std::time::Duration::from_millis(50));
        late.send("GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        late.wire().read_through(b"502 Bad Gateway").is_ok()
    });
    server.error_log().wait_for("upstream queue is full");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "a");
    }
}

#[test]
fn who_waits_too_long_in_the_queue_gets_502() {
    let gate = Gate::new();
    let origin = gated(&gate, "a");
    let server = group(&[&origin], "queue 2 timeout=100ms; server %%O0%% max_conns=1;");
    let mut held = server.client();
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    assert_eq!(server.get("/").status, 502);
    server.error_log().wait_for("no live upstreams while connecting to upstream");
    gate.open();
    assert_eq!(held.response().text(), "a");
    assert_eq!(texts(&server, 2), "aa");
}

#[test]
fn a_client_that_leaves_the_queue_is_not_waited_for() {
    let gate = Gate::new();
    let origin = gated(&gate, "a");
    let server = group(&[&origin], "queue 5 timeout=10s; server %%O0%% max_conns=1;");
    let (mut held, mut leaving) = (server.client(), server.client());
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    leaving.send("GET /leaving HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(leaving);
    server.error_log().wait_for("client prematurely closed connection");
    gate.open();
    assert_eq!(held.response().text(), "a");
    assert_eq!(texts(&server, 1), "a");
    assert!(origin.requests().iter().all(|request| request.target != "/leaving"));
}

#[test]
fn the_server_that_takes_less_time_is_preferred() {
    for method in ["least_time header", "least_time last_byte", "least_time header inflight"] {
        let slow = Origin::new(|exchange| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            exchange.ok("s");
        });
        let fast = named("f");
        let server = group(&[&slow, &fast], &format!("{method}; server %%O0%%; server %%O1%%;"));
        // Each is asked once before anything is known of it.
        let all = texts(&server, 10);
        assert!(all.matches('s').count() <= 2 && all.ends_with("ffffff"), "{method}: {all}");
    }
}

#[test]
fn what_these_directives_do_not_accept() {
    for (members, error) in [
        ("sticky cookie \"\";", "\"sticky\" directive empty cookie name"),
        ("sticky cookie a domain=;", "no value for \"domain\""),
        ("sticky cookie a secure secure;", "parameter \"secure\" is duplicate"),
        ("sticky cookie a samesite=maybe;", "invalid \"samesite\" parameter value"),
        ("sticky cookie a expires=soon;", "invalid \"expires\" parameter value"),
        ("sticky cookie a color=blue;", "unknown parameter \"color=blue\""),
        ("sticky route a;", "invalid variable name \"a\""),
        ("sticky glue a;", "unknown parameter \"glue\""),
        ("sticky learn create=$a lookup=$b;", "\"zone\" parameter is not specified"),
        ("sticky learn create=a;", "missing variable in the \"create\" parameter"),
        ("sticky learn create=$arg_a lookup=$arg_b zone=z:1k;", "zone is too small"),
        ("sticky cookie a; sticky cookie b;", "\"sticky\" directive is duplicate"),
        ("least_time body;", "invalid value \"body\""),
        ("least_time header always;", "invalid parameter \"always\""),
        ("queue many;", "\"queue\" directive invalid number"),
        ("queue 1 timeout=x;", "invalid parameter \"timeout=x\""),
        ("server 127.0.0.1 route=;", "route is empty"),
        ("server 127.0.0.1 route=123456789012345678901234567890123;", "route is longer than 32"),
    ] {
        let site = format!("upstream u {{ {members} server 127.0.0.1; }}\n{SERVER}");
        let exit = Binary::Plimsoll.check(site);
        assert!(exit.code == Some(1) && exit.stderr.contains(error), "{members}: {exit}");
    }
}

#[test]
fn variables_tell_of_the_last_server_and_of_the_queue() {
    let gate = Gate::new();
    let origin = gated(&gate, "a");
    let names = testkit::NameServer::new();
    names.address_of("a.test", 60, "127.0.0.1");
    let text = "resolver %%DNS%% ipv6=off; upstream u { zone z 64k; queue 2; server a.test:%%ORIGIN%% max_conns=1 resolve; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; \
        add_header X \"$upstream_last_addr $upstream_last_server_name $upstream_queue_time\"; } }";
    let server = testkit::serve(Site::new(text).with("ORIGIN", origin.port()).with("DNS", names.address()));
    let (mut first, mut second) = (server.client(), server.client());
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.open();
    let (first, second) = (first.response(), second.response());
    for response in [first, second] {
        // The first may have waited for the name, the second for the first.
        let said = response.header("x").unwrap_or_default();
        assert!(testkit::matches(r"^127\.0\.0\.1 a\.test (-|\d\.\d{3})$", said), "{said}");
    }
}
