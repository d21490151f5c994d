//! Finding short texts in lines: what is looked for is most likely near, and to prepare a search would cost more than it.

use memchr::{memchr, memchr_iter};

/// Where a text begins.
pub(super) fn find(text: &[u8], within: &[u8]) -> Option<usize> {
    let Some(&first) = text.first() else { return Some(0) };
    let mut from = 0;
    loop {
        let at = from + memchr(first, within.get(from..)?)?;
        if within[at..].starts_with(text) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Whether a text is there.
pub(super) fn has(line: &str, text: &str) -> bool {
    find(text.as_bytes(), line.as_bytes()).is_some()
}

/// What stands before a text and behind it.
pub(super) fn split<'a>(line: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = find(by.as_bytes(), line.as_bytes())?;
    Some((&line[..at], &line[at + by.len()..]))
}

/// The value of `, name: "value"` or `, name: value,` in a line's tail. What clients chose stands in quotes, and is passed
/// over: a path that looks like a field is none.
pub(super) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut quoted_until = 0;
    for comma in memchr_iter(b',', line.as_bytes()) {
        let Some((found, value)) = line.get(comma + 2..).filter(|_| comma >= quoted_until).and_then(named)
        else {
            continue;
        };
        if found == name {
            return Some(value_of(value));
        }
        if let Some(inner) = value.strip_prefix('"') {
            let begin = line.len() - inner.len();
            quoted_until = begin + memchr(b'"', inner.as_bytes()).unwrap_or(0);
        }
    }
    None
}

/// A field's name, and what follows it.
fn named(rest: &str) -> Option<(&str, &str)> {
    let end = rest.bytes().position(|byte| !byte.is_ascii_lowercase() && byte != b'_')?;
    Some((&rest[..end], rest[end..].strip_prefix(": ")?))
}

fn value_of(rest: &str) -> &str {
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', ' ']).next(),
    };
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_of_the_tail() {
        let text = "*9 connect() failed, client: 127.0.0.1, server: , request: \"GET /a, client: 6, upstream: x HTTP/1.1\", upstream: \"http://unix:/run/a.sock:/b\", host: \"x\"";
        assert_eq!(field(text, "client"), Some("127.0.0.1"));
        assert_eq!(field(text, "upstream"), Some("http://unix:/run/a.sock:/b"));
        assert_eq!(field(text, "server"), Some(""));
        assert_eq!(field(text, "referrer"), None);
        assert_eq!(field("x, upstream: \"http://a", "upstream"), Some("http://a"));
        assert_eq!(field("x, ü: 1, client: 2", "client"), Some("2"));
    }

    proptest! {
        #[test]
        fn found_where_it_stands(line in "[ab, :\"é]{0,40}", text in "[ab, ]{0,3}") {
            prop_assert_eq!(find(text.as_bytes(), line.as_bytes()), line.find(&text));
            prop_assert_eq!(has(&line, &text), line.contains(&text));
            prop_assert_eq!(split(&line, &text), line.split_once(text.as_str()));
            field(&line, "a");
        }
    }
}
