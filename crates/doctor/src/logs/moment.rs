//! Times as logs write them.

/// Seconds since 1970 of the clock on the wall where the log was written; error logs name no zone.
pub type Moment = i64;

/// `2026/06/27 18:05:51` at the beginning of the text.
pub fn of_error_log(text: &[u8]) -> Option<Moment> {
    let text = text.get(..19)?;
    let marks = [(4, b'/'), (7, b'/'), (10, b' '), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    moment(digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?, clock(&text[11..19])?)
}

/// What a line of an application or of a collector begins with: `2026-06-27T18:05:51..` (as containers, gunicorn and
/// syslog write it), php-fpm's `27-Jun-2026 18:05:51`, also in brackets, or uWSGI's `Sat Jun 27 18:05:51 2026`. With a
/// zone behind it, it is what the clock on the wall here showed then; without one, the clock that wrote it.
pub fn of_line(text: &[u8]) -> Option<Moment> {
    let text = text.strip_prefix(b"[").unwrap_or(text);
    let zoned = || {
        let (local, _, zone) = iso(text)?;
        zone.map_or(Some(local), |zone| here(local - zone))
    };
    zoned().or_else(|| php(text)).or_else(|| asctime(text))
}

/// `27-Jun-2026 18:05:51`
fn php(text: &[u8]) -> Option<Moment> {
    let text = text.get(..20).filter(|text| text[2] == b'-' && text[6] == b'-')?;
    moment(digits(&text[7..11])?, month(&text[3..6])?, digits(&text[..2])?, clock(&text[12..20])?)
}

/// `Sat Jun  7 18:05:51 2026`
fn asctime(text: &[u8]) -> Option<Moment> {
    let text = text.get(..24).filter(|text| text[3] == b' ' && text[19] == b' ')?;
    let day = digits(text[8..10].trim_ascii_start())?;
    moment(digits(&text[20..24])?, month(&text[4..7])?, day, clock(&text[11..19])?)
}

/// Seconds since 1970 of UTC, as `1782576351.042` or in milliseconds, on the clock of the wall here.
pub fn of_epoch(text: &[u8]) -> Option<Moment> {
    let seconds = millis(text)? / 1000;
    let seconds = if seconds > 100_000_000_000 { seconds / 1000 } else { seconds };
    here(seconds).filter(|_| seconds > 1_000_000_000)
}

/// `__REALTIME_TIMESTAMP` of the journal, microseconds of UTC, on the clock of the wall here.
pub fn of_journal(text: &str) -> Option<Moment> {
    here(text.parse::<i64>().ok()?.div_euclid(1_000_000))
}

/// What the clock on the wall here shows at this second of UTC.
fn here(utc: i64) -> Option<Moment> {
    let offset = jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::from_second(utc).ok()?);
    Some(utc + i64::from(offset.seconds()))
}

/// What a moment on the clock of the wall here is in seconds of UTC.
pub fn to_utc(here: Moment) -> i64 {
    let zone = jiff::tz::TimeZone::system();
    // The hour that comes twice a year is taken for its first.
    let offset =
        |moment: i64| jiff::Timestamp::from_second(moment).map_or(0, |utc| zone.to_offset(utc).seconds());
    here.saturating_sub(i64::from(offset(here.saturating_sub(i64::from(offset(here))))))
}

/// `$time_local`: `27/Jun/2026:18:05:51 +0200`, in milliseconds of UTC.
pub fn of_time_local(text: &[u8]) -> Option<i64> {
    let (text, zone) = (text.get(..20)?, text.get(21..26)?);
    let local =
        moment(digits(&text[7..11])?, month(&text[3..6])?, digits(&text[..2])?, clock(&text[12..20])?)?;
    let offset = offset(zone[0], digits(&zone[1..3])?, digits(&zone[3..5])?)?;
    Some((local - offset) * 1000)
}

/// `$time_iso8601`: `2026-06-27T18:05:51+02:00`, with a fraction or `Z` too, in milliseconds of UTC.
pub fn of_iso8601(text: &[u8]) -> Option<i64> {
    let (local, millis, zone) = iso(text)?;
    Some((local - zone.unwrap_or(0)) * 1000 + millis)
}

/// Date and clock, milliseconds, and how many seconds the zone behind them, if there is one, is ahead of UTC.
fn iso(text: &[u8]) -> Option<(Moment, i64, Option<i64>)> {
    let date = text.get(..19)?;
    if date[4] != b'-' || date[7] != b'-' || !matches!(date[10], b'T' | b't' | b' ') {
        return None;
    }
    let local =
        moment(digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..10])?, clock(&date[11..19])?)?;
    let (mut rest, mut millis) = (&text[19..], 0);
    if let [b'.' | b',', after @ ..] = rest {
        let end = after.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
        millis = fraction(&after[..end])?;
        rest = &after[end..];
    }
    Some((local, millis, zone(rest)))
}

/// `Z`, `+02:00`, `+0200` or ` +0200`
fn zone(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b" ").unwrap_or(text) {
        [b'Z' | b'z', ..] => Some(0),
        [sign, h1, h2, b':', m1, m2, ..] | [sign, h1, h2, m1, m2, ..] => {
            offset(*sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?)
        }
        _ => None,
    }
}

/// `$msec` and `$request_time`: seconds with three decimals, in milliseconds.
pub fn millis(text: &[u8]) -> Option<i64> {
    let dot = memchr::memchr(b'.', text).unwrap_or(text.len());
    let rest = text.get(dot + 1..).unwrap_or_default();
    digits(&text[..dot])?.checked_mul(1000)?.checked_add(if rest.is_empty() { 0 } else { fraction(rest)? })
}

/// In words, to the second.
pub fn words(moment: Moment) -> String {
    let (year, month, day) = civil(moment.div_euclid(86_400));
    let second = moment.rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// The first three decimals.
fn fraction(text: &[u8]) -> Option<i64> {
    let part = &text[..text.len().min(3)];
    Some(digits(part)? * [100, 10, 1][part.len() - 1])
}

fn month(name: &[u8]) -> Option<i64> {
    Some(MONTHS.iter().position(|known| *known == name)? as i64 + 1)
}

fn clock(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..8])?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn offset(sign: u8, hours: i64, minutes: i64) -> Option<i64> {
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn moment(year: i64, month: i64, day: i64, second: i64) -> Option<Moment> {
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day) * 86_400 + second)
}

/// Days since 1970. Years begin in March, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let part = (5 * of_year + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    (era * 400 + year + i64::from(month <= 2), month, of_year - (153 * part + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_forms_mean_the_same() {
        let utc = 1_782_576_351;
        assert_eq!(of_error_log(b"2026/06/27 16:05:51 [alert]"), Some(utc));
        assert_eq!(of_time_local(b"27/Jun/2026:18:05:51 +0200"), Some(utc * 1000));
        assert_eq!(of_iso8601(b"2026-06-27T18:05:51+02:00"), Some(utc * 1000));
        assert_eq!(of_iso8601(b"2026-06-27T16:05:51.25Z"), Some(utc * 1000 + 250));
        assert_eq!(millis(b"1782576351.042"), Some(utc * 1000 + 42));
        assert_eq!(words(utc), "2026-06-27 16:05:51");
        assert_eq!(
            (millis(b"0.5"), millis(b"7"), millis(b"-"), millis(b"1.")),
            (Some(500), Some(7000), None, Some(1000))
        );
        for line in ["2026-06-27 16:05:51,123 x", "[2026-06-27 16:05:51] [7]", "[27-Jun-2026 16:05:51] W"] {
            assert_eq!(of_line(line.as_bytes()), Some(utc), "{line}");
        }
        let here = of_journal("1782576351000000");
        assert_eq!(of_line(b"Sat Jun 27 16:05:51 2026 - *** uWSGI"), Some(utc));
        for zoned in
            ["2026-06-27T18:05:51+02:00", "[2026-06-27 16:05:51 +0000] [7]", "2026-06-27T16:05:51.123Z x"]
        {
            assert_eq!(of_line(zoned.as_bytes()), here, "{zoned}");
        }
        assert_eq!(
            (of_epoch(b"1782576351.042"), of_epoch(b"1782576351042"), of_epoch(b"12")),
            (here, here, None)
        );
        assert!(of_journal("1782576351000000").is_some_and(|here| (here - utc).abs() < 86_400));
        for bad in [&b"2026/13/27 16:05:51"[..], b"2026/06/27", b"", b"yyyy/06/27 16:05:51"] {
            assert_eq!(of_error_log(bad), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_them_panic(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (of_error_log(&text), of_time_local(&text), of_iso8601(&text), millis(&text));
            let _ = (of_line(&text), of_epoch(&text), of_journal(&String::from_utf8_lossy(&text)));
        }

        #[test]
        fn days_and_back(n in -1_000_000i64..3_000_000) {
            let (year, month, day) = civil(n);
            prop_assert_eq!(days(year, month, day), n);
        }
    }
}
