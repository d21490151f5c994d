//! Variables of the request's headers.

use formats::pairs;
use wire::{Framing, Known};

use super::{found, number};
use crate::http::request::Request;

/// Whether a header is the one that a variable's name means: in any case, with `_` for `-`.
pub fn is_named(header: &[u8], name: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| {
        let a = if *a == b'-' { b'_' } else { a.to_ascii_lowercase() };
        a == *b
    };
    header.len() == name.len() && header.iter().zip(name).all(same)
}

/// Appends values one behind the other; `false` if there is none.
pub fn join<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &[u8], out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for value in values {
        if any {
            out.extend_from_slice(separator);
        }
        any = true;
        out.extend_from_slice(value);
    }
    any
}

/// `$http_name`: all headers of a name (`Cookie` by its own separator, RFC 9113, 8.2.3).
pub fn header(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let request = &*request;
    let headers = request.head.headers.iter().filter(|header| is_named(request.text(header.name), name));
    let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
    join(headers.map(|header| request.text(header.value)), separator, out)
}

pub fn cookie(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let request = &*request;
    let mut cookies = request.head.headers.all(Known::Cookie);
    found(cookies.find_map(|header| pairs::cookie(request.text(header.value), name)), out)
}

pub fn content_type(request: &mut Request, out: &mut Vec<u8>) -> bool {
    found(request.header(Known::ContentType), out)
}

/// The header, or what a chunked body turned out to be.
pub fn content_length(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if let Some(length) = request.header(Known::ContentLength) {
        return found(Some(length), out);
    }
    let body = &request.body;
    let known = body.framing == Framing::Chunked && body.complete && !body.broken;
    known && number(request.body.read, out)
}

/// The user's name that came with Basic authentication, whether or not it was checked.
pub fn remote_user(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let credentials = request.challenge().credentials;
    request.header(credentials).is_some_and(|value| pairs::basic_user(value, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_named(b"X-Forwarded-For", b"x_forwarded_for"));
        assert!(is_named(b"x_under", b"x_under"));
        assert!(!is_named(b"X-Forwarded", b"x_forwarded_for"));
        assert!(!is_named(b"", b"x"));
    }

    #[test]
    fn joined() {
        let all = |values: &[&'static [u8]]| {
            let mut out = b"=".to_vec();
            let any = join(values.iter().copied(), b", ", &mut out);
            (any, out)
        };
        assert_eq!(all(&[b"a", b"", b"c"]), (true, b"=a, , c".to_vec()));
        assert_eq!(all(&[b""]), (true, b"=".to_vec()));
        assert_eq!(all(&[]), (false, b"=".to_vec()));
    }
}
