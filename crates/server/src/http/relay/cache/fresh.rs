//! What an answer says of how long it holds: `X-Accel-Expires`, `Cache-Control`, `Expires`, `Set-Cookie`, `Vary`.

use wire::{Known, ResponseHead};

use super::super::written::ignored;

/// How long an answer holds by its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fresh {
    /// It must not be kept.
    pub never: bool,
    /// Until then, in seconds since 1970; 0: it does not say.
    pub valid: u64,
    /// So many seconds longer while a new one is fetched (`stale-while-revalidate`).
    pub while_updating: u64,
    /// So many seconds longer when none can be had (`stale-if-error`).
    pub if_error: u64,
    /// The requests' headers it depends on.
    pub vary: Vec<u8>,
}

/// More of `Vary` is not kept, as in nginx.
const LONGEST_VARY: usize = 128;

/// Reads an answer's head; `ignore` has the bits of headers that do not count.
pub(super) fn fresh(head: &ResponseHead, text: &[u8], ignore: u32, now: u64) -> Fresh {
    let counts = |bit: u32| ignore & bit == 0;
    let value = |known: Known| head.headers.value(known, text);
    let mut fresh = Fresh::default();
    if counts(ignored::SET_COOKIE) && head.headers.has(Known::SetCookie) {
        fresh.never = true;
    }
    let accel = value(Known::XAccelExpires).filter(|_| counts(ignored::EXPIRES_ACCEL));
    match accel.map(|text| accel_expires(text, now)) {
        Some(Some(0)) => fresh.never = true,
        Some(Some(valid)) => fresh.valid = valid,
        _ => {}
    }
    if counts(ignored::CACHE_CONTROL) {
        let settled = fresh.valid != 0;
        for header in head.headers.all(Known::CacheControl) {
            cache_control(header.value.of(text), now, settled, &mut fresh);
        }
    }
    if fresh.valid == 0
        && !fresh.never
        && counts(ignored::EXPIRES)
        && let Some(expires) = value(Known::Expires)
    {
        match wire::date::parse(expires).filter(|at| *at >= now) {
            Some(at) => fresh.valid = at,
            None => fresh.never = true,
        }
    }
    if counts(ignored::VARY) {
        vary(head, text, &mut fresh);
    }
    fresh
}

/// Seconds from now, or since 1970 behind an `@`; 0: not at all. `None`: it says nothing.
fn accel_expires(text: &[u8], now: u64) -> Option<u64> {
    match text.strip_prefix(b"@") {
        Some(at) => number(at),
        None => number(text).map(|seconds| if seconds == 0 { 0 } else { now.saturating_add(seconds) }),
    }
}

/// One line of several perhaps. `settled`: how long it holds is said by a header that counts more.
fn cache_control(text: &[u8], now: u64, settled: bool, fresh: &mut Fresh) {
    let text = text.to_ascii_lowercase();
    let find = |word: &[u8]| memchr::memmem::find(&text, word).map(|at| at + word.len());
    if !settled {
        if [&b"no-cache"[..], b"no-store", b"private"].iter().any(|word| find(word).is_some()) {
            fresh.never = true;
            return;
        }
        if let Some(at) = find(b"s-maxage=").or_else(|| find(b"max-age=")) {
            match delta(&text[at..]) {
                Some(seconds @ 1..) => fresh.valid = now.saturating_add(seconds),
                _ => {
                    fresh.never = true;
                    return;
                }
            }
        }
    }
    if let Some(at) = find(b"stale-while-revalidate=") {
        let seconds = delta(&text[at..]);
        fresh.never |= seconds.is_none();
        fresh.while_updating = seconds.unwrap_or(0);
        fresh.if_error = fresh.while_updating;
    }
    if let Some(at) = find(b"stale-if-error=") {
        let seconds = delta(&text[at..]);
        fresh.never |= seconds.is_none();
        fresh.if_error = seconds.unwrap_or(fresh.if_error);
    }
}

/// The number up to a comma, a semicolon or a space; one too large counts as very long.
fn delta(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    match text.get(end) {
        None | Some(b',' | b';' | b' ') if end > 0 => Some(number(&text[..end]).unwrap_or(1 << 40)),
        None | Some(b',' | b';' | b' ') => Some(0),
        Some(_) => None,
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.len() < 16 && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

fn vary(head: &ResponseHead, text: &[u8], fresh: &mut Fresh) {
    for header in head.headers.all(Known::Vary) {
        let value = header.value.of(text);
        fresh.never |= value == b"*";
        if !fresh.vary.is_empty() {
            fresh.vary.extend_from_slice(b", ");
        }
        fresh.vary.extend_from_slice(value);
    }
    fresh.never |= fresh.vary.len() > LONGEST_VARY;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use wire::ResponseParser;

    const NOW: u64 = 1_000_000_000;

    fn of(headers: &str, ignore: u32) -> Fresh {
        let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        let mut head = ResponseHead::default();
        ResponseParser::new().parse(text.as_bytes(), &mut head, 4096).unwrap();
        fresh(&head, text.as_bytes(), ignore, NOW)
    }
    fn valid(headers: &str) -> Option<u64> {
        let fresh = of(headers, 0);
        (!fresh.never).then(|| fresh.valid.saturating_sub(NOW))
    }

    #[test]
    fn the_headers_in_their_order_of_precedence() {
        for (headers, seconds) in [
            ("", Some(0)),
            ("Cache-Control: max-age=5\r\n", Some(5)),
            ("cache-control: Public, MAX-AGE=5, s-maxage=7\r\n", Some(7)),
            ("Cache-Control: max-age=0\r\n", None),
            ("Cache-Control: max-age=x\r\n", None),
            ("Cache-Control: no-cache\r\n", None),
            ("Cache-Control: max-age=5\r\nCache-Control: no-cache\r\n", None),
            ("Cache-Control: max-age=5\r\nCache-Control: max-age=7\r\n", Some(7)),
            ("Cache-Control: max-age=\"5\"\r\n", None),
            ("Cache-Control: private, max-age=5\r\n", None),
            ("Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\n", None),
            ("Expires: 0\r\n", None),
            ("Expires: Sun, 09 Sep 2001 01:46:45 GMT\r\n", Some(5)),
            ("Expires: 0\r\nCache-Control: max-age=5\r\n", Some(5)),
            ("Cache-Control: no-store\r\nX-Accel-Expires: 9\r\n", Some(9)),
            ("X-Accel-Expires: @1000000003\r\n", Some(3)),
            ("X-Accel-Expires: 0\r\n", None),
            ("X-Accel-Expires: x\r\nCache-Control: max-age=4\r\n", Some(4)),
            ("Set-Cookie: a=b\r\nCache-Control: max-age=4\r\n", None),
            ("Vary: *\r\nCache-Control: max-age=4\r\n", None),
        ] {
            assert_eq!(valid(headers), seconds, "{headers}");
        }
    }

    #[test]
    fn ignored_headers_say_nothing() {
        let all =
            "Set-Cookie: a=b\r\nVary: *\r\nExpires: 0\r\nCache-Control: private\r\nX-Accel-Expires: 0\r\n";
        let bits = ignored::SET_COOKIE | ignored::VARY | ignored::EXPIRES | ignored::CACHE_CONTROL;
        assert_eq!(of(all, bits | ignored::EXPIRES_ACCEL), Fresh::default());
        assert!(of(all, bits).never);
    }

    #[test]
    fn staleness_is_allowed_by_cache_control() {
        let fresh = of("Cache-Control: max-age=1, stale-while-revalidate=2\r\nVary: A\r\nVary: B\r\n", 0);
        assert_eq!((fresh.while_updating, fresh.if_error, &fresh.vary[..]), (2, 2, &b"A, B"[..]));
        let fresh = of("Cache-Control: max-age=1, stale-if-error=3\r\n", 0);
        assert_eq!((fresh.while_updating, fresh.if_error), (0, 3));
    }
}
