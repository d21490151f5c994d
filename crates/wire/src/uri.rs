//! Paths and arguments: normal form, escapes, look-up.

use memchr::memchr;

use crate::bytes::hex;
use crate::error::BadRequest;

/// The path of a request as locations see it, `$uri`: percent-decoded, without empty segments (where
/// `merge_slashes` is on), `.` and `..`, cut at a fragment or arguments. Replaces what is in `out`.
///
/// A decoded byte counts as if it had been sent: `%2e%2e` climbs and `%2f` separates. Only `%23`, `%25` and
/// `%3f` stand for themselves. Refused: NUL, an incomplete escape, and climbing above the root.
pub fn normalize(path: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<(), BadRequest> {
    out.clear();
    out.reserve(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        if matches!(byte, b'?' | b'#') {
            break;
        }
        let (byte, length) = if byte == b'%' { (escaped(path, at)?, 3) } else { (byte, 1) };
        if byte == b'/' {
            let resolved = end_segment(out)?;
            if !(resolved || merge_slashes && out.last() == Some(&b'/')) {
                out.push(b'/');
            }
        } else {
            out.push(byte);
        }
        at += length;
    }
    end_segment(out)?;
    Ok(())
}

/// The byte escaped at `at`.
fn escaped(path: &[u8], at: usize) -> Result<u8, BadRequest> {
    match unescape_at(path, at) {
        Some(byte) if byte != 0 => Ok(byte),
        _ => Err(BadRequest::InvalidRequest),
    }
}

fn unescape_at(text: &[u8], at: usize) -> Option<u8> {
    let high = hex(*text.get(at + 1)?)?;
    let low = hex(*text.get(at + 2)?)?;
    Some(high << 4 | low)
}

/// Resolves the last segment if it is `.` or `..`, and says whether it was: what stays ends with the slash
/// before it.
fn end_segment(out: &mut Vec<u8>) -> Result<bool, BadRequest> {
    if out.ends_with(b"/.") {
        out.pop();
    } else if out.ends_with(b"/..") {
        out.truncate(out.len() - 3);
        let parent = out.iter().rposition(|&byte| byte == b'/').ok_or(BadRequest::InvalidRequest)?;
        out.truncate(parent + 1);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// One bit for each byte that is to be escaped.
struct Escapes([bool; 256]);

impl Escapes {
    /// Controls, DEL, what is not ASCII, and `more`.
    const fn unprintable_and(more: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            set[byte] = byte < 0x20 || byte >= 0x7f;
            byte += 1;
        }
        let mut at = 0;
        while at < more.len() {
            set[more[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    /// All but RFC 3986's unreserved bytes.
    const fn reserved() -> Self {
        let mut set = [true; 256];
        let mut byte = 0;
        while byte < 256 {
            set[byte] =
                !((byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~'));
            byte += 1;
        }
        Self(set)
    }
}

static URI: Escapes = Escapes::unprintable_and(b" \"#%<>?\\^`{|}");
static ARGS: Escapes = Escapes::unprintable_and(b" \"#%&+;<>?\\^`{|}");
static COMPONENT: Escapes = Escapes::reserved();
static HTML_URI: Escapes = Escapes::unprintable_and(b" \"#%'<>\\^`{|}");
static REFRESH: Escapes = Escapes::unprintable_and(b" \"'<>\\^`{|}");

/// Appends a path, escaped for a request line or `Location`.
pub fn escape_uri(path: &[u8], out: &mut Vec<u8>) {
    escape(path, &URI, out);
}

/// Appends text, escaped to be one of the arguments of a URI.
pub fn escape_args(text: &[u8], out: &mut Vec<u8>) {
    escape(text, &ARGS, out);
}

/// Appends text, escaped to be any part of a URI: only unreserved bytes stay.
pub fn escape_uri_component(text: &[u8], out: &mut Vec<u8>) {
    escape(text, &COMPONENT, out);
}

/// Appends a URI, escaped to stand in the page that redirects with `http-equiv="Refresh"`.
pub fn escape_refresh(uri: &[u8], out: &mut Vec<u8>) {
    escape(uri, &REFRESH, out);
}

fn escape(text: &[u8], set: &Escapes, out: &mut Vec<u8>) {
    out.reserve(text.len());
    for &byte in text {
        if set.0[byte as usize] {
            let digit = |nibble: u8| b"0123456789ABCDEF"[nibble as usize];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            out.push(byte);
        }
    }
}

/// Appends text, escaped to be a URI within HTML.
pub fn escape_html_uri(text: &[u8], out: &mut Vec<u8>) {
    escape(text, &HTML_URI, out);
}

/// Whether [`escape_uri`] would change `path`.
#[must_use]
pub fn needs_escape(path: &[u8]) -> bool {
    path.iter().any(|&byte| URI.0[byte as usize])
}

/// Appends text, escaped for HTML: `<`, `>`, `&` and the double quote.
pub fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

/// Appends text with its escapes decoded. As in nginx, of what looks like an escape and is none the first character
/// behind the `%` is left where that is no digit, and nothing otherwise.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let length = match (unescape_at(rest, at), rest.get(at + 1)) {
            (Some(byte), _) => {
                out.push(byte);
                3
            }
            (None, Some(first)) if !first.is_ascii_hexdigit() => {
                out.push(*first);
                2
            }
            _ => 3,
        };
        rest = rest.get(at + length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// The value of argument `name` in `args`, `$arg_name`: the first of that name, in any case of letters, that
/// has a `=`. As sent: not decoded.
#[must_use]
pub fn arg<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    args.split(|&byte| byte == b'&').find_map(|pair| {
        let (key, rest) = pair.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Splits a URI at its first `?`: path and, if there is one, arguments.
#[must_use]
pub fn split_args(uri: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'?', uri) {
        Some(at) => (&uri[..at], Some(&uri[at + 1..])),
        None => (uri, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str, merge: bool) -> Option<String> {
        let mut out = Vec::new();
        normalize(path.as_bytes(), merge, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn paths_become_what_nginx_makes_of_them() {
        let table = [
            ("/", "/"),
            ("/a/b/../c/./d/..", "/a/c/"),
            ("/a%3fb%23c%25d%2fe", "/a?b#c%d/e"),
            ("/a//b/%2f//c", "/a/b/c"),
            ("/a/..", "/"),
            ("/a/.%2e", "/"),
            ("/a/...", "/a/..."),
            ("/a/.", "/a/"),
            ("/a/.#x", "/a/"),
            ("/a/b..", "/a/b.."),
            ("/a/..b", "/a/..b"),
            ("/..a", "/..a"),
            ("/a%2e/%2e%2e%2fc", "/c"),
            ("/a+b%20c", "/a+b c"),
            ("/.%23/x", "/.#/x"),
            ("/..%3f/x", "/..?/x"),
            ("/.%25/x", "/.%/x"),
            ("/a#/../../", "/a"),
            ("/a%252fb", "/a%2fb"),
            ("/.//..a", "/..a"),
        ];
        for (sent, want) in table {
            assert_eq!(normal(sent, true).as_deref(), Some(want), "{sent}");
        }
    }

    #[test]
    fn paths_nginx_refuses() {
        for path in [
            "/%2e%2e/",
            "/../",
            "/..",
            "/a%00b",
            "/a%zz",
            "/a%",
            "/a%2",
            "/.%00",
            "/..%2f",
            "/a/../..",
            "/a//../..",
        ] {
            assert_eq!(normal(path, true), None, "{path}");
        }
    }

    #[test]
    fn slashes_stay_where_they_are_not_merged() {
        for (sent, want) in
            [("/a//b", "/a//b"), ("/a//../b", "/a/b"), ("/a/.//b", "/a//b"), ("//..", "/"), ("/./a", "/a")]
        {
            assert_eq!(normal(sent, false).as_deref(), Some(want), "{sent}");
        }
    }

    fn escaped_with(escape: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes() {
        let text = b"a b\"#%&'+/:;<=>?[\\]^`{|}~\x01\x7f\xff";
        let uri = "a%20b%22%23%25&'+/:;%3C=%3E%3F[%5C]%5E%60%7B%7C%7D~%01%7F%FF";
        assert_eq!(escaped_with(escape_uri, text), uri);
        let args = "a%20b%22%23%25%26'%2B/:%3B%3C=%3E%3F[%5C]%5E%60%7B%7C%7D~%01%7F%FF";
        assert_eq!(escaped_with(escape_args, text), args);
        assert_eq!(escaped_with(escape_uri_component, b"a-._~/&\xc3\xa9"), "a-._~%2F%26%C3%A9");
        assert_eq!(escaped_with(escape_html, b"<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;'");
        assert!(needs_escape(b"/a b") && !needs_escape(b"/a+b"));
    }

    #[test]
    fn unescape_leaves_little_of_what_is_no_escape() {
        assert_eq!(escaped_with(unescape, b"a%20b%2fc%zz%4%"), "a b/czz");
        assert_eq!(escaped_with(unescape, b"%4x%%41%%%4"), "%41%");
    }

    #[test]
    fn arguments() {
        let args = b"a=1&B=2&ab=3&c&=4&a=5&d=";
        assert_eq!(arg(args, b"a"), Some(&b"1"[..]));
        assert_eq!(arg(args, b"b"), Some(&b"2"[..]));
        assert_eq!(arg(args, b"ab"), Some(&b"3"[..]));
        assert_eq!(arg(args, b"d"), Some(&b""[..]));
        assert_eq!(arg(args, b"c"), None);
        assert_eq!(arg(args, b""), None);
        assert_eq!(split_args(b"/a?b?c"), (&b"/a"[..], Some(&b"b?c"[..])));
        assert_eq!(split_args(b"/a"), (&b"/a"[..], None));
    }

    proptest! {
        /// A normal path holds no way up, and is its own normal form once escaped.
        #[test]
        fn normal_paths_climb_nowhere(path in "/[a./%2eEfF5?#-]{0,24}", merge in any::<bool>()) {
            let mut out = Vec::new();
            if normalize(path.as_bytes(), merge, &mut out).is_ok() {
                prop_assert!(out.starts_with(b"/"));
                for segment in out.split(|&byte| byte == b'/') {
                    prop_assert!(segment != b"." && segment != b"..");
                }
                let (mut escaped, mut again) = (Vec::new(), Vec::new());
                escape_uri(&out, &mut escaped);
                prop_assert_eq!(normalize(&escaped, merge, &mut again), Ok(()));
                prop_assert_eq!(again, out);
            }
        }

        #[test]
        fn no_bytes_panic(path in prop::collection::vec(any::<u8>(), 0..60), merge in any::<bool>()) {
            let _ = normalize(&path, merge, &mut Vec::new());
            unescape(&path, &mut Vec::new());
            let _ = arg(&path, &path[..path.len() / 4]);
        }

        #[test]
        fn what_is_escaped_is_unescaped(text in prop::collection::vec(any::<u8>(), 0..60)) {
            for escape in [escape_uri, escape_args, escape_uri_component] {
                let (mut escaped, mut back) = (Vec::new(), Vec::new());
                escape(&text, &mut escaped);
                unescape(&escaped, &mut back);
                prop_assert_eq!(&back, &text);
            }
        }
    }
}
