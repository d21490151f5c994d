//! What a server that speaks HTTP/2 must not send, and what is logged of it.
#![forbid(unsafe_code)]

use testkit::http2::{END_HEADERS, END_STREAM, Frames, frame, kind};
use testkit::{Binary, Origin, Server, Site, each, serve};

const OK: &[u8] = b"\x88";
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// What an origin answers the first request on each of its connections with.
type Answer = Vec<u8>;
/// What is being done with a body that came with its head.
const BODY: &str = "(reading upstream|reading response header from upstream)";
/// What older ones do not mind.
const NEW: [&str; 1] = ["sent zero window update"];

/// Kind, flags, stream and payload of a frame.
type Sent<'a> = (u8, u8, u32, &'a [u8]);

fn bytes(frames: &[Sent<'_>]) -> Answer {
    frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect()
}
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0, name.len() as u8], name, &[value.len() as u8], value].concat()
}
fn status(value: &[u8]) -> Vec<u8> {
    [&[8, value.len() as u8], value].concat()
}

fn origin(answer: Answer) -> Origin {
    Origin::http2(&[], move |frames: &mut Frames| {
        frames.next_request()?;
        frames.send_raw(&answer).ok()?;
        while frames.receive().is_some() {}
        Some(())
    })
}

/// Asks for each answer, by number, and expects the line of the error log that stands beside it.
fn expect(
    cases: Vec<(Answer, &str)>,
    during: &str,
    site: impl Fn() -> Site,
    asks: impl Fn(&Server, usize, &str),
) {
    let origins: Vec<(Origin, &str)> =
        cases.into_iter().map(|(answer, line)| (origin(answer), line)).collect();
    each(|binary: Binary| {
        let server = binary.serve(site());
        for (n, (origin, line)) in origins.iter().enumerate() {
            if binary == Binary::Nginx && NEW.contains(line) {
                continue;
            }
            println!("{n}: {line}");
            asks(&server, n, origin.address());
            server.error_log().wait_match(&format!("upstream {line} while {during}, .*\"GET /{n}[?]"));
        }
    });
}
fn any_server() -> Site {
    Site::new("server { listen 127.0.0.1:%%PORT%%; location / { grpc_pass grpc://$arg_to; } }")
}

#[test]
fn frames_that_must_not_come_before_the_head() {
    let long = vec![0; 16_385];
    let cases: Vec<(Sent<'_>, &str)> = vec![
        ((kind::DATA, 0, 1, b"data"), "sent unexpected http2 frame: 0"),
        ((kind::CONTINUATION, END_HEADERS, 1, OK), "sent unexpected http2 frame: 9"),
        ((kind::HEADERS, END_HEADERS, 3, OK), "sent frame for unknown stream 3"),
        ((kind::SETTINGS, 0, 3, b""), "sent frame for unknown stream 3"),
        ((kind::PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"), "sent unexpected push promise frame"),
        ((kind::DATA, 0, 1, &long), "sent too large http2 frame: 16385"),
        ((kind::HEADERS, PADDED | PRIORITY, 1, b"12345"), "sent headers frame with invalid length: 5"),
        ((kind::HEADERS, PADDED, 1, b"\x03ab"), "sent http2 frame with too long padding: 3 in frame 2"),
        ((kind::RST_STREAM, 0, 1, b"12345"), "sent rst stream frame with invalid length: 5"),
        ((kind::GOAWAY, 0, 0, b"1234567"), "sent goaway frame with invalid length: 7"),
        ((kind::GOAWAY, 0, 1, b"12345678"), "sent goaway frame with non-zero stream id: 1"),
        ((kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x02bye"), "sent goaway with error 2"),
        ((kind::WINDOW_UPDATE, 0, 0, b"12345"), "sent window update frame with invalid length: 5"),
        ((kind::WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), "sent zero window update"),
        ((kind::WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), "sent too large window update"),
        ((kind::WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), "sent too large window update"),
        ((kind::SETTINGS, 0, 1, b""), "sent settings frame with non-zero stream id: 1"),
        ((kind::SETTINGS, 1, 0, b"123456"), "sent settings frame with ack flag and non-zero length: 6"),
        ((kind::SETTINGS, 0, 0, b"12345"), "sent settings frame with invalid length: 5"),
        (
            (kind::SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"),
            "sent settings frame with too large initial window size: 2147483648",
        ),
        ((kind::PING, 0, 1, b"12345678"), "sent ping frame with non-zero stream id: 1"),
        ((kind::PING, 0, 0, b"short"), "sent ping frame with invalid length: 5"),
        ((kind::PING, 1, 0, b"12345678"), "sent ping frame with ack flag"),
    ];
    let cases = cases.into_iter().map(|(sent, line)| (bytes(&[sent]), line)).collect();
    expect(cases, "reading response header from upstream", any_server, |server, n, address| {
        assert_eq!(server.get(&format!("/{n}?to={address}")).status, 502);
    });
}

#[test]
fn heads_that_are_none() {
    let with_ok = |rest: &[u8]| [OK, rest].concat();
    let long = literal(b"a", &[b'x'; 100]).repeat(60);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"\x80".to_vec(), "sent invalid http2 table index: 0"),
        (with_ok(b"\xbe"), "sent invalid http2 table index: 62"),
        (with_ok(b"\x7e\0"), "sent invalid http2 table index: 62"),
        (with_ok(b"\x25"), "sent invalid http2 dynamic table size update: 5"),
        (with_ok(b"\0\0\x01a"), "sent zero http2 header name length"),
        (with_ok(b"\0\x7f\xff\xff\xff\xff\0"), "sent too large http2 header name length"),
        (with_ok(b"\0\x01a\x7f\xff\xff\xff\xff\0"), "sent too large http2 header value length"),
        (with_ok(b"\0\x81\0\x01a"), "sent invalid encoded header"),
        (with_ok(b"\0\x01a\x05b"), "sent truncated http2 header"),
        (literal(b"a", b"b"), "sent no :status header"),
        (with_ok(&status(b"204")), "sent duplicate :status header"),
        (with_ok(&literal(b":path", b"/")), "sent invalid header \":path: /\""),
        (with_ok(&literal(b"A", b"b")), "sent invalid header: \"A: b\""),
        (with_ok(&literal(b"a", b"b\rc")), "sent invalid header: \"a: b.c\""),
        (status(b"2000"), "sent invalid :status \"2000\""),
        (status(b"20x"), "sent invalid :status \"20x\""),
        (status(b"101"), "sent unexpected :status \"101\""),
        // Older ones have but one buffer.
        (with_ok(&long), "sent too (large http2|big) header"),
    ];
    let cases =
        cases.into_iter().map(|(block, line)| (bytes(&[(kind::HEADERS, END_HEADERS, 1, &block)]), line));
    expect(cases.collect(), "reading response header from upstream", any_server, |server, n, address| {
        assert_eq!(server.get(&format!("/{n}?to={address}")).status, 502);
    });
}

/// The client has the head already when it is found that its answer is none.
#[test]
fn bodies_that_are_none() {
    let data: Sent<'_> = (kind::DATA, 0, 1, b"data");
    let end: Sent<'_> = (kind::DATA, END_STREAM, 1, b"");
    let reset: Sent<'_> = (kind::RST_STREAM, 0, 1, &[0; 4]);
    let closed = "sent frame for closed stream 1";
    let field = literal(b"a", b"b");
    let cases: Vec<(Vec<Sent<'_>>, &str)> = vec![
        (vec![data, (kind::DATA, 0, 3, b"x")], "sent data frame for unknown stream 3"),
        (vec![data, (kind::HEADERS, END_HEADERS, 3, OK)], "sent frame for unknown stream 3"),
        (vec![data, (kind::CONTINUATION, 0, 1, b"")], "sent unexpected http2 frame: 9"),
        (vec![data, (kind::HEADERS, 0, 1, &field), data], "sent unexpected http2 frame: 0"),
        (vec![data, (kind::PUSH_PROMISE, 0, 1, b"")], "sent unexpected push promise frame"),
        (vec![data, (kind::DATA, PADDED, 1, b"")], "sent too short http2 frame"),
        (
            vec![data, (kind::DATA, PADDED, 1, b"\x02a")],
            "sent http2 frame with too long padding: 2 in frame 1",
        ),
        (vec![data, end, data], closed),
        (vec![data, end, reset, reset], closed),
        (vec![data, (kind::RST_STREAM, 0, 1, b"\0\0\0\x05")], "rejected request with error 5"),
        (vec![data, reset], "rejected request with error 0"),
        (vec![data, (kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x03")], "sent goaway with error 3"),
        (vec![data, (kind::HEADERS, END_HEADERS, 1, &field)], "sent trailer without end stream flag"),
        (
            vec![data, (kind::HEADERS, END_HEADERS | END_STREAM, 1, OK)],
            "sent invalid trailer \":status: 200\"",
        ),
    ];
    let head = (kind::HEADERS, END_HEADERS, 1, OK);
    let cases =
        cases.into_iter().map(|(behind, line)| (bytes(&[vec![head], behind].concat()), line)).collect();
    expect(cases, BODY, any_server, is_cut);
}

fn is_cut(server: &Server, n: usize, address: &str) {
    let mut client = server.client();
    client.send(format!("GET /{n}?to={address} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let all = client.wire().read_to_end().expect("an end");
    // What is not sent at once is not sent any more.
    assert!(all.is_empty() || all.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&all));
    assert!(!all.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&all));
}

#[test]
fn lengths_that_are_wrong() {
    let sized = [OK, &literal(b"content-length", b"5")].concat();
    fn head(flags: u8, block: &[u8]) -> Sent<'_> {
        (kind::HEADERS, END_HEADERS | flags, 1, block)
    }
    fn data(flags: u8, text: &[u8]) -> Sent<'_> {
        (kind::DATA, flags, 1, text)
    }
    let (short, large) =
        ("prematurely closed stream", "sent response body larger than indicated content length");
    let cases = vec![
        (bytes(&[head(0, &sized[..]), data(END_STREAM, b"data")]), short),
        (bytes(&[head(0, &sized[..]), data(0, b"much data")]), large),
        (bytes(&[head(0, &sized[..]), data(0, b"datum"), data(END_STREAM, b"!")]), large),
    ];
    expect(cases, BODY, any_server, is_cut);
}

/// Older servers made it an empty one.
#[test]
fn an_answer_that_ends_with_its_head_but_has_a_length() {
    let sized = [OK, &literal(b"content-length", b"5")].concat();
    let origin = origin(bytes(&[(kind::HEADERS, END_HEADERS | END_STREAM, 1, &sized)]));
    let server = serve(any_server());
    is_cut(&server, 0, origin.address());
    server.error_log().wait_for("upstream prematurely closed stream while reading upstream");
}

/// Answers may be framed in any way that is allowed.
#[test]
fn frames_that_may_come() {
    let answer = bytes(&[
        (kind::PRIORITY, 0, 1, b"\0\0\0\0\x10"),
        (kind::PING, 0, 0, b"12345678"),
        (0xfa, 0xff, 0, b"unknown"),
        (kind::HEADERS, PADDED | PRIORITY, 1, b"\x02\0\0\0\0\x10\x88\0\0"),
        (kind::CONTINUATION, 0, 1, b""),
        (kind::CONTINUATION, END_HEADERS, 1, &literal(b"a", b"b")),
        (kind::WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"),
        (kind::DATA, PADDED, 1, b"\x02one\0\0"),
        (kind::DATA, 0, 1, b""),
        (kind::SETTINGS, 0, 0, b""),
        (kind::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x02bye"),
        (kind::DATA, PADDED, 1, b"\0two"),
        (kind::HEADERS, END_STREAM, 1, b""),
        (kind::CONTINUATION, END_HEADERS, 1, &literal(b"x", b"y")),
        (kind::RST_STREAM, 0, 1, &[0; 4]),
    ]);
    let origin = origin(answer);
    each(|binary: Binary| {
        let server = binary.serve(any_server());
        let answer = server.get(&format!("/?to={}", origin.address()));
        assert_eq!((answer.text(), answer.header("a")), ("onetwo".into(), Some("b")));
        assert_eq!(answer.trailers, [("x".to_owned(), "y".to_owned())]);
    });
}

/// What is wrong with one answer is no matter for the others of the connection, but nobody is sent there any more.
#[test]
fn others_on_the_connection_go_on() {
    let origin = Origin::http2(&[], |frames| {
        let opening = frames.next_request()?;
        frames.try_send(kind::HEADERS, END_HEADERS | END_STREAM, opening, OK).ok()?;
        let first = frames.next_request()?;
        let second = frames.next_request()?;
        let bad = literal(b"a", b"b");
        frames.try_send(kind::HEADERS, END_HEADERS, first, &bad).ok()?;
        let reset = frames.wait(kind::RST_STREAM, first);
        assert_eq!(reset.code(), 1);
        frames.try_send(kind::HEADERS, END_HEADERS, second, OK).ok()?;
        frames.try_send(kind::DATA, END_STREAM, second, b"good").ok()?;
        while frames.receive().is_some() {}
        Some(())
    });
    let site = Site::new(
        "upstream kept { server %%APP%%; keepalive 8; }\n\
         server { listen 127.0.0.1:%%PORT%% http2; location / { grpc_pass kept; } }",
    );
    let server = serve(site.with("APP", origin.address()));
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[], true);
    client.answer(1);
    client.request(3, "GET", "/", &[], true);
    client.request(5, "GET", "/", &[], true);
    assert_eq!(client.answer(5).1, b"good");
    server
        .error_log()
        .wait_for("upstream sent no :status header while reading response header from upstream");
    origin.wait_open(0);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn proxies_say_the_same() {
    let bad = [OK, &literal(b":path", b"/")].concat();
    let origin = origin(bytes(&[(kind::HEADERS, END_HEADERS, 1, &bad)]));
    let site = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_http_version 2; proxy_pass http://%%APP%%; } }";
    let server = serve(Site::new(site).with("APP", origin.address()));
    assert_eq!(server.get("/").status, 502);
    server
        .error_log()
        .wait_for("upstream sent invalid header \":path: /\" while reading response header from upstream");
}
