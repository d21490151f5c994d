//! `name=value` pairs in query strings and cookies, and user names in `Authorization`.

/// The value of the first argument of this name, in any case, in a query string.
pub fn argument<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = args.split(|byte| *byte == b'&');
    pairs.find_map(|pair| {
        let (start, value) = pair.split_at_checked(name.len() + 1)?;
        (start[..name.len()].eq_ignore_ascii_case(name) && start[name.len()] == b'=').then_some(value)
    })
}

/// The value of a cookie in one `Cookie` header: what is between its name and the next `;`.
pub fn cookie<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = header;
    while !rest.is_empty() {
        if let Some(value) = value_of(rest, name) {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            return Some(&value[..end]);
        }
        let end = memchr::memchr(b';', rest)?;
        rest = skip_spaces(&rest[end + 1..]);
    }
    None
}

/// What follows `name =` at the start of `text`.
fn value_of<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(name.len())?;
    let rest = start.eq_ignore_ascii_case(name).then_some(rest)?;
    Some(skip_spaces(skip_spaces(rest).strip_prefix(b"=")?))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| **byte == b' ').count()..]
}

/// Appends the user's name in the value of an `Authorization` header of the Basic scheme (RFC 7617); `false`: it has none.
pub fn basic_user(authorization: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((scheme, encoded)) = authorization.split_at_checked(6) else { return false };
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return false;
    }
    let before = out.len();
    let decoded = crate::base64::decode(skip_spaces(encoded), out);
    let colon = memchr::memchr(b':', &out[before..]).unwrap_or(0);
    let user = if decoded { colon } else { 0 };
    out.truncate(before + user);
    user > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments() {
        let args = b"a=1&B=2&aa=3&a=4&empty=&flag";
        let get = |name: &[u8]| argument(args, name);
        assert_eq!(get(b"a"), Some(&b"1"[..]));
        assert_eq!(get(b"b"), Some(&b"2"[..]));
        assert_eq!(get(b"AA"), Some(&b"3"[..]));
        assert_eq!(get(b"empty"), Some(&b""[..]));
        assert_eq!((get(b"flag"), get(b"none")), (None, None));
        assert_eq!(argument(b"x=a=b", b"x"), Some(&b"a=b"[..]));
    }

    #[test]
    fn cookies() {
        let header = b"a=1; b= 2 ;c";
        assert_eq!(cookie(header, b"a"), Some(&b"1"[..]));
        assert_eq!(cookie(header, b"B"), Some(&b"2 "[..]));
        assert_eq!(cookie(header, b"c"), None);
        assert_eq!(cookie(b"c=3,x", b"c"), Some(&b"3,x"[..]));
        assert_eq!(cookie(b"x;c =3", b"c"), Some(&b"3"[..]));
        assert_eq!(cookie(b"cc=1; c=2", b"c"), Some(&b"2"[..]));
        assert_eq!(cookie(b"x=c=1", b"c"), None);
    }

    fn user(authorization: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let found = basic_user(authorization, &mut out);
        assert!(out.starts_with(b"before") && found == (out.len() > 6));
        found.then(|| out.split_off(6))
    }

    #[test]
    fn users() {
        assert_eq!(user(b"Basic dXNlcjpwdw=="), Some(b"user".to_vec()));
        assert_eq!(user(b"bAsIc  dXNlcjpwdw"), Some(b"user".to_vec()));
        for none in [
            &b"Basic dXNlcg=="[..],
            b"Basic ",
            b"Basic",
            b"Bearer dXNlcjpwdw==",
            b"Basic OnB3",
            b"Basic dX!lcjpwdw",
        ] {
            assert_eq!(user(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    proptest! {
        #[test]
        fn never_panics(header: Vec<u8>, name in "[a-z]{0,3}") {
            let mut out = Vec::new();
            basic_user(&header, &mut out);
            let inside = |value: &[u8]| value.len() <= header.len();
            prop_assert!(cookie(&header, name.as_bytes()).is_none_or(inside));
            prop_assert!(argument(&header, name.as_bytes()).is_none_or(inside));
        }
    }
}
