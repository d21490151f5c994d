//! HTTP dates (RFC 9110, 5.6.7), as seconds since 1970 UTC.

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01. Counting years from March puts the leap day at their end.
const EPOCH: u64 = 719_468;

/// The last second of 9999.
const LAST: u64 = 253_402_300_799;

/// Formats a time as `Sun, 06 Nov 1994 08:49:37 GMT`; what is later than 9999 is its last second.
#[must_use]
pub fn format(seconds: u64) -> [u8; 29] {
    let seconds = seconds.min(LAST);
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    two(&mut text[12..14], year / 100 % 100);
    two(&mut text[14..16], year % 100);
    two(&mut text[17..19], second / 3600);
    two(&mut text[20..22], second / 60 % 60);
    two(&mut text[23..25], second % 60);
    text
}

fn two(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10 % 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// Year, month (1 to 12) and day of the month, of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01, of a date not before it.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year).checked_sub(EPOCH)
}

/// Reads any of the three forms: IMF-fixdate, RFC 850's and asctime's. As in nginx,
/// the day's name and what follows the time are not looked at. None for what is no date or before 1970.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    match text.iter().position(|&byte| byte == b',') {
        Some(comma) => {
            let rest = skip_spaces(&text[comma + 1..]);
            let (day, rest) = digits(rest, 2)?;
            match rest.first()? {
                b' ' => fixdate(day, &rest[1..]),
                b'-' => rfc850(day, &rest[1..]),
                _ => None,
            }
        }
        None => asctime(text),
    }
}

/// `Nov 1994 08:49:37 GMT`
fn fixdate(day: u64, text: &[u8]) -> Option<u64> {
    let (month, rest) = month(text)?;
    let (year, rest) = digits(rest.strip_prefix(b" ")?, 4)?;
    let (second, _) = time_of_day(rest.strip_prefix(b" ")?)?;
    seconds(year, month, day, second)
}

/// `Nov-94 08:49:37 GMT`; years below 70 are of this century, as in nginx.
fn rfc850(day: u64, text: &[u8]) -> Option<u64> {
    let (month, rest) = month(text)?;
    let (year, rest) = digits(rest.strip_prefix(b"-")?, 2)?;
    let (second, _) = time_of_day(rest.strip_prefix(b" ")?)?;
    let year = if year < 70 { year + 2000 } else { year + 1900 };
    seconds(year, month, day, second)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    let space = text.iter().position(|&byte| byte == b' ')?;
    let (month, rest) = month(&text[space + 1..])?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(rest) => digits(rest, 1)?,
        None => digits(rest, 2)?,
    };
    let (second, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    let (year, _) = digits(rest.strip_prefix(b" ")?, 4)?;
    seconds(year, month, day, second)
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    &text[spaces..]
}

fn digits(text: &[u8], count: usize) -> Option<(u64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    Some((crate::number::parse_length(digits)?, rest))
}

fn month(text: &[u8]) -> Option<(u64, &[u8])> {
    let (name, rest) = text.split_at_checked(3)?;
    let index = MONTHS.iter().position(|month| name == month.as_slice())?;
    Some((index as u64 + 1, rest))
}

/// `08:49:37` as seconds.
fn time_of_day(text: &[u8]) -> Option<(u64, &[u8])> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second, rest))
}

fn seconds(year: u64, month: u64, day: u64, second: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    Some(days(year, month, day)? * DAY + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOME: u64 = 784_111_777;

    #[test]
    fn as_nginx_reads_them() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            "xxx, 06 Nov 1994 08:49:37 UTC",
            "Sun,06 Nov 1994 08:49:37",
            "Sun,  06 Nov 1994 08:49:37 GMT; length=3",
            ", 06 Nov 1994 08:49:37 gmt",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(SOME), "{text}");
        }
        for text in [
            "",
            ",",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Thu, 29-Feb-24 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn formats() {
        assert_eq!(&format(SOME), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_read(seconds in 0..253_402_300_800u64) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }

        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&text);
        }
    }
}
