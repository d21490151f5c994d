//! Numbers, sizes and times as nginx writes them. All give `None` for what nginx calls invalid, overflow included.

/// The largest value nginx's 64-bit signed types hold.
const MOST: u64 = i64::MAX as u64;

/// Decimal digits and nothing else.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit).filter(|sum| *sum <= MOST)
    })
}

/// Bytes, with `k` or `m`: the size of something in memory.
pub fn size(text: &[u8]) -> Option<u64> {
    match text {
        [digits @ .., b'g' | b'G'] => scaled(digits, 30).and(None),
        _ => offset(text),
    }
}

/// Bytes, with `k`, `m` or `g`: the size of a file or a body.
pub fn offset(text: &[u8]) -> Option<u64> {
    match text {
        [digits @ .., b'k' | b'K'] => scaled(digits, 10),
        [digits @ .., b'm' | b'M'] => scaled(digits, 20),
        [digits @ .., b'g' | b'G'] => scaled(digits, 30),
        digits => number(digits),
    }
}

fn scaled(digits: &[u8], bits: u32) -> Option<u64> {
    number(digits).filter(|n| *n <= MOST >> bits).map(|n| n << bits)
}

/// Units of time, largest first: name and milliseconds.
const UNITS: [(&[u8], u64); 8] = [
    (b"y", 365 * DAY),
    (b"M", 30 * DAY),
    (b"w", 7 * DAY),
    (b"d", DAY),
    (b"h", 3_600_000),
    (b"m", 60_000),
    (b"s", 1000),
    (b"ms", 1),
];
const DAY: u64 = 86_400_000;

/// Milliseconds: `500ms`, `1h30m`, `1h 30m`; a number without a unit is seconds. Weeks are the largest unit.
pub fn msec(text: &[u8]) -> Option<u64> {
    time(text, &UNITS[2..], 1)
}

/// Seconds: `30d`, `1y`; a number without a unit is seconds. Years are the largest unit, milliseconds are not taken.
pub fn sec(text: &[u8]) -> Option<u64> {
    time(text, &UNITS[..7], 1000)
}

/// Numbers with units, each unit smaller than the one before; the last may lack its unit. In units of `resolution` ms.
fn time(text: &[u8], units: &[(&[u8], u64)], resolution: u64) -> Option<u64> {
    let (mut rest, mut units, mut sum) = (text, units, 0u64);
    loop {
        let (n, tail) = digits(rest)?;
        let (factor, tail) = match unit(tail, units) {
            Some((i, tail)) => {
                let factor = units[i].1 / resolution;
                units = &units[i + 1..];
                (factor, tail)
            }
            // Without a unit: seconds, and the end.
            None if spaces(tail).is_empty() => (1000 / resolution, &[][..]),
            None => return None,
        };
        sum = n.checked_mul(factor)?.checked_add(sum).filter(|sum| *sum <= MOST)?;
        rest = spaces(tail);
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    Some((number(&text[..end])?, &text[end..]))
}

fn unit<'a>(text: &'a [u8], units: &[(&[u8], u64)]) -> Option<(usize, &'a [u8])> {
    let end = text.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(text.len());
    let i = units.iter().position(|(name, _)| *name == &text[..end])?;
    Some((i, &text[end..]))
}

fn spaces(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    &text[end..]
}
