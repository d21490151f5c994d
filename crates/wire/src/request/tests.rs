//! Tests of request: tables of what nginx does, and properties.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::head::Method;
use crate::{Framing, Known};

fn parse(text: &[u8]) -> Result<RequestHead, BadRequest> {
    let mut head = RequestHead::default();
    let progress = RequestParser::new().parse(text, &mut head, &Limits::default())?;
    assert_eq!(progress, Progress::Done, "{}", text.escape_ascii());
    Ok(head)
}

/// All that a server checks before it serves a request.
fn check(text: &[u8]) -> Result<(RequestHead, Framing), BadRequest> {
    let head = parse(text)?;
    head.host_name(text, &mut Vec::new())?;
    crate::uri::normalize(head.path.of(text), true, &mut Vec::new())?;
    let framing = head.framing(text)?;
    Ok((head, framing))
}

fn refusal(text: &[u8]) -> (u16, String) {
    let bad = check(text).expect_err(&text.escape_ascii().to_string());
    let mut log = Vec::new();
    bad.log_text(text, &mut log);
    (bad.status(), String::from_utf8_lossy(&log).into_owned())
}

#[test]
fn a_browser_request() {
    let text = b"GET /a/b?x=1 HTTP/1.1\r\nHost: Example.com:80\r\nuser-agent:  me \r\nX: \r\n\r\nrest";
    let head = parse(text).unwrap();
    assert_eq!((head.method, head.version, head.plain_path), (Method::Get, Version::Http11, true));
    assert_eq!(head.line.of(text), b"GET /a/b?x=1 HTTP/1.1");
    assert_eq!(head.target.of(text), b"/a/b?x=1");
    assert_eq!(head.path.of(text), b"/a/b");
    assert_eq!(head.args.of(text), b"x=1");
    assert_eq!(head.protocol.of(text), b"HTTP/1.1");
    assert_eq!(head.headers.value(Known::UserAgent, text), Some(&b"me"[..]));
    assert_eq!(head.headers[2].value.of(text), b"");
    assert_eq!(&text[head.length..], b"rest");
    assert_eq!(head.host_name(text, &mut Vec::new()).unwrap().unwrap(), b"example.com");
}

/// Request lines nginx serves: the line, then `$uri`'s source, `$args`, `$request_uri` and `$host`.
#[test]
fn request_lines_nginx_serves() {
    let table: &[(&str, &str, &str, &str, &str)] = &[
        ("GET / HTTP/1.1", "/", "", "/", "a"),
        ("GET  /  HTTP/1.0  ", "/", "", "/", "a"),
        ("G_-T / HTTP/1.0", "/", "", "/", "a"),
        ("-- / HTTP/1.0", "/", "", "/", "a"),
        ("GET / HTTP/1.2", "/", "", "/", "a"),
        ("GET / HTTP/1.01", "/", "", "/", "a"),
        ("GET / HTTP/1.100", "/", "", "/", "a"),
        ("GET /x?y HTTP/1.0", "/x", "y", "/x?y", "a"),
        ("GET /x#f?q HTTP/1.0", "/x", "", "/x#f?q", "a"),
        ("GET /x?q#f HTTP/1.0", "/x", "q", "/x?q#f", "a"),
        ("GET /x?q?r HTTP/1.0", "/x", "q?r", "/x?q?r", "a"),
        ("GET http://b/x?y HTTP/1.1", "/x", "y", "/x?y", "b"),
        ("GET http://b HTTP/1.1", "/", "", "/", "b"),
        ("GET http://b?q=1 HTTP/1.1", "/", "q=1", "?q=1", "b"),
        ("GET http://B.:80/x HTTP/1.1", "/x", "", "/x", "b"),
        ("GET http://b: HTTP/1.1", "/", "", "/", "b"),
        ("GET http://[::1]:80/x HTTP/1.1", "/x", "", "/x", "[::1]"),
        ("GET h2+x://b/x HTTP/1.1", "/x", "", "/x", "b"),
    ];
    for (line, path, args, target, host) in table {
        let text = [line.as_bytes(), b"\r\nHost: a\r\n\r\n"].concat();
        let (head, _) = check(&text).unwrap_or_else(|bad| panic!("{line}: {bad:?}"));
        assert_eq!(head.path.of(&text), path.as_bytes(), "{line}");
        assert_eq!(head.args.of(&text), args.as_bytes(), "{line}");
        assert_eq!(head.target.of(&text), target.as_bytes(), "{line}");
        assert_eq!(head.line.of(&text), line.as_bytes());
        assert_eq!(head.host_name(&text, &mut Vec::new()).unwrap().unwrap(), host.as_bytes(), "{line}");
    }
}

#[test]
fn request_lines_nginx_refuses() {
    let method = (400, "client sent invalid method");
    let request = (400, "client sent invalid request");
    let version = (505, "client sent invalid version");
    let host = (400, "client sent invalid host in request line");
    let table: &[(&[u8], (u16, &str))] = &[
        (b"get / HTTP/1.1", method),
        (b" GET / HTTP/1.0", method),
        (b"GET\t/ HTTP/1.0", method),
        (b"\x16\x03\x01\x02", method),
        (b"GET * HTTP/1.0", request),
        (b"OPTIONS * HTTP/1.1", request),
        (b"PRI * HTTP/2.0", request),
        (b"CONNECT a HTTP/1.1", request),
        (b"CONNECT a: HTTP/1.1", request),
        (b"CONNECT a:80/ HTTP/1.1", request),
        (b"CONNECT http://a:80 HTTP/1.1", request),
        (b"GET ?x HTTP/1.0", request),
        (b"GET http://a_b/x HTTP/1.0", request),
        (b"GET http://a%41/x HTTP/1.0", request),
        (b"GET /a b HTTP/1.0", request),
        (b"GET /a\tb HTTP/1.0", request),
        (b"GET /a\x7fb HTTP/1.0", request),
        (b"GET /a\x00b HTTP/1.0", request),
        (b"GET /\tHTTP/1.0", request),
        (b"GET /%2e%2e/ HTTP/1.0", request),
        (b"GET / HTTP/0.9", request),
        (b"GET / HTTP/01.1", request),
        (b"GET / HTTP/1", request),
        (b"GET / HTTP/1.", request),
        (b"GET / HTTP/1.1000", request),
        (b"GET / HTTPS/1.1", request),
        (b"GET / http/1.1", request),
        (b"GET / HTTP/1.0\r", request),
        (b"GET / HTTP/1.0 x", request),
        (b"GET / HTTP/2.0", version),
        (b"GET / HTTP/11.1", version),
        (b"GET http:/x HTTP/1.1", request),
        (b"GET http://b", request),
        (b"GET http://u@b/x HTTP/1.1", request),
        (b"GET http://b:8x/x HTTP/1.1", request),
        (b"GET http://a%2/x HTTP/1.1", request),
        (b"GET http://b#f HTTP/1.1", request),
        (b"GET http://[::1]x/x HTTP/1.1", request),
        (b"GET 1h://b/x HTTP/1.1", request),
        (b"GET http:///x HTTP/1.1", host),
        (b"GET http://..b/x HTTP/1.1", host),
        (b"POST /", (400, "client sent invalid method in HTTP/0.9 request")),
        (b"HEAD / ", (400, "client sent invalid method in HTTP/0.9 request")),
    ];
    for (line, want) in table {
        let text = [line, &b"\r\nHost: a\r\n\r\n"[..]].concat();
        let (status, log) = refusal(&text);
        assert_eq!((status, log.as_str()), *want, "{}", line.escape_ascii());
    }
}

#[test]
fn http09_is_a_line() {
    for text in [&b"GET /x\r\n"[..], b"GET /x \r\n", b"GET /x\n", b"\r\n\r\r\nGET http://b/x\r\n"] {
        let (head, framing) = check(text).unwrap();
        assert_eq!((head.version, framing), (Version::Http09, Framing::None));
        assert_eq!((head.path.of(text), head.length), (&b"/x"[..], text.len()));
        assert!(head.protocol.is_empty() && !head.keep_alive(text));
    }
}

#[test]
fn dropped_header_lines() {
    let text = b"GET / HTTP/1.0\r\nX_y: 1\r\nX@y: 2\r\nX\x80: 3\r\nOk: 4\r\n\r\n";
    let head = parse(text).unwrap();
    let dropped: Vec<_> = head.dropped.iter().map(|line| line.of(text)).collect();
    assert_eq!(dropped, [&b"X_y: 1"[..], b"X@y: 2", b"X\x80: 3"]);
    assert_eq!(head.headers.len(), 1);

    let mut head = RequestHead::default();
    let limits = Limits { underscores_in_headers: true, ..Limits::default() };
    RequestParser::new().parse(text, &mut head, &limits).unwrap();
    assert_eq!((head.headers.len(), head.headers[0].valid), (2, true));

    let limits = Limits { ignore_invalid_headers: false, ..Limits::default() };
    RequestParser::new().parse(text, &mut head, &limits).unwrap();
    assert_eq!((head.headers.len(), head.headers[0].valid, head.dropped.len()), (4, false, 0));
}

/// With buffers of 128 and 2 times 256 bytes, as nginx decides.
#[test]
fn heads_fit_into_nginx_buffers_or_not() {
    let limits = Limits { first_buffer: 128, large_buffers: (2, 256), ..Limits::default() };
    let head = |line: usize, headers: &[usize]| {
        let mut text = format!("GET /{} HTTP/1.0\r\n", "a".repeat(line - 16)).into_bytes();
        for length in headers {
            text.extend_from_slice(format!("X: {}\r\n", "b".repeat(length - 5)).as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text
    };
    let status = |text: &[u8]| {
        let parsed = RequestParser::new().parse(text, &mut RequestHead::default(), &limits);
        parsed.map_or_else(|bad| bad.status(), |_| 200)
    };
    assert_eq!(status(&head(256, &[])), 200);
    assert_eq!(status(&head(257, &[])), 414);
    assert_eq!(status(&head(128, &[256, 254])), 200);
    assert_eq!(status(&head(128, &[256, 255])), 494);
    assert_eq!(status(&head(20, &[257])), 494);
    assert_eq!(status(&head(100, &[100, 100, 100, 100])), 200);
    assert_eq!(status(&head(100, &[100, 100, 200, 200])), 494);
}

#[test]
fn too_many_headers() {
    let limits = Limits { max_headers: 2, ..Limits::default() };
    let text = b"GET / HTTP/1.0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
    let bad = RequestParser::new().parse(text, &mut RequestHead::default(), &limits);
    assert_eq!(bad, Err(BadRequest::TooManyHeaders));
    let limits = Limits { max_headers: 3, ..limits };
    assert!(RequestParser::new().parse(text, &mut RequestHead::default(), &limits).is_ok());
}

#[test]
fn a_buffer_of_empty_lines_is_not_a_request() {
    let limits = Limits::default();
    let text = vec![b'\n'; limits.longest_head() + 1];
    let bad = RequestParser::new().parse(&text, &mut RequestHead::default(), &limits);
    assert_eq!(bad, Err(BadRequest::TooLongUri));
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&text[..9], &mut RequestHead::default(), &limits), Ok(Progress::Partial));
    assert!(!parser.begun());
}

/// What no HTTP client sends is refused at once, not when its line ends.
#[test]
fn garbage_is_refused_without_a_line_end() {
    for (pieces, want) in [
        (&[&b"\x16\x03\x01"[..]][..], BadRequest::InvalidMethod),
        (&[b"G", b"\x00"], BadRequest::InvalidMethod),
        (&[b"GET /", b"\x01", b"abc"], BadRequest::InvalidRequest),
    ] {
        let (mut parser, mut head, mut text) = (RequestParser::new(), RequestHead::default(), Vec::new());
        let mut last = Ok(Progress::Done);
        for piece in pieces {
            text.extend_from_slice(piece);
            last = parser.parse(&text, &mut head, &Limits::default());
            if last.is_err() {
                break;
            }
        }
        assert_eq!(last, Err(want));
    }
}

/// Pieces of requests, good and bad, that make more of a test than random bytes.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"GET / HTTP/1.1\r\n"[..], b"GET ", b"/a", b"/.", b"//", b"%2e", b"?", b"#", b" HTTP/1.1\r\n", b"http://b",
            b":80", b"[", b"Host: a\r\n", b"Content-Length: 3\r\n", b"X: ", b"_", b":", b" ", b"\r", b"\n", b"\r\n",
            b"\r\n\r\n", b"\0", b"Transfer-Encoding: chunked\r\n", b" HTTP/1.0\r\n", b"bbbbbbbbbbbbbbbbbbbbbbbb",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let start = prop::sample::select(vec![
        &b""[..],
        b"GET /",
        b"GET / HTTP/1.1\r\n",
        b"\r\nPOST /x?y HTTP/1.0\r\nA: b\r\n",
    ]);
    let end = prop::sample::select(vec![&b""[..], b"\r\n\r\n", b" HTTP/1.1\r\n\r\n"]);
    let middle = prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat());
    (start, middle, end).prop_map(|(start, middle, end)| [start, &middle, end].concat())
}

type Outcome = (Result<Progress, BadRequest>, RequestHead);

fn read_in_pieces(text: &[u8], limits: &Limits, mut cut: impl FnMut() -> usize) -> Outcome {
    let (mut parser, mut head, mut end) = (RequestParser::new(), RequestHead::default(), 0);
    loop {
        end = text.len().min(end + cut());
        let result = parser.parse(&text[..end], &mut head, limits);
        if result != Ok(Progress::Partial) || end == text.len() {
            return (result, head);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However a request is cut, it is the same request. Only the refusal of a line that never ends may
    /// come later.
    #[test]
    fn cuts_change_nothing(text in requests(), cuts in prop::collection::vec(1usize..9, 1..9), small in any::<bool>()) {
        let tiny = Limits { first_buffer: 20, large_buffers: (2, 30), ..Limits::default() };
        let limits = if small { tiny } else { Limits::default() };
        let (whole, head) = read_in_pieces(&text, &limits, || text.len().max(1));
        let mut cycle = cuts.iter().cycle();
        let (cut, cut_head) = read_in_pieces(&text, &limits, || *cycle.next().unwrap());
        if cut == Ok(Progress::Partial) && whole.is_err() {
            return Ok(());
        }
        prop_assert_eq!(whole, cut);
        if whole == Ok(Progress::Done) {
            prop_assert_eq!(format!("{head:?}"), format!("{cut_head:?}"));
        }
    }

    /// Nothing panics, all spans lie within the head, and whatever is refused has a text.
    #[test]
    fn spans_stay_in_the_head(text in requests()) {
        let mut head = RequestHead::default();
        match RequestParser::new().parse(&text, &mut head, &Limits::default()) {
            Ok(Progress::Partial) => {}
            Ok(Progress::Done) => {
                prop_assert!(head.length <= text.len());
                let lines = head.headers.iter().flat_map(|header| [header.name, header.value]);
                let parts = [head.line, head.target, head.path, head.args, head.host, head.port, head.protocol];
                for span in lines.chain(parts).chain(head.dropped.iter().copied()) {
                    prop_assert!(span.start <= span.end && span.end as usize <= head.length);
                }
                let _ = head.host_name(&text, &mut Vec::new());
                let _ = head.framing(&text);
                let mut uri = Vec::new();
                let normal = crate::uri::normalize(head.path.of(&text), true, &mut uri);
                if head.plain_path {
                    prop_assert_eq!((normal, &uri[..]), (Ok(()), head.path.of(&text)));
                }
            }
            Err(bad) => bad.log_text(&text, &mut Vec::new()),
        }
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut head = RequestHead::default();
        if let Err(bad) = RequestParser::new().parse(&text, &mut head, &Limits::default()) {
            bad.log_text(&text, &mut Vec::new());
        }
    }
}
