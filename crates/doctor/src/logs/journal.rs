//! The journal of systemd as it is exported (`journalctl -o export`): entries become lines again.
//!
//! An entry is `FIELD=value` lines and an empty one. A value that has line ends in it comes behind its field's name, a
//! line end and its length in eight bytes.

use std::io::{self, BufRead, BufReader, Read};

use super::moment;

/// How such a stream begins.
pub(super) const BEGINNING: &[u8] = b"__CURSOR=";
/// Bytes of a message that are kept.
const MOST: usize = 64 << 10;

/// Lines out of entries: `2026-06-27 12:03:12 nginx[7]: MESSAGE`.
pub struct Journal<R> {
    input: BufReader<R>,
    entry: Entry,
    line: Vec<u8>,
    given: usize,
    ended: bool,
}

#[derive(Default)]
struct Entry {
    message: Vec<u8>,
    time: String,
    who: String,
    process: String,
}

impl<R: Read> Journal<R> {
    /// The lines of this export.
    pub fn new(input: R) -> Journal<R> {
        let input = BufReader::with_capacity(1 << 18, input);
        Journal { input, entry: Entry::default(), line: Vec::new(), given: 0, ended: false }
    }

    /// Reads one field, or the end of an entry.
    fn field(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        if !self.whole_line(&mut line)? {
            self.ended = true;
        }
        match memchr::memchr(b'=', &line) {
            _ if line.is_empty() => self.end_entry(),
            Some(at) => self.entry.set(&line[..at], line[at + 1..].to_vec()),
            None => {
                let value = self.counted_value()?;
                self.entry.set(&line, value);
            }
        }
        if self.ended {
            self.end_entry();
        }
        Ok(())
    }

    /// A line without its end, and no more of it than is kept. False: the stream is over.
    fn whole_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            line.extend(part.iter().take(MOST - line.len()));
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn counted_value(&mut self) -> io::Result<Vec<u8>> {
        let (mut length, mut value) = ([0; 8], Vec::new());
        if self.input.read_exact(&mut length).is_err() {
            self.ended = true;
            return Ok(value);
        }
        let length = u64::from_le_bytes(length);
        (&mut self.input).take(length.min(MOST as u64)).read_to_end(&mut value)?;
        // The rest of it, and its line end.
        let rest = length.saturating_sub(MOST as u64).saturating_add(1);
        io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        Ok(value)
    }

    fn end_entry(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        for part in entry.message.split(|byte| *byte == b'\n').filter(|part| !part.is_empty()) {
            self.line.extend_from_slice(entry.heading().as_bytes());
            self.line.extend_from_slice(part);
            self.line.push(b'\n');
        }
    }
}

impl Entry {
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        // Names and numbers are short; every line of a message begins with them.
        const SHORT: usize = 64;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value[..value.len().min(SHORT)]).into_owned();
        match name {
            b"MESSAGE" => self.message = value,
            b"__REALTIME_TIMESTAMP" => self.time = text(value),
            b"SYSLOG_IDENTIFIER" => self.who = text(value),
            b"_PID" => self.process = text(value),
            _ => {}
        }
    }

    fn heading(&self) -> String {
        let time = moment::of_journal(&self.time).map(moment::words).unwrap_or_default();
        format!("{time} {}[{}]: ", self.who, self.process)
    }
}

impl<R: Read> Read for Journal<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.line.len() {
            if self.ended {
                return Ok(0);
            }
            self.line.clear();
            self.given = 0;
            self.field()?;
        }
        let n = buffer.len().min(self.line.len() - self.given);
        buffer[..n].copy_from_slice(&self.line[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut text = Vec::new();
        Journal::new(bytes).read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    #[test]
    fn entries_become_lines() {
        let mut export = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1782576351000000\nSYSLOG_IDENTIFIER=nginx\n_PID=7\nMESSAGE=one\n\n__CURSOR=s=2\nSYSLOG_IDENTIFIER=app\nMESSAGE\n".to_vec();
        export.extend(9u64.to_le_bytes());
        export.extend(b"two\nthree\n_PID=8\n");
        let found = lines(&export);
        assert!(found[0].ends_with(" nginx[7]: one"), "{found:?}");
        assert_eq!(&found[0][..5], "2026-");
        assert_eq!(found[1..], [" app[8]: two", " app[8]: three"]);
    }

    #[test]
    fn a_length_that_lies() {
        let mut export = b"__CURSOR=s\nMESSAGE\n".to_vec();
        export.extend(u64::MAX.to_le_bytes());
        export.extend(b"rest");
        assert_eq!(lines(&export), [" []: rest"]);
    }

    proptest! {
        #[test]
        fn any_stream_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            lines(&bytes);
            lines(&[b"MESSAGE\n".as_slice(), &bytes].concat());
        }
    }
}
