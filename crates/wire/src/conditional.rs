//! `If-Match` and `If-None-Match` (RFC 9110, 13.1).

/// Whether the list of entity tags in `list` names `etag`, the response's `ETag` with its quotes. `weak`
/// compares as `If-None-Match` wants, where `W/` does not matter; `If-Match` compares strongly.
#[must_use]
pub fn etag_matches(list: &[u8], etag: &[u8], weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    let etag = if weak { etag.strip_prefix(b"W/").unwrap_or(etag) } else { etag };
    let mut rest = list;
    while !rest.is_empty() {
        let tag = if weak { rest.strip_prefix(b"W/").unwrap_or(rest) } else { rest };
        if let Some(after) = tag.strip_prefix(etag)
            && matches!(skip(after, b" \t").first(), None | Some(b','))
        {
            return true;
        }
        let comma = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
        rest = skip(&rest[comma..], b" \t,");
    }
    false
}

fn skip<'a>(text: &'a [u8], set: &[u8]) -> &'a [u8] {
    let count = text.iter().take_while(|byte| set.contains(byte)).count();
    &text[count..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_nginx_compares_them() {
        let etag = br#""e-a""#;
        for list in [
            r#"*"#,
            r#""e-a""#,
            r#""x", "e-a""#,
            r#""x","e-a""#,
            r#""e-a", "x""#,
            r#"*,"e-a""#,
            r#",,,"e-a""#,
        ] {
            assert!(etag_matches(list.as_bytes(), etag, false), "{list}");
            assert!(etag_matches(list.as_bytes(), etag, true), "{list}");
        }
        for list in ["\"e-a\"\t,", "\"e-a\" ,\"x\""] {
            assert!(etag_matches(list.as_bytes(), etag, true), "{list}");
        }
        let no = [
            r#""e-a"x"#,
            "e-a",
            r#""x""#,
            "",
            r#"w/"e-a""#,
            r#""a,e-a""#,
            r#""x" "e-a""#,
            r#""e-a" "x""#,
            r#""a, "e-a"""#,
        ];
        for list in no {
            assert!(!etag_matches(list.as_bytes(), etag, true), "{list}");
        }
    }

    #[test]
    fn weakness() {
        assert!(etag_matches(br#"W/"a""#, br#""a""#, true));
        assert!(etag_matches(br#""a""#, br#"W/"a""#, true));
        assert!(!etag_matches(br#"W/"a""#, br#""a""#, false));
        assert!(!etag_matches(br#""a""#, br#"W/"a""#, false));
        assert!(etag_matches(br#"W/"a""#, br#"W/"a""#, false));
    }
}
