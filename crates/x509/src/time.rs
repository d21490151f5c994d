//! Times in certificates.

use std::fmt;

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Time {
    /// UTCTime has two digits for the year, GeneralizedTime four (RFC 5280, 4.1.2.5); both end in `Z`.
    pub(crate) fn read(tag: u8, text: &[u8]) -> Option<Time> {
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits(text, 2)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => digits(text, 4)?,
            _ => return None,
        };
        let (month, rest) = digits(rest, 2)?;
        let (day, rest) = digits(rest, 2)?;
        let (hour, rest) = digits(rest, 2)?;
        let (minute, rest) = digits(rest, 2)?;
        let (second, rest) = digits(rest, 2)?;
        let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
        let fits = fits && hour < 24 && minute < 60 && second < 60 && rest == b"Z";
        fits.then_some(Time { year, month: month as usize - 1, day, hour, minute, second })
    }
    /// Seconds since 1970.
    #[must_use]
    pub fn unix(self) -> i64 {
        // Years begin in March here, so that the leap day is their last.
        let month = self.month as i64 + 1;
        let year = if month <= 2 { self.year - 1 } else { self.year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + self.day - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
        ((days * 24 + self.hour) * 60 + self.minute) * 60 + self.second
    }
}

impl fmt::Display for Time {
    /// As OpenSSL prints it: `Nov  2 03:04:05 2026 GMT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time { year, month, day, hour, minute, second } = self;
        write!(f, "{} {day:2} {hour:02}:{minute:02}:{second:02} {year} GMT", MONTHS[*month])
    }
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| (digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')), rest))
}
