//! Access logs: how many requests at once, how long they took, where the time went.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::moment;
use super::{Blocks, Concurrency, Overlap, Quantiles};

/// What an access log says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Requests read.
    pub requests: u64,
    /// Lines that are not of the format.
    pub unread: u64,
    /// Requests that were passed on.
    pub proxied: u64,
    /// How long requests took, in milliseconds.
    pub took: Quantiles,
    /// How many were served at once; `None` without `$request_time`.
    pub concurrency: Option<Concurrency>,
    /// Whether ends of requests are known to the millisecond, not only to the second.
    pub exact: bool,
    /// The most requests that ended within a second.
    pub peak_rate: u64,
    /// The most clients within a minute.
    pub clients: u64,
    /// By upstream address.
    pub upstreams: BTreeMap<String, Upstream>,
    /// By status.
    pub statuses: BTreeMap<u16, u64>,
    /// Milliseconds of UTC of the first and the last request.
    pub from: Option<i64>,
    /// See `from`.
    pub to: Option<i64>,
}

/// What an access log says about one upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Milliseconds until its answer was whole.
    pub took: Quantiles,
    /// Answers of 500 and above.
    pub failed: u64,
}

/// Reads access logs of one format.
pub struct Reader {
    format: Format,
    places: Places,
    access: Access,
    overlap: Overlap,
    second: (i64, u64),
    minute: (i64, HashSet<u64>),
    hasher: RandomState,
}

struct Places {
    end: Option<(End, usize)>,
    took: Option<usize>,
    upstream_took: Option<usize>,
    upstream: Option<usize>,
    status: Option<usize>,
    client: Option<usize>,
}

/// Which variable says when a request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Msec,
    Iso,
    Local,
}

/// Different upstreams that are told apart.
const MOST_UPSTREAMS: usize = 256;
/// Different clients of a minute that are counted.
const MOST_CLIENTS: usize = 1 << 20;

impl Reader {
    /// A reader of lines of this `log_format`.
    pub fn new(format: &str) -> Reader {
        let format = Format::new(format);
        let end = [("msec", End::Msec), ("time_iso8601", End::Iso), ("time_local", End::Local)];
        let end = end.into_iter().find_map(|(name, kind)| Some((kind, format.index(name)?)));
        let places = Places {
            end,
            took: format.index("request_time"),
            upstream_took: format.index("upstream_response_time"),
            upstream: format.index("upstream_addr"),
            status: format.index("status"),
            client: format.index("remote_addr"),
        };
        let access = Access { exact: matches!(end, Some((End::Msec, _))), ..Access::default() };
        Reader {
            format,
            places,
            access,
            overlap: Overlap::default(),
            second: (i64::MIN, 0),
            minute: (i64::MIN, HashSet::new()),
            hasher: RandomState::new(),
        }
    }

    /// Whether the format has what concurrency takes: when, and how long.
    pub fn has_times(&self) -> bool {
        self.places.end.is_some() && self.places.took.is_some()
    }

    /// Reads a log whole.
    pub fn read<R: Read>(&mut self, blocks: &mut Blocks<R>) -> io::Result<()> {
        while let Some(block) = blocks.next_block()? {
            self.block(block);
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8]) {
        let mut rest = block;
        let mut values = Vec::with_capacity(32);
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            match self.format.split(line.strip_suffix(b"\r").unwrap_or(line), &mut values) {
                true => self.request(&values),
                false => self.access.unread += 1,
            }
        }
    }

    /// Everything found.
    pub fn finish(mut self) -> Access {
        let times = self.has_times();
        self.access.peak_rate = self.access.peak_rate.max(self.second.1);
        self.access.clients = self.access.clients.max(self.minute.1.len() as u64);
        self.access.concurrency = times.then(|| self.overlap.finish());
        self.access
    }

    fn request(&mut self, values: &[&[u8]]) {
        let value = |place: Option<usize>| place.and_then(|place| values.get(place).copied());
        self.access.requests += 1;
        let status = value(self.places.status).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if let Some(status) = status {
            *self.access.statuses.entry(status).or_default() += 1;
        }
        let took = value(self.places.took).and_then(moment::millis);
        if let Some(took) = took {
            self.access.took.add(took.unsigned_abs());
        }
        self.upstream(value(self.places.upstream), value(self.places.upstream_took), status);
        let Some(end) = self.end(values) else { return };
        self.access.from = Some(self.access.from.map_or(end, |from| from.min(end)));
        self.access.to = Some(self.access.to.map_or(end, |to| to.max(end)));
        self.rates(end, value(self.places.client));
        if let Some(took) = took {
            self.overlap.add(self.spread(end), took);
        }
    }

    fn end(&self, values: &[&[u8]]) -> Option<i64> {
        let (kind, place) = self.places.end?;
        let text = values.get(place)?;
        match kind {
            End::Msec => moment::millis(text),
            End::Iso => moment::of_iso8601(text),
            End::Local => moment::of_time_local(text),
        }
    }

    /// Where only seconds are known, requests are spread over theirs: they did not all end at once.
    fn spread(&self, end: i64) -> i64 {
        match self.access.exact {
            true => end,
            false => end + (self.access.requests as i64).wrapping_mul(618).rem_euclid(1000),
        }
    }

    fn rates(&mut self, end: i64, client: Option<&[u8]>) {
        let second = end.div_euclid(1000);
        if self.second.0 != second {
            self.access.peak_rate = self.access.peak_rate.max(self.second.1);
            self.second = (second, 0);
        }
        self.second.1 += 1;
        let minute = end.div_euclid(60_000);
        if self.minute.0 != minute {
            self.access.clients = self.access.clients.max(self.minute.1.len() as u64);
            self.minute.0 = minute;
            self.minute.1.clear();
        }
        if let Some(client) = client.filter(|_| self.minute.1.len() < MOST_CLIENTS) {
            self.minute.1.insert(self.hasher.hash_one(client));
        }
    }

    /// Several, where a request was retried, are separated by commas; a dash is none.
    fn upstream(&mut self, address: Option<&[u8]>, took: Option<&[u8]>, status: Option<u16>) {
        let known = address.or(took);
        if known.is_none_or(|text| text.is_empty() || text == b"-") {
            return;
        }
        self.access.proxied += 1;
        let last = |text: Option<&[u8]>| {
            let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
            text.rsplit([',', ' ']).next().unwrap_or_default().to_owned()
        };
        let (address, took) = (last(address), last(took));
        if self.access.upstreams.len() >= MOST_UPSTREAMS && !self.access.upstreams.contains_key(&address) {
            return;
        }
        let upstream = self.access.upstreams.entry(address).or_default();
        if let Some(took) = moment::millis(took.as_bytes()) {
            upstream.took.add(took.unsigned_abs());
        }
        upstream.failed += u64::from(status.is_some_and(|status| status >= 500));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(format: &str, text: &str) -> Access {
        let mut reader = Reader::new(format);
        reader.read(&mut Blocks::new(text.as_bytes())).unwrap();
        reader.finish()
    }

    #[test]
    fn concurrency_and_upstreams() {
        let format = "$msec $request_time $status [$upstream_addr] [$upstream_response_time]";
        let text = "100.000 1.000 200 [10.0.0.7:80] [0.900]\n100.500 1.000 200 [-] [-]\nrubbish\n\
                    101.000 0.100 502 [10.0.0.7:80, 10.0.0.8:80] [-, 0.100]\n";
        let found =
            read("$msec $request_time $status $remote_addr", "100.000 1.000 200 a\n100.500 1.000 200 b\n");
        assert_eq!((found.requests, found.clients, found.exact), (2, 2, true));
        assert_eq!(found.concurrency.unwrap().peak, 2);
        let found = read(format, text);
        assert_eq!((found.requests, found.unread, found.proxied), (3, 1, 2));
        assert_eq!(found.upstreams["10.0.0.7:80"].took.count(), 1);
        assert_eq!((found.upstreams["10.0.0.8:80"].failed, found.statuses[&502]), (1, 1));
    }

    #[test]
    fn without_times_there_is_a_rate() {
        let line = "1.1.1.1 - - [27/Jun/2026:18:05:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\"\n";
        let found = read(super::super::format::COMBINED, &line.repeat(5));
        assert_eq!((found.peak_rate, found.concurrency, found.exact), (5, None, false));
        let timed = line.replace("\"x\"\n", "\"x\" 0.001\n").repeat(500);
        let format = format!("{} $request_time", super::super::format::COMBINED);
        let peak = read(&format, &timed).concurrency.unwrap().peak;
        assert!(peak <= 2, "500 short requests of one second did not overlap: {peak}");
    }

    proptest! {
        // Each case has a ring of its own, and goes round it.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_line_is_survived(text in prop::collection::vec("[ -~\n]{0,40}", 0..10)) {
            read("$msec $request_time $upstream_addr $upstream_response_time", &text.join(" "));
        }
    }
}
