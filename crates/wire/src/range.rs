//! `Range` (RFC 9110, 14.2) with nginx's rules.

use std::ops::Range;

/// What becomes of a request for ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// The header does not count: the whole content is sent, 200.
    Whole,
    /// The ranges asked for have been stored: 206.
    Partial,
    /// None of them is in the content, or the header is malformed: 416.
    NotSatisfiable,
}

/// Reads a `Range` value against content of `length` bytes; stores the ranges, which are not empty and may
/// overlap, in the order asked for. More than `max_ranges` are ignored, and so are ranges that together
/// exceed the content (0 `max_ranges` switches ranges off).
pub fn parse(value: &[u8], length: u64, max_ranges: usize, out: &mut Vec<Range<u64>>) -> Ranges {
    out.clear();
    if max_ranges == 0 {
        return Ranges::Whole;
    }
    let Some((unit, list)) = value.split_at_checked(6) else { return Ranges::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") || list.is_empty() {
        return Ranges::Whole;
    }
    match collect(list, length, max_ranges, out) {
        Ok(()) if out.is_empty() => Ranges::NotSatisfiable,
        Ok(()) => Ranges::Partial,
        Err(verdict) => {
            out.clear();
            verdict
        }
    }
}

fn collect(list: &[u8], length: u64, max_ranges: usize, out: &mut Vec<Range<u64>>) -> Result<(), Ranges> {
    let mut total: u64 = 0;
    for spec in list.split(|&byte| byte == b',') {
        let range = parse_one(spec, length).ok_or(Ranges::NotSatisfiable)?;
        if range.start < range.end {
            total = total.checked_add(range.end - range.start).ok_or(Ranges::NotSatisfiable)?;
            if out.len() == max_ranges {
                return Err(Ranges::Whole);
            }
            out.push(range);
        } else if range.start == 0 {
            return Err(Ranges::Whole);
        }
    }
    if total > length { Err(Ranges::Whole) } else { Ok(()) }
}

/// `first-last`, `first-` or `-suffix`, with spaces around each part.
fn parse_one(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let rest = skip_spaces(spec);
    if let Some(rest) = rest.strip_prefix(b"-") {
        let (suffix, rest) = digits(rest)?;
        let start = length.saturating_sub(suffix);
        return skip_spaces(rest).is_empty().then_some(start..length);
    }
    let (start, rest) = digits(rest)?;
    let rest = skip_spaces(skip_spaces(rest).strip_prefix(b"-")?);
    if rest.is_empty() {
        return Some(start..length);
    }
    let (last, rest) = digits(rest)?;
    skip_spaces(rest).is_empty().then(|| start..length.min(last.saturating_add(1)))
}

/// What a `Content-Range` says: which part of how much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentRange {
    /// The part.
    pub part: Range<u64>,
    /// The whole's length; `None` for `*`.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes first-last/complete`, with spaces where nginx takes them.
    pub fn parse(value: &[u8]) -> Option<ContentRange> {
        let (start, rest) = digits(skip_spaces(value.strip_prefix(b"bytes ")?))?;
        let rest = skip_spaces(rest).strip_prefix(b"-")?;
        let (last, rest) = digits(skip_spaces(rest))?;
        let rest = skip_spaces(skip_spaces(rest).strip_prefix(b"/")?);
        let (complete, rest) = match rest.strip_prefix(b"*") {
            Some(rest) => (None, rest),
            None => digits(rest).map(|(complete, rest)| (Some(complete), rest))?,
        };
        skip_spaces(rest).is_empty().then(|| ContentRange { part: start..last + 1, complete })
    }
}

/// Where the first range begins that a client asks for, as far as that can be told without the length; else 0.
pub fn begins(value: &[u8]) -> u64 {
    let Some((unit, list)) = value.split_at_checked(6) else { return 0 };
    if !unit.eq_ignore_ascii_case(b"bytes=") || list.contains(&b',') {
        return 0;
    }
    digits(skip_spaces(list)).map_or(0, |(start, _)| start)
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    &text[spaces..]
}

/// The number at the start of `text`, below 2^63, and what follows.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = crate::number::parse_length(&text[..count])?;
    Some((number, &text[count..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Verdict = Result<&'static [(u64, u64)], u16>;

    /// A `Range` value against ten bytes: 200, 416, or the ranges of a 206.
    const TEN: &[(&str, Verdict)] = &[
        ("bytes=0-0", Ok(&[(0, 1)])),
        ("bytes=0-", Ok(&[(0, 10)])),
        ("bytes=-1", Ok(&[(9, 10)])),
        ("bytes=-100", Ok(&[(0, 10)])),
        ("bytes=0-100", Ok(&[(0, 10)])),
        ("bytes=9-", Ok(&[(9, 10)])),
        ("Bytes=0-1", Ok(&[(0, 2)])),
        ("bytes= 0 - 1 ", Ok(&[(0, 2)])),
        ("bytes=0-1, 2-3 , 4-4", Ok(&[(0, 2), (2, 4), (4, 5)])),
        ("bytes=0-4,0-4", Ok(&[(0, 5), (0, 5)])),
        ("bytes=20-30,0-1", Ok(&[(0, 2)])),
        ("bytes=5-4,0-0", Ok(&[(0, 1)])),
        ("bytes=-0,1-1", Ok(&[(1, 2)])),
        ("bytes=0-9223372036854775807", Ok(&[(0, 10)])),
        ("bytes=1-1,0-0,9-,3-4", Ok(&[(1, 2), (0, 1), (9, 10), (3, 5)])),
        ("bytes=0-5,0-5", Err(200)),
        ("bytes =0-1", Err(200)),
        ("bytes=", Err(200)),
        ("bytes", Err(200)),
        ("items=0-1", Err(200)),
        ("bytes=-0", Err(416)),
        ("bytes=5-4", Err(416)),
        ("bytes=10-", Err(416)),
        ("bytes=0-1,", Err(416)),
        ("bytes=,0-1", Err(416)),
        ("bytes=a", Err(416)),
        ("bytes=0-a", Err(416)),
        ("bytes=0", Err(416)),
        ("bytes=-", Err(416)),
        ("bytes=0-1x", Err(416)),
        ("bytes=0-1;2-3", Err(416)),
        ("bytes=5--1", Err(416)),
        ("bytes=\t0-1", Err(416)),
        ("bytes=0-9223372036854775808", Err(416)),
        ("bytes=-9223372036854775808", Err(416)),
    ];

    fn read(value: &str, length: u64, max: usize) -> Result<Vec<(u64, u64)>, u16> {
        let mut out = Vec::new();
        match parse(value.as_bytes(), length, max, &mut out) {
            Ranges::Whole => Err(200),
            Ranges::NotSatisfiable => Err(416),
            Ranges::Partial => Ok(out.iter().map(|range| (range.start, range.end)).collect()),
        }
    }

    #[test]
    fn as_nginx_reads_them() {
        for (value, want) in TEN {
            assert_eq!(read(value, 10, usize::MAX), want.map(<[_]>::to_vec), "{value}");
        }
    }

    #[test]
    fn nothing_of_nothing() {
        for value in ["bytes=0-0", "bytes=-1", "bytes=-0", "bytes=0-1,", "bytes=20-30,0-1"] {
            assert_eq!(read(value, 0, usize::MAX), Err(200), "{value}");
        }
        for value in ["bytes=5-4", "bytes=9-", "bytes=,0-1", "bytes=a"] {
            assert_eq!(read(value, 0, usize::MAX), Err(416), "{value}");
        }
    }

    #[test]
    fn max_ranges() {
        assert_eq!(read("bytes=0-0,1-1", 10, 2), Ok(vec![(0, 1), (1, 2)]));
        assert_eq!(read("bytes=0-0,1-1,2-2", 10, 2), Err(200));
        assert_eq!(read("bytes=0-0,20-,1-1", 10, 2), Ok(vec![(0, 1), (1, 2)]));
        assert_eq!(read("bytes=a", 10, 0), Err(200));
    }
}
