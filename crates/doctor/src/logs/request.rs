//! What one line of an access log says about its request, whatever the line is wrapped in.

use std::borrow::Cow;

use memchr::memmem;

use super::format::{self, Format};
use super::{json, moment};

/// What is looked for in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Msec,
    Iso,
    Local,
    Took,
    Upstream,
    UpstreamTook,
    Status,
    Client,
}

const FIELDS: [Field; 8] = [
    Field::Msec,
    Field::Iso,
    Field::Local,
    Field::Took,
    Field::Upstream,
    Field::UpstreamTook,
    Field::Status,
    Field::Client,
];

/// nginx's variables, then names that people give them in JSON.
const SYNONYMS: usize = 5;
const CALLED: [[&str; SYNONYMS]; FIELDS.len()] = [
    ["msec", "", "", "", ""],
    ["time_iso8601", "@timestamp", "timestamp", "time", "ts"],
    ["time_local", "", "", "", ""],
    ["request_time", "", "", "", ""],
    ["upstream_addr", "upstream", "", "", ""],
    ["upstream_response_time", "upstream_time", "", "", ""],
    ["status", "status_code", "", "", ""],
    ["remote_addr", "remote_ip", "client_ip", "client", ""],
];

/// What may wrap a line, then all of them.
const NAMES: [&str; 3 + FIELDS.len() * SYNONYMS] = {
    let mut names = [""; 3 + FIELDS.len() * SYNONYMS];
    (names[0], names[1], names[2]) = ("log", "message", "MESSAGE");
    let mut at = 0;
    while at < FIELDS.len() * SYNONYMS {
        names[3 + at] = CALLED[at / SYNONYMS][at % SYNONYMS];
        at += 1;
    }
    names
};

impl Field {
    fn variable(self) -> &'static str {
        CALLED[self as usize][0]
    }
}

/// The values of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Request<'a>([Option<Cow<'a, [u8]>>; 8]);

impl Request<'_> {
    /// The value of a field; a dash is none.
    pub(super) fn value(&self, field: Field) -> Option<&[u8]> {
        self.0[field as usize].as_deref().filter(|text| !text.is_empty() && *text != b"-")
    }

    /// When it ended, in milliseconds of UTC.
    pub(super) fn end(&self) -> Option<i64> {
        let exact = self.value(Field::Msec).and_then(moment::millis);
        let iso = || self.value(Field::Iso).and_then(moment::of_iso8601);
        exact.or_else(iso).or_else(|| self.value(Field::Local).and_then(moment::of_time_local))
    }

    /// The text that says when it ended, where that is only known to the second.
    pub(super) fn stamp(&self) -> Option<&[u8]> {
        let finer = self.0[Field::Msec as usize].is_some() || self.0[Field::Iso as usize].is_some();
        if finer { None } else { self.value(Field::Local) }
    }

    /// How long it took, in milliseconds.
    pub(super) fn took(&self) -> Option<i64> {
        self.value(Field::Took).and_then(moment::millis)
    }

    pub(super) fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.value(Field::Status)?).ok()?.parse().ok()
    }
}

/// A way to read lines.
pub(super) struct Lines {
    format: Format,
    /// Which field each variable of the format is.
    fields: Vec<Option<Field>>,
    /// Whether the format itself is JSON.
    json: bool,
}

impl Lines {
    pub(super) fn new(text: &str) -> Lines {
        let format = Format::new(text);
        let field = |name: &str| FIELDS.into_iter().find(|field| field.variable() == name);
        let fields = format.variables().map(field).collect();
        Lines { format, fields, json: text.trim_start().starts_with('{') }
    }

    /// Whether the format has a field.
    pub(super) fn has(&self, field: Field) -> bool {
        self.fields.contains(&Some(field))
    }

    /// The request of a line; `None`: the line is not of this format.
    pub(super) fn request<'a>(&self, line: &'a [u8]) -> Option<Request<'a>> {
        if line.first() == Some(&b'{') && !self.json {
            return self.of_json(line);
        }
        self.of_text(without_collector(line))
    }

    fn of_text<'a>(&self, line: &'a [u8]) -> Option<Request<'a>> {
        let mut request = Request::default();
        let fits = self.format.split(line, |index, value| {
            if let Some(Some(field)) = self.fields.get(index) {
                // A variable that is there twice says the same.
                request.0[*field as usize] = Some(Cow::Borrowed(value));
            }
        });
        fits.then_some(request)
    }

    /// What Docker wraps a line in, or a format of somebody's own with names that can be known.
    fn of_json<'a>(&self, line: &'a [u8]) -> Option<Request<'a>> {
        let [log, message, journal, words @ ..] = json::pick(line, &NAMES)?;
        match log.or(journal).or(message) {
            Some(Cow::Borrowed(inner)) => return self.inside(inner.trim_end().as_bytes()),
            Some(Cow::Owned(inner)) => return self.inside(inner.trim_end().as_bytes()).map(Request::owned),
            None => {}
        }
        let mut request = Request::default();
        let mut words = words.into_iter();
        for field in FIELDS {
            let values: [Option<Cow<'a, str>>; SYNONYMS] = std::array::from_fn(|_| words.next().flatten());
            request.0[field as usize] = values.into_iter().flatten().next().map(bytes);
        }
        (request.end().is_some() || request.status().is_some()).then_some(request)
    }

    /// The line within a line.
    fn inside<'a>(&self, inner: &'a [u8]) -> Option<Request<'a>> {
        if inner.first() == Some(&b'{') { None } else { self.of_text(inner) }
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

impl Request<'_> {
    fn owned(self) -> Request<'static> {
        Request(self.0.map(|value| value.map(|value| Cow::Owned(value.into_owned()))))
    }
}

/// The line behind what containers (`2026-06-27T12:03:12.1Z stdout F `) or syslog put before it.
fn without_collector(line: &[u8]) -> &[u8] {
    const HEAD: usize = 64;
    let head = &line[..line.len().min(HEAD)];
    let skip = |mark: &[u8]| memmem::find(head, mark).map(|at| &line[at + mark.len()..]);
    if head.get(10) == Some(&b'T') && head.get(4) == Some(&b'-') {
        return skip(b" stdout F ").or_else(|| skip(b" stdout P ")).unwrap_or(line);
    }
    // `Jun 27 12:03:12 host nginx: `
    if head.first().is_some_and(u8::is_ascii_uppercase) && head.get(3) == Some(&b' ') {
        return skip(b": ").unwrap_or(line);
    }
    line
}

/// The format that lines like this one have, of those that are well known.
pub(super) fn guess(line: &[u8]) -> &'static str {
    let fits = |text: &&&str| {
        let lines = Lines::new(text);
        let Some(request) = lines.request(line) else { return false };
        let timed = request.took().is_some() || !lines.has(Field::Took);
        timed && request.status().is_some() && request.end().is_some()
    };
    format::KNOWN.iter().find(fits).copied().unwrap_or(format::COMBINED)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PLAIN: &str = "1.2.3.4 - - [27/Jun/2026:18:05:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl/8\"";

    #[track_caller]
    fn check(line: &str, took: Option<i64>, upstream: Option<&str>) {
        let lines = Lines::new(guess(line.as_bytes()));
        let request = lines.request(line.as_bytes()).unwrap();
        assert_eq!(request.end().map(|end| end / 1000), Some(1_782_583_551), "{line}");
        let found = request.value(Field::Upstream).map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(
            (request.took(), found.as_deref(), request.status()),
            (took, upstream, Some(200)),
            "{line}"
        );
    }

    #[test]
    fn well_known_formats_are_guessed() {
        check(PLAIN, None, None);
        check(&format!("{PLAIN} \"-\""), None, None);
        check(&format!("{PLAIN} 0.250"), Some(250), None);
        check(&format!("{PLAIN} \"10.9.9.9\" 0.250"), Some(250), None);
        check(&format!("{PLAIN} 0.250 0.200"), Some(250), None);
        check(
            &format!("{PLAIN} \"-\" \"h\" sn=\"x\" rt=0.250 ua=\"unix:/a\" us=\"200\" ut=\"0.2\" ul=\"7\""),
            Some(250),
            Some("unix:/a"),
        );
        check(
            &format!("{PLAIN} 431 0.250 [default-app-80] [] 10.1.0.7:8080 5 0.248 200 6f1d"),
            Some(250),
            Some("10.1.0.7:8080"),
        );
        check(
            "[27/Jun/2026:18:05:51 +0000] \"forum\" 1.2.3.4 \"GET / HTTP/1.1\" \"x\" \"list/latest\" 200 77 \"-\" 0.240 0.250 \"-\" \"-\"",
            Some(250),
            None,
        );
    }

    #[test]
    fn lines_in_other_clothes() {
        let timed = format!("{PLAIN} 0.250");
        check(&format!("2026-06-27T18:05:51.5Z stdout F {timed}"), Some(250), None);
        check(&format!("Jun 27 18:05:51 web nginx: {timed}"), Some(250), None);
        let quoted = serde_json::to_string(&timed).unwrap();
        check(
            &format!("{{\"log\":{quoted},\"stream\":\"stdout\",\"time\":\"2026-06-27T18:05:51.5Z\"}}"),
            Some(250),
            None,
        );
        check(
            "{\"time\":\"2026-06-27T18:05:51+00:00\",\"status\":200,\"request_time\":0.25,\"upstream_addr\":\"1.1.1.1:80\"}",
            Some(250),
            Some("1.1.1.1:80"),
        );
        assert!(Lines::new(format::COMBINED).request(b"{\"a\":1}").is_none());
    }
}
