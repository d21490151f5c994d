//! Heads: the text of a request as fields, and the fields of an answer as text.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};

/// What HTTP/2 has no place for (RFC 9113, 8.2.2), or says in another way.
const LEFT_OUT: [&[u8]; 6] =
    [b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

/// The head of an HTTP/1 request, and what stands behind it: a body that the configuration gives.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn request(text: &[u8], encrypted: bool) -> Result<(http::Request<()>, &[u8]), String> {
    let (line, mut rest) = line(text).ok_or("no request line")?;
    let (method, target) = target(line).ok_or("no request line")?;
    let mut head = http::Request::new(());
    *head.method_mut() = http::Method::from_bytes(method).map_err(|_| "invalid http2 method")?;
    let (mut host, mut fields) = (&b"localhost"[..], HeaderMap::with_capacity(16));
    let body = loop {
        let (line, next) = self::line(rest).ok_or("invalid http2 header")?;
        rest = next;
        if line.is_empty() {
            break rest;
        }
        let colon = memchr::memmem::find(line, b": ").ok_or("invalid http2 header")?;
        let (name, value) = (&line[..colon], &line[colon + 2..]);
        if name.eq_ignore_ascii_case(b"host") {
            host = value;
        }
        if !LEFT_OUT.iter().any(|out| name.eq_ignore_ascii_case(out)) {
            let name = HeaderName::from_bytes(name).map_err(|_| "invalid http2 header name")?;
            let value = HeaderValue::from_bytes(value).map_err(|_| "invalid http2 header value")?;
            fields.append(name, value);
        }
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if encrypted { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host).map_err(|_| "invalid http2 host")?);
    uri.path_and_query = Some(path(target).ok_or("invalid http2 URI")?);
    *head.uri_mut() = http::Uri::from_parts(uri).map_err(|_| "invalid http2 URI")?;
    *head.headers_mut() = fields;
    Ok((head, body))
}

/// The first line and what follows it.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memmem::find(text, b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}
/// Method and target of a request line.
fn target(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let method = memchr::memchr(b' ', line)?;
    let version = memchr::memrchr(b' ', line)?;
    Some((&line[..method], line.get(method + 1..version)?))
}
/// Bytes that no URI has are escaped; clients may have sent them all the same.
fn path(target: &[u8]) -> Option<PathAndQuery> {
    if let Ok(path) = PathAndQuery::try_from(target) {
        return Some(path);
    }
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => escaped.push(*byte),
            byte => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    PathAndQuery::try_from(escaped).ok()
}

/// Appends an answer's head as HTTP/1 has it.
pub fn put_answer(head: &http::Response<impl Sized>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status().as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
    put_fields(head.headers(), out);
    out.extend_from_slice(b"\r\n");
}

/// Appends fields as lines.
pub fn put_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_change_their_form() {
        let text =
            b"POST /a?b HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\nA: 1\r\nB: 2\r\nA: 3\r\n\r\nbody";
        let (head, body) = request(text, true).unwrap();
        assert_eq!((head.method(), head.uri().to_string()), (&http::Method::POST, "https://x:1/a?b".into()));
        assert_eq!(body, b"body");
        let mut lines = Vec::new();
        put_fields(head.headers(), &mut lines);
        assert_eq!(lines, b"a: 1\r\na: 3\r\nb: 2\r\n");
    }

    #[test]
    fn targets_that_are_none_are_escaped() {
        let (head, _) = request(b"GET /\"<\x80%41? HTTP/1.1\r\n\r\n", false).unwrap();
        assert!(head.uri().to_string().starts_with("http://localhost/"));
        assert!(request(b"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", false).is_err());
        assert!(request(b"GET / HTTP/1.1\r\nA\r\n\r\n", false).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in proptest::collection::vec(0u8.., 0..200)) {
            let _ = request(&text, false);
            let _ = request(&[b"GET /".as_slice(), &text, b" HTTP/1.1\r\n", &text, b"\r\n\r\n"].concat(), true);
        }
    }
}
