//! `access_log` without `buffer=`: lines of requests that end in the same turn of the loop are written together.
//!
//! The first line of a turn is written at once. So on a quiet server each line is there as soon as its request is over,
//! and a log that cannot be written is complained of with the request that shows it. The lines behind it go out when the
//! turn ends: under load that saves most of the writes.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use crate::log::{Errno, LogFile};
use crate::worker::thread::Thread;

/// So much is written at once at most: what is written to a pipe in such portions is not mixed with others' lines.
const PORTION: usize = 4096;

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// What this thread has still to write.
#[derive(Default)]
struct Gathered {
    logs: Vec<Lines>,
    /// The end of a turn writes it.
    watched: bool,
}

/// The lines of one log in this turn.
#[derive(Default)]
struct Lines {
    /// Who had a line in this turn.
    log: Option<Arc<LogFile>>,
    /// Those behind the first.
    text: Vec<u8>,
}

impl Lines {
    fn flush(&mut self, log: &LogFile) -> io::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let result = log.append(&self.text);
        self.text.clear();
        result
    }
}

impl Gathered {
    fn append(&mut self, log: &Arc<LogFile>, line: &[u8]) -> io::Result<()> {
        let is_its = |lines: &&mut Lines| lines.log.as_ref().is_some_and(|known| Arc::ptr_eq(known, log));
        let Some(lines) = self.logs.iter_mut().find(is_its) else {
            self.begin(log);
            return log.append(line);
        };
        let full = lines.text.len() + line.len() > PORTION;
        let result = if full { lines.flush(log) } else { Ok(()) };
        if line.len() > PORTION {
            return result.and(log.append(line));
        }
        lines.text.extend_from_slice(line);
        result
    }
    fn begin(&mut self, log: &Arc<LogFile>) {
        match self.logs.iter_mut().find(|lines| lines.log.is_none()) {
            Some(free) => free.log = Some(log.clone()),
            None => self.logs.push(Lines { log: Some(log.clone()), text: Vec::new() }),
        }
    }
    /// Writes what was gathered, and lets go of the logs: a configuration that is gone may be the last that has them.
    fn end_turn(&mut self, mut failed: impl FnMut(&LogFile, &io::Error)) {
        for lines in &mut self.logs {
            let Some(log) = lines.log.take() else { continue };
            if let Err(error) = lines.flush(&log) {
                failed(&log, &error);
            }
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        // Nothing can be done for lines that cannot be written when a thread ends.
        self.end_turn(|_, _| {});
    }
}

/// Writes a line to `log`, at once or when this turn ends.
///
/// # Errors
/// When lines had to be written and could not.
pub fn append(thread: &Thread, log: &Arc<LogFile>, line: &[u8]) -> io::Result<()> {
    GATHERED.with_borrow_mut(|gathered| {
        if !std::mem::replace(&mut gathered.watched, true) {
            thread.each_turn(end_turn);
        }
        gathered.append(log, line)
    })
}

fn end_turn(thread: &Thread) {
    GATHERED.with_borrow_mut(|gathered| {
        gathered.end_turn(|log, error| {
            if log.complains(thread.clock.unix().as_secs()) {
                let path = log.path.display();
                thread.log_alert(format_args!("write() to \"{path}\" failed ({})", Errno(error)));
            }
        });
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;

    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn the_first_line_of_a_turn_is_written_at_once_and_the_others_when_it_ends() {
        let folder = Folder::new();
        let (log, mut all) = (folder.log(), Gathered::default());
        for turn in ["1\n2\n3\n", "1\n2\n3\n1\n2\n3\n"] {
            all.append(&log, b"1\n").unwrap();
            let before = folder.text("a");
            all.append(&log, b"2\n").unwrap();
            all.append(&log, b"3\n").unwrap();
            assert_eq!(folder.text("a"), before);
            all.end_turn(|_, error| panic!("{error}"));
            assert_eq!(folder.text("a"), turn);
        }
        assert_eq!(Arc::strong_count(&log), 1, "nobody else holds the log between two turns");
    }

    #[test]
    fn portions_are_whole_lines_and_the_order_is_kept() {
        let folder = Folder::new();
        let (log, mut all) = (folder.log(), Gathered::default());
        let mut whole = String::new();
        for number in 0..200 {
            let line = format!("{number}{}\n", "x".repeat(if number == 99 { 5000 } else { number }));
            all.append(&log, line.as_bytes()).unwrap();
            whole += &line;
            let written = folder.text("a");
            assert!(whole.starts_with(&written) && written.ends_with('\n'));
            assert!(whole.len() - written.len() <= PORTION);
        }
        drop(all);
        assert_eq!(folder.text("a"), whole);
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let log = Arc::new(LogFile::new("/dev/full".into()));
        log.open(File::options().append(true).open("/dev/full").unwrap());
        let (mut all, mut told) = (Gathered::default(), 0);
        assert_eq!(all.append(&log, b"1\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        all.append(&log, b"2\n").unwrap();
        all.end_turn(|_, _| told += 1);
        all.end_turn(|_, _| told += 1);
        assert_eq!(told, 1);
    }
}
