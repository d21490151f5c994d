//! Error logs that grow: each look reads what was added since the one before, over rotation and truncation.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memchr::memrchr;

use super::error::{Events, Scanner, Window};
use super::{Blocks, Source};
use crate::input::{self, Whole};

/// A line longer than this is not waited for until it ends.
const LONG: u64 = 1 << 20;

/// Files known by what they are, not by their names: a rotated log is the same file.
type Known = HashMap<(u64, u64), Position>;

#[derive(Clone, Copy, Debug, Default)]
struct Position {
    byte: u64,
    line: u64,
}

/// Reads logs again and again.
pub struct Follower {
    scanner: Scanner,
    known: Known,
    looks: u64,
    /// What was there before the first look is not read.
    from_now: bool,
}

impl Follower {
    /// Reads everything there is, then what is added.
    pub fn new(window: Window) -> Follower {
        Follower { scanner: Scanner::new(window), known: Known::new(), looks: 0, from_now: false }
    }

    /// Reads only what is added from now on.
    pub fn from_now() -> Follower {
        Follower { from_now: true, ..Follower::new(Window::default()) }
    }

    /// One look at these logs. `failed` hears of those that cannot be read.
    pub fn look<'a>(
        &mut self,
        logs: impl Iterator<Item = &'a Path>,
        mut failed: impl FnMut(&Path, io::Error),
    ) {
        for log in logs {
            if let Err(error) = self.read(log) {
                failed(log, error);
            }
        }
        self.looks += 1;
    }

    /// Everything found so far.
    pub fn seen(&self) -> Events {
        self.scanner.seen()
    }

    fn read(&mut self, log: &Path) -> io::Result<()> {
        let file = input::open(log)?;
        let meta = file.metadata()?;
        let name = log.display().to_string();
        if !meta.is_file() || is_packed(&file)? {
            return self.once(log, (meta.dev(), meta.ino()));
        }
        let id = (meta.dev(), meta.ino());
        let first = self.looks == 0;
        if first && self.from_now {
            self.known.insert(id, Position { byte: meta.len(), line: 1 });
        }
        let from = self.known.get(&id).copied().filter(|position| position.byte <= meta.len());
        let from = from.unwrap_or(Position { byte: 0, line: 1 });
        let until = whole_lines(&file, from.byte, meta.len())?;
        let mut blocks = Blocks::new(Whole::from(file, from.byte, until));
        let line = self.scanner.read_from(&name, from.line, &mut blocks)?;
        self.known.insert(id, Position { byte: until, line });
        Ok(())
    }

    /// What does not grow is read when it is seen first, unless it is a log that was packed meanwhile.
    fn once(&mut self, log: &Path, id: (u64, u64)) -> io::Result<()> {
        if self.known.insert(id, Position::default()).is_some() || self.looks > 0 || self.from_now {
            return Ok(());
        }
        let source = Source::open(log)?;
        let name = source.name.clone();
        self.scanner.read(&name, &mut source.blocks()).map(|_| ())
    }
}

fn is_packed(mut file: &File) -> io::Result<bool> {
    let mut start = [0; 2];
    let packed = file.read(&mut start)? == 2 && start == super::source::GZIP;
    file.seek(SeekFrom::Start(0))?;
    Ok(packed)
}

/// Where the last whole line ends; a line that is still being written is left for the next look.
fn whole_lines(mut file: &File, from: u64, length: u64) -> io::Result<u64> {
    const TAIL: u64 = 64 << 10;
    let mut end = length;
    while end > from {
        let start = end.saturating_sub(TAIL).max(from);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.take(end - start).read_to_end(&mut tail)?;
        if let Some(at) = memrchr(b'\n', &tail) {
            return Ok(start + at as u64 + 1);
        }
        if length - start >= LONG {
            return Ok(length);
        }
        end = start;
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

    const LINE: &str = "2026/06/27 18:05:51 [alert] 7#7: 1024 worker_connections are not enough\n";

    fn count(follower: &mut Follower, logs: &[&PathBuf]) -> u64 {
        follower
            .look(logs.iter().map(|log| log.as_path()), |log, error| panic!("{}: {error}", log.display()));
        follower.seen().events.iter().map(|event| event.count).sum()
    }

    fn append(path: &Path, text: &str) {
        File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn rotation_and_truncation() {
        let folder = tempfile::tempdir().unwrap();
        let (log, old) = (folder.path().join("error.log"), folder.path().join("error.log.1"));
        append(&log, LINE);
        let (mut all, mut new) = (Follower::new(Window::default()), Follower::from_now());
        let mut both = |logs: &[&PathBuf]| (count(&mut all, logs), count(&mut new, logs));
        assert_eq!(both(&[&log]), (1, 0));
        assert_eq!(both(&[&log]), (1, 0));
        // Half a line is none yet.
        append(&log, &LINE[..30]);
        assert_eq!(both(&[&log]), (1, 0));
        append(&log, &LINE[30..]);
        assert_eq!(both(&[&log]), (2, 1));
        fs::rename(&log, &old).unwrap();
        append(&old, LINE);
        append(&log, LINE);
        assert_eq!(both(&[&log, &old]), (4, 3));
        fs::write(&log, "").unwrap();
        assert_eq!(both(&[&log]), (4, 3));
        append(&log, LINE);
        assert_eq!(both(&[&log]), (5, 4));
        assert_eq!(all.seen().events[0].place, "error.log:1");
    }
}
