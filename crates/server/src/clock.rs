//! Texts made from the time of day. Each thread makes them at most once a second, however many requests need them.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The time of the current turn of a loop, and its forms.
pub struct Clock {
    zone: TimeZone,
    unix: Cell<Duration>,
    /// `Sun, 06 Nov 1994 08:49:37 GMT`, for `Date`.
    pub http_date: Cell<[u8; 29]>,
    /// The header line with it.
    pub date_header: Cell<[u8; 37]>,
    /// `06/Nov/1994:08:49:37 +0000`, local time: `$time_local`.
    pub log_local: Cell<[u8; 26]>,
    /// `1994-11-06T08:49:37+00:00`, local time: `$time_iso8601`.
    pub iso8601: Cell<[u8; 25]>,
    /// `Nov  6 08:49:37`, local time, for syslog (RFC 3164, 4.1.2).
    pub syslog: Cell<[u8; 15]>,
}

impl Clock {
    /// A clock that stands at this time since 1970.
    pub fn new(unix_time: Duration) -> Clock {
        Clock::in_zone(unix_time, TimeZone::system())
    }
    fn in_zone(unix_time: Duration, zone: TimeZone) -> Clock {
        let clock = Clock {
            zone,
            unix: Cell::new(unix_time),
            http_date: Cell::new([0; 29]),
            date_header: Cell::new(*b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            log_local: Cell::new([0; 26]),
            iso8601: Cell::new([0; 25]),
            syslog: Cell::new([0; 15]),
        };
        clock.write(unix_time.as_secs());
        clock
    }
    /// Sets the time since 1970.
    pub fn refresh(&self, unix_time: Duration) {
        let before = self.unix.replace(unix_time);
        if before.as_secs() != unix_time.as_secs() {
            self.write(unix_time.as_secs());
        }
    }
    /// The time since 1970.
    pub fn unix(&self) -> Duration {
        self.unix.get()
    }
    /// Seconds by which local time is ahead of UTC now.
    pub fn utc_offset(&self) -> i32 {
        let now = i64::try_from(self.unix.get().as_secs()).ok().and_then(|s| Timestamp::from_second(s).ok());
        self.zone.to_offset(now.unwrap_or_default()).seconds()
    }
    #[cold]
    fn write(&self, seconds: u64) {
        let date = wire::date::format(seconds);
        self.http_date.set(date);
        let mut header = self.date_header.get();
        header[6..35].copy_from_slice(&date);
        self.date_header.set(header);
        let local = Local::of(seconds, &self.zone);
        self.log_local.set(local.log());
        self.iso8601.set(local.iso8601());
        self.syslog.set(local.syslog());
    }
}

/// `1994/11/06 08:49:37`: now, as the error log has it. It may be written from anywhere, in a turn of a loop or outside.
pub fn error_log_time() -> [u8; 19] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (second, text) = LAST.get();
    if second == now.as_secs() {
        return text;
    }
    let text = Local::of(now.as_secs(), &TimeZone::system()).error_log();
    LAST.set((now.as_secs(), text));
    text
}

/// A second of local time in decimal digits.
pub struct Local {
    year: [u8; 4],
    month: [u8; 2],
    month_name: [u8; 3],
    day: [u8; 2],
    time: [u8; 8],
    /// `+0130`
    offset: [u8; 5],
}

impl Local {
    /// Now, by the system's clock and time zone.
    pub fn now() -> Local {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Local::of(now.as_secs(), &TimeZone::system())
    }
    fn of(seconds: u64, zone: &TimeZone) -> Local {
        let timestamp =
            i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
        let offset = zone.to_offset(timestamp);
        let at = offset.to_datetime(timestamp);
        let month = at.month().unsigned_abs();
        let mut time = *b"00:00:00";
        for (i, part) in [at.hour(), at.minute(), at.second()].into_iter().enumerate() {
            time[i * 3..i * 3 + 2].copy_from_slice(&two(part.unsigned_abs()));
        }
        let year = at.year().unsigned_abs();
        let (century, rest) = (two((year / 100 % 100) as u8), two((year % 100) as u8));
        Local {
            year: [century[0], century[1], rest[0], rest[1]],
            month: two(month),
            month_name: *MONTHS[(month as usize).clamp(1, 12) - 1],
            day: two(at.day().unsigned_abs()),
            time,
            offset: offset_text(offset.seconds()),
        }
    }
    fn log(&self) -> [u8; 26] {
        let mut text = *b"00/Jan/1970:00:00:00 +0000";
        text[..2].copy_from_slice(&self.day);
        text[3..6].copy_from_slice(&self.month_name);
        text[7..11].copy_from_slice(&self.year);
        text[12..20].copy_from_slice(&self.time);
        text[21..].copy_from_slice(&self.offset);
        text
    }
    fn iso8601(&self) -> [u8; 25] {
        let mut text = *b"1970-00-00T00:00:00+00:00";
        text[..4].copy_from_slice(&self.year);
        text[5..7].copy_from_slice(&self.month);
        text[8..10].copy_from_slice(&self.day);
        text[11..19].copy_from_slice(&self.time);
        text[19..22].copy_from_slice(&self.offset[..3]);
        text[23..].copy_from_slice(&self.offset[3..]);
        text
    }
    /// `1994/11/06 08:49:37`, as the error log has it.
    pub fn error_log(&self) -> [u8; 19] {
        let mut text = *b"1970/00/00 00:00:00";
        text[..4].copy_from_slice(&self.year);
        text[5..7].copy_from_slice(&self.month);
        text[8..10].copy_from_slice(&self.day);
        text[11..].copy_from_slice(&self.time);
        text
    }
    /// `Nov  6 08:49:37`, for syslog.
    pub fn syslog(&self) -> [u8; 15] {
        let mut text = *b"Jan 00 00:00:00";
        text[..3].copy_from_slice(&self.month_name);
        text[4..6].copy_from_slice(&self.day);
        if text[4] == b'0' {
            text[4] = b' ';
        }
        text[7..].copy_from_slice(&self.time);
        text
    }
}

fn two(number: u8) -> [u8; 2] {
    [b'0' + number / 10 % 10, b'0' + number % 10]
}

fn offset_text(seconds: i32) -> [u8; 5] {
    let minutes = seconds.unsigned_abs() / 60;
    let (hours, minutes) = (two((minutes / 60) as u8), two((minutes % 60) as u8));
    [if seconds < 0 { b'-' } else { b'+' }, hours[0], hours[1], minutes[0], minutes[1]]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn texts(seconds: u64, zone: &str) -> [String; 5] {
        let zone = TimeZone::posix(zone).unwrap();
        let clock = Clock::in_zone(Duration::from_secs(seconds), zone.clone());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        [
            text(&clock.http_date.get()),
            text(&clock.log_local.get()),
            text(&clock.iso8601.get()),
            text(&clock.syslog.get()),
            text(&Local::of(seconds, &zone).error_log()),
        ]
    }

    #[test]
    fn writes_all_forms() {
        let expected = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "06/Nov/1994:05:19:37 -0330",
            "1994-11-06T05:19:37-03:30",
            "Nov  6 05:19:37",
            "1994/11/06 05:19:37",
        ];
        assert_eq!(texts(784_111_777, "XXX3:30"), expected);
    }

    #[test]
    fn follows_summer_time() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(texts(1_795_232_377, berlin)[1], "21/Nov/2026:04:39:37 +0100");
        assert_eq!(texts(1_782_000_000, berlin)[2], "2026-06-21T02:00:00+02:00");
    }

    #[test]
    fn texts_change_with_the_second_only() {
        let clock = Clock::in_zone(Duration::from_millis(1_999), TimeZone::UTC);
        assert_eq!(&clock.log_local.get(), b"01/Jan/1970:00:00:01 +0000");
        clock.refresh(Duration::from_millis(2_000));
        assert_eq!(&clock.log_local.get(), b"01/Jan/1970:00:00:02 +0000");
        assert_eq!(clock.unix(), Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn agrees_with_jiff(seconds in 0u64..253_000_000_000, zone in prop::sample::select(vec!["UTC0", "BBB-5:45", "CCC12", "DDD-14"])) {
            let zoned = Timestamp::from_second(seconds as i64).unwrap().to_zoned(TimeZone::posix(zone).unwrap());
            let [date, log, iso, syslog, error] = texts(seconds, zone);
            prop_assert_eq!(date, Timestamp::from_second(seconds as i64).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
            prop_assert_eq!(log, zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string());
            prop_assert_eq!(iso, zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
            prop_assert_eq!(syslog, zoned.strftime("%b %e %H:%M:%S").to_string());
            prop_assert_eq!(error, zoned.strftime("%Y/%m/%d %H:%M:%S").to_string());
        }
    }
}
