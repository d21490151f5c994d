//! One line of an error log, whatever it is wrapped in.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::moment::{self, Moment};
use super::{json, near};

/// A line, taken apart.
pub(super) struct Line<'a> {
    /// When, where it says so.
    pub(super) moment: Option<Moment>,
    /// `alert`, `crit`, ..; empty where there is none.
    pub(super) level: Cow<'a, str>,
    /// What it says.
    pub(super) text: Cow<'a, str>,
}

/// Names of what counts in a line of JSON, as different writers have them.
const NAMES: [&str; 14] = [
    "msg",
    "message",
    "log",
    "MESSAGE",
    "time",
    "timestamp",
    "ts",
    "@timestamp",
    "__REALTIME_TIMESTAMP",
    "level",
    "severity",
    "errno",
    "client",
    "upstream",
];

impl<'a> Line<'a> {
    /// `None`: what looks like JSON is none, or says nothing.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Line<'a>> {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        // One that was cut off is still a text.
        if bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}') {
            return Line::of_json(bytes);
        }
        // Nearly every line is text; what is not is copied.
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => Line::of_text(text),
            Err(_) => Line::of_text(&String::from_utf8_lossy(bytes)).into_owned(),
        })
    }

    /// nginx's line, behind whatever a collector puts before it (`Jun 27 18:05:51 host nginx[7]: `).
    fn of_text(line: &str) -> Line<'_> {
        const TIME: usize = 19;
        let bytes = line.as_bytes();
        let brackets = memchr_iter(b'[', bytes).filter(|at| *at > TIME && bytes[at - 1] == b' ');
        for bracket in brackets.take(8) {
            let Some(moment) = moment::of_error_log(&bytes[bracket - 1 - TIME..]) else { continue };
            let Some((level, rest)) = near::split(&line[bracket + 1..], "] ") else { continue };
            return Line { moment: Some(moment), level: level.into(), text: without_ids(rest).into() };
        }
        Line::without_time(line)
    }

    /// What nginx says on standard error (`nginx: [emerg] ..`), and what somebody cut from a log.
    fn without_time(line: &str) -> Line<'_> {
        let moment = moment::of_line(line.as_bytes());
        const LEVELS: [&str; 6] = ["[emerg] ", "[alert] ", "[crit] ", "[error] ", "[warn] ", "[notice] "];
        let found = LEVELS.iter().find_map(|level| near::split(line, level).map(|(_, text)| (*level, text)));
        let Some((level, text)) = found else {
            return Line { moment, level: "".into(), text: without_ids(line).into() };
        };
        Line { moment, level: level.trim_matches(['[', ']', ' ']).into(), text: without_ids(text).into() }
    }

    fn of_json(bytes: &'a [u8]) -> Option<Line<'a>> {
        let [msg, message, log, journal, time, stamp, ts, at, real, level, severity, errno, client, upstream] =
            json::pick(bytes, &NAMES)?;
        let mut inner = match msg.or(message).or(log).or(journal)? {
            Cow::Borrowed(text) => Line::of_text(text.trim_end()),
            // What Docker keeps of standard error is a line of text with its end.
            Cow::Owned(text) => Line::of_text(text.trim_end()).into_owned(),
        };
        inner.moment = inner.moment.or_else(|| {
            let said = time.or(stamp).or(ts).or(at);
            let said = said.as_ref().map(|time| time.as_bytes());
            let any = |time| {
                moment::of_error_log(time)
                    .or_else(|| moment::of_line(time))
                    .or_else(|| moment::of_epoch(time))
            };
            let said = said.and_then(any);
            said.or_else(|| moment::of_journal(&real?))
        });
        if inner.level.is_empty() {
            inner.level = level.or(severity).unwrap_or_default();
        }
        if let Some(number) = errno.and_then(|errno| errno.parse().ok()) {
            inner.add_errno(number);
        }
        inner.add_field("client", client);
        inner.add_field("upstream", upstream);
        Some(inner)
    }

    /// Whether it is what nginx says, less its time and level, and nothing before or behind it.
    pub(super) fn is_bare(&self) -> bool {
        const ERRORS: [&str; 5] = [
            "connect() ",
            "accept4() failed (",
            "socket() failed (",
            "upstream timed out (",
            "no live upstreams",
        ];
        const SLOTS: &str = "worker_connections are not enough";
        let without_id = |text: &'_ str| -> Option<usize> {
            let rest = text.strip_prefix('*')?.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.strip_prefix(' ').map(|rest| text.len() - rest.len())
        };
        let text = &self.text[without_id(&self.text).unwrap_or(0)..];
        let slots = || {
            let (number, rest) = text.split_once(SLOTS)?;
            let number = number.trim_end();
            let alone = rest.is_empty()
                || [" while connecting to", ", reusing"].iter().any(|end| rest.starts_with(end));
            (alone && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
        };
        ERRORS.iter().any(|error| text.starts_with(error)) || slots().is_some()
    }

    /// Puts the number where nginx's text has it.
    fn add_errno(&mut self, number: u64) {
        let text = &self.text;
        if text.contains(&format!("({number}:")) {
            return;
        }
        let end = ["failed", "timed out"].iter().find_map(|words| Some(text.find(words)? + words.len()));
        let end = end.unwrap_or(text.len());
        self.text = format!("{} ({number}: ){}", &text[..end], &text[end..]).into();
    }

    fn add_field(&mut self, name: &str, value: Option<Cow<'_, str>>) {
        if let Some(value) = value.filter(|_| near::field(&self.text, name).is_none()) {
            let text = self.text.to_mut();
            text.push_str(&format!(", {name}: \"{value}\""));
        }
    }

    fn into_owned(self) -> Line<'static> {
        Line {
            moment: self.moment,
            level: self.level.into_owned().into(),
            text: self.text.into_owned().into(),
        }
    }

    /// Whose request it was.
    pub(super) fn client(&self) -> Option<&str> {
        near::field(&self.text, "client")
    }

    /// The address in `upstream: "http://127.0.0.1:8000/path"`, or in `connect() to ADDRESS failed`.
    pub(super) fn upstream(&self) -> Option<&str> {
        if let Some(url) = near::field(&self.text, "upstream") {
            let rest = near::split(url, "://").map_or(url, |(_, rest)| rest);
            let end = match rest.strip_prefix("unix:") {
                // A path ends with a colon where an URI follows.
                Some(path) => 5 + path.find(':').unwrap_or(path.len()),
                None => rest.find('/').unwrap_or(rest.len()),
            };
            return Some(&rest[..end]);
        }
        let rest = near::split(&self.text, "connect() to ")?.1;
        Some(near::split(rest, " failed")?.0)
    }

    /// The number before `worker_connections`; what a `*` precedes is a connection's id.
    pub(super) fn limit(&self) -> Option<u64> {
        let before = near::split(&self.text, "worker_connections").map_or(&*self.text, |(before, _)| before);
        before.trim_end().rsplit(' ').next()?.parse().ok()
    }
}

/// Without `pid#tid: ` before it.
fn without_ids(text: &str) -> &str {
    let is_ids = |ids: &str| {
        let (pid, tid) = ids.split_once('#')?;
        [pid, tid]
            .iter()
            .all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(())
    };
    near::split(text, ": ").filter(|(ids, _)| is_ids(ids).is_some()).map_or(text, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_limit() {
        let limit = |text: &'static str| Line::of_text(text).limit();
        assert_eq!(limit("*204815 worker_connections are not enough"), None);
        assert_eq!(limit("*3 768 worker_connections are not enough"), Some(768));
        assert_eq!(limit("85#85: 1024 worker_connections are not enough"), Some(1024));
        assert_eq!(limit("*1 20000worker_connections are not enough"), Some(20_000));
    }

    #[test]
    fn parts_of_a_line() {
        let line = Line::of(
            b"x 2026/06/27 12:03:12 [error] 7#7: *9 a: b, client: ::1, upstream: \"http://h:1/p\"\r",
        );
        let Some(line) = line else { panic!("it is one") };
        assert_eq!((&*line.level, line.client(), line.upstream()), ("error", Some("::1"), Some("h:1")));
        assert!(line.text.starts_with("*9 a: b") && line.moment.is_some());
        let pasted = Line::of(b"85#85: 1024 worker_connections are not enough");
        assert!(pasted.is_some_and(|line| line.is_bare()));
        assert!(Line::of(b"{\"msg\":7}").is_some_and(|line| line.text == "7") && Line::of(b"{}").is_none());
    }
}
