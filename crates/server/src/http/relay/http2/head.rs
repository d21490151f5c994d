//! A request's head: from HTTP/1's text to compressed fields.

use frames::{put_field, put_known, put_whole};

use crate::log::shown;

/// What HTTP/2 has no place for (RFC 9113, 8.2.2), or says in another way.
const LEFT_OUT: [&[u8]; 6] =
    [b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
/// nginx's bound for a name or a value: four bytes say how long it is.
const LONGEST: usize = 127 + (1 << 21) - 1;

/// What stands before the fields, by its numbers in the table.
const AUTHORITY: usize = 1;
const METHOD: usize = 2;
const GET: u8 = 2;
const POST: u8 = 3;
const PATH: usize = 4;
const ROOT: u8 = 4;
const HTTP: u8 = 6;
const HTTPS: u8 = 7;

/// Appends the head of an HTTP/1 request. What stands behind it is given back: a body that the configuration gives.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn request<'a>(text: &'a [u8], encrypted: bool, out: &mut Vec<u8>) -> Result<&'a [u8], String> {
    let (line, head) = line(text).ok_or("no request line")?;
    let (method, target) = target(line).ok_or("no request line")?;
    if method.len() > LONGEST {
        return Err(format!("too long http2 method: \"{}\"", shown(method)));
    }
    if target.len() > LONGEST {
        return Err("too long http2 URI".into());
    }
    match method {
        b"GET" => put_whole(GET, out),
        b"POST" => put_whole(POST, out),
        method => put_known(METHOD, method, out),
    }
    put_whole(if encrypted { HTTPS } else { HTTP }, out);
    match target {
        b"/" => put_whole(ROOT, out),
        target => put_known(PATH, target, out),
    }
    put_known(AUTHORITY, host(head)?, out);
    let mut rest = head;
    while let Some((name, value)) = field(&mut rest)? {
        if LEFT_OUT.iter().any(|left_out| name.eq_ignore_ascii_case(left_out)) {
            continue;
        }
        check(name, value)?;
        put_field(name, value, out);
    }
    Ok(rest)
}

/// What `:authority` says.
fn host(mut head: &[u8]) -> Result<&[u8], String> {
    while let Some((name, value)) = field(&mut head)? {
        if name.eq_ignore_ascii_case(b"host") {
            return match value.len() > LONGEST {
                true => Err(format!("too long http2 host: \"{}\"", shown(value))),
                false => Ok(value),
            };
        }
    }
    Ok(b"localhost")
}
/// Name and value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The next field; `None` at the head's end.
fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, String> {
    let (line, next) = line(rest).ok_or("invalid http2 header")?;
    *rest = next;
    if line.is_empty() {
        return Ok(None);
    }
    let colon = memchr::memmem::find(line, b": ").ok_or("invalid http2 header")?;
    Ok(Some((&line[..colon], &line[colon + 2..])))
}
/// What no field can have.
fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    if name.len() > LONGEST {
        return Err(format!("too long http2 header name: \"{}\"", shown(name)));
    }
    if value.len() > LONGEST {
        return Err(format!("too long http2 header value: \"{}: {}\"", shown(name), shown(value)));
    }
    if name.is_empty() || name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b':') {
        return Err("invalid http2 header name".into());
    }
    match value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
        true => Err("invalid http2 header value".into()),
        false => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(block: &[u8]) -> String {
        let mut text = String::new();
        let each = |name: &[u8], value: &[u8]| {
            text += &format!("{}={};", shown(name), shown(value));
            true
        };
        frames::Decoder::without_memory().decode(block, 100, &mut Vec::new(), each).unwrap();
        text
    }

    #[test]
    fn requests_change_their_form() {
        for (line, fields_before) in [
            ("POST /a?b", ":method=POST;:scheme=https;:path=/a?b;"),
            ("PUT /\"<\u{80}%41?", ":method=PUT;:scheme=https;:path=/\"<\u{80}%41?;"),
            ("GET /", ":method=GET;:scheme=https;:path=/;"),
        ] {
            let text = format!(
                "{line} HTTP/1.1\r\nA: 1\r\nHost: x:1\r\nConnection: close\r\nB: 2\r\nA: \r\n\r\nbody"
            );
            let mut block = Vec::new();
            assert_eq!(request(text.as_bytes(), true, &mut block), Ok(&b"body"[..]));
            assert_eq!(fields(&block), format!("{fields_before}:authority=x:1;a=1;b=2;a=;"));
        }
    }

    #[test]
    fn what_no_head_can_have_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for (text, wrong) in [
            ("GET / HTTP/1.1\r\nA: \n\r\n\r\n", "invalid http2 header value"),
            ("GET / HTTP/1.1\r\nA b: c\r\n\r\n", "invalid http2 header name"),
            ("GET / HTTP/1.1\r\nA\r\n\r\n", "invalid http2 header"),
            (&format!("GET /{long} HTTP/1.1\r\n\r\n"), "too long http2 URI"),
            (&format!("{long} / HTTP/1.1\r\n\r\n"), &format!("too long http2 method: \"{long}\"")),
            (&format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"), &format!("too long http2 host: \"{long}\"")),
            (
                &format!("GET / HTTP/1.1\r\n{long}: a\r\n\r\n"),
                &format!("too long http2 header name: \"{long}\""),
            ),
            (
                &format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"),
                &format!("too long http2 header value: \"a: {long}\""),
            ),
        ] {
            assert_eq!(request(text.as_bytes(), false, &mut Vec::new()), Err(wrong.into()));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in proptest::collection::vec(0u8.., 0..200)) {
            let mut block = Vec::new();
            let _ = request(&text, false, &mut block);
            block.clear();
            if request(&[b"GET /", &text[..], b" HTTP/1.1\r\n", &text, b"\r\n\r\n"].concat(), true, &mut block).is_ok() {
                fields(&block);
            }
        }
    }
}
