//! When a connection must not be used again: the client's, and the upstream's.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use testkit::{Binary, Gate, Origin, Server, Site, each, within};

const KEPT: &str = "upstream u { server %%ORIGIN%%; keepalive 4; }\n\
    server { listen 127.0.0.1:%%PORT%%; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
    location / { proxy_pass http://u; } \
    location /off/ { proxy_pass http://u; proxy_buffering off; } \
    location /stream/ { proxy_pass http://u; proxy_request_buffering off; } }";

fn serve(binary: Binary, origin: &Origin, text: &str) -> Server {
    binary.serve(Site::new(text).with("ORIGIN", origin.address()))
}

/// Answers of a server that leaves its connection open, and whether that may serve another request.
const ANSWERS: [(&str, &str, bool); 15] = [
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
    ("GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", true),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
    // It says so.
    ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: Close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        false,
    ),
    ("GET", "HTTP/1.1 404 Not Found\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok", false),
    ("HEAD", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", false),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    // There is more than the answer: the next one would begin with it.
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
        false,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        false,
    ),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", false),
    ("GET", "HTTP/1.1 304 Not Modified\r\n\r\nbad", false),
];
/// Debian's nginx takes such a connection for whole.
const STRICTER: (&str, &str, bool) = ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", false);

fn answers() -> Vec<(&'static str, &'static str, bool)> {
    ANSWERS.into_iter().chain([STRICTER]).collect()
}

#[test]
fn the_locations_of_a_group_share_its_connections() {
    let text = "upstream u { server %%ORIGIN%%; keepalive 4; } server { listen 127.0.0.1:%%PORT%%; \
        proxy_http_version 1.1; proxy_set_header Connection \"\"; location / { proxy_pass http://u; } \
        location /named { set $name u; proxy_pass http://$name; } \
        location /old { proxy_http_version 1.0; proxy_pass http://u; } \
        location /slow { proxy_read_timeout 5s; proxy_pass http://u/there; } }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let server = serve(binary, &origin, text);
        for target in ["/", "/named", "/slow", "/", "/old"] {
            assert_eq!(server.get(target).text(), "ok", "{target}");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn without_keepalive_each_location_has_its_own_connections() {
    let text = "upstream u { server %%ORIGIN%%; } server { listen 127.0.0.1:%%PORT%%; \
        location /a { proxy_pass http://u; } location /b { proxy_pass http://u; } }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let server = serve(binary, &origin, text);
        for target in ["/a", "/b"] {
            assert_eq!(server.get(target).text(), "ok", "{target}");
        }
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn an_upstream_connection_is_used_again_only_if_it_may_be() {
    each(|binary| {
        let origin = Origin::new(|exchange| match exchange.request.target.rsplit('/').next() {
            Some("next") => exchange.ok("next"),
            Some(number) => exchange.send(answers()[number.parse::<usize>().unwrap()].1),
            None => exchange.close(),
        });
        let server = serve(binary, &origin, KEPT);
        for folder in ["/on", "/off"] {
            let most = if binary == Binary::Nginx { ANSWERS.len() } else { usize::MAX };
            for (number, (method, answer, again)) in answers().into_iter().enumerate().take(most) {
                server.request(method, &format!("{folder}/{number}"), &[], b"");
                let first = origin.last().connection;
                assert_eq!(server.get(&format!("{folder}/next")).text(), "next", "{answer}");
                assert_eq!(origin.last().connection == first, again, "{folder}, {method}: {answer}");
            }
        }
    });
}

#[test]
fn what_an_upstream_sends_unasked_is_nobodys_answer() {
    each(|binary| {
        let (unasked, sent) = (Gate::new(), Gate::new());
        let (theirs, done) = (unasked.clone(), sent.clone());
        let origin = Origin::new(move |exchange| {
            exchange.ok("asked");
            if exchange.request.connection == 0 {
                theirs.pass();
                exchange.ok("unasked");
                done.open();
            }
        });
        let server = serve(binary, &origin, KEPT);
        assert_eq!(server.get("/").text(), "asked");
        unasked.open();
        assert!(sent.pass());
        assert_eq!(server.get("/").text(), "asked");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn an_upstream_that_was_not_sent_all_gets_no_other_request() {
    each(|binary| {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        // Answers before the body has come, and leaves it unread.
        let origin = Origin::wires(move |wire| {
            counted.fetch_add(1, SeqCst);
            while let Ok(Some(_)) = wire.read_request_head() {
                let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let server = serve(binary, &origin, KEPT);
        let mut client = server.client();
        client.send("POST /stream/ HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome of it");
        assert_eq!(client.response().text(), "ok");
        drop(client);
        assert_eq!(server.get("/").text(), "ok");
        assert_eq!(connections.load(SeqCst), 2);
    });
}

/// Ways to a connection's last request; the configuration and the first request's lines.
const LAST: [(&str, &str); 9] = [
    ("", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"),
    ("", "HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n"),
    ("", "HTTP/1.1\r\nHost: a\r\nConnection: TE, close\r\n"),
    ("", "HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n"),
    ("", "HTTP/1.0\r\n"),
    ("", "HTTP/1.0\r\nConnection: close\r\n"),
    ("keepalive_requests 1;", "HTTP/1.1\r\nHost: a\r\n"),
    ("keepalive_timeout 0;", "HTTP/1.1\r\nHost: a\r\n"),
    ("keepalive_disable safari; keepalive_timeout 0;", "HTTP/1.0\r\nConnection: keep-alive\r\n"),
];

/// Every kind of answer.
const PLACES: &str = "root html; error_page 500 /page;\n\
    location /return { return 200 last; } location /redirect { return 301 /x; } location /page { internal; }\n\
    location /proxied/ { proxy_pass http://%%ORIGIN%%; } location /post { return 200 last; }\n\
    location /raw/ { proxy_pass http://%%ORIGIN%%; proxy_buffering off; } location /error { return 500; }";
const TARGETS: [&str; 11] = [
    "/return",
    "/redirect",
    "/file",
    "/none",
    "/error",
    "/proxied/length",
    "/proxied/chunks",
    "/proxied/end",
    "/raw/length",
    "/raw/chunks",
    "/raw/end",
];

fn answering() -> Origin {
    Origin::new(|exchange| match exchange.request.target.rsplit('/').next() {
        Some("length") => exchange.ok("last"),
        Some("chunks") => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlast\r\n0\r\n\r\n");
        }
        _ => {
            exchange.send("HTTP/1.1 200 OK\r\n\r\nlast");
            exchange.close();
        }
    })
}

#[test]
fn nothing_is_answered_after_a_connections_last_request() {
    each(|binary| {
        let origin = answering();
        let servers: String = LAST.iter().enumerate().fold(String::new(), |text, (n, (settings, _))| {
            format!("{text} server {{ listen unix:%%DIR%%/{n}.sock; {settings} {PLACES} }}\n")
        });
        let main = "server { listen 127.0.0.1:%%PORT%%; location / { return 200; } }";
        let site = Site::new(format!("{main} {servers}")).file("html/file", "last");
        let server = binary.serve(site.with("ORIGIN", origin.address()));
        for (n, (_, lines)) in LAST.iter().enumerate() {
            for target in TARGETS {
                let mut client = server.client_unix(&format!("{n}.sock"));
                client
                    .send(format!("GET {target} {lines}\r\nGET /proxied/second HTTP/1.1\r\nHost: a\r\n\r\n"));
                let (bytes, _) = client.wire().read_what_comes();
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{target} {lines}: {text}");
                assert!(text.contains("\r\nConnection: close\r\n"), "{target} {lines}: {text}");
            }
        }
        assert!(!origin.requests().iter().any(|request| request.target.ends_with("second")));
    });
}

#[test]
fn nothing_is_answered_after_a_refusal() {
    each(|binary| {
        let origin = answering();
        let text = "client_max_body_size 10; location / { proxy_pass http://%%ORIGIN%%; }";
        let server = serve(binary, &origin, text);
        let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n";
        for first in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/9.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n",
        ] {
            let answer = String::from_utf8_lossy(&server.raw(format!("{first}{second}"))).into_owned();
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{first}: {answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{first}: {answer}");
        }
        let seen = within(|| {
            origin
                .requests()
                .iter()
                .any(|r| r.target == "/second")
                .then_some(())
                .or_else(|| (server.access_log().lines().len() >= 5).then_some(()))
        });
        assert!(seen.is_some());
        assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    });
}
