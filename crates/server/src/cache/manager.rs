//! A thread for each zone: first it finds what an earlier process left, then it removes what is idle or too much.

use std::fs::DirEntry;
use std::path::Path;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::file;
use super::place::{Pace, Place};
use super::zone::{Hash, Zone};
use crate::worker::ledger::{Class, Line};

/// How often it looks, if nothing calls it.
const ROUND: Duration = Duration::from_secs(1);

impl Zone {
    /// Starts its manager, if none runs. The thread ends when nobody uses the zone any more.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn manage(self: &Arc<Zone>) -> std::io::Result<()> {
        if !self.take_management() {
            return Ok(());
        }
        let zone = Arc::downgrade(self);
        std::thread::Builder::new().name("cache manager".into()).spawn(move || run(&zone)).map(drop)
    }
}

fn run(weak: &Weak<Zone>) {
    let Some(zone) = weak.upgrade() else { return };
    let (path, pace) = (zone.place.path.clone(), zone.place.loader);
    drop(zone);
    load(weak, &path, &mut Steps::new(pace));
    if let Some(zone) = weak.upgrade() {
        zone.lock().loaded = true;
    }
    while let Some(zone) = weak.upgrade() {
        remove(&zone);
        let index = zone.lock();
        let waited = zone.changed.wait_timeout(index, ROUND).unwrap_or_else(PoisonError::into_inner);
        drop(waited);
    }
}

/// Pauses now and then.
struct Steps {
    pace: Pace,
    files: u64,
    since: Instant,
}
impl Steps {
    fn new(pace: Pace) -> Steps {
        Steps { pace, files: 0, since: Instant::now() }
    }
    fn step(&mut self) {
        self.files += 1;
        if self.files >= self.pace.files || self.since.elapsed() >= self.pace.threshold {
            std::thread::sleep(self.pace.sleep);
            *self = Steps::new(self.pace);
        }
    }
}

/// Finds files in a folder and those below it.
fn load(weak: &Weak<Zone>, folder: &Path, steps: &mut Steps) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let _line = Line::new(Class::Cache);
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => load(weak, &entry.path(), steps),
            Ok(kind) if kind.is_file() => {
                let Some(zone) = weak.upgrade() else { return };
                found(&zone, &entry);
                drop(zone);
                steps.step();
            }
            _ => {}
        }
    }
}

/// An answer is taken into the index; what is left of one that was never complete is removed; other files stay.
fn found(zone: &Zone, entry: &DirEntry) {
    let name = entry.file_name();
    let Some(name) = name.to_str() else { return };
    let path = entry.path();
    match name.split_once('.') {
        None => {
            let Some(hash) = parse(name).filter(|hash| zone.place.file(hash) == path) else { return };
            if let Ok(Some(opened)) = file::read(&path) {
                let size = opened.body().end;
                zone.found(&hash, now(), size);
            }
        }
        // One that is being written by this process is younger than the process, or nearly so.
        Some((hash, number)) if parse(hash).is_some() && number.bytes().all(|b| b.is_ascii_digit()) => {
            if is_old(entry, &zone.place) {
                let _ = std::fs::remove_file(path);
            }
        }
        Some(_) => {}
    }
}

fn is_old(entry: &DirEntry, place: &Place) -> bool {
    let changed = entry.metadata().and_then(|meta| meta.modified());
    let age = changed.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > place.inactive)
}

fn parse(name: &str) -> Option<Hash> {
    let digits = name.as_bytes();
    if digits.len() != 32 || !digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut hash = Hash::default();
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&name[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

/// Removes what is idle, and of the rest what is too much.
fn remove(zone: &Zone) {
    let place = &zone.place;
    let mut steps = Steps::new(place.manager);
    let since = now().saturating_sub(place.inactive.as_secs());
    loop {
        let short = place.min_free > 0 && free(&place.path).is_some_and(|free| free < place.min_free);
        let taken = {
            let mut index = zone.lock();
            let too_much = short || place.max_size.is_some_and(|most| index.size > most);
            index.take_oldest(since, too_much)
        };
        let Some((hash, on_disk)) = taken else { return };
        if on_disk {
            let _ = std::fs::remove_file(place.file(&hash));
            steps.step();
        }
    }
}

fn free(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
