//! HTTP/2's rules one by one (RFC 9113 and 7541): frames, and what becomes of them.
#![forbid(unsafe_code)]

use testkit::http2::{END_HEADERS, END_STREAM, Frames, frame, head, kind};
use testkit::{Origin, Server, Site, each, on_both, serve};

const PADDED: u8 = 8;
/// Kinds of frames that no client sends any more, or none may.
const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const UNKNOWN: u8 = 0x55;
/// Error codes.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENDS: u8 = END_HEADERS | END_STREAM;

/// What becomes of stream 1, or of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// The connection ends with this code.
    Goodbye(u32),
    /// The stream ends with this code; others go on.
    Reset(u32),
    /// An answer whose head begins with this byte; others go on.
    Answer(u8),
    /// Nothing; others go on.
    Nothing,
}
/// Where the rules have a special code, the general one may stand for it.
const SIZE: &[Reaction] = &[Goodbye(FRAME_SIZE_ERROR), Goodbye(PROTOCOL_ERROR)];
const CLOSED: &[Reaction] = &[Reset(STREAM_CLOSED), Goodbye(STREAM_CLOSED), Goodbye(PROTOCOL_ERROR), OK];
use Reaction::{Answer, Goodbye, Nothing, Reset};
const OK: Reaction = Answer(0x88);
const BAD_REQUEST: Reaction = Answer(0x8c);

/// Sends frames, then a request that shows whether the connection goes on.
fn reaction(server: &Server, frames: &[u8]) -> Reaction {
    let mut client = Frames::connect(server, &[]);
    let _ = client.send_raw(frames);
    // What is broken may end the connection before this is written.
    let _ = client.try_send(kind::HEADERS, ENDS, 101, &head("GET", "/last", &[]));
    let mut found = Nothing;
    while let Some(frame) = client.receive() {
        match (frame.kind, frame.stream) {
            (kind::GOAWAY, 0) if frame.code() != 0 => return Goodbye(frame.code()),
            (kind::RST_STREAM, 1) if !matches!(found, Answer(_)) => found = Reset(frame.code()),
            (kind::HEADERS, 1) => found = Answer(frame.payload[0]),
            (kind::HEADERS, 101) => return found,
            _ => {}
        }
    }
    panic!("the connection ended without a word after {found:?}");
}

/// One frame after the other.
fn all(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect()
}

#[track_caller]
fn check(cases: &[(&str, Vec<u8>, &[Reaction])]) {
    let server = serve(
        "listen 127.0.0.1:%%PORT%%; http2 on; location / { return 200 ok; } location /late { proxy_pass http://127.0.0.1:%%PORT%%/; }",
    );
    let mut wrong = Vec::new();
    for (what, frames, expected) in cases {
        let found = reaction(&server, frames);
        if !expected.contains(&found) {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn frames_and_their_sizes() {
    let get = head("GET", "/", &[]);
    check(&[
        (
            "4.1: unknown kinds are ignored",
            all(&[(UNKNOWN, 0xff, 0, b"x"), (kind::HEADERS, ENDS, 1, &get)]),
            &[OK],
        ),
        ("4.1: unknown flags are ignored", all(&[(kind::HEADERS, ENDS | 0xc0, 1, &get)]), &[OK]),
        ("4.2: frames have a limit", all(&[(kind::DATA, 0, 1, &[0; 16_385])]), SIZE),
        (
            "5.5: an unknown kind within a head",
            all(&[(kind::HEADERS, 0, 1, &get), (UNKNOWN, 0, 1, b"")]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        ("6.1: DATA without a stream", all(&[(kind::DATA, 0, 0, b"x")]), &[Goodbye(PROTOCOL_ERROR)]),
        (
            "6.1: padding longer than the frame",
            all(&[(kind::HEADERS, END_HEADERS, 1, &get), (kind::DATA, PADDED, 1, &[9, 1, 2])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        ("6.2: HEADERS without a stream", all(&[(kind::HEADERS, ENDS, 0, &get)]), &[Goodbye(PROTOCOL_ERROR)]),
        (
            "6.2: padding",
            all(&[(kind::HEADERS, ENDS | PADDED, 1, &[&[3], &get[..], &[0; 3]].concat())]),
            &[OK],
        ),
        (
            "6.2: padding longer than the head",
            all(&[(kind::HEADERS, ENDS | PADDED, 1, &[200, 1])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.3: PRIORITY of a stream that is none yet",
            all(&[(PRIORITY, 0, 7, &[0, 0, 0, 0, 1]), (kind::HEADERS, ENDS, 1, &get)]),
            &[OK],
        ),
        (
            "6.3: PRIORITY without a stream",
            all(&[(PRIORITY, 0, 0, &[0, 0, 0, 0, 1])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.4: RST_STREAM of a wrong length",
            all(&[(kind::HEADERS, END_HEADERS, 1, &get), (kind::RST_STREAM, 0, 1, &[0; 3])]),
            SIZE,
        ),
        (
            "6.4: RST_STREAM without a stream",
            all(&[(kind::RST_STREAM, 0, 0, &[0; 4])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.4: RST_STREAM of an idle stream",
            all(&[(kind::RST_STREAM, 0, 1, &[0; 4])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.6: PUSH_PROMISE",
            all(&[(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        ("6.7: PING of a wrong length", all(&[(kind::PING, 0, 0, &[0; 7])]), SIZE),
        ("6.7: PING on a stream", all(&[(kind::PING, 0, 1, &[0; 8])]), &[Goodbye(PROTOCOL_ERROR)]),
        ("6.8: GOAWAY on a stream", all(&[(kind::GOAWAY, 0, 1, &[0; 8])]), &[Goodbye(PROTOCOL_ERROR)]),
        (
            "6.10: CONTINUATION of nothing",
            all(&[(kind::CONTINUATION, END_HEADERS, 1, b"")]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.10: a head in parts",
            all(&[
                (kind::HEADERS, END_STREAM, 1, &get[..5]),
                (kind::CONTINUATION, END_HEADERS, 1, &get[5..]),
            ]),
            &[OK],
        ),
        (
            "6.10: another stream within a head",
            all(&[(kind::HEADERS, 0, 1, &get), (kind::CONTINUATION, END_HEADERS, 3, b"")]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.10: DATA within a head",
            all(&[(kind::HEADERS, 0, 1, &get), (kind::DATA, 0, 1, b"x")]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
    ]);
}

#[test]
fn settings_and_windows() {
    let get = head("GET", "/", &[]);
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let set = |id, value| all(&[(kind::SETTINGS, 0, 0, &setting(id, value)), (kind::HEADERS, ENDS, 1, &get)]);
    let most = 0x7fff_ffffu32.to_be_bytes();
    check(&[
        ("6.5: a length that is no multiple of 6", all(&[(kind::SETTINGS, 0, 0, &[0; 5])]), SIZE),
        ("6.5: SETTINGS on a stream", all(&[(kind::SETTINGS, 0, 1, &[])]), &[Goodbye(PROTOCOL_ERROR)]),
        ("6.5: an acknowledgement that says something", all(&[(kind::SETTINGS, 1, 0, &[0; 6])]), SIZE),
        ("6.5.2: ENABLE_PUSH is 0 or 1", set(2, 2), &[Goodbye(PROTOCOL_ERROR)]),
        (
            "6.5.2: a window has a limit",
            set(4, 1 << 31),
            &[Goodbye(FLOW_CONTROL_ERROR), Goodbye(PROTOCOL_ERROR)],
        ),
        ("6.5.2: frames have a least size", set(5, 16_383), &[Goodbye(PROTOCOL_ERROR)]),
        ("6.5.2: and a greatest", set(5, 1 << 24), &[Goodbye(PROTOCOL_ERROR)]),
        ("6.5.2: unknown ones are ignored", set(0x99, 7), &[OK]),
        (
            "6.9: a window grows by more than nothing",
            all(&[(kind::WINDOW_UPDATE, 0, 0, &[0; 4])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.9: so does that of a stream",
            all(&[(kind::HEADERS, END_HEADERS, 1, &get), (kind::WINDOW_UPDATE, 0, 1, &[0; 4])]),
            &[Reset(PROTOCOL_ERROR), OK, Goodbye(PROTOCOL_ERROR)],
        ),
        ("6.9: WINDOW_UPDATE of a wrong length", all(&[(kind::WINDOW_UPDATE, 0, 0, &[0; 3])]), SIZE),
        (
            "6.9: an idle stream has no window",
            all(&[(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "6.9.1: a window has a limit",
            all(&[(kind::WINDOW_UPDATE, 0, 0, &most)]),
            &[Goodbye(FLOW_CONTROL_ERROR)],
        ),
        (
            "6.9.1: so has that of a stream",
            all(&[
                (kind::HEADERS, END_HEADERS, 1, &head("POST", "/late", &[])),
                (kind::WINDOW_UPDATE, 0, 1, &most),
            ]),
            &[Reset(FLOW_CONTROL_ERROR)],
        ),
    ]);
}

#[test]
fn streams_and_their_states() {
    let get = head("GET", "/", &[]);
    let late = head("POST", "/late", &[]);
    check(&[
        ("5.1: DATA on an idle stream", all(&[(kind::DATA, 0, 1, b"x")]), &[Goodbye(PROTOCOL_ERROR)]),
        (
            "5.1: DATA behind the end",
            all(&[(kind::HEADERS, ENDS, 1, &late), (kind::DATA, 0, 1, b"x")]),
            CLOSED,
        ),
        (
            "5.1: HEADERS behind the end",
            all(&[(kind::HEADERS, ENDS, 1, &late), (kind::HEADERS, ENDS, 1, &late)]),
            CLOSED,
        ),
        (
            "5.1.1: streams of clients are odd",
            all(&[(kind::HEADERS, ENDS, 2, &get)]),
            &[Goodbye(PROTOCOL_ERROR)],
        ),
        (
            "5.1.1: numbers grow",
            all(&[(kind::HEADERS, ENDS, 5, &get), (kind::HEADERS, ENDS, 3, &get)]),
            &[Goodbye(PROTOCOL_ERROR), Goodbye(STREAM_CLOSED)],
        ),
        (
            "8.1: trailers end the stream",
            all(&[(kind::HEADERS, END_HEADERS, 1, &late), (kind::HEADERS, END_HEADERS, 1, b"\0\x01a\x01b")]),
            &[Reset(PROTOCOL_ERROR), Goodbye(PROTOCOL_ERROR)],
        ),
    ]);
}

/// The request of a stream, with these fields instead of a usual head.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    all(&[(kind::HEADERS, ENDS, 1, &testkit::http2::block(fields))])
}

#[test]
fn heads_of_requests() {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "http");
    const PATH: (&str, &str) = (":path", "/");
    const HOST: (&str, &str) = (":authority", "a");
    const REFUSED: &[Reaction] = &[Reset(PROTOCOL_ERROR), BAD_REQUEST, Goodbye(PROTOCOL_ERROR)];
    let body = |length: &str, body: &[u8]| {
        let head = head("POST", "/late", &[("content-length", length)]);
        all(&[(kind::HEADERS, END_HEADERS, 1, &head), (kind::DATA, END_STREAM, 1, body)])
    };
    check(&[
        ("8.2.1: names have no upper case", fields(&[METHOD, SCHEME, PATH, HOST, ("X-Upper", "1")]), REFUSED),
        (
            "8.2.1: values have no line ends",
            fields(&[METHOD, SCHEME, PATH, HOST, ("x", "a\r\nb: c")]),
            REFUSED,
        ),
        ("8.2.1: names have no spaces", fields(&[METHOD, SCHEME, PATH, HOST, ("x y", "1")]), REFUSED),
        (
            "8.2.2: no fields of the connection",
            fields(&[METHOD, SCHEME, PATH, HOST, ("connection", "close")]),
            REFUSED,
        ),
        (
            "8.2.2: no chunks",
            fields(&[METHOD, SCHEME, PATH, HOST, ("transfer-encoding", "chunked")]),
            REFUSED,
        ),
        ("8.2.2: TE says trailers", fields(&[METHOD, SCHEME, PATH, HOST, ("te", "trailers")]), &[OK]),
        ("8.2.2: and nothing else", fields(&[METHOD, SCHEME, PATH, HOST, ("te", "gzip")]), REFUSED),
        ("8.3: pseudo-fields go first", fields(&[METHOD, SCHEME, HOST, ("x", "1"), PATH]), REFUSED),
        ("8.3: unknown ones", fields(&[METHOD, SCHEME, PATH, HOST, (":x", "1")]), REFUSED),
        ("8.3: those of answers", fields(&[METHOD, SCHEME, PATH, HOST, (":status", "200")]), REFUSED),
        ("8.3.1: twice the same", fields(&[METHOD, METHOD, SCHEME, PATH, HOST]), REFUSED),
        ("8.3.1: no method", fields(&[SCHEME, PATH, HOST]), REFUSED),
        ("8.3.1: no scheme", fields(&[METHOD, PATH, HOST]), REFUSED),
        ("8.3.1: no path", fields(&[METHOD, SCHEME, HOST]), REFUSED),
        ("8.3.1: an empty path", fields(&[METHOD, SCHEME, HOST, (":path", "")]), REFUSED),
        ("8.1.1: a body shorter than it says", body("5", b"four"), REFUSED),
        ("8.1.1: a body longer than it says", body("3", b"four"), REFUSED),
        ("8.1.1: a length that is none", body("x", b"four"), REFUSED),
    ]);
}

#[test]
fn compression() {
    // :method GET, :scheme http, :path /, :authority a
    let get = b"\x82\x86\x84\x01\x01a";
    let with = |more: &[u8]| all(&[(kind::HEADERS, ENDS, 1, &[&get[..], more].concat())]);
    let before = |more: &[u8]| all(&[(kind::HEADERS, ENDS, 1, &[more, &get[..]].concat())]);
    const BROKEN: &[Reaction] = &[Goodbye(COMPRESSION_ERROR), Goodbye(PROTOCOL_ERROR)];
    check(&[
        ("7541 6.1: entries of the table", with(b""), &[OK]),
        ("7541 6.1: there is no entry 0", with(b"\x80"), BROKEN),
        ("7541 2.3.3: an entry that is not there", with(b"\xff\x00"), BROKEN),
        ("7541 6.2.1: an entry is added and used", with(b"\x40\x01x\x011\xbe"), &[OK]),
        ("7541 6.2.3: one that is never to be", with(b"\x10\x01x\x011"), &[OK]),
        ("7541 6.3: a smaller table", before(b"\x20"), &[OK]),
        ("7541 6.3: a larger one than was allowed", before(b"\x3f\xe2\x1f"), BROKEN),
        ("7541 4.2: too late", with(b"\x20"), BROKEN),
        ("7541 5.1: a number without end", with(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), BROKEN),
        ("7541 5.2: a text longer than the head", with(b"\0\x01x\x05ab"), BROKEN),
        ("7541 5.2: packed text", with(b"\0\x01x\x83\xf1\xe3\xc7"), &[OK]),
        ("7541 5.2: the end of all texts within one", with(b"\0\x01x\x84\xff\xff\xff\xff"), BROKEN),
        ("7541 5.2: padding that is none", with(b"\0\x01x\x81\0"), BROKEN),
    ]);
}

#[test]
fn pings_are_answered() {
    let server = serve("listen 127.0.0.1:%%PORT%%; http2 on;");
    let mut client = Frames::connect(&server, &[]);
    client.send(kind::PING, 0, 0, b"12345678");
    let pong = client.wait(kind::PING, 0);
    assert_eq!((pong.flags, &pong.payload[..]), (END_STREAM, &b"12345678"[..]));
    // One that answers is not answered.
    client.send(kind::PING, END_STREAM, 0, b"abcdefgh");
    client.send(kind::PING, 0, 0, b"87654321");
    assert_eq!(client.wait(kind::PING, 0).payload, b"87654321");
}

/// What breaks a connection is told in nginx's words.
#[test]
fn what_is_logged() {
    let get = head("GET", "/", &[]);
    let open = frame(kind::HEADERS, END_HEADERS, 1, &get);
    let with = |more: &[u8]| frame(kind::HEADERS, ENDS, 1, &[&b"\x82\x86\x84"[..], more].concat());
    let then = |frames: &[(u8, u8, u32, &[u8])]| [open.clone(), all(frames)].concat();
    let cases = [
        (all(&[(UNKNOWN, 0, 0, b"x")]), "sent frame with unknown type 85"),
        (then(&[(kind::DATA, PADDED, 1, b"")]), "sent padded DATA frame with incorrect length: 0"),
        (
            then(&[(kind::DATA, PADDED, 1, b"\x05ab")]),
            "sent padded DATA frame with incorrect length: 3, padding: 5",
        ),
        (
            all(&[(kind::HEADERS, PADDED | 0x20, 1, b"\x09\0\0\0\0\0ab")]),
            "sent padded HEADERS frame with incorrect length: 2, padding: 9",
        ),
        (all(&[(kind::HEADERS, PADDED, 1, b"")]), "sent HEADERS frame with incorrect length 0"),
        (with(b"\xff\xff\xff\xff\xff\x01"), "sent header block with too long header index value"),
        (with(b"\x3f\xff\xff\xff\xff\x01"), "sent header block with too long size update value"),
        (with(b"\0\x7f\xff\xff\xff\xff\x01"), "sent header field with too long length value"),
        (with(b"\0\x01a"), "sent header block with incorrect length"),
        (with(b"\0\x01a\x05b"), "sent header field with incorrect length"),
        (with(b"\x80"), "sent invalid hpack table index 0"),
        (with(b"\xff\x01"), "sent out of bound hpack table index: 66"),
        (with(b"\x3f\xe2\x1f"), "sent invalid table size update: 4097"),
        (all(&[(PRIORITY, 0, 1, &[0; 5])]).repeat(200), "sent too many PRIORITY frames"),
        (
            then(&[(kind::WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")]),
            "violated flow control for stream 1: received WINDOW_UPDATE frame with window increment 2147483647 \
             not allowed for window 65535",
        ),
        (
            all(&[(kind::WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")]),
            "violated connection flow control: received WINDOW_UPDATE frame with window increment 2147483647 \
             not allowed for window 65535",
        ),
        (
            all(&[(kind::SETTINGS, 0, 0, b"\0\x02\0\0\0\x02")]),
            "SETTINGS frame with incorrect ENABLE_PUSH value 2",
        ),
        (
            all(&[(kind::SETTINGS, 0, 0, b"\0\x05\0\0\0\x02")]),
            "SETTINGS frame with incorrect MAX_FRAME_SIZE value 2",
        ),
        (
            all(&[(kind::SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff")]),
            "SETTINGS frame with incorrect INITIAL_WINDOW_SIZE value 4294967295",
        ),
    ];
    let text = "server { listen 127.0.0.1:%%PORT%% http2; http2_max_concurrent_streams 100; \
        location / { proxy_pass http://127.0.0.1:%%PORT_1%%; proxy_request_buffering on; } }";
    on_both(testkit::Site::new(text), |server| {
        for (bytes, line) in &cases {
            let mut client = Frames::connect(server, &[]);
            // It may be closed before everything is written.
            let _ = client.send_raw(bytes);
            println!("{line}");
            server.error_log().wait_for(line);
        }
    });
}

/// Whether a body follows is for the head to say: one that turns out to be empty has a length, or ends by itself.
#[test]
fn a_body_of_nothing_is_a_body() {
    let text = "listen 127.0.0.1:%%PORT%% http2; proxy_http_version 1.1;
        location / { proxy_pass http://%%ORIGIN%%; }
        location /streams { proxy_request_buffering off; proxy_pass http://%%ORIGIN%%; }";
    let origin = Origin::new(|exchange| {
        let said = |name| exchange.request.header(name).unwrap_or("-").to_owned();
        let said = format!("{} {}", said("content-length"), said("transfer-encoding"));
        exchange.ok(said);
    });
    each(|binary| {
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let mut client = Frames::connect(&server, &[]);
        client.wait(kind::SETTINGS, 0);
        for (stream, path, said) in [(1, "/", "0 -"), (3, "/streams", "- chunked")] {
            let head = frame(kind::HEADERS, END_HEADERS, stream, &head("POST", path, &[]));
            let both = [head, frame(kind::DATA, END_STREAM, stream, b"")].concat();
            client.send_raw(&both).unwrap();
            assert_eq!(client.answer(stream).1, said.as_bytes(), "{binary:?} {path}");
        }
        client.request(5, "POST", "/", &[], true);
        assert_eq!(client.answer(5).1, b"- -", "{binary:?}");
    });
}
