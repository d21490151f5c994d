//! Upstreams that fail, groups of them, balancing and retries, and what is said about it.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Port, Server, Site, each, eventually};

const SERVER: &str = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_http_version 1.1; \
    proxy_set_header Connection \"\"; proxy_connect_timeout 1s; proxy_read_timeout 1s; proxy_send_timeout 1s; \
    add_header X-Tries \"$upstream_addr|$upstream_status\" always; } }";

fn group(binary: Binary, origins: &[&Origin], members: &str) -> Server {
    let mut site = Site::new(format!("upstream u {{ {members} }}\n{SERVER}"));
    for (n, origin) in origins.iter().enumerate() {
        site = site.with(&format!("O{n}"), origin.address());
    }
    binary.serve(site)
}

/// An origin that answers with its name.
fn named(name: &'static str) -> Origin {
    Origin::new(move |exchange| exchange.ok(name))
}

/// The names that so many requests are answered with, in order.
fn sequence(server: &Server, count: usize) -> String {
    (0..count).map(|_| server.get("/").text()).collect()
}

#[test]
fn a_refused_connection_is_502() {
    each(|binary| {
        let closed = Port::free();
        let site = Site::new("location /a { proxy_pass http://127.0.0.1:%%CLOSED%%/b; }")
            .with("CLOSED", closed.number());
        let server = binary.serve(site);
        let response = server.get("/a?x");
        assert_eq!(response.status, 502);
        let line = server.error_log().wait_for("[error]");
        let expected = format!(
            "connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: , \
             request: \"GET /a?x HTTP/1.1\", upstream: \"http://127.0.0.1:{}/b?x\", host: \"localhost\"",
            closed.number()
        );
        assert!(line.ends_with(&expected), "{line}");
    });
}

#[test]
fn an_upstream_that_says_nothing_is_504() {
    each(|binary| {
        let origin = Origin::wires(|wire| drop(wire.read_what_comes()));
        let server = group(binary, &[&origin], "server %%O0%%;");
        let response = server.get("/");
        assert_eq!(response.status, 504);
        let line = server.error_log().wait_for("[error]");
        assert!(
            line.contains(
                "upstream timed out (110: Connection timed out) while reading response header from upstream"
            ),
            "{line}"
        );
    });
}

#[test]
fn broken_answers_and_what_is_logged() {
    for (answer, status, logged) in [
        ("", 502, "upstream prematurely closed connection while reading response header from upstream"),
        (
            "HTTP/1.1 200 OK\r\nContent-Le",
            502,
            "upstream prematurely closed connection while reading response header from upstream",
        ),
        ("HTTP/1.1 200 OK\r\nA\x01B: c\r\n\r\n", 502, "upstream sent invalid header"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!",
            200,
            "upstream prematurely closed connection while reading upstream",
        ),
    ] {
        each(|binary| broken_answer(binary, answer, status, logged));
    }
}

#[test]
fn a_broken_chunk_ends_the_response_without_its_end() {
    each(|binary| {
        let gate = testkit::Gate::new();
        let waits = gate.clone();
        let origin = Origin::new(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            waits.pass();
            exchange.send("zz\r\n");
        });
        let text = "location / { proxy_pass http://%%O%%; proxy_http_version 1.1; proxy_buffering off; }";
        let server = binary.serve(Site::new(text).with("O", origin.address()));
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.wire().read_through(b"5\r\nfirst\r\n").expect("the first chunk");
        gate.open();
        client.expect_close();
        server.error_log().wait_for("upstream sent invalid chunked response while reading upstream");
    });
}

/// Not compared: nginx refuses these since 1.23.0, the oracle is older.
#[test]
fn ambiguous_framing_of_an_answer_is_refused() {
    for (answer, status, logged) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            502,
            "upstream sent duplicate header line",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
            502,
            "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            502,
            "upstream sent invalid \"Content-Length\" header",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            502,
            "upstream sent unknown \"Transfer-Encoding\"",
        ),
    ] {
        for binary in Binary::wanted().into_iter().filter(|b| *b == Binary::Plimsoll) {
            broken_answer(binary, answer, status, logged);
        }
    }
}

#[track_caller]
fn broken_answer(binary: Binary, answer: &'static str, status: u16, logged: &str) {
    let origin = Origin::new(move |exchange| {
        exchange.send(answer);
        exchange.close();
    });
    let server = group(binary, &[&origin], "server %%O0%%;");
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.wire().read_through(b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}: {head}");
    server.error_log().wait_for(logged);
}

#[test]
fn a_head_larger_than_the_buffer_is_502() {
    each(|binary| {
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(5000)
        ));
        let server = binary.serve(
            Site::new("location / { proxy_pass http://%%O%%; proxy_buffer_size 4k; }")
                .with("O", origin.address()),
        );
        assert_eq!(server.get("/").status, 502);
        server
            .error_log()
            .wait_for("upstream sent too big header while reading response header from upstream");
    });
}

#[test]
fn a_failed_server_is_passed_over() {
    each(|binary| {
        let (closed, good) = (Port::free(), named("b"));
        let site =
            Site::new(format!("upstream u {{ server 127.0.0.1:%%CLOSED%%; server %%O0%%; }}\n{SERVER}"));
        let server = binary.serve(site.with("O0", good.address()).with("CLOSED", closed.number()));
        let first = server.get("/");
        let tries = format!("127.0.0.1:{}, {}|502, 200", closed.number(), good.address());
        assert_eq!((first.text().as_str(), first.header("x-tries")), ("b", Some(tries.as_str())));
        // One failure is enough for it to be left alone for ten seconds.
        for _ in 0..5 {
            let next = server.get("/");
            assert_eq!(next.header("x-tries"), Some(format!("{}|200", good.address()).as_str()));
        }
    });
}

#[test]
fn next_upstream_decides_what_is_tried_again() {
    let answer = |status: u16| {
        move |exchange: &mut testkit::Exchange| {
            exchange.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
        }
    };
    for (status, directive, method, tries) in [
        (503, "", "GET", 1),
        (503, "proxy_next_upstream error http_503;", "GET", 2),
        (503, "proxy_next_upstream error http_503;", "POST", 1),
        (503, "proxy_next_upstream error http_503 non_idempotent;", "POST", 2),
        (404, "proxy_next_upstream http_404;", "GET", 2),
        (403, "proxy_next_upstream http_403;", "GET", 2),
        (500, "proxy_next_upstream http_500; proxy_next_upstream_tries 1;", "GET", 1),
        (429, "proxy_next_upstream http_429;", "PUT", 2),
        (502, "proxy_next_upstream off;", "GET", 1),
    ] {
        each(|binary| {
            let (a, b) = (Origin::new(answer(status)), Origin::new(answer(status)));
            let text = format!(
                "proxy_http_version 1.1; {directive} upstream u {{ server %%A%%; server %%B%%; }}\n\
                server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://u; }} }}"
            );
            let server = binary.serve(Site::new(text).with("A", a.address()).with("B", b.address()));
            assert_eq!(server.request(method, "/", &[], b"").status, status);
            assert_eq!(a.requests().len() + b.requests().len(), tries, "{status} {directive} {method}");
        });
    }
}

#[test]
fn a_request_once_sent_is_repeated_only_if_that_is_safe() {
    for (method, tries) in [("GET", 2), ("PUT", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1), ("LOCK", 1)] {
        each(|binary| {
            let hang_up = || Origin::new(|exchange| exchange.close());
            let (a, b) = (hang_up(), hang_up());
            let server = group(binary, &[&a, &b], "server %%O0%%; server %%O1%%;");
            assert_eq!(server.request(method, "/", &[], b"").status, 502);
            let seen = a.requests().len() + b.requests().len();
            // nginx sends PATCH again: its list of unsafe methods is POST, LOCK and PATCH.
            assert_eq!(seen, tries, "{method}");
        });
    }
}

#[test]
fn a_body_is_sent_again_on_the_next_try() {
    each(|binary| {
        let bad = Origin::new(|exchange| exchange.close());
        let good = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let server = group(binary, &[&bad, &good], "server %%O0%%; server %%O1%%;");
        let body = vec![b'x'; 300_000];
        assert!(server.request("PUT", "/", &[], &body).body == body);
        assert_eq!(bad.requests().len(), 1);
    });
}

#[test]
fn round_robin_is_smooth_and_weighted() {
    each(|binary| {
        let (a, b, c) = (named("a"), named("b"), named("c"));
        let origins = [&a, &b, &c];
        let even = group(binary, &origins, "server %%O0%%; server %%O1%%; server %%O2%%;");
        assert_eq!(sequence(&even, 6), "abcabc");
        let weighted = group(binary, &origins, "server %%O0%% weight=5; server %%O1%%; server %%O2%%;");
        assert_eq!(sequence(&weighted, 7), "aabacaa");
        let down = group(binary, &origins, "server %%O0%% down; server %%O1%%; server %%O2%%;");
        assert_eq!(sequence(&down, 4), "bcbc");
    });
}

#[test]
fn backup_servers_serve_when_no_other_does() {
    each(|binary| {
        let (closed, spare) = (Port::free(), named("spare"));
        let members = "server 127.0.0.1:%%CLOSED%%; server %%O0%% backup;";
        let site = Site::new(format!("upstream u {{ {members} }}\n{SERVER}"));
        let server = binary.serve(site.with("O0", spare.address()).with("CLOSED", closed.number()));
        assert_eq!(sequence(&server, 2), "sparespare");
    });
}

#[test]
fn when_no_server_is_left() {
    each(|binary| {
        let (a, b) = (Port::free(), Port::free());
        let site =
            Site::new(format!("upstream u {{ server 127.0.0.1:%%A%%; server 127.0.0.1:%%B%%; }}\n{SERVER}"));
        let server = binary.serve(site.with("A", a.number()).with("B", b.number()));
        assert_eq!(server.get("/").status, 502);
        let second = server.get("/");
        assert_eq!(second.header("x-tries"), Some("u|502"));
        server.error_log().wait_for("no live upstreams while connecting to upstream");
    });
}

#[test]
fn max_fails_zero_never_gives_up() {
    each(|binary| {
        let (closed, good) = (Port::free(), named("b"));
        let site = Site::new(format!(
            "upstream u {{ server 127.0.0.1:%%CLOSED%% max_fails=0; server %%O0%%; }}\n{SERVER}"
        ));
        let server = binary.serve(site.with("O0", good.address()).with("CLOSED", closed.number()));
        // The addresses before the statuses may have such digits, too.
        let refused = |tries: &str| tries.rsplit('|').next().is_some_and(|statuses| statuses.contains("502"));
        let tried = (0..4).filter(|_| server.get("/").header("x-tries").is_some_and(refused)).count();
        assert_eq!(tried, 2);
    });
}

#[test]
fn a_failed_server_comes_back_after_fail_timeout() {
    each(|binary| {
        let port = Port::free();
        let site = Site::new(format!(
            "upstream u {{ server 127.0.0.1:%%A%% fail_timeout=1s; server %%O0%%; }}\n{SERVER}"
        ));
        let good = named("b");
        let server = binary.serve(site.with("O0", good.address()).with("A", port.number()));
        assert_eq!(sequence(&server, 2), "bb");
        let listener = std::net::TcpListener::bind(("127.0.0.1", port.number())).expect("the port");
        let answers = std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut wire = testkit::Wire::from(stream);
            let _ = wire.read_request();
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback");
        });
        eventually("the server to be tried again", || server.get("/").text() == "back");
        answers.join().expect("the origin");
    });
}

#[test]
fn ip_hash_and_hash_keep_to_one_server() {
    each(|binary| {
        let (a, b) = (named("a"), named("b"));
        let server = group(binary, &[&a, &b], "ip_hash; server %%O0%%; server %%O1%%;");
        let first = server.get("/").text();
        assert_eq!(sequence(&server, 5), first.repeat(5));
    });
}

#[test]
fn least_conn_prefers_the_idle_server() {
    each(|binary| {
        let gate = testkit::Gate::new();
        let waits = gate.clone();
        let busy = Origin::new(move |exchange| {
            waits.pass();
            exchange.ok("busy");
        });
        let idle = named("idle");
        let server = group(binary, &[&busy, &idle], "least_conn; server %%O0%%; server %%O1%%;");
        let mut held = server.client();
        held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        busy.wait_requests(1);
        assert_eq!(sequence(&server, 4), "idleidleidleidle");
        gate.open();
        assert_eq!(held.response().text(), "busy");
    });
}

#[test]
fn max_conns_is_a_limit() {
    each(|binary| {
        let gate = testkit::Gate::new();
        let waits = gate.clone();
        let origin = Origin::new(move |exchange| {
            waits.pass();
            exchange.ok("a");
        });
        let server = group(binary, &[&origin], "server %%O0%% max_conns=1;");
        let mut held = server.client();
        held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        assert_eq!(server.get("/").status, 502);
        gate.open();
        assert_eq!(held.response().text(), "a");
    });
}

#[test]
fn variables_of_the_upstream() {
    let text = "log_format up '$upstream_addr $upstream_status $upstream_response_length $upstream_bytes_received \
        $upstream_http_x_a $upstream_cookie_c $upstream_response_time $upstream_connect_time $upstream_header_time $upstream_bytes_sent';\n\
        access_log logs/access.log up;\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; } location /no { return 200; } }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nX-A: a\r\nSet-Cookie: c=v; Path=/\r\nContent-Length: 5\r\n\r\nhello",
        );
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        server.get("/");
        let line = server.access_log().wait_for("127.0.0.1");
        let sent = origin.last().head.len();
        let pattern =
            format!(r"^{} 200 5 76 a v \d\.\d{{3}} \d\.\d{{3}} \d\.\d{{3}} {sent}$", origin.address());
        assert!(testkit::matches(&pattern, &line), "{line} {pattern}");
        server.get("/no");
        assert_eq!(server.access_log().wait_lines(2)[1], "- - - - - - - - - -");
    });
}

#[test]
fn an_answer_under_way_has_no_end_yet() {
    let text = "server { listen 127.0.0.1:%%PORT%%; \
        add_header X \"$upstream_response_time|$upstream_response_length|$upstream_bytes_sent|$upstream_status\" always; \
        location / { proxy_pass http://%%ORIGIN%%; } \
        location /failed { proxy_pass http://127.0.0.1:%%CLOSED%%; } \
        location /accel { error_page 502 /; proxy_pass http://127.0.0.1:%%CLOSED%%; } \
        location /asked { auth_request /; auth_request_set $time $upstream_response_time; add_header X \"$time\"; \
            proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let closed = Port::free();
        let site = Site::new(text).with("ORIGIN", origin.address()).with("CLOSED", closed.number());
        let server = binary.serve(site);
        for (target, pattern) in [
            ("/", r"^-\|0\|0\|200$"),
            ("/failed", r"^\d\.\d{3}\|0\|0\|502$"),
            ("/accel", r"^\d\.\d{3} : -\|0 : 0\|0 : 0\|502 : 200$"),
            ("/asked", r"^\d\.\d{3}$"),
        ] {
            let value = server.get(target).header("x").unwrap_or_default().to_owned();
            assert!(testkit::matches(pattern, &value), "{target}: {value}");
        }
    });
}

#[test]
fn a_host_and_a_port_that_the_configuration_names_itself() {
    let text = "server { listen 127.0.0.1:%%PORT%%; proxy_set_header X \"$proxy_host|$proxy_port\"; \
        location ~ ^/named/(?<proxy_host>[^/]+)/ { proxy_pass http://%%ORIGIN%%; } \
        location /set { set $proxy_port p; proxy_pass http://%%ORIGIN%%; } location / { proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let port = origin.port();
        for (target, value) in
            [("/named/a.b/", format!("a.b|{port}")), ("/set", "|p".to_owned()), ("/", format!("|{port}"))]
        {
            server.get(target);
            assert_eq!(origin.last().header("x"), Some(&*value), "{target}");
        }
    });
}

#[test]
fn names_in_proxy_pass_that_cannot_be_resolved_are_refused_at_start() {
    each(|binary| {
        let exit = binary.check("location / { proxy_pass http://no-such-host.invalid; }");
        assert_eq!(exit.code, Some(1));
        assert!(
            exit.stderr.contains(
                "[emerg] host not found in upstream \"no-such-host.invalid\" in %%DIR%%/nginx.conf:1"
            ),
            "{exit}"
        );
    });
}
