//! `$date_local` and `$date_gmt`, in the format that a page may choose (`config timefmt`).

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::http::request::Request;

/// The format until a page says otherwise.
const FORMAT: &str = "%A, %d-%b-%Y %H:%M:%S %Z";

/// What `config timefmt` said.
pub struct Format(pub String);

/// Whose time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// The system's.
    Local,
    /// Greenwich's.
    Gmt,
}

/// Appends the time; `false` if the format is none.
pub fn push(request: &mut Request, zone: Zone, out: &mut Vec<u8>) -> bool {
    let seconds = request.thread.clock.unix().as_secs();
    let format = request.kept_in_pass::<Format>().map_or(FORMAT, |format| &format.0);
    let Some(text) = text(seconds, zone, format) else { return false };
    let mut text = text.into_bytes();
    crate::log::put_back(&mut text, 0);
    out.append(&mut text);
    true
}

fn text(seconds: u64, zone: Zone, format: &str) -> Option<String> {
    if format == "%s" {
        return Some(seconds.to_string());
    }
    let time = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    match zone {
        Zone::Local => strtime::format(format, &time.to_zoned(TimeZone::system())).ok(),
        // The C library's name for it.
        Zone::Gmt => {
            let format = format.split("%%").map(|part| part.replace("%Z", "GMT")).collect::<Vec<_>>();
            strtime::format(format.join("%%"), &time.to_zoned(TimeZone::UTC)).ok()
        }
    }
    .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let gmt = |format| text(0, Zone::Gmt, format);
        assert_eq!(gmt(FORMAT).as_deref(), Some("Thursday, 01-Jan-1970 00:00:00 GMT"));
        assert_eq!(gmt("%%Z %Z%s").as_deref(), Some("%Z GMT0"));
        assert_eq!(gmt("%s").as_deref(), Some("0"));
        assert_eq!(gmt(""), None);
        assert_eq!(gmt("%"), None);
    }
}
