//! Access logs: how many requests at once, how long they took, where the time went.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};

use memchr::{memchr, memrchr2};
use serde::{Deserialize, Serialize};

use super::error::Window;
use super::moment::{self, Moment};
use super::request::{self, Field, Lines, Request};
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
    /// `None`: the first line will tell.
    lines: Option<Lines>,
    access: Access,
    overlap: Overlap,
    /// Whether a request said both when it ended and how long it took.
    timed: bool,
    /// The last `$time_local`, and when that was.
    stamp: (Vec<u8>, Option<i64>),
    second: (i64, u64),
    minute: (i64, HashSet<u64>),
    hasher: RandomState,
    /// Milliseconds of UTC from which and up to which requests count.
    within: (i64, i64),
}

/// Different upstreams that are told apart.
const MOST_UPSTREAMS: usize = 256;
/// Different clients of a minute that are counted.
const MOST_CLIENTS: usize = 1 << 20;

impl Reader {
    /// A reader of lines of this `log_format`.
    pub fn new(format: &str) -> Reader {
        Reader::of(Some(Lines::new(format)))
    }

    /// A reader that knows the format of lines when it sees the first.
    pub fn guess() -> Reader {
        Reader::of(None)
    }

    fn of(lines: Option<Lines>) -> Reader {
        Reader {
            lines,
            access: Access::default(),
            overlap: Overlap::default(),
            timed: false,
            stamp: (Vec::new(), None),
            second: (i64::MIN, 0),
            minute: (i64::MIN, HashSet::new()),
            hasher: RandomState::new(),
            within: (i64::MIN, i64::MAX),
        }
    }

    /// Only requests that ended within this window, by the clock on the wall here. Those without a time are inside.
    pub fn within(mut self, window: Window) -> Reader {
        let utc =
            |moment: Moment, last: i64| moment::to_utc(moment).saturating_mul(1000).saturating_add(last);
        self.within = (
            window.since.map_or(i64::MIN, |since| utc(since, 0)),
            window.until.map_or(i64::MAX, |until| utc(until, 999)),
        );
        self
    }

    /// Whether the format has what concurrency takes: when, and how long. Unknown formats may have.
    pub fn has_times(&self) -> bool {
        self.lines.as_ref().is_none_or(|lines| {
            let ends = [Field::Msec, Field::Iso, Field::Local];
            lines.has(Field::Took) && ends.into_iter().any(|end| lines.has(end))
        })
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
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let lines = self.lines.get_or_insert_with(|| Lines::new(request::guess(line)));
            match lines.request(line) {
                Some(request) => self.request(&request),
                None => self.access.unread += 1,
            }
        }
    }

    /// Everything found.
    pub fn finish(mut self) -> Access {
        self.access.peak_rate = self.access.peak_rate.max(self.second.1);
        self.access.clients = self.access.clients.max(self.minute.1.len() as u64);
        self.access.concurrency = self.timed.then(|| self.overlap.finish());
        self.access
    }

    fn request(&mut self, request: &Request<'_>) {
        let end = self.end(request);
        if end.is_some_and(|end| end < self.within.0 || end > self.within.1) {
            return;
        }
        self.access.requests += 1;
        let (status, took) = (request.status(), request.took());
        if let Some(status) = status {
            *self.access.statuses.entry(status).or_default() += 1;
        }
        if let Some(took) = took {
            self.access.took.add(took.unsigned_abs());
        }
        self.upstream(request.value(Field::Upstream), request.value(Field::UpstreamTook), status);
        let Some(end) = end else { return };
        self.access.exact = request.value(Field::Msec).is_some();
        self.access.from = Some(self.access.from.map_or(end, |from| from.min(end)));
        self.access.to = Some(self.access.to.map_or(end, |to| to.max(end)));
        self.rates(end, request.value(Field::Client));
        if let Some(took) = took {
            self.timed = true;
            self.overlap.add(self.spread(end), took);
        }
    }

    /// Most lines have the time of the line before.
    fn end(&mut self, request: &Request<'_>) -> Option<i64> {
        let Some(stamp) = request.stamp() else { return request.end() };
        if self.stamp.0 != stamp {
            self.stamp = (stamp.to_vec(), request.end());
        }
        self.stamp.1
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

    /// Several, where a request was retried, are separated by commas or colons.
    fn upstream(&mut self, address: Option<&[u8]>, took: Option<&[u8]>, status: Option<u16>) {
        if address.or(took).is_none() {
            return;
        }
        self.access.proxied += 1;
        let (Ok(address), took) = (std::str::from_utf8(last(address)), last(took)) else { return };
        if !self.access.upstreams.contains_key(address) {
            if self.access.upstreams.len() >= MOST_UPSTREAMS {
                return;
            }
            self.access.upstreams.insert(address.to_owned(), Upstream::default());
        }
        let Some(upstream) = self.access.upstreams.get_mut(address) else { return };
        if let Some(took) = moment::millis(took) {
            upstream.took.add(took.unsigned_abs());
        }
        upstream.failed += u64::from(status.is_some_and(|status| status >= 500));
    }
}

/// The last of a list.
fn last(list: Option<&[u8]>) -> &[u8] {
    let list = list.unwrap_or_default();
    memrchr2(b',', b' ', list).map_or(list, |at| &list[at + 1..])
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

    #[test]
    fn only_what_ended_in_the_window_counts() {
        let noon = moment::to_utc(moment::of_error_log(b"2026/06/27 12:00:00").unwrap());
        let line = |second: i64| format!("{}.500 1.000 200 a\n", noon + second);
        let text: String = (0..10).map(line).collect::<String>() + "- 1.000 200 a\n";
        let read = |since: Option<i64>, until: Option<i64>| {
            let here = |second: i64| moment::of_error_log(b"2026/06/27 12:00:00").unwrap() + second;
            let window = Window { since: since.map(here), until: until.map(here) };
            let mut reader = Reader::new("$msec $request_time $status $remote_addr").within(window);
            reader.read(&mut Blocks::new(text.as_bytes())).unwrap();
            reader.finish().requests
        };
        // One has no time.
        assert_eq!((read(None, None), read(Some(4), None), read(Some(2), Some(3))), (11, 7, 3));
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
