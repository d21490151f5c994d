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
        [.., b'g' | b'G'] => None,
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
fn time(text: &[u8], units: Units<'_>, resolution: u64) -> Option<u64> {
    let (mut rest, mut units, mut sum) = (text, units, 0u64);
    loop {
        let (n, tail) = digits(rest)?;
        let (factor, smaller, tail) = match tail {
            [] => (1000, &[][..], tail),
            // nginx takes a space for a unit: seconds, after which none is left.
            [b' ', ..] => units.iter().any(|(name, _)| *name == b"s").then_some((1000, &[][..], tail))?,
            _ => unit(tail, units)?,
        };
        sum = n.checked_mul(factor / resolution)?.checked_add(sum).filter(|sum| *sum <= MOST)?;
        (units, rest) = (smaller, spaces(tail));
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    Some((number(&text[..end])?, &text[end..]))
}

type Units<'a> = &'a [(&'static [u8], u64)];

/// The milliseconds of the unit that comes next, the units smaller than it, and what follows.
fn unit<'a, 'u>(text: &'a [u8], units: Units<'u>) -> Option<(u64, Units<'u>, &'a [u8])> {
    let end = text.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(text.len());
    let i = units.iter().position(|(name, _)| *name == &text[..end])?;
    Some((units[i].1, &units[i + 1..], &text[end..]))
}

fn spaces(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    &text[end..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        assert_eq!(size(b"8k"), Some(8192));
        assert_eq!(size(b"1M"), Some(1 << 20));
        assert_eq!(size(b"1g"), None);
        assert_eq!(offset(b"1g"), Some(1 << 30));
        assert_eq!(offset(b"0"), Some(0));
        for bad in [&b""[..], b"k", b"1kk", b"-1", b"+1", b" 1", b"1 ", b"1.5m", b"9223372036854775808"] {
            assert_eq!((size(bad), offset(bad)), (None, None), "{bad:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(msec(b"60"), Some(60_000));
        assert_eq!(msec(b"1h30m"), Some(5_400_000));
        assert_eq!(msec(b"1h 30"), Some(3_630_000));
        assert_eq!(msec(b"1s500ms"), Some(1500));
        assert_eq!(msec(b"30 20"), Some(50_000));
        assert_eq!(msec(b"1w"), Some(604_800_000));
        assert_eq!(sec(b"1y"), Some(31_536_000));
        assert_eq!(sec(b"1M1m"), Some(2_592_060));
        assert_eq!(sec(b"1m30"), Some(90));
        assert_eq!((sec(b"1ms"), msec(b"1y"), msec(b"1M")), (None, None, None));
    }

    #[test]
    fn times_nginx_refuses() {
        let texts =
            ["30 20ms", "30 20 10", "30 20 ", "1s 30 ", "1ms 30 20", "30 1m", "1s1s", " ", "1h 1d", "1mm"];
        for text in texts {
            assert_eq!(msec(text.as_bytes()), None, "{text:?}");
        }
        for text in ["1ms 30", "1s30", "1m30 "] {
            assert!(msec(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_them_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            for value in [size(&text), offset(&text), msec(&text), sec(&text), number(&text)].into_iter().flatten() {
                prop_assert!(value <= MOST);
            }
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(n in 0u64..1 << 50, unit in 0usize..4) {
            let text = format!("{n}{}", ["", "k", "m", "g"][unit]);
            let expected = n.checked_mul(1 << (10 * unit)).filter(|bytes| *bytes <= MOST);
            prop_assert_eq!(offset(text.as_bytes()), expected);
            prop_assert_eq!(size(text.as_bytes()), expected.filter(|_| unit < 3));
        }

        #[test]
        fn a_time_is_the_sum_of_its_parts(parts in prop::collection::vec(prop::option::of(0u64..10_000), 8..9)) {
            let written = UNITS.iter().zip(&parts).filter_map(|(unit, n)| Some((unit, (*n)?)));
            let text = |skip: usize, end: usize| -> (String, u64) {
                let parts = written.clone().filter(|((name, _), _)| {
                    let i = UNITS.iter().position(|(other, _)| other == name).unwrap();
                    i >= skip && i < end
                });
                parts.fold(Default::default(), |(text, sum), ((name, ms), n)| {
                    (format!("{text}{n}{}", std::str::from_utf8(name).unwrap()), sum + n * ms)
                })
            };
            let (short, sum) = text(2, 8);
            prop_assert_eq!(msec(short.as_bytes()), (!short.is_empty()).then_some(sum));
            let (long, sum) = text(0, 7);
            prop_assert_eq!(sec(long.as_bytes()), (!long.is_empty()).then_some(sum / 1000));
        }
    }
}
