//! Tests of framing: tables of what nginx does, and properties.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Limits, RequestParser};

fn check(text: &[u8]) -> Result<Framing, BadRequest> {
    let mut head = RequestHead::default();
    RequestParser::new().parse(text, &mut head, &Limits::default())?;
    head.host_name(text, &mut Vec::new())?;
    head.framing(text)
}

const OK: u16 = 200;

/// What attackers send to make two servers disagree on where a request ends. Each line goes between
/// `POST / HTTP/1.1`, `Host: a` and the end of the head; each status was seen from nginx 1.22.1.
const SMUGGLING: &[(&[u8], u16, &str)] = &[
    (
        b"Content-Length: 0\r\nContent-Length: 0",
        400,
        "duplicate header line: \"Content-Length: 0\", previous value: \"Content-Length: 0\"",
    ),
    (
        b"Content-Length: 1\r\ncontent-length: 2",
        400,
        "duplicate header line: \"content-length: 2\", previous value: \"Content-Length: 1\"",
    ),
    (b"Content-Length: 1, 1", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: +1", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: -1", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: 1\t", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: 0x1", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: 1.0", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length:", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: 9223372036854775808", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length: 18446744073709551617", 400, "invalid \"Content-Length\" header"),
    (b"Content-Length\t: 1", 400, "invalid header line: \"Content-Length\\x09...\""),
    (b"Content-Length : 1", 400, "invalid header line: \"Content-Length\\x20...\""),
    (b"Content-Length: 00001 ", OK, ""),
    (b"Content_Length: 1", OK, ""),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        400,
        "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
    ),
    (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        400,
        "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        400,
        "duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\"",
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        400,
        "duplicate header line: \"Transfer-Encoding: x\", previous value: \"Transfer-Encoding: chunked\"",
    ),
    (b"Transfer-Encoding: identity", 501, "unknown \"Transfer-Encoding\": \"identity\""),
    (b"Transfer-Encoding: identity\r\nContent-Length: 1", 501, "unknown \"Transfer-Encoding\": \"identity\""),
    (b"Transfer-Encoding: gzip, chunked", 501, "unknown \"Transfer-Encoding\": \"gzip, chunked\""),
    (b"Transfer-Encoding: chunked, identity", 501, "unknown \"Transfer-Encoding\": \"chunked, identity\""),
    (b"Transfer-Encoding: xchunked", 501, "unknown \"Transfer-Encoding\": \"xchunked\""),
    (b"Transfer-Encoding:\x0bchunked", 501, "unknown \"Transfer-Encoding\": \"\x0bchunked\""),
    (b"Transfer-Encoding:\tchunked", 501, "unknown \"Transfer-Encoding\": \"\tchunked\""),
    (b"Transfer-Encoding: \"chunked\"", 501, "unknown \"Transfer-Encoding\": \"\"chunked\"\""),
    (b"Transfer-Encoding: chunked;q=1", 501, "unknown \"Transfer-Encoding\": \"chunked;q=1\""),
    (b"Transfer-Encoding:", 501, "unknown \"Transfer-Encoding\": \"\""),
    (b"Transfer-Encoding: \r\nContent-Length: 1", 501, "unknown \"Transfer-Encoding\": \"\""),
    (b"Transfer-Encoding\0: chunked", 400, "invalid header line: \"Transfer-Encoding\\x00...\""),
    (b"Transfer-Encoding: Chunked", OK, ""),
    (b"Transfer_Encoding: chunked", OK, ""),
    (b" folded: x", 400, "invalid header line: \"\\x20...\""),
    (b"X: a\r\n b", 400, "invalid header line: \"\\x20...\""),
    (b"X: a\r\n\tTransfer-Encoding: chunked", 400, "invalid header line: \"\\x09...\""),
    (b"X : a", 400, "invalid header line: \"X\\x20...\""),
    (b": a", 400, "invalid header line: \"\\x3a...\""),
    (b"X:a\0b", 400, "invalid header line: \"X:a\\x00...\""),
    (b"X\0:a", 400, "invalid header line: \"X\\x00...\""),
    (b"X:a\rb", 400, "invalid header line: \"X:a\\x0d...\""),
    (b"X:a\rTransfer-Encoding: chunked", 400, "invalid header line: \"X:a\\x0d...\""),
    (b"X\rY: 1", 400, "invalid header line: \"X\\x0d...\""),
    (b"\rX: 1", 400, "invalid header line: \"\\x0d...\""),
    (b"X\x7f: 1", 400, "invalid header line: \"X\\x7f...\""),
    (b"X y: 1", 400, "invalid header line: \"X\\x20...\""),
    (b"X:a\r\r\nY: 1", OK, ""),
    (b"X:a\nY: 1", OK, ""),
    (b"X:\x01", OK, ""),
    (b"X", OK, ""),
    (b"Host: a", 400, "duplicate host header: \"Host: a\", previous value: \"Host: a\""),
    (b"host: b", 400, "duplicate host header: \"host: b\", previous value: \"Host: a\""),
    (
        b"Authorization: 0\r\nAuthorization: 0",
        400,
        "duplicate header line: \"Authorization: 0\", previous value: \"Authorization: 0\"",
    ),
    (b"Expect: 0\r\nExpect: 0", 400, "duplicate header line: \"Expect: 0\", previous value: \"Expect: 0\""),
    (
        b"Content-Range: 0\r\nContent-Range: 0",
        400,
        "duplicate header line: \"Content-Range: 0\", previous value: \"Content-Range: 0\"",
    ),
    (
        b"If-Range: 0\r\nIf-Range: 0",
        400,
        "duplicate header line: \"If-Range: 0\", previous value: \"If-Range: 0\"",
    ),
    (
        b"If-Match: 0\r\nIf-Match: 0",
        400,
        "duplicate header line: \"If-Match: 0\", previous value: \"If-Match: 0\"",
    ),
    (b"Range: 0\r\nRange: 0", OK, ""),
    (b"Content-Type: 0\r\nContent-Type: 0", OK, ""),
    (b"Connection: 0\r\nConnection: 0", OK, ""),
];

#[test]
fn smuggling() {
    for (lines, want, log) in SMUGGLING {
        let text = [b"POST / HTTP/1.1\r\nHost: a\r\n", *lines, b"\r\n\r\nx"].concat();
        let name = lines.escape_ascii();
        let Err(bad) = check(&text) else {
            assert_eq!(*want, OK, "{name}");
            continue;
        };
        let mut out = Vec::new();
        bad.log_text(&text, &mut out);
        assert_eq!(
            (bad.status(), String::from_utf8_lossy(&out)),
            (*want, format!("client sent {log}").into()),
            "{name}"
        );
        assert_eq!(bad.action(), "reading client request headers");
    }
}

#[test]
fn bodies() {
    let framing = |lines: &str| check(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes());
    assert_eq!(framing(""), Ok(Framing::None));
    assert_eq!(framing("Content-Length: 0\r\n"), Ok(Framing::Length(0)));
    assert_eq!(framing("Content-Length: 00012 \r\n"), Ok(Framing::Length(12)));
    assert_eq!(framing("Content_Length: 12\r\n"), Ok(Framing::None));
    assert_eq!(framing("Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(i64::MAX as u64)));
    assert_eq!(framing("Transfer-Encoding: CHUNKED\r\n"), Ok(Framing::Chunked));
}

#[test]
fn refusals_come_in_nginxs_order() {
    let table: &[(&str, Result<Framing, BadRequest>)] = &[
        ("GET / HTTP/1.1\r\n", Err(BadRequest::NoHost)),
        ("GET http://b/ HTTP/1.1\r\n", Err(BadRequest::NoHost)),
        ("GET http://b/ HTTP/1.0\r\n", Ok(Framing::None)),
        ("GET / HTTP/1.0\r\n", Ok(Framing::None)),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: foo\r\nContent-Length: a\r\n", Err(BadRequest::NoHost)),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", Err(BadRequest::TransferEncoding10)),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n", Err(BadRequest::TransferEncoding10)),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: a\r\n",
            Err(BadRequest::InvalidContentLength),
        ),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n", Err(BadRequest::Trace)),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n", Err(BadRequest::Connect)),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: foo\r\n", Err(BadRequest::InvalidContentLength)),
        ("GET / HTTP/1.1\r\nHost:\r\n", Err(BadRequest::InvalidHost)),
        ("GET / HTTP/1.1\r\nHost\r\n", Err(BadRequest::InvalidHost)),
    ];
    for (head, want) in table {
        assert_eq!(check(format!("{head}\r\n").as_bytes()), *want, "{head}");
    }
    assert_eq!((BadRequest::Trace.status(), BadRequest::NoHost.status()), (405, 400));
}

/// The `Connection` lines and whether nginx keeps a connection of HTTP/1.0 and of HTTP/1.1.
#[test]
fn keep_alive() {
    let table = [
        ("", false, true),
        ("Connection: close\r\n", false, false),
        ("Connection: Close\r\n", false, false),
        ("Connection: xclosex\r\n", false, false),
        ("Connection: keep-alive\r\n", true, true),
        ("Connection: close, keep-alive\r\n", false, false),
        ("Connection: keep-alive, close\r\n", false, false),
        ("Connection: close\r\nConnection: keep-alive\r\n", true, true),
        ("Connection: keep-alive\r\nConnection: close\r\n", false, false),
        ("Connection: close\r\nConnection: foo\r\n", false, false),
        ("Connection: upgrade\r\n", false, true),
    ];
    for (lines, old, new) in table {
        for (version, want) in [("1.0", old), ("1.1", new)] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n").into_bytes();
            let mut head = RequestHead::default();
            RequestParser::new().parse(&text, &mut head, &Limits::default()).unwrap();
            assert_eq!(head.keep_alive(&text), want, "{version} {lines}");
        }
    }
}

#[test]
fn expectations() {
    let expects = |version: &str, value: &str| {
        let text = format!("POST / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n").into_bytes();
        let mut head = RequestHead::default();
        RequestParser::new().parse(&text, &mut head, &Limits::default()).unwrap();
        head.expects_continue(&text)
    };
    assert!(expects("1.1", "100-Continue"));
    assert!(!expects("1.0", "100-continue"));
    assert!(!expects("1.1", "100-continue, x"));
}
