//! `access_log .. buffer=`: each thread collects lines and writes them together.
//!
//! Lines are written when the next one does not fit, when the oldest has waited for `flush=`, when the log was
//! reopened (to the old file, as in nginx), when a reload left the log out, and when the thread ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Buffer;
use crate::connection::Handle;
use crate::log::{Errno, LogFile};
use crate::worker::ledger::OpenFile;
use crate::worker::thread::Thread;

/// What was said of the buffers of each file; nginx wants it to be the same everywhere.
#[derive(Default)]
pub struct Declared(Mutex<HashMap<PathBuf, Buffer>>);
impl Declared {
    /// Whether this is what was said of the file before, if anything was.
    pub fn agrees(&self, path: &Path, buffer: Buffer) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(path.into()).or_insert(buffer) == buffer
    }
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The lines of one thread that wait, for each file.
#[derive(Default)]
struct Buffers(Vec<Waiting>);

struct Waiting {
    /// Held by the configurations that have it.
    log: Weak<LogFile>,
    path: PathBuf,
    /// What the log was when the first line came.
    file: Option<Arc<OpenFile>>,
    lines: Vec<u8>,
    /// When the first of the lines came.
    since: Option<Instant>,
    /// Whether a [`flush_late`] looks after this.
    timed: bool,
    /// Compressed at this level, each portion for itself.
    gzip: Option<u32>,
}

impl Waiting {
    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let result = match (&self.file, self.gzip) {
            (None, _) => Ok(()),
            (Some(file), None) => (&***file).write_all(&self.lines),
            (Some(file), Some(level)) => {
                compressed(&self.lines, level).and_then(|bytes| (&***file).write_all(&bytes))
            }
        };
        self.lines.clear();
        self.file = None;
        result
    }
    fn append(&mut self, log: &LogFile, line: &[u8], size: usize, now: Instant) -> io::Result<()> {
        let result = if self.lines.len() + line.len() > size { self.flush() } else { Ok(()) };
        if line.len() > size {
            return result.and_then(|()| match self.gzip {
                None => log.append(line),
                Some(level) => log.append(&compressed(line, level)?),
            });
        }
        if self.lines.is_empty() {
            self.file = log.current();
            self.since = Some(now);
        }
        self.lines.extend_from_slice(line);
        result
    }
    /// Writes lines that have waited for `flush`; says when those that have not will have.
    fn flush_due(&mut self, now: Instant, flush: Duration) -> Option<Instant> {
        let due = self.since.filter(|_| !self.lines.is_empty()).map(|since| since + flush);
        if due.is_some_and(|due| due > now) {
            return due;
        }
        self.timed = false;
        // A failure shows itself again with the next lines, which have a request to report it for.
        let _ = self.flush();
        None
    }
    /// The log is another file now, or no configuration has it any more.
    fn is_over(&self) -> bool {
        let Some(log) = self.log.upgrade() else { return true };
        match (&self.file, log.current()) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, &new),
            _ => false,
        }
    }
}
impl Drop for Waiting {
    fn drop(&mut self) {
        // Nothing can be done for lines that cannot be written when a thread ends.
        let _ = self.flush();
    }
}

impl Buffers {
    fn of(&mut self, log: &Arc<LogFile>) -> &mut Waiting {
        let i = self
            .0
            .iter()
            .position(|waiting| waiting.log.as_ptr() == Arc::as_ptr(log))
            .unwrap_or(self.0.len());
        if i == self.0.len() {
            self.0.push(Waiting {
                log: Arc::downgrade(log),
                path: log.path.clone(),
                file: None,
                lines: Vec::new(),
                since: None,
                timed: false,
                gzip: None,
            });
        }
        &mut self.0[i]
    }
    /// Writes what must not wait any longer.
    fn sweep(&mut self, mut failed: impl FnMut(&Path, io::Error)) {
        for waiting in &mut self.0 {
            if waiting.is_over()
                && let Err(error) = waiting.flush()
            {
                failed(&waiting.path, error);
            }
        }
        self.0.retain(|waiting| waiting.log.strong_count() > 0);
    }
}

/// Adds a line to what waits for `log` on this thread.
///
/// # Errors
/// When lines had to be written and could not.
pub fn append(thread: &Thread, log: &Arc<LogFile>, buffer: Buffer, line: &[u8]) -> io::Result<()> {
    if !WATCHED.replace(true) {
        thread.each_turn(|thread| {
            BUFFERS.with_borrow_mut(|all| all.sweep(|path, error| complain(thread, path, &error)));
        });
    }
    let now = thread.handle.now();
    BUFFERS.with_borrow_mut(|all| {
        let waiting = all.of(log);
        waiting.gzip = buffer.gzip;
        let result = waiting.append(log, line, buffer.size, now);
        if let Some(flush) = buffer.flush.filter(|_| !waiting.timed && !waiting.lines.is_empty()) {
            waiting.timed = true;
            thread.handle.spawn(flush_late(thread.handle.clone(), Arc::downgrade(log), flush));
        }
        result
    })
}

/// Writes what has waited for `flush=`, until nothing waits.
async fn flush_late(handle: Handle, log: Weak<LogFile>, flush: Duration) {
    let mut until = handle.now() + flush;
    loop {
        handle.sleep_until(until).await;
        // A log that is gone was written by the sweep.
        let Some(log) = log.upgrade() else { return };
        match BUFFERS.with_borrow_mut(|all| all.of(&log).flush_due(handle.now(), flush)) {
            Some(next) => until = next,
            None => return,
        }
    }
}

/// A gzip file of its own; one behind the other they are one, too.
fn compressed(lines: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(lines)?;
    encoder.finish()
}

fn complain(thread: &Thread, path: &Path, error: &io::Error) {
    thread.log_alert(format_args!("write() to \"{}\" failed ({})", path.display(), Errno(error)));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;

    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn writes_when_the_next_line_does_not_fit() {
        let folder = Folder::new();
        let (log, mut all, now) = (folder.log(), Buffers::default(), Instant::now());
        all.of(&log).append(&log, b"12345\n", 12, now).unwrap();
        all.of(&log).append(&log, b"67890\n", 12, now).unwrap();
        assert_eq!(folder.text("a"), "");
        all.of(&log).append(&log, b"x\n", 12, now).unwrap();
        assert_eq!(folder.text("a"), "12345\n67890\n");
        all.of(&log).append(&log, b"too long for it\n", 12, now).unwrap();
        assert_eq!(folder.text("a"), "12345\n67890\nx\ntoo long for it\n");
    }

    #[test]
    fn a_reopened_log_gets_later_lines_only() {
        let folder = Folder::new();
        let (log, mut all, now) = (folder.log(), Buffers::default(), Instant::now());
        all.of(&log).append(&log, b"old\n", 100, now).unwrap();
        all.sweep(|_, error| panic!("{error}"));
        assert_eq!(folder.text("a"), "");
        log.open(folder.open("b"));
        all.sweep(|_, error| panic!("{error}"));
        all.of(&log).append(&log, b"new\n", 100, now).unwrap();
        drop(all);
        assert_eq!((folder.text("a"), folder.text("b")), ("old\n".to_owned(), "new\n".to_owned()));
    }

    #[test]
    fn a_log_that_no_configuration_has_is_written_and_forgotten() {
        let folder = Folder::new();
        let (log, mut all, now) = (folder.log(), Buffers::default(), Instant::now());
        all.of(&log).append(&log, b"last\n", 100, now).unwrap();
        drop(log);
        all.sweep(|_, error| panic!("{error}"));
        assert_eq!(folder.text("a"), "last\n");
        assert!(all.0.is_empty());
    }

    #[test]
    fn a_failed_write_is_reported() {
        let log = Arc::new(LogFile::new("/dev/full".into()));
        log.open(File::options().append(true).open("/dev/full").unwrap());
        let (mut all, now) = (Buffers::default(), Instant::now());
        all.of(&log).append(&log, b"lost\n", 5, now).unwrap();
        assert_eq!(
            all.of(&log).append(&log, b"more\n", 5, now).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
    }

    #[test]
    fn lines_wait_no_longer_than_they_may() {
        let folder = Folder::new();
        let (log, mut all, start) = (folder.log(), Buffers::default(), Instant::now());
        let (second, flush) = (Duration::from_secs(1), Duration::from_secs(5));
        all.of(&log).append(&log, b"1\n", 4, start).unwrap();
        all.of(&log).append(&log, b"2\n", 4, start + second).unwrap();
        all.of(&log).append(&log, b"3\n", 4, start + 2 * second).unwrap();
        assert_eq!(folder.text("a"), "1\n2\n");
        assert_eq!(all.of(&log).flush_due(start + flush, flush), Some(start + 2 * second + flush));
        assert_eq!(folder.text("a"), "1\n2\n");
        assert_eq!(all.of(&log).flush_due(start + 2 * second + flush, flush), None);
        assert_eq!(folder.text("a"), "1\n2\n3\n");
        assert_eq!(all.of(&log).flush_due(start + 3 * flush, flush), None);
    }
}
