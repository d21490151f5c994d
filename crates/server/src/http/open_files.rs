//! `open_file_cache`: what was found at a path is remembered for a while, and files that are wanted often stay open.
//!
//! Each thread has its own; a new configuration begins with none.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::rc::Rc;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::symlinks::Links;
use crate::worker::descriptors::none_left;
use crate::worker::ledger::OpenFile;

/// What is at a path.
pub struct Found {
    /// Its kind, size, times.
    pub stat: Stat,
    /// It, open for reading; nothing for a directory.
    pub file: Option<SentFile>,
}

/// An open file: one answer's own, as most are, or shared with a cache or between the parts of an answer.
pub enum SentFile {
    /// Nobody else has it.
    Own(OpenFile),
    /// Others may have it.
    Shared(Rc<OpenFile>),
}
impl SentFile {
    /// It, for others to have it, too.
    pub fn share(self) -> Rc<OpenFile> {
        match self {
            SentFile::Own(file) => Rc::new(file),
            SentFile::Shared(file) => file,
        }
    }
}
impl Deref for SentFile {
    type Target = OpenFile;
    fn deref(&self) -> &OpenFile {
        match self {
            SentFile::Own(file) => file,
            SentFile::Shared(file) => file,
        }
    }
}

/// One `open_file_cache` or `open_log_file_cache` directive.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Which one.
    pub id: u32,
    /// How many paths are remembered.
    pub max: usize,
    /// Seconds after which one is forgotten that nobody asked for.
    pub inactive: u64,
}

impl Declared {
    /// A new one; blocks that inherit it share the cache.
    pub fn new(at: &conf::Scope, max: usize, inactive: u64) -> Declared {
        let id = at.shared::<Last>().0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Declared { id, max, inactive }
    }
}
/// How many there are.
#[derive(Default)]
struct Last(std::sync::atomic::AtomicU32);

/// How a location uses a cache.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// Which one.
    pub cache: Declared,
    /// Seconds after which a path is looked at again.
    pub valid: u64,
    /// How often a file must be asked for to stay open.
    pub min_uses: u32,
    /// Whether failures are remembered.
    pub errors: bool,
    /// What links were followed: another answer is another finding. And from where on.
    pub links: Option<(Links, usize)>,
}

/// The caches of one thread.
#[derive(Default)]
pub struct Caches(RefCell<HashMap<u32, Cache>>);

impl Caches {
    /// What is at `path`, as remembered or as `open` finds it; `now` in seconds.
    ///
    /// # Errors
    /// As `open`, or as it said before.
    pub fn find(
        &self,
        by: &Use,
        path: &mut Vec<u8>,
        now: u64,
        open: impl FnOnce(&mut Vec<u8>) -> Result<Found, Errno>,
    ) -> Result<Found, Errno> {
        self.0.borrow_mut().entry(by.cache.id).or_default().find(by, path, now, open)
    }
    /// Forgets everything, so that no file stays open for it; whether there was a file.
    pub fn clear(&self) -> bool {
        let caches = self.0.take();
        caches.values().flat_map(|cache| cache.entries.values()).any(|entry| entry.holds_a_file())
    }
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Rc<[u8]>, Entry>,
    /// When each was asked for last, longest ago first.
    order: BTreeSet<(u64, Rc<[u8]>)>,
}

struct Entry {
    kept: Kept,
    /// When it was looked at, and asked for last.
    created: u64,
    accessed: u64,
    uses: u32,
    links: Option<(Links, usize)>,
}

impl Entry {
    fn holds_a_file(&self) -> bool {
        matches!(&self.kept, Kept::Found(_, Some(_)))
    }
}

enum Kept {
    Found(Stat, Option<Rc<OpenFile>>),
    Failed(Errno),
    /// A file that was not wanted often enough to stay open.
    Closed,
}

impl Cache {
    fn find(
        &mut self,
        by: &Use,
        path: &mut Vec<u8>,
        now: u64,
        open: impl FnOnce(&mut Vec<u8>) -> Result<Found, Errno>,
    ) -> Result<Found, Errno> {
        self.forget_inactive(by.cache.inactive, now);
        if let Some(remembered) = self.remembered(by, path, now) {
            return remembered;
        }
        let found = open(path);
        let uses = self.entries.get(&**path).map_or(1, |entry| entry.uses);
        let (kept, found) = match found {
            Ok(Found { stat, file }) if file.is_none() || uses >= by.min_uses => {
                let file = file.map(SentFile::share);
                (Kept::Found(stat, file.clone()), Ok(Found { stat, file: file.map(SentFile::Shared) }))
            }
            Ok(found) => (Kept::Closed, Ok(found)),
            Err(error) if by.errors && !none_left(error) => (Kept::Failed(error), Err(error)),
            Err(error) => {
                self.remove(path);
                return Err(error);
            }
        };
        self.keep(by, path, Entry { kept, created: now, accessed: now, uses, links: by.links });
        found
    }

    /// Counts a use; what is known, if it still holds.
    fn remembered(&mut self, by: &Use, path: &[u8], now: u64) -> Option<Result<Found, Errno>> {
        let (key, _) = self.entries.get_key_value(path)?;
        let key = key.clone();
        let entry = self.entries.get_mut(path)?;
        entry.uses += 1;
        if entry.accessed != now {
            self.order.remove(&(entry.accessed, key.clone()));
            self.order.insert((now, key));
            entry.accessed = now;
        }
        if now - entry.created.min(now) >= by.valid || entry.links != by.links {
            return None;
        }
        match &entry.kept {
            Kept::Found(stat, file) => {
                Some(Ok(Found { stat: *stat, file: file.clone().map(SentFile::Shared) }))
            }
            Kept::Failed(error) => Some(Err(*error)),
            Kept::Closed => None,
        }
    }

    fn keep(&mut self, by: &Use, path: &[u8], entry: Entry) {
        if let Some(known) = self.entries.get_mut(path) {
            *known = entry;
            return;
        }
        while self.entries.len() >= by.cache.max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.entries.remove(&oldest);
        }
        let key: Rc<[u8]> = path.into();
        self.order.insert((entry.accessed, key.clone()));
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, path: &[u8]) {
        if let Some((key, entry)) = self.entries.remove_entry(path) {
            self.order.remove(&(entry.accessed, key));
        }
    }

    /// At most two at a time: nobody waits for many files to be closed.
    fn forget_inactive(&mut self, inactive: u64, now: u64) {
        for _ in 0..2 {
            match self.order.first() {
                Some((accessed, _)) if accessed + inactive < now => {}
                _ => return,
            }
            if let Some((_, key)) = self.order.pop_first() {
                let path: &[u8] = key.borrow();
                self.entries.remove(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn by(min_uses: u32, errors: bool) -> Use {
        let cache = Declared { id: 0, max: 2, inactive: 10 };
        Use { cache, valid: 5, min_uses, errors, links: None }
    }
    fn file() -> Result<Found, Errno> {
        let file = crate::worker::ledger::Counted::new(
            crate::worker::ledger::Class::File,
            std::fs::File::open("/dev/null").unwrap(),
        );
        Ok(Found { stat: rustix::fs::fstat(&file).unwrap(), file: Some(SentFile::Own(file)) })
    }
    /// Whether the path had to be looked at.
    fn looks(cache: &mut Cache, by: &Use, path: &str, now: u64, what: Result<Found, Errno>) -> bool {
        let (mut looked, failed) = (false, what.is_err());
        let found = cache.find(by, &mut path.into(), now, |_| {
            looked = true;
            what
        });
        assert_eq!(found.is_err(), failed);
        looked
    }

    #[test]
    fn remembered_while_valid() {
        let (mut cache, by) = (Cache::default(), by(1, false));
        let looked: Vec<_> =
            [0, 0, 4, 5, 6, 9, 10].map(|now| looks(&mut cache, &by, "a", now, file())).into();
        assert_eq!(looked, [true, false, false, true, false, false, true]);
    }
    #[test]
    fn closed_until_it_is_wanted_often_enough() {
        let (mut cache, by) = (Cache::default(), by(3, false));
        let looked: Vec<_> = [0, 0, 0, 0].map(|now| looks(&mut cache, &by, "a", now, file())).into();
        assert_eq!(looked, [true, true, true, false]);
        // Forgotten: it counts anew.
        assert!(looks(&mut cache, &by, "b", 20, file()));
        assert!(looks(&mut cache, &by, "a", 20, file()) && looks(&mut cache, &by, "a", 20, file()));
    }
    #[test]
    fn failures_only_where_wanted() {
        let mut cache = Cache::default();
        for (errors, again) in [(false, true), (true, false)] {
            let (by, path) = (by(1, errors), if errors { "b" } else { "a" });
            assert!(looks(&mut cache, &by, path, 0, Err(Errno::NOENT)));
            assert_eq!(looks(&mut cache, &by, path, 0, Err(Errno::NOENT)), again);
        }
        assert_eq!((cache.entries.len(), cache.order.len()), (1, 1));
    }
    #[test]
    fn the_one_asked_for_longest_ago_gives_way() {
        let (mut cache, by) = (Cache::default(), by(1, false));
        for (path, now) in [("a", 0), ("b", 1), ("a", 2), ("c", 3)] {
            looks(&mut cache, &by, path, now, file());
        }
        assert!(!looks(&mut cache, &by, "a", 3, file()) && !looks(&mut cache, &by, "c", 3, file()));
        assert!(looks(&mut cache, &by, "b", 3, file()));
        assert_eq!((cache.entries.len(), cache.order.len()), (2, 2));
    }
    #[test]
    fn other_links_are_another_question() {
        let (mut cache, mut by) = (Cache::default(), by(1, false));
        assert!(looks(&mut cache, &by, "a", 0, file()));
        by.links = Some((Links::No, 0));
        assert!(looks(&mut cache, &by, "a", 0, file()) && !looks(&mut cache, &by, "a", 0, file()));
    }
}
