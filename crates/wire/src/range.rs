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
