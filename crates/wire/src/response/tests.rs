//! Tests of response: tables of what nginx does, and properties.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{Method, ResponseFraming};

const LIMIT: usize = 4096;

fn parse(text: &[u8]) -> Result<Option<ResponseHead>, BadResponse> {
    let mut head = ResponseHead::default();
    let progress = ResponseParser::new().parse(text, &mut head, LIMIT)?;
    Ok((progress == Progress::Done).then_some(head))
}

fn framing(lines: &str, method: Method) -> Result<ResponseFraming, String> {
    let text = format!("HTTP/1.1 {lines}\r\n\r\n").into_bytes();
    let refusal = |bad: BadResponse| {
        let mut log = Vec::new();
        bad.log_text(&text, &mut log);
        String::from_utf8(log).unwrap()
    };
    parse(&text).map_err(refusal)?.unwrap().framing(method, &text).map_err(refusal)
}

#[test]
fn status_lines_nginx_takes() {
    for (line, status, text, version) in [
        ("HTTP/1.1 200 OK", 200, "200 OK", Version::Http11),
        ("HTTP/1.0 404 Not Found", 404, "404 Not Found", Version::Http10),
        ("HTTP/1.1 200", 200, "200", Version::Http11),
        ("HTTP/1.1 200 ", 200, "200 ", Version::Http11),
        ("HTTP/1.1  200 OK", 200, "200 OK", Version::Http11),
        ("HTTP/2.0 200 OK", 200, "200 OK", Version::Http11),
        ("HTTP/11.11 200 OK", 200, "200 OK", Version::Http11),
        ("HTTP/1.1 200.1 OK", 200, "200.1 OK", Version::Http11),
        ("HTTP/1.1 000 OK", 0, "000 OK", Version::Http11),
        ("HTTP/1.1 999 \0", 999, "999 \0", Version::Http11),
    ] {
        for end in ["\r\n", "\n"] {
            let bytes = format!("{line}{end}{end}hi").into_bytes();
            let head = parse(&bytes).unwrap().unwrap();
            let found = (head.status, head.status_line_text.of(&bytes), head.version);
            assert_eq!(found, (status, text.as_bytes(), version), "{line}");
            assert_eq!(&bytes[head.length..], b"hi", "{line}");
        }
    }
}

#[test]
fn no_status_lines() {
    for text in [
        "hello",
        "H\r\n",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 200OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.1111 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/a.1 200 OK",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1 200 OK",
        "http/1.1 200 OK",
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err(), BadResponse::NoStatusLine, "{text:?}");
    }
    for text in ["", "HTTP", "HTTP/", "HTTP/1.1 20", "HTTP/1.1 200 OK\r", "HTTP/1.1 200 OK\r\nX: 1\r\n"] {
        assert!(parse(text.as_bytes()).unwrap().is_none(), "{text:?}");
    }
    let mut head = ResponseHead::default();
    head.make_http09();
    assert_eq!((head.version, head.status, head.length), (Version::Http09, 200, 0));
    assert!(!head.keep_alive(ResponseFraming::Length(0), b""));
}

#[test]
fn headers_nginx_takes() {
    let text = b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nX@y: 1\r\nX_y: 2\r\nX\r\n\r\n";
    let head = parse(text).unwrap().unwrap();
    let names: Vec<_> = head.headers.iter().map(|header| header.name.of(text)).collect();
    assert_eq!(names, [&b"X@y"[..], b"X_y", b"X"]);
}

#[test]
fn bodies() {
    use ResponseFraming::{Chunked, Length, None, UntilClose};
    let table = [
        ("200 OK", Method::Get, UntilClose),
        ("200 OK\r\nContent-Length: 2", Method::Get, Length(2)),
        ("200 OK\r\nContent-Length: 2", Method::Head, None),
        ("200 OK\r\nTransfer-Encoding: Chunked", Method::Get, Chunked),
        ("200 OK\r\nTransfer-Encoding: chunked", Method::Head, None),
        ("204 No\r\nContent-Length: 2", Method::Get, Length(0)),
        ("304 Not\r\nTransfer-Encoding: chunked", Method::Get, Length(0)),
        ("103 Early", Method::Get, None),
        ("101 Switching", Method::Get, None),
    ];
    for (lines, method, want) in table {
        assert_eq!(framing(lines, method), Ok(want), "{lines}");
    }
}

/// What two servers could read differently. nginx since 1.23 refuses what 1.22 let pass.
#[test]
fn smuggling() {
    let length = "Content-Length: 2\r\n";
    let table = [
        (
            format!("{length}Content-Length: 2"),
            "duplicate header line: \"Content-Length: 2\", previous value: \"Content-Length: 2\"",
        ),
        (
            format!("{length}Transfer-Encoding: chunked"),
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            format!("{length}Transfer-Encoding: gzip"),
            "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (format!("Transfer-Encoding: gzip\r\n{}", length.trim()), "unknown \"Transfer-Encoding\": \"gzip\""),
        ("Content-Length: x".into(), "invalid \"Content-Length\" header: \"Content-Length: x\""),
        ("Content-Length: -2".into(), "invalid \"Content-Length\" header: \"Content-Length: -2\""),
        ("Transfer-Encoding: gzip, chunked".into(), "unknown \"Transfer-Encoding\": \"gzip, chunked\""),
        ("Transfer-Encoding: identity".into(), "unknown \"Transfer-Encoding\": \"identity\""),
        ("X y: 1".into(), "invalid header: \"X\\x20...\""),
        ("X: 1\r\n fold".into(), "invalid header: \"\\x20...\""),
        ("X:\0".into(), "invalid header: \"X:\\x00...\""),
        (": 1".into(), "invalid header: \"\\x3a...\""),
        ("X: a\rb".into(), "invalid header: \"X: a\\x0d...\""),
    ];
    for (lines, want) in table {
        assert_eq!(
            framing(&format!("200 OK\r\n{lines}"), Method::Get),
            Err(format!("upstream sent {want}")),
            "{lines}"
        );
    }
}

#[test]
fn the_first_of_two_counts() {
    let text = b"HTTP/1.1 200 OK\r\nETag: a\r\nSet-Cookie: x\r\netag: b\r\nSet-Cookie: y\r\n\r\n";
    let head = parse(text).unwrap().unwrap();
    assert_eq!((head.headers.len(), head.dropped.len()), (3, 1));
    assert_eq!(head.headers.value(Known::ETag, text), Some(&b"a"[..]));
    let mut log = Vec::new();
    head.log_dropped(head.dropped[0], text, &mut log);
    let want = "upstream sent duplicate header line: \"etag: b\", previous value: \"ETag: a\", ignored";
    assert_eq!(String::from_utf8(log).unwrap(), want);
}

#[test]
fn keep_alive() {
    let kept = |text: &str, framing| {
        let bytes = format!("{text}\r\n\r\n").into_bytes();
        parse(&bytes).unwrap().unwrap().keep_alive(framing, &bytes)
    };
    assert!(kept("HTTP/1.1 200 OK", ResponseFraming::Length(1)));
    assert!(kept("HTTP/1.1 200 OK\r\nConnection: upgrade", ResponseFraming::Chunked));
    assert!(!kept("HTTP/1.1 200 OK", ResponseFraming::UntilClose));
    assert!(!kept("HTTP/1.1 200 OK\r\nConnection: x, Close", ResponseFraming::Length(1)));
    assert!(!kept("HTTP/1.0 200 OK\r\nConnection: keep-alive", ResponseFraming::Length(1)));
    assert!(!kept("HTTP/1.1 101 Switching", ResponseFraming::None));
}

#[test]
fn a_head_fits_into_proxy_buffer_size_or_not() {
    let start = "HTTP/1.1 200 OK\r\nX: ";
    let head =
        |length: usize| format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).into_bytes();
    assert!(parse(&head(LIMIT)).unwrap().is_some());
    assert_eq!(parse(&head(LIMIT + 1)).unwrap_err(), BadResponse::TooBig);
    assert_eq!(parse(&head(LIMIT + 1)[..LIMIT]).unwrap_err(), BadResponse::TooBig);
    assert!(parse(&head(LIMIT)[..LIMIT - 1]).unwrap().is_none());
}

fn responses() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"X: 1\r\n"[..], b"HTTP/1.1 200 OK\r\n", b"Content-Length: 3\r\n", b"ETag: x\r\n", b" ", b":", b"\r", b"\n",
            b"\r\n", b"\0", b"abcdefghijklmnop", b"HTTP/",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let start =
        prop::sample::select(vec![&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0  404 ", b"HTTP/1.1 200\n"]);
    let end = prop::sample::select(vec![&b""[..], b"\r\n\r\n"]);
    let middle = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    (start, middle, end).prop_map(|(start, middle, end)| [start, &middle, end].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However a response is cut, it is the same response. Only the refusal of a line that never ends may
    /// come later.
    #[test]
    fn cuts_change_nothing(text in responses(), cut in 1usize..9, limit in prop::sample::select(vec![40, LIMIT])) {
        let mut whole_head = ResponseHead::default();
        let whole = ResponseParser::new().parse(&text, &mut whole_head, limit);
        let (mut parser, mut head, mut end) = (ResponseParser::new(), ResponseHead::default(), 0);
        let result = loop {
            end = text.len().min(end + cut);
            let result = parser.parse(&text[..end], &mut head, limit);
            if result != Ok(Progress::Partial) || end == text.len() {
                break result;
            }
        };
        if result == Ok(Progress::Partial) && whole.is_err() {
            return Ok(());
        }
        prop_assert_eq!(whole, result);
        if whole == Ok(Progress::Done) {
            prop_assert_eq!(format!("{whole_head:?}"), format!("{head:?}"));
            let spans = head.headers.iter().flat_map(|header| [header.name, header.value]);
            for span in spans.chain([head.status_line_text]) {
                prop_assert!(span.start <= span.end && span.end as usize <= head.length);
            }
            let _ = head.framing(Method::Get, &text);
        } else if let Err(bad) = whole {
            bad.log_text(&text, &mut Vec::new());
        }
    }
}
