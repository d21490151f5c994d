//! The index of a folder of answers. One lock, held for a look-up; what is on disk is read and written outside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use md5::{Digest, Md5};

use wire::cached::Cached;

use super::file;
use super::place::Place;

/// Names an answer: the MD5 of its key, as in nginx, so that whoever computes a file's name finds it here, too.
pub type Hash = [u8; 16];

/// The hash of several texts in a row.
pub fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut md5 = Md5::new();
    texts.into_iter().for_each(|text| md5.update(text));
    md5.finalize().into()
}

/// What one answer takes of the zone's memory: nginx keeps some 8000 in a megabyte.
const ENTRY: u64 = 128;
/// The unit that files are counted in.
const BLOCK: u64 = 4096;

/// A folder of answers and its index.
pub struct Zone {
    /// What the configuration says of it.
    pub place: Place,
    index: Mutex<Index>,
    /// Something was stored, or the zone is given up: the manager looks.
    pub(super) changed: Condvar,
    pub(super) managed: AtomicBool,
}

#[derive(Default)]
pub(super) struct Index {
    entries: HashMap<Hash, Entry>,
    /// Least recently used first, by the number of the use.
    order: BTreeMap<u64, Hash>,
    uses: u64,
    /// Bytes on disk.
    pub size: u64,
    /// The folder was searched for files of an earlier process.
    pub loaded: bool,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    uses: u32,
    used: u64,
    /// When it was used last, in seconds.
    at: u64,
    /// There is a file, of so many bytes.
    size: Option<u64>,
    /// A failure to answer with until then.
    failure: Option<(u16, u64)>,
    /// Somebody fetches it, whose right to do so alone ends then (in milliseconds).
    fetching: Option<u64>,
}

/// What the index says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is a file, or may be one; if there is none, whether it was asked for often enough to be kept.
    File { scarce: bool },
    /// There is none.
    Nothing,
    /// It was not asked for often enough to be kept.
    Scarce,
    /// Fetching it failed a while ago.
    Failed(u16),
}

/// The right to fetch an answer alone; given back when dropped.
pub struct Fetch {
    zone: Arc<Zone>,
    hash: Hash,
}
impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(entry) = self.zone.lock().entries.get_mut(&self.hash) {
            entry.fetching = None;
        }
    }
}

impl Zone {
    /// The zone for a place: the one in use, if the place is the same.
    pub fn of(place: Place) -> Arc<Zone> {
        static IN_USE: Mutex<Vec<Weak<Zone>>> = Mutex::new(Vec::new());
        let mut all = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|zone| zone.strong_count() > 0);
        if let Some(zone) = all.iter().filter_map(Weak::upgrade).find(|zone| zone.place == place) {
            return zone;
        }
        let zone = Arc::new(Zone {
            place,
            index: Mutex::default(),
            changed: Condvar::new(),
            managed: AtomicBool::new(false),
        });
        all.push(Arc::downgrade(&zone));
        zone
    }
    pub(super) fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Somebody asks for an answer.
    pub fn look(&self, hash: &Hash, now: u64, min_uses: u32) -> Seen {
        let mut index = self.lock();
        let loaded = index.loaded;
        let entry = index.touch(hash, now);
        entry.uses = entry.uses.saturating_add(1);
        let (uses, on_disk, failure) = (entry.uses, entry.size.is_some(), entry.failure);
        self.bound(&mut index);
        if let Some((status, _)) = failure.filter(|(_, until)| *until >= now) {
            return Seen::Failed(status);
        }
        match on_disk {
            true => Seen::File { scarce: false },
            // A file of an earlier process may not have been found yet.
            false if !loaded && uses == 1 => Seen::File { scarce: uses < min_uses },
            false if uses < min_uses => Seen::Scarce,
            false => Seen::Nothing,
        }
    }
    /// The right to fetch an answer, unless somebody has it: for `age` milliseconds.
    pub fn fetch(self: &Arc<Zone>, hash: &Hash, now: u64, age: u64) -> Option<Fetch> {
        let mut index = self.lock();
        let entry = index.entries.get_mut(hash)?;
        if entry.fetching.is_some_and(|until| until > now) {
            return None;
        }
        entry.fetching = Some(now.saturating_add(age));
        Some(Fetch { zone: self.clone(), hash: *hash })
    }
    /// A file was written, found or changed.
    pub fn stored(&self, hash: &Hash, now: u64, size: u64) {
        let blocks = size.div_ceil(BLOCK) * BLOCK;
        let mut index = self.lock();
        let entry = index.touch(hash, now);
        entry.failure = None;
        let before = entry.size.replace(blocks).unwrap_or(0);
        index.size = (index.size + blocks).saturating_sub(before);
        self.bound(&mut index);
        if self.place.max_size.is_some_and(|most| index.size > most) {
            self.changed.notify_all();
        }
    }
    /// A file was found: it counts as used now.
    pub fn found(&self, hash: &Hash, now: u64, size: u64) {
        if self.lock().entries.get(hash).is_none_or(|entry| entry.size.is_none()) {
            self.stored(hash, now, size);
        }
    }
    /// Fetching failed: that is the answer until then.
    pub fn failed(&self, hash: &Hash, now: u64, status: u16, until: u64) {
        self.lock().touch(hash, now).failure = Some((status, until));
    }
    /// The file is gone, or was no good.
    pub fn lost(&self, hash: &Hash) {
        let mut index = self.lock();
        let size = index.entries.get_mut(hash).and_then(|entry| entry.size.take());
        index.size = index.size.saturating_sub(size.unwrap_or(0));
    }
    /// What stands before an answer's body, if there is one.
    pub fn read(&self, hash: &Hash) -> Option<Cached> {
        file::read(&self.place.file(hash)).ok().flatten().map(|opened| opened.cached)
    }
    /// Removes an answer and its file; says whether there was one.
    pub fn remove(&self, hash: &Hash) -> bool {
        self.lock().remove(hash);
        std::fs::remove_file(self.place.file(hash)).is_ok()
    }
    /// Removes the answers that are of a kind; says whether there were any. Of the files of an earlier process, those count
    /// that were found again.
    pub fn remove_where(&self, is: impl Fn(&Cached) -> bool) -> bool {
        let all: Vec<Hash> = self.lock().entries.keys().copied().collect();
        let of_kind = all.into_iter().filter(|hash| self.read(hash).is_some_and(|cached| is(&cached)));
        of_kind.filter(|hash| self.remove(hash)).count() > 0
    }
    /// Keeps the index within its memory: what was not used longest goes, with its file.
    fn bound(&self, index: &mut Index) {
        let most = (self.place.memory / ENTRY) as usize;
        while index.entries.len() > most {
            let Some(hash) = index.oldest(|_| true) else { return };
            if index.remove(&hash) {
                let _ = std::fs::remove_file(self.place.file(&hash));
            }
        }
    }
    /// Whether a manager is to be started: once for each zone.
    pub(super) fn take_management(&self) -> bool {
        !self.managed.swap(true, Relaxed)
    }
}

impl Index {
    /// The entry, now the one used last.
    fn touch(&mut self, hash: &Hash, now: u64) -> &mut Entry {
        self.uses += 1;
        let entry = self.entries.entry(*hash).or_default();
        self.order.remove(&entry.used);
        entry.used = self.uses;
        entry.at = now;
        self.order.insert(self.uses, *hash);
        entry
    }
    fn oldest(&self, which: impl Fn(&Entry) -> bool) -> Option<Hash> {
        let mut by_age = self.order.values();
        by_age.find(|hash| self.entries.get(*hash).is_some_and(&which)).copied()
    }
    /// Forgets an answer; says whether it had a file.
    fn remove(&mut self, hash: &Hash) -> bool {
        let Some(entry) = self.entries.remove(hash) else { return false };
        self.order.remove(&entry.used);
        self.size = self.size.saturating_sub(entry.size.unwrap_or(0));
        entry.size.is_some()
    }
    /// Takes out what was not used since `since`; or, if all were, and `too_much`, the one not used longest that has a
    /// file. Says whether there is a file to remove.
    pub fn take_oldest(&mut self, since: u64, too_much: bool) -> Option<(Hash, bool)> {
        let idle = self.order.values().next().copied().filter(|hash| {
            self.entries.get(hash).is_some_and(|entry| entry.at < since && entry.fetching.is_none())
        });
        let hash = match idle {
            Some(hash) => hash,
            None if too_much => self.oldest(|entry| entry.size.is_some())?,
            None => return None,
        };
        Some((hash, self.remove(&hash)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cache::place::Pace;
    use std::time::Duration;

    fn zone(name: &str, memory: u64) -> Arc<Zone> {
        let pace = Pace { files: 1, sleep: Duration::ZERO, threshold: Duration::ZERO };
        let path = std::env::temp_dir().join(format!("cache-zone-{}-{name}", std::process::id()));
        Zone::of(Place {
            owner: "proxy".into(),
            name: name.into(),
            path,
            levels: vec![1, 2],
            memory,
            inactive: Duration::from_secs(10),
            max_size: Some(10_000),
            min_free: 0,
            manager: pace,
            loader: pace,
        })
    }
    fn name(n: u8) -> Hash {
        hash([&[n][..]])
    }

    #[test]
    fn names_are_those_of_nginx() {
        let zone = zone("names", 1 << 20);
        let file = zone.place.file(&hash([&b"http://a/"[..]]));
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(name.len(), 32);
        assert!(file.ends_with(format!("{}/{}/{name}", &name[31..], &name[29..31])));
        assert_eq!(
            zone.place.file(&hash([&b""[..]])).file_name().unwrap(),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn an_answer_is_kept_when_it_is_asked_for_often_enough() {
        let zone = zone("uses", 1 << 20);
        zone.lock().loaded = true;
        assert_eq!(zone.look(&name(1), 1, 3), Seen::Scarce);
        assert_eq!(zone.look(&name(1), 1, 3), Seen::Scarce);
        assert_eq!(zone.look(&name(1), 1, 3), Seen::Nothing);
        zone.stored(&name(1), 1, 5);
        assert_eq!(zone.look(&name(1), 1, 3), Seen::File { scarce: false });
        zone.lost(&name(1));
        assert_eq!((zone.look(&name(1), 1, 3), zone.lock().size), (Seen::Nothing, 0));
        zone.failed(&name(1), 1, 502, 5);
        assert_eq!(
            (zone.look(&name(1), 5, 1), zone.look(&name(1), 6, 1)),
            (Seen::Failed(502), Seen::Nothing)
        );
    }

    #[test]
    fn one_fetches_at_a_time() {
        let zone = zone("fetch", 1 << 20);
        zone.look(&name(1), 0, 1);
        let first = zone.fetch(&name(1), 1000, 50).unwrap();
        assert!(zone.fetch(&name(1), 1049, 50).is_none());
        let late = zone.fetch(&name(1), 1050, 50).unwrap();
        drop((first, late));
        assert!(zone.fetch(&name(1), 1051, 50).is_some());
    }

    #[test]
    fn what_is_idle_goes_first_and_then_what_is_too_much() {
        let zone = zone("order", 1 << 20);
        for (n, at) in [(1, 5), (2, 6), (3, 20)] {
            zone.stored(&name(n), at, 4000);
        }
        zone.look(&name(1), 21, 1);
        let mut index = zone.lock();
        assert_eq!(index.size, 3 * 4096);
        assert_eq!(index.take_oldest(10, true), Some((name(2), true)));
        assert_eq!(index.take_oldest(10, false), None);
        assert_eq!(index.take_oldest(10, true), Some((name(3), true)));
        assert_eq!(index.take_oldest(10, true), Some((name(1), true)));
        assert_eq!((index.take_oldest(10, true), index.size), (None, 0));
    }

    #[test]
    fn the_index_stays_within_its_memory() {
        let zone = zone("memory", 10 * ENTRY);
        for n in 0..200 {
            zone.look(&name(n), 1, 1);
            zone.stored(&name(n), 1, 1);
        }
        let index = zone.lock();
        assert_eq!((index.entries.len(), index.order.len(), index.size), (10, 10, 10 * 4096));
    }
}
