//! HTTP/2: frames as clients send them, and what nginx makes of them.
#![forbid(unsafe_code)]

use std::process::Command;

use rustix::process::Signal;
use testkit::http2::{END_HEADERS, END_STREAM, Frames, block, head, kind};
use testkit::{Binary, Gate, Origin, Server, Site, each, eventually, on_both, peers, serve};

/// `:status` 200 and its likes in HPACK's static table.
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;
const NOT_FOUND: u8 = 0x8d;
/// Error codes.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: u32 = 11;

/// One server that speaks HTTP/2 in a way that every nginx knows.
fn h2(text: &str) -> String {
    format!("listen 127.0.0.1:%%PORT%% http2; {text}")
}

/// What curl prints of a request over HTTP/2, head included.
fn curl(server: &Server, path: &str, flags: &[&str]) -> Option<String> {
    let mut command = Command::new(peers::require("curl")?);
    command.args(["-s", "-i", "-m", "10", "--http2-prior-knowledge"]).args(flags);
    let output =
        command.arg(format!("http://127.0.0.1:{}{path}", server.port())).output().expect("curl runs");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn many(n: usize) -> String {
    "0123456789abcdef".repeat(n / 16)
}

#[test]
fn curl_gets_what_it_asks_for() {
    let text = h2("add_header X-Mixed-Case Value;
        location /r { return 200 \"$server_protocol $http2 $scheme $host [$http_cookie]\"; }
        location /go { return 302 /there; }");
    let log = "log_format f '$request $status $body_bytes_sent $http2'; access_log logs/access.log f;";
    on_both(Site::new(format!("{log} server {{ {text} }}")).file("html/f.txt", "text\n"), |server| {
        let Some(answer) = curl(server, "/r", &["-H", "cookie: a=1; b=2"]) else { return };
        assert!(answer.starts_with("HTTP/2 200 \r\nserver: "), "{answer}");
        assert!(answer.contains("\r\nx-mixed-case: Value\r\n"), "{answer}");
        assert!(!answer.contains("connection"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nHTTP/2.0 h2c http 127.0.0.1 [a=1; b=2]"), "{answer}");
        let answer = curl(server, "/go", &[]).expect("curl is there");
        let location = format!("\r\nlocation: http://127.0.0.1:{}/there\r\n", server.port());
        assert!(answer.contains(&location), "{answer}");
        let answer = curl(server, "/f.txt", &["-I"]).expect("curl is there");
        assert!(answer.contains("\r\ncontent-length: 5\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        let lines = server.access_log().wait_lines(3);
        assert_eq!(lines[0], "GET /r HTTP/2.0 200 38 h2c");
        assert_eq!(lines[2], "HEAD /f.txt HTTP/2.0 200 0 h2c");
    });
}

#[test]
fn streams_are_answered_side_by_side() {
    on_both(h2("location / { return 200 $uri; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        for stream in [1, 3, 5] {
            client.request(stream, "GET", &format!("/{stream}"), &[], true);
        }
        let mut left = vec![1, 3, 5];
        while !left.is_empty() {
            let frame = client.receive().expect("a frame");
            if frame.kind == kind::DATA {
                assert_eq!(frame.payload, format!("/{}", frame.stream).as_bytes());
                assert_eq!(frame.flags & END_STREAM, END_STREAM);
                left.retain(|stream| *stream != frame.stream);
            }
        }
        client.request(7, "GET", "/none", &[(":authority", "other")], true);
        assert_eq!(client.answer(7), (OK, b"/none".into()));
    });
}

#[test]
fn a_plain_listener_speaks_both() {
    let server =
        serve("listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 \"$server_protocol[$http2]\"; }");
    assert_eq!(server.get("/").text(), "HTTP/1.1[]");
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[], true);
    assert_eq!(client.answer(1), (OK, b"HTTP/2.0[h2c]".into()));
    // A preface that turns out to be none is a request like any other.
    assert!(server.status("PRI * HTTP/1.1\r\n\r\n").contains("400"));
}

#[test]
fn files_follow_the_windows() {
    let body = many(100_000);
    on_both(Site::new(h2("http2_chunk_size 1k;")).file("html/f", &body), |server| {
        // SETTINGS_INITIAL_WINDOW_SIZE
        let mut client = Frames::connect(server, &[(4, 10)]);
        client.request(1, "GET", "/f", &[], true);
        assert_eq!(client.wait(kind::HEADERS, 1).payload[0], OK);
        let first = client.wait(kind::DATA, 1);
        assert_eq!(first.payload, body.as_bytes()[..10]);
        client.send(kind::WINDOW_UPDATE, 0, 1, &200_000u32.to_be_bytes());
        client.send(kind::WINDOW_UPDATE, 0, 0, &200_000u32.to_be_bytes());
        let mut received = first.payload;
        loop {
            let frame = client.wait(kind::DATA, 1);
            assert!(frame.payload.len() <= 1024, "{} bytes", frame.payload.len());
            received.extend_from_slice(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        assert!(received == body.as_bytes());
    });
}

#[test]
fn bodies_reach_the_upstream() {
    let origin = Origin::echo();
    let text = h2(&format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    on_both(text, |server| {
        let mut client = Frames::connect(server, &[(4, 1 << 20)]);
        client.send(kind::WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes());
        let body = many(60_000);
        client.request(1, "POST", "/a", &[("content-length", "60000")], false);
        for part in body.as_bytes().chunks(10_000) {
            client.send(kind::DATA, 0, 1, part);
        }
        client.send(kind::DATA, END_STREAM, 1, &[]);
        assert_eq!(client.answer(1).0, OK);
        assert_eq!(origin.last().body, body.as_bytes());
        // Without a length.
        client.request(3, "POST", "/b", &[], false);
        client.send(kind::DATA, END_STREAM, 3, b"hello");
        assert_eq!(client.answer(3).0, OK);
        assert_eq!(origin.last().body, b"hello");
    });
}

#[test]
fn trailers_of_requests_are_dropped() {
    let origin = Origin::echo();
    let server = serve(h2(&format!("location / {{ proxy_pass http://{}; }}", origin.address())));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "POST", "/b", &[], false);
    client.send(kind::DATA, 0, 1, b"hello");
    client.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x05x-end\x01v");
    assert_eq!(client.answer(1).0, OK);
    let last = origin.last();
    assert_eq!((&*last.body, last.header("x-end")), (&b"hello"[..], None));
}

#[test]
fn a_body_may_be_longer_than_any_window() {
    let origin = Origin::echo();
    let text = h2(&format!(
        "client_max_body_size 0; location / {{ proxy_request_buffering off; proxy_pass http://{}; }}",
        origin.address()
    ));
    on_both(text, |server| {
        let Some(_) = peers::require("curl") else { return };
        let body = many(1_600_000);
        server.write("body", &body);
        let file = format!("@{}", server.path("body").display());
        let answer = curl(server, "/", &["--data-binary", &file]).expect("curl is there");
        assert!(answer.starts_with("HTTP/2 200"), "{}", &answer[..answer.len().min(200)]);
        assert!(origin.last().body == body.as_bytes());
    });
}

#[test]
fn what_is_too_large_is_refused() {
    on_both(h2("client_max_body_size 10; location / { proxy_pass http://127.0.0.1:1; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "POST", "/", &[("content-length", "11")], false);
        let head = client.wait(kind::HEADERS, 1);
        // 413 has no place in the table: its text is there, packed.
        assert_ne!(head.payload[0] & 0x80, 0x80);
        let log = server.error_log();
        log.wait_for("client intended to send too large body: 11 bytes");
        client.request(3, "POST", "/", &[], false);
        client.send(kind::DATA, END_STREAM, 3, b"twelve bytes");
        client.wait(kind::HEADERS, 3);
        log.wait_for("client intended to send too large chunked body: 12");
    });
}

#[test]
fn hosts() {
    on_both(h2("location / { return 200 $http_host; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/", &[(":authority", "a.test:1")], true);
        assert_eq!(client.answer(1), (OK, b"a.test:1".into()));
        client.request(3, "GET", "/", &[(":authority", "-"), ("host", "b.test")], true);
        assert_eq!(client.answer(3), (OK, b"b.test".into()));
        client.request(5, "GET", "/", &[(":authority", "-")], true);
        assert_eq!(client.answer(5).0, BAD_REQUEST);
        let newest = r#"client sent neither ":authority" nor "Host" header"#;
        server
            .error_log()
            .wait_match(&format!(r#"{newest}|client sent HTTP/1.1 request without "Host" header"#));
        let cookies = [("cookie", "a=1"), ("cookie", "b=2")];
        client.request(7, "GET", "/../..", &cookies, true);
        assert_eq!(client.answer(7).0, BAD_REQUEST);
    });
}

#[test]
fn a_host_with_two_meanings_is_refused() {
    let server = serve(h2("location / { return 200 $http_host; }"));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[("host", "localhost")], true);
    assert_eq!(client.answer(1), (OK, b"localhost".into()));
    client.request(3, "GET", "/", &[("host", "other")], true);
    assert_eq!(client.answer(3).0, BAD_REQUEST);
}

#[test]
fn long_heads_end_the_connection() {
    let text =
        h2("large_client_header_buffers 2 1k; client_header_buffer_size 100; location / { return 200 ok; }");
    on_both(text, |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/", &[("x-long", &many(800))], true);
        assert_eq!(client.answer(1), (OK, b"ok".into()));
        let refused = |path: &str, fields: &[(&str, &str)], logged: &str| {
            let mut client = Frames::connect(server, &[]);
            client.request(1, "GET", path, fields, true);
            assert_eq!(client.wait(kind::GOAWAY, 0).code(), ENHANCE_YOUR_CALM);
            server.error_log().wait_for(logged);
        };
        refused("/", &[("x-long", &many(1040))], "client sent too large header field while");
        refused(&format!("/{}", many(1600)), &[], "client sent too large header field while");
        let (a, b) = (many(1008), many(1008));
        refused("/", &[("x-a", &a), ("x-b", &b), ("x-c", "c")], "client sent too large header while");
    });
}

/// Each is answered 400, said in the log, and others go on.
#[test]
fn bad_heads_are_answered() {
    let server = serve(h2("location / { return 200 ok; }"));
    let mut client = Frames::connect(&server, &[]);
    let (method, scheme, path, host) =
        ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[scheme, path, host], "client sent no :method header"),
        (&[method, path, host], "client sent no :scheme header"),
        (&[method, scheme, host], "client sent no :path header"),
        (&[method, scheme, path, host, path], "client sent duplicate :path header"),
        (&[method, scheme, (":path", ""), host], "client sent empty :path header"),
        (&[method, scheme, (":path", "x"), host], "client sent invalid :path header: \"x\""),
        (&[(":method", "get"), scheme, path, host], "client sent invalid method: \"get\""),
        (&[method, (":scheme", "1"), path, host], "client sent invalid :scheme header: \"1\""),
        (&[method, scheme, path, host, (":x", "1")], "client sent unknown pseudo-header \":x\""),
        (&[method, scheme, path, ("x", "1"), host], "client sent out of order pseudo-headers"),
        (&[method, scheme, path, host, ("X", "1")], "client sent invalid header name: \"X\""),
        (&[method, scheme, path, host, ("x", "a\rb")], "client sent header \"x\" with invalid value: "),
    ];
    for (stream, (fields, logged)) in (1..).step_by(2).zip(cases) {
        client.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block(fields));
        assert_eq!(client.wait(kind::HEADERS, stream).payload[0], BAD_REQUEST, "{logged}");
        server.error_log().wait_for(logged);
    }
    client.request(101, "GET", "/", &[], true);
    assert_eq!(client.answer(101), (OK, b"ok".into()));
}

#[test]
fn bodies_are_as_long_as_they_say() {
    let text = h2("location / { client_body_buffer_size 16k; proxy_pass http://127.0.0.1:1; }");
    on_both(text, |server| {
        let mut client = Frames::connect(server, &[]);
        let log = server.error_log();
        let ends = END_HEADERS | END_STREAM;
        client.send(kind::HEADERS, ends, 1, &head("POST", "/", &[("content-length", "5")]));
        assert_eq!(client.wait(kind::HEADERS, 1).payload[0], BAD_REQUEST);
        log.wait_for("client prematurely closed stream while");
        client.request(3, "POST", "/", &[("content-length", "5")], false);
        client.send(kind::DATA, END_STREAM, 3, b"four");
        assert_eq!(client.wait(kind::HEADERS, 3).payload[0], BAD_REQUEST);
        log.wait_for("client prematurely closed stream: only 4 out of 5 bytes of request body received");
        client.request(5, "POST", "/", &[("content-length", "3")], false);
        client.send(kind::DATA, END_STREAM, 5, b"four");
        assert_eq!(client.wait(kind::HEADERS, 5).payload[0], BAD_REQUEST);
        log.wait_for("client intended to send body data larger than declared");
    });
}

/// Who lets the table of fields shrink is told that it is used no more, once.
#[test]
fn tables_may_shrink() {
    on_both(h2("location / { return 200 ok; }"), |server| {
        let mut client = Frames::connect(server, &[(1, 0)]);
        client.request(1, "GET", "/", &[], true);
        assert_eq!(client.wait(kind::HEADERS, 1).payload[..2], [0x20, OK]);
        client.request(3, "GET", "/", &[], true);
        assert_eq!(client.wait(kind::HEADERS, 3).payload[0], OK);
    });
}

/// Before the client knows how little it may send, it could send too much.
#[test]
fn no_bodies_before_small_windows_are_known() {
    let server = serve(h2("http2_body_preread_size 10; location / { return 200 ok; }"));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "POST", "/", &[], false);
    assert_eq!(client.wait(kind::RST_STREAM, 1).code(), REFUSED_STREAM);
    server.error_log().wait_for("client sent stream with data before settings were acknowledged");
    client.send(kind::SETTINGS, END_STREAM, 0, &[]);
    client.request(3, "POST", "/", &[], false);
    assert_eq!(client.answer(3).0, OK);
}

#[test]
fn a_window_that_shrinks_may_be_negative() {
    let site = Site::new(h2("")).file("html/f", many(1600));
    on_both(site, |server| {
        let mut client = Frames::connect(server, &[(4, 1000)]);
        client.request(1, "GET", "/f", &[], true);
        assert_eq!(client.wait(kind::DATA, 1).payload.len(), 1000);
        // 500 less than nothing, and then one byte more than nothing.
        client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0xf4]);
        client.send(kind::WINDOW_UPDATE, 0, 1, &501u32.to_be_bytes());
        assert_eq!(client.wait(kind::DATA, 1).payload.len(), 1);
        client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
        let rest = client.wait(kind::DATA, 1);
        assert_eq!((rest.payload.len(), rest.flags), (599, END_STREAM));
    });
}

#[test]
fn a_cancelled_stream_cancels_its_upstream() {
    each(|binary| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::new(move |exchange| {
            held.pass();
            exchange.ok("late");
        });
        let log = "log_format f '$uri $status'; access_log logs/access.log f;";
        let text = h2(&format!("location / {{ proxy_pass http://{}; }}", origin.address()));
        let server = binary.serve(format!("{log} server {{ {text} }}"));
        let mut client = Frames::connect(&server, &[]);
        client.request(1, "GET", "/gone", &[], true);
        origin.wait_requests(1);
        client.send(kind::RST_STREAM, 0, 1, &CANCEL);
        assert_eq!(server.access_log().wait_lines(1), ["/gone 499"]);
        gate.open();
        client.request(3, "GET", "/stays", &[], true);
        assert_eq!(client.answer(3), (OK, b"late".into()));
    });
}

#[test]
fn only_so_many_streams_at_once() {
    each(|binary| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::new(move |exchange| {
            held.pass();
            exchange.ok("late");
        });
        let text = format!(
            "http2_max_concurrent_streams 1; location / {{ proxy_pass http://{}; }}",
            origin.address()
        );
        let server = binary.serve(h2(&text));
        let mut client = Frames::connect(&server, &[]);
        client.request(1, "GET", "/1", &[], true);
        origin.wait_requests(1);
        client.request(3, "GET", "/2", &[], true);
        assert_eq!(client.wait(kind::RST_STREAM, 3).code(), REFUSED_STREAM);
        gate.open();
        assert_eq!(client.answer(1), (OK, b"late".into()));
        client.request(5, "GET", "/3", &[], true);
        assert_eq!(client.answer(5), (OK, b"late".into()));
    });
}

#[test]
fn the_last_request_of_a_connection_is_announced() {
    on_both(h2("keepalive_requests 2; location / { return 200 $connection_requests; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/", &[], true);
        assert_eq!(client.answer(1), (OK, b"1".into()));
        client.request(3, "GET", "/", &[], true);
        assert_eq!(client.wait(kind::GOAWAY, 0).code(), NO_ERROR);
    });
}

#[test]
fn an_idle_connection_is_told_before_it_closes() {
    on_both(h2("keepalive_timeout 100ms; location / { return 200 ok; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/", &[], true);
        assert_eq!(client.answer(1), (OK, b"ok".into()));
        let rest = client.rest();
        assert!(rest.iter().any(|frame| frame.kind == kind::GOAWAY && frame.code() == NO_ERROR), "{rest:?}");
    });
}

#[test]
fn a_shutdown_lets_streams_end() {
    each(|binary| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = Origin::new(move |exchange| {
            held.pass();
            exchange.ok("late");
        });
        let mut server = binary.serve(h2(&format!(
            "lingering_close off; location / {{ proxy_pass http://{}; }}",
            origin.address()
        )));
        let mut client = Frames::connect(&server, &[]);
        client.request(1, "GET", "/", &[], true);
        origin.wait_requests(1);
        server.signal(Signal::QUIT);
        if binary == Binary::Plimsoll {
            assert_eq!(client.wait(kind::GOAWAY, 0).code(), NO_ERROR);
        }
        gate.open();
        assert_eq!(client.answer(1), (OK, b"late".into()));
        assert!(server.wait_exit().success());
    });
}

#[test]
fn a_reload_reaches_the_next_stream() {
    let server = serve(h2("location / { return 200 old; }"));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[], true);
    assert_eq!(client.answer(1), (OK, b"old".into()));
    server.reload(&h2("location / { return 200 new; }"));
    let mut stream = 1;
    eventually("the new configuration", || {
        stream += 2;
        client.request(stream, "GET", "/", &[], true);
        client.answer(stream).1 == b"new"
    });
}

#[test]
fn a_server_may_do_without() {
    let server = serve(
        "server { listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 with; } }
         server { listen 127.0.0.1:%%PORT%%; server_name without; http2 off; location / { return 200 without; } }",
    );
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[], true);
    assert_eq!(client.answer(1), (OK, b"with".into()));
    client.request(3, "GET", "/", &[(":authority", "without")], true);
    let (_, page) = client.answer(3);
    assert!(String::from_utf8_lossy(&page).contains("421 Misdirected Request"));
    server.error_log().wait_for(
        "client attempted to request the server name for which the negotiated protocol is disabled",
    );
}

#[test]
fn no_answer_resets_the_stream() {
    on_both(h2("location /444 { return 444; } location / { return 200 ok; }"), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/444", &[], true);
        assert_eq!(client.wait(kind::RST_STREAM, 1).code(), PROTOCOL_ERROR);
        client.request(3, "GET", "/", &[], true);
        assert_eq!(client.answer(3), (OK, b"ok".into()));
    });
}

#[test]
fn an_answer_before_the_body_asks_for_no_more() {
    on_both(h2(""), |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "POST", "/none", &[("content-length", "1000000")], false);
        let head = client.wait(kind::HEADERS, 1);
        assert_eq!(head.payload[0], NOT_FOUND);
        assert_eq!(client.wait(kind::RST_STREAM, 1).code(), NO_ERROR);
    });
}

#[test]
fn resetting_rapidly_ends_the_connection() {
    let server = serve(h2("location / { return 200 ok; }"));
    let mut client = Frames::connect(&server, &[]);
    let block = head("GET", "/", &[]);
    for stream in (1..40_001).step_by(2) {
        let flags = END_HEADERS | END_STREAM;
        let sent = client
            .try_send(kind::HEADERS, flags, stream, &block)
            .and_then(|()| client.try_send(kind::RST_STREAM, 0, stream, &CANCEL));
        if sent.is_err() {
            break;
        }
    }
    let rest = client.rest();
    // What was written behind the end may have destroyed the goodbye on its way.
    let goodbyes: Vec<_> = rest.iter().filter(|f| f.kind == kind::GOAWAY).map(|f| f.code()).collect();
    assert!(goodbyes.iter().all(|code| *code == ENHANCE_YOUR_CALM), "{goodbyes:?}");
    assert_eq!(server.get("/").text(), "ok", "others are served");
}

#[test]
fn endless_heads_end_the_connection() {
    let server = serve(h2("lingering_time 100ms; location / { return 200 ok; }"));
    let mut client = Frames::connect(&server, &[]);
    client.send(kind::HEADERS, 0, 1, &head("GET", "/", &[]));
    let field = [&b"\0\x01x\x7f\x81\x7d"[..], &[b'v'; 16_000]].concat();
    while client.try_send(kind::CONTINUATION, 0, 1, &field[..16_006]).is_ok() {}
    assert_eq!(server.get("/").text(), "ok", "others are served");
}

#[test]
fn breaking_the_protocol_ends_the_connection() {
    let server = serve(h2("location / { return 200 ok; }"));
    // DATA on no stream, a window that overflows, a frame larger than allowed, garbage in HPACK.
    let breaches: [(u8, u8, u32, Vec<u8>); 4] = [
        (kind::DATA, 0, 0, b"x".into()),
        (kind::WINDOW_UPDATE, 0, 0, 0x7fff_ffffu32.to_be_bytes().into()),
        (kind::DATA, 0, 1, vec![0; 20_000]),
        (kind::HEADERS, END_HEADERS, 1, vec![0xff; 9]),
    ];
    for (kind_of, flags, stream, payload) in breaches {
        let mut client = Frames::connect(&server, &[]);
        client.send(kind_of, flags, stream, &payload);
        let rest = client.rest();
        assert!(rest.iter().any(|f| f.kind == kind::GOAWAY && f.code() != NO_ERROR), "{kind_of}: {rest:?}");
    }
    server.error_log().wait_for("while processing HTTP/2 connection, client: 127.0.0.1, server: ");
}

#[test]
fn directives() {
    let warned = |text: &str, warning: &str| {
        let exit = Binary::Plimsoll.check(format!("listen 127.0.0.1:%%PORT%%; {text}"));
        assert!(exit.code == Some(0) && exit.stderr.contains(warning), "{}", exit.stderr);
    };
    warned(
        "http2_max_requests 10;",
        "the \"http2_max_requests\" directive is obsolete, use the \"keepalive_requests\" directive instead in ",
    );
    warned("http2_push /x;", "the \"http2_push\" directive is obsolete, ignored in ");
    warned("http2_recv_timeout 3s; http2_idle_timeout 3s; http2_max_field_size 4k;", "\"keepalive_timeout\"");
    let exit = Binary::Plimsoll.check("listen 127.0.0.1:%%PORT%% http2; location / { return 200; }");
    let message = "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead in ";
    assert!(exit.stderr.contains(message), "{}", exit.stderr);
    let refused = |text: &str, message: &str| {
        let exit = Binary::Plimsoll.check(format!("listen 127.0.0.1:%%PORT%%; {text}"));
        assert!(exit.code != Some(0) && exit.stderr.contains(message), "{}", exit.stderr);
    };
    refused("http2 maybe;", "invalid value \"maybe\" in \"http2\" directive, it must be \"on\" or \"off\"");
    refused("http2_chunk_size 0;", "the http2 chunk size cannot be zero");
    refused("http2_streams_index_size 3;", "\"http2_streams_index_size\" directive must be a power of two");
    refused("http2_pool_size 130;", "the pool size must be a multiple of 16");
    refused("http2_body_preread_size 4g;", "invalid value");
}

#[test]
fn trailers_follow_the_body() {
    let text = h2("add_trailer X-End $status; location / { return 200 body; }");
    on_both(text, |server| {
        let mut client = Frames::connect(server, &[]);
        client.request(1, "GET", "/", &[], true);
        assert_eq!(client.wait(kind::HEADERS, 1).payload[0], OK);
        let body = client.wait(kind::DATA, 1);
        assert_eq!((&*body.payload, body.flags & END_STREAM), (&b"body"[..], 0));
        let trailers = client.wait(kind::HEADERS, 1);
        assert_eq!(trailers.flags & END_STREAM, END_STREAM);
    });
}

#[test]
fn a_stream_cancelled_while_it_is_answered() {
    let log = "log_format f '$uri $status'; access_log logs/access.log f;";
    let site = Site::new(format!("{log} server {{ {} }}", h2(""))).file("html/f", many(200_000));
    on_both(site, |server| {
        let mut client = Frames::connect(server, &[(4, 10)]);
        client.request(1, "GET", "/f", &[], true);
        client.wait(kind::DATA, 1);
        client.send(kind::RST_STREAM, 0, 1, &CANCEL);
        assert_eq!(server.access_log().wait_lines(1), ["/f 200"]);
        server.error_log().wait_for("client canceled stream 1 while ");
    });
}

#[test]
fn a_requests_length_is_that_of_its_compressed_head() {
    let log = "log_format f '$uri $status $request_length'; access_log logs/access.log f;";
    let text = h2("location / { return 200 ok; } location /body { proxy_pass http://127.0.0.1:%%PORT%%; }");
    on_both(Site::new(format!("{log} server {{ {text} }}")), |server| {
        let mut client = Frames::connect(server, &[]);
        let fields = [("x", "y")];
        client.request(1, "GET", "/", &fields, true);
        assert_eq!(client.answer(1), (OK, b"ok".into()));
        let length = head("GET", "/", &fields).len();
        assert_eq!(server.access_log().wait_lines(1), [format!("/ 200 {length}")]);
        // Who takes back what it was sending is gone.
        client.request(3, "POST", "/body", &[("content-length", "5")], false);
        client.send(kind::RST_STREAM, 0, 3, &CANCEL);
        let line = server.access_log().wait_lines(2).remove(1);
        assert!(line.starts_with("/body 499 "), "{line}");
        server.error_log().wait_for("client prematurely closed stream");
    });
}
