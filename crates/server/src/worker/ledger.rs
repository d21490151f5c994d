//! The ledger of descriptors: what the open ones are, so that one that nobody closes has a name.
//!
//! Clients are counted by their seats. Everything else is [`Counted`], or has a [`Line`] of its own for as long as it is open:
//! it cannot be opened without being written down, nor be forgotten. Each thread has a page of its own; only the sum says something, as what one thread
//! opened another one may close.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A file that is sent, or kept open for that; one that is read or written while nobody sends it; a folder.
    File,
    /// A body that does not fit in memory.
    Temporary,
    /// An answer in a cache, read or written.
    Cache,
    /// A log, or a connection to one.
    Log,
    /// A connection to an upstream or to a name server.
    Upstream,
    /// A client that waits for a slot.
    Waiting,
    /// What an event loop stands on.
    Loop,
}

const CLASSES: usize = 7;

type Page = [AtomicI64; CLASSES];

static PAGES: Mutex<Vec<Arc<Page>>> = Mutex::new(Vec::new());

thread_local! {
    static PAGE: Arc<Page> = {
        let page = Arc::<Page>::default();
        PAGES.lock().unwrap_or_else(PoisonError::into_inner).push(page.clone());
        page
    };
}

/// How many of a class are open.
pub fn open(class: Class) -> u64 {
    let pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let sum: i64 = pages.iter().map(|page| page[class as usize].load(Relaxed)).sum();
    u64::try_from(sum).unwrap_or(0)
}

/// Only the thread itself writes on its page.
fn write(class: Class, change: i64) {
    let _ = PAGE.try_with(|page| {
        let count = &page[class as usize];
        count.store(count.load(Relaxed) + change, Relaxed);
    });
}

/// Something with a descriptor, written down for as long as it is open.
#[derive(Debug)]
pub struct Counted<T> {
    it: T,
    line: Line,
}

/// A file, written down.
pub type OpenFile = Counted<File>;

/// A line of the ledger: something is open while it lives.
#[derive(Debug)]
pub struct Line(Class);

impl Line {
    /// Writes one down.
    pub fn new(class: Class) -> Line {
        write(class, 1);
        Line(class)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        write(self.0, -1);
    }
}

impl<T> Counted<T> {
    /// Writes it down.
    pub fn new(class: Class, it: T) -> Counted<T> {
        Counted { it, line: Line::new(class) }
    }
}

impl OpenFile {
    /// The same file once more.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn twin(&self) -> io::Result<OpenFile> {
        Ok(Counted::new(self.line.0, self.it.try_clone()?))
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.it
    }
}
impl<T: AsFd> AsFd for Counted<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.it.as_fd()
    }
}
impl<T> DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.it
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_opened_here_and_closed_there_is_closed() {
        // Nobody else counts logs in this process.
        let file = Counted::new(Class::Log, File::open("/dev/null").unwrap());
        let twin = file.twin().unwrap();
        assert_eq!(open(Class::Log), 2);
        std::thread::spawn(move || drop(twin)).join().unwrap();
        assert_eq!(open(Class::Log), 1);
        drop(file);
        assert_eq!(open(Class::Log), 0);
    }
}
