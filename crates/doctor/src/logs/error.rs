//! Error logs: what happened, how often, since when, to whom.

use std::collections::BTreeMap;
use std::io::{self, Read};

use aho_corasick::{AhoCorasick, packed};
use memchr::{memchr, memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use super::Blocks;
use super::cause::{self, Cause, NEEDLES};
use super::line::Line;
use super::moment::Moment;
use super::timeline::Timeline;

/// All lines of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is.
    pub cause: Cause,
    /// How often.
    pub count: u64,
    /// The first time, on the clock of the log.
    pub first: Option<Moment>,
    /// The last time.
    pub last: Option<Moment>,
    /// The first such line, shortened.
    pub sample: String,
    /// Where that stands: `error.log:88121`.
    pub place: String,
    /// Towards which upstreams, and how often.
    pub upstreams: BTreeMap<String, u64>,
    /// `worker_connections` as the line has it.
    pub limit: Option<u64>,
    /// How many concern clients on this machine itself.
    pub local: u64,
    /// When, as far as lines say it.
    #[serde(default)]
    pub times: Timeline,
}

/// What was read of logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// One for each cause.
    pub events: Vec<Event>,
    /// Bytes read, unpacked.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Names of the logs.
    pub logs: Vec<String>,
}

/// From when to when; open where there is none. Lines without a time are inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub since: Option<Moment>,
    /// Not after.
    pub until: Option<Moment>,
}

impl Window {
    /// Whether a moment lies in it.
    pub fn has(&self, moment: Option<Moment>) -> bool {
        moment.is_none_or(|moment| {
            self.since.is_none_or(|since| since <= moment) && self.until.is_none_or(|until| moment <= until)
        })
    }
}

/// Different upstreams that are told apart.
const MOST_UPSTREAMS: usize = 64;
/// Characters of a sample.
const SAMPLE: usize = 400;

/// Reads error logs of nginx and of the applications behind it.
pub struct Scanner {
    needles: Needles,
    window: Window,
    events: BTreeMap<Cause, Event>,
    read: Events,
}

impl Scanner {
    /// A scanner for lines within this window.
    pub fn new(window: Window) -> Scanner {
        Scanner { needles: Needles::new(), window, events: BTreeMap::new(), read: Events::default() }
    }

    /// Reads a log whole. False: nothing was found, and it does not look as if it were one.
    pub fn read<R: Read>(&mut self, name: &str, blocks: &mut Blocks<R>) -> io::Result<bool> {
        self.enter(name);
        let counted = |events: &BTreeMap<Cause, Event>| events.values().map(|event| event.count).sum::<u64>();
        let (mut line, mut like, before) = (1, None, counted(&self.events));
        while let Some(block) = blocks.next_block()? {
            like.get_or_insert_with(|| is_like_a_log(block));
            line = self.block(name, line, block);
        }
        Ok(like != Some(false) || counted(&self.events) > before)
    }

    /// Reads a part of a log that begins with this line. Gives the number of the line behind it.
    pub fn read_from<R: Read>(&mut self, name: &str, first: u64, blocks: &mut Blocks<R>) -> io::Result<u64> {
        self.enter(name);
        let mut line = first;
        while let Some(block) = blocks.next_block()? {
            line = self.block(name, line, block);
        }
        Ok(line)
    }

    fn enter(&mut self, name: &str) {
        if !self.read.logs.iter().any(|known| known == name) {
            self.read.logs.push(name.to_owned());
        }
    }

    /// Everything found so far.
    pub fn seen(&self) -> Events {
        Events { events: self.events.values().cloned().collect(), ..self.read.clone() }
    }

    /// Everything found.
    pub fn finish(self) -> Events {
        self.seen()
    }

    /// Goes from needle to needle; lines without one are only counted. Gives the number of the line after the block.
    fn block(&mut self, name: &str, first: u64, block: &[u8]) -> u64 {
        let (mut at, mut number) = (0, first);
        while let Some(found) = self.needles.find(&block[at..]) {
            let (start, end) = line_around(block, at + found);
            number += newlines(&block[at..start]);
            let place = || format!("{}:{number}", name.rsplit('/').next().unwrap_or(name));
            if let Some(line) = Line::of(&block[start..end]) {
                self.note(&line, place);
            }
            number += 1;
            at = (end + 1).min(block.len());
        }
        number += newlines(&block[at..]);
        if at < block.len() && block.last() != Some(&b'\n') {
            number += 1;
        }
        self.read.bytes += block.len() as u64;
        self.read.lines += number - first;
        number
    }

    fn note(&mut self, line: &Line<'_>, place: impl FnOnce() -> String) {
        let Some(cause) = cause::cause(&line.level, &line.text) else { return };
        // Prose about an error is none; applications write lines without a level, and people paste them.
        if line.level.is_empty() && cause != Cause::Application && !line.is_bare() {
            return;
        }
        if !self.window.has(line.moment) {
            return;
        }
        let event = self.events.entry(cause).or_insert_with(|| Event::new(cause, line, place()));
        event.add(line);
    }
}

/// Searches for all needles at once: with vector instructions where the processor has them.
enum Needles {
    Vector(packed::Searcher),
    Plain(AhoCorasick),
}

impl Needles {
    fn new() -> Needles {
        // A handful of short texts: never too large to build.
        #[allow(clippy::expect_used)]
        let plain = || AhoCorasick::new(NEEDLES).expect("the needles are few");
        let vector = packed::Config::new().builder().extend(NEEDLES).build();
        vector.map_or_else(|| Needles::Plain(plain()), Needles::Vector)
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Needles::Vector(vector) => vector.find(bytes).map(|found| found.start()),
            Needles::Plain(plain) => plain.find(bytes).map(|found| found.start()),
        }
    }
}

impl Event {
    fn new(cause: Cause, line: &Line<'_>, place: String) -> Event {
        Event {
            cause,
            count: 0,
            first: None,
            last: None,
            sample: line.text.chars().take(SAMPLE).collect(),
            place,
            upstreams: BTreeMap::new(),
            limit: None,
            local: 0,
            times: Timeline::default(),
        }
    }

    fn add(&mut self, line: &Line<'_>) {
        self.count += 1;
        if let Some(moment) = line.moment {
            self.first = Some(self.first.map_or(moment, |first| first.min(moment)));
            self.last = Some(self.last.map_or(moment, |last| last.max(moment)));
            self.times.add(moment);
        }
        if matches!(self.cause, Cause::SlotsOnAccept | Cause::SlotsToUpstream | Cause::SlotsReusing) {
            self.limit = self.limit.or_else(|| line.limit());
        }
        self.local +=
            u64::from(line.client().is_some_and(|client| matches!(client, "127.0.0.1" | "::1" | "unix:")));
        if let Some(upstream) = line.upstream() {
            if let Some(count) = self.upstreams.get_mut(upstream) {
                *count += 1;
            } else if self.upstreams.len() < MOST_UPSTREAMS {
                self.upstreams.insert(upstream.to_owned(), 1);
            }
        }
    }
}

/// Whether one of the first lines says when it was written, or how grave it is.
fn is_like_a_log(block: &[u8]) -> bool {
    const FIRST: usize = 64;
    let lines = block.split(|byte| *byte == b'\n').take(FIRST).filter_map(Line::of);
    lines.into_iter().any(|line| line.moment.is_some() || !line.level.is_empty())
}

/// Where the line around this byte begins and ends.
fn line_around(block: &[u8], at: usize) -> (usize, usize) {
    let start = memrchr(b'\n', &block[..at]).map_or(0, |newline| newline + 1);
    let end = memchr(b'\n', &block[at..]).map_or(block.len(), |newline| at + newline);
    (start, end)
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::moment;
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &[u8], window: Window) -> Events {
        let mut scanner = Scanner::new(window);
        scanner.read("/var/log/error.log", &mut Blocks::new(text)).unwrap();
        scanner.finish()
    }

    const QUEUE: &str = "2026/06/27 12:03:12 [error] 7#7: *9 connect() to unix:/run/g.sock failed (11: Resource temporarily unavailable) while connecting to upstream, client: 127.0.0.1, server: , request: \"GET / HTTP/1.1\", upstream: \"http://unix:/run/g.sock:/\", host: \"x\"\n";

    #[test]
    fn a_log_is_summed_up() {
        let noise = "2026/06/27 12:00:00 [notice] 7#7: nothing\n".repeat(3);
        assert_eq!(
            scan(b"1024 worker_connections are not enough, says the manual\n", Window::default()).events,
            []
        );
        let bare = "nginx: [alert] 1024 worker_connections are not enough while connecting to upstream";
        assert_eq!(scan(bare.as_bytes(), Window::default()).events[0].cause, Cause::SlotsToUpstream);
        for pasted in [
            "connect() to unix:/run/g.sock failed (11: Resource temporarily unavailable)",
            "*7 768 worker_connections are not enough while connecting to upstream",
            "worker_connections are not enough",
            "accept4() failed (24: Too many open files)",
        ] {
            assert_eq!(scan(pasted.as_bytes(), Window::default()).events.len(), 1, "{pasted}");
        }
        for prose in ["7 worker_connections are not enough for us", "we saw accept4() failed (24: x)"] {
            assert_eq!(scan(prose.as_bytes(), Window::default()).events, [], "{prose}");
        }
        let later = QUEUE.replace("12:03:12", "12:04:00");
        let full = "2026/06/27 12:03:41 [alert] 7#7: 768 worker_connections are not enough\n";
        let text = format!("{noise}{later}{QUEUE}{full}the end");
        let read = scan(text.as_bytes(), Window::default());
        assert_eq!((read.lines, read.bytes), (7, text.len() as u64));
        let [slots, queue] = &read.events[..] else { panic!("{:?}", read.events) };
        assert_eq!((slots.cause, slots.count, slots.limit), (Cause::SlotsOnAccept, 1, Some(768)));
        assert_eq!((queue.count, queue.local, queue.place.as_str()), (2, 2, "error.log:4"));
        assert_eq!(moment::words(queue.first.unwrap()), "2026-06-27 12:03:12");
        assert_eq!(queue.upstreams, BTreeMap::from([("unix:/run/g.sock".to_owned(), 2)]));
        let window = Window { since: queue.first.map(|first| first + 40), until: None };
        assert_eq!(scan(text.as_bytes(), window).events.len(), 1);
    }

    #[test]
    fn the_same_line_in_other_clothes() {
        let line = QUEUE.trim_end();
        let quoted = serde_json::to_string(line).unwrap();
        let clothes = [
            format!("Jun 27 12:03:13 web nginx[7]: {line}"),
            format!("{{\"log\":{quoted},\"stream\":\"stderr\",\"time\":\"2026-06-27T12:03:12.1Z\"}}"),
            "{\"time\":\"2026-06-27T12:03:12Z\",\"level\":\"error\",\"errno\":11,\"msg\":\"connect() to unix:/run/g.sock failed while connecting to upstream\",\"client\":\"127.0.0.1\",\"upstream\":\"http://unix:/run/g.sock:/\"}".to_owned(),
            format!("2026-06-27T12:03:12.123456789Z stderr F {line}"),
            format!("MESSAGE={line}"),
            format!("{{\"__REALTIME_TIMESTAMP\":\"1\",\"_PID\":\"7\",\"MESSAGE\":{quoted}}}"),
            format!("{{\"MESSAGE\":{:?}}}", line.as_bytes()),
            format!("{line}\r"),
        ];
        for text in clothes {
            let read = scan(text.as_bytes(), Window::default());
            let event = read.events.first().unwrap_or_else(|| panic!("{text}"));
            assert_eq!((event.cause, event.local), (Cause::UpstreamQueue, 1), "{text}");
            assert_eq!(moment::words(event.first.unwrap()), "2026-06-27 12:03:12", "{text}");
            assert!(event.upstreams.contains_key("unix:/run/g.sock"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_log_is_survived(
            lines in prop::collection::vec(prop_oneof![any::<String>().prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..60), Just(QUEUE.as_bytes().to_vec()),
                Just(b"{\"level\":\"crit\",\"errno\":24,\"msg\":\"accept4() failed\"}\n".to_vec())], 0..20),
            cut in 0usize..400,
        ) {
            let text = lines.concat();
            let text = &text[..text.len().saturating_sub(cut)];
            let read = scan(text, Window::default());
            let newlines = newlines(text) + u64::from(!text.is_empty() && !text.ends_with(b"\n"));
            prop_assert_eq!(read.lines, newlines);
            prop_assert!(read.events.iter().map(|event| event.count).sum::<u64>() <= newlines);
        }
    }
}
