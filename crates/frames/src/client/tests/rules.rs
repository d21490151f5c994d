//! What a server must not send.

use std::task::Poll;

use super::{ENDS, HEADERS, OK, asked, body, broken, frame, head, said};
use crate::client::Fault;
use crate::frame::{Kind, flag};
use crate::put_status;

#[test]
fn broken_rules_end_the_connection() {
    let long = vec![0; 16_385];
    let cases: [(Kind, u8, u32, &[u8], &str); 32] = [
        (Kind::Data, 0, 0, b"", "data frame for unknown stream 0"),
        (Kind::Data, 0, 2, b"", "data frame for unknown stream 2"),
        (Kind::Data, 0, 5, b"", "data frame for unknown stream 5"),
        (Kind::Data, 0, 1, &long, "too large http2 frame: 16385"),
        (Kind::Data, flag::PADDED, 1, b"", "too short http2 frame"),
        (Kind::Data, flag::PADDED, 1, b"\x03ab", "http2 frame with too long padding: 3 in frame 2"),
        (Kind::Headers, HEADERS, 0, OK, "frame for unknown stream 0"),
        (Kind::Headers, HEADERS, 7, OK, "frame for unknown stream 7"),
        (Kind::Headers, flag::PADDED, 1, b"", "headers frame with invalid length: 0"),
        (
            Kind::Headers,
            flag::PADDED | flag::PRIORITY,
            1,
            b"\0\0\0\0\0",
            "headers frame with invalid length: 5",
        ),
        (Kind::Headers, flag::PADDED, 1, b"\x01", "http2 frame with too long padding: 1 in frame 0"),
        (Kind::Headers, HEADERS, 1, b"\x80", "invalid http2 table index: 0"),
        (Kind::Headers, HEADERS, 1, b"\xbe", "invalid http2 table index: 62"),
        (Kind::Headers, HEADERS, 1, b"\x25", "invalid http2 dynamic table size update: 5"),
        (Kind::Headers, HEADERS, 1, b"\x88\0\x01", "truncated http2 header"),
        (Kind::Headers, HEADERS, 1, b"\0\x7f\xff\xff\xff\xff\0", "too large http2 header name length"),
        (Kind::Headers, HEADERS, 1, b"\0\x01a\x7f\x89\x08", "too large http2 header value length: 1160"),
        (Kind::Headers, HEADERS, 1, b"\0\x81\0\0", "invalid encoded header"),
        (Kind::Continuation, HEADERS, 1, OK, "unexpected http2 frame: 9"),
        (Kind::PushPromise, HEADERS, 1, OK, "unexpected push promise frame"),
        (Kind::Reset, 0, 0, &[0; 4], "frame for unknown stream 0"),
        (Kind::Reset, 0, 1, &[0; 5], "rst stream frame with invalid length: 5"),
        (Kind::Settings, 0, 1, b"", "settings frame with non-zero stream id: 1"),
        (Kind::Settings, 1, 0, b"123456", "settings frame with ack flag and non-zero length: 6"),
        (Kind::Settings, 0, 0, b"12345", "settings frame with invalid length: 5"),
        (
            Kind::Settings,
            0,
            0,
            b"\0\x04\x80\0\0\0",
            "settings frame with too large initial window size: 2147483648",
        ),
        (Kind::Ping, 0, 1, &[0; 8], "ping frame with non-zero stream id: 1"),
        (Kind::Ping, 0, 0, b"short", "ping frame with invalid length: 5"),
        (Kind::Ping, 1, 0, &[0; 8], "ping frame with ack flag"),
        (Kind::GoAway, 0, 0, &[0; 7], "goaway frame with invalid length: 7"),
        (Kind::WindowUpdate, 0, 1, &[0; 4], "zero window update"),
        (Kind::WindowUpdate, 0, 1, &[0x7f, 255, 255, 255], "too large window update"),
    ];
    for (kind, flags, stream, payload, what) in cases {
        let mut client = asked(2);
        client.take(&frame(kind, flags, stream, payload));
        assert!(client.is_over(), "{what}");
        assert_eq!(head(&mut client, 3), broken(&format!("upstream sent {what}")));
        assert_eq!(said(&mut client).pop().unwrap().0.kind, Kind::GoAway);
    }
}

#[test]
fn broken_heads_end_their_streams() {
    let mut twice = OK.to_vec();
    put_status(204, &mut twice);
    let with = |status: &[u8], name: &[u8], value: &[u8]| {
        let mut block = status.to_vec();
        block.extend([&[0, name.len() as u8], name, &[value.len() as u8], value].concat());
        block
    };
    let status = |text: &[u8]| [&[8, text.len() as u8], text].concat();
    let long = [OK.to_vec(), with(b"", b"a", &[b'x'; 100]).repeat(10)].concat();
    for (flags, block, what) in [
        (0, twice, "sent duplicate :status header"),
        (0, with(OK, b":path", b"/"), "sent invalid header \":path: /\""),
        (0, with(OK, b"A", b"b"), "sent invalid header: \"A: b\""),
        (0, with(OK, b"a", b"b\nc"), "sent invalid header: \"a: b\nc\""),
        (0, with(OK, b"", b"b"), "sent zero http2 header name length"),
        (0, with(b"", b"a", b"b"), "sent no :status header"),
        (0, vec![], "sent no :status header"),
        (0, status(b"2000"), "sent invalid :status \"2000\""),
        (0, status(b"20x"), "sent invalid :status \"20x\""),
        (0, status(b"101"), "sent unexpected :status \"101\""),
        (ENDS, status(b"103"), "prematurely closed stream"),
        (0, long, "sent too large http2 header"),
    ] {
        let mut client = asked(2);
        client.take(&frame(Kind::Headers, HEADERS | flags, 1, &block));
        assert_eq!(head(&mut client, 1), broken(&format!("upstream {what}")));
        assert_eq!(said(&mut client)[0].0.kind, Kind::Reset);
        // The other request goes on, but no new one is begun.
        client.take(&frame(Kind::Headers, HEADERS, 3, OK));
        assert!(matches!(head(&mut client, 3), Poll::Ready(Ok((true, _)))));
        assert!(!client.takes());
        client.forget(1);
        assert_eq!(said(&mut client), []);
    }
}

#[test]
fn broken_bodies_end_their_streams() {
    let data = frame(Kind::Data, 0, 1, b"data");
    let end = frame(Kind::Data, ENDS, 1, b"");
    let reset = frame(Kind::Reset, 0, 1, &[0; 4]);
    let pseudo = frame(Kind::Headers, HEADERS | ENDS, 1, OK);
    let closed = "sent frame for closed stream 1";
    for (frames, what) in [
        (vec![data.clone(), end.clone(), data.clone()], closed),
        (vec![data.clone(), end.clone(), pseudo.clone()], closed),
        (vec![data.clone(), end, reset.clone(), reset], closed),
        (
            vec![data.clone(), frame(Kind::Headers, HEADERS, 1, b"\0\x01a\x01b")],
            "sent trailer without end stream flag",
        ),
        (vec![data, pseudo], "sent invalid trailer \":status: 200\""),
    ] {
        let mut client = asked(1);
        client.take(&frame(Kind::Headers, HEADERS, 1, OK));
        client.take(&frames.concat());
        let expected = Fault::Broken(format!("upstream {what}"));
        assert_eq!(body(&mut client, 1), (b"data".to_vec(), Some(Err(expected))));
    }
    let mut client = asked(1);
    client.take(&frame(Kind::Data, 0, 1, b"data"));
    assert_eq!(head(&mut client, 1), broken("upstream sent unexpected http2 frame: 0"));
}
