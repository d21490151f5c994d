//! `Accept-Encoding` (RFC 9110, 12.5.3) with nginx's rules.

use crate::bytes::find_ignore_case;

/// Whether `accept_encoding` allows `coding`, which is in lower case. As nginx: the coding must be named
/// (`*` does not count), the first place where it stands as a whole word decides, and it is refused only
/// with a weight of zero.
#[must_use]
pub fn accepts(accept_encoding: &[u8], coding: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = accept_encoding.get(from..).and_then(|rest| find_ignore_case(rest, coding)) {
        let start = from + found;
        let begins = start == 0 || matches!(accept_encoding[start - 1], b',' | b' ');
        let rest = &accept_encoding[start + coding.len()..];
        if begins && let Some(allowed) = allowed(rest) {
            return allowed;
        }
        from = start + coding.len();
    }
    false
}

/// What follows the name: its weight decides, or its end. None where the name goes on.
fn allowed(rest: &[u8]) -> Option<bool> {
    let rest = skip_spaces(rest);
    match rest.first() {
        None | Some(b',') => Some(true),
        // A semicolon with nothing behind it is no refusal.
        Some(b';') if rest.len() == 1 => Some(true),
        Some(b';') => Some(weight(skip_spaces(&rest[1..])).is_some_and(|weight| weight > 0)),
        Some(_) => None,
    }
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    &text[spaces..]
}

/// `q=0.5` in thousandths; none if malformed.
fn weight(text: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), rest @ ..] = text else { return None };
    let whole = u16::from(whole - b'0') * 1000;
    let Some(rest) = rest.strip_prefix(b".") else { return ends(rest).then_some(whole) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(count);
    if count > 3 || !ends(rest) {
        return None;
    }
    let fraction =
        digits.iter().zip([100, 10, 1]).map(|(digit, unit)| u16::from(digit - b'0') * unit).sum::<u16>();
    Some(whole + fraction).filter(|&weight| weight <= 1000)
}

fn ends(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b',' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_nginx_reads_them() {
        let yes = [
            "gzip",
            "GZIP",
            "gzip;q=0.001",
            "gzip;q=1",
            "gzip;q=1.0",
            "gzip;q=1.",
            "gzip;q=1.000",
            "gzip;q=1,",
            "gzip;",
            "gzip ; q=0.5",
            "gzip; q=0.5",
            "x gzip",
            "deflate,gzip",
            "gzip,gzip;q=0",
            "deflate;q=1, gzip;q=0.5, *",
            "gzip;q=0.5 ;x",
            "xgzip, gzip",
            ",gzip",
        ];
        let no = [
            "",
            "gzi",
            "*",
            "identity",
            "x-gzip",
            "gzipx",
            "gzip x",
            "gzip\t",
            "\tgzip",
            "gzip;q=0",
            "gzip;q=0.",
            "gzip;q=0.000",
            "gzip;q=0.0000",
            "gzip;q=00",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=1.0001",
            "gzip;q=0.1234",
            "gzip;q=.5",
            "gzip;q=",
            "gzip; q = 0.5",
            "gzip;Q=0",
            "gzip;x=0",
            "gzip;;q=0",
            "gzip;q=1;a",
            "gzip;q=0.5;x",
            "gzip;q=1x",
            "gzip;q=0.1x",
            "gzip;q=0,",
            "deflate, gzip;q=0, gzip",
            "br,gzip;q=0.0 ,x",
        ];
        yes.iter().for_each(|value| assert!(accepts(value.as_bytes(), b"gzip"), "{value}"));
        no.iter().for_each(|value| assert!(!accepts(value.as_bytes(), b"gzip"), "{value}"));
    }
}
