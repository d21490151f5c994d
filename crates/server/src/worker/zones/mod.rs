//! Shared memory zones: what a module remembers for all threads, under a name that the configuration declares.
//!
//! nginx keeps such state over a reload when the name, the size and the key stay the same; so do these: whoever asks for
//! a zone that a living generation has gets that one. Here it is ordinary memory behind a lock, bounded as the zone's
//! size bounds it in nginx.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use conf::{Args, Error, Scope};

pub(crate) mod decision;
pub(crate) mod keyed;
mod lru;

pub use lru::{Id, Lru};

/// nginx's page; the smallest zone has eight.
const PAGE: u64 = 4096;
const LEAST: u64 = 8 * PAGE;

/// A zone and what is in it.
pub struct Zone<T> {
    /// Its name.
    pub name: Box<str>,
    /// The text of the key, as written; of another key the state would mean nothing.
    pub key: Box<str>,
    size: u64,
    state: Mutex<T>,
}

impl<T> Zone<T> {
    /// What is in it. Never to be held over anything that waits.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes for entries that nginx's allocator has in a zone of this size: whole pages, less its own tables, less the
/// pages that the zone's head takes.
pub fn room(size: u64) -> u64 {
    const TABLES: u64 = 712;
    const OF_A_PAGE: u64 = 24;
    const HEAD: u64 = 1;
    ((size.saturating_sub(TABLES) / (PAGE + OF_A_PAGE)).saturating_sub(HEAD) * PAGE).max(PAGE)
}

/// What an entry takes of a zone: nginx's allocator rounds up to powers of two, and to pages above half of one.
pub fn cost(bytes: usize) -> u64 {
    match bytes as u64 {
        small @ ..=2048 => small.next_power_of_two().max(8),
        large => large.next_multiple_of(PAGE),
    }
}

/// The zones that live, in this process.
static ALL: Mutex<Vec<Weak<dyn Any + Send + Sync>>> = Mutex::new(Vec::new());

/// The zone of this name, kind and size: a living one, or one made with `fresh`. The kind is the type of its state.
///
/// # Errors
/// nginx's words where a living one has another key; `directive` is named in them.
pub fn zone<T: Send + 'static>(
    directive: &str,
    name: &str,
    key: &str,
    size: u64,
    fresh: impl FnOnce() -> T,
) -> Result<Arc<Zone<T>>, Error> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|zone| zone.strong_count() > 0);
    let living =
        all.iter().rev().filter_map(Weak::upgrade).filter_map(|zone| zone.downcast::<Zone<T>>().ok());
    let mut same = living.filter(|zone| *zone.name == *name && zone.size == size).peekable();
    let newest_key = same.peek().map(|zone| zone.key.clone());
    if let Some(zone) = same.find(|zone| *zone.key == *key) {
        return Ok(zone);
    }
    if let Some(other) = newest_key {
        let text = format!(
            "{directive} \"{name}\" uses the \"{key}\" key while previously it used the \"{other}\" key"
        );
        return Err(Error::emerg(text).nowhere());
    }
    let zone = Arc::new(Zone { name: name.into(), key: key.into(), size, state: Mutex::new(fresh()) });
    let weak: Weak<Zone<T>> = Arc::downgrade(&zone);
    all.push(weak);
    Ok(zone)
}

/// The names that one configuration gave its zones: a name is for one module, with one size.
#[derive(Default)]
struct Names(Mutex<HashMap<String, (Box<str>, u64)>>);

/// Takes a name for a zone of a module.
///
/// # Errors
/// nginx's words where the name is taken.
pub fn declare(at: &Scope, a: &Args<'_>, module: &str, name: &str, size: u64) -> Result<(), Error> {
    let names = at.shared::<Names>();
    let mut names = names.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (owner, declared) = names.entry(name.into()).or_insert_with(|| (module.into(), size));
    if **owner != *module {
        return Err(a.error(other_use(name)));
    }
    match *declared == size {
        true => Ok(()),
        false => Err(a.error(format!(
            "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {declared}"
        ))),
    }
}

/// The error for one who asks for a zone that something else has; none where nobody declares it.
pub fn elsewhere(at: &Scope, name: &str) -> Option<Error> {
    let names = at.shared::<Names>();
    let names = names.0.lock().unwrap_or_else(PoisonError::into_inner);
    names.contains_key(name).then(|| Error::emerg(other_use(name)).at(at.at.clone()))
}
fn other_use(name: &str) -> String {
    format!("the shared memory zone \"{name}\" is already declared for a different use")
}

/// Reads `zone=name:size`; `text` is the whole argument, `value` what follows `zone=`.
///
/// # Errors
/// nginx's words.
pub fn name_and_size<'a>(a: &Args<'_>, text: &str, value: &'a str) -> Result<(&'a str, u64), Error> {
    let invalid = || a.error(format!("invalid zone size \"{text}\""));
    let (name, size) = value.split_once(':').ok_or_else(invalid)?;
    let size = conf::size(size.as_bytes()).ok_or_else(invalid)?;
    match size < LEAST {
        true => Err(a.error(format!("zone \"{text}\" is too small"))),
        false => Ok((name, size)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_zone_lives_for_as_long_as_somebody_has_it() {
        let get = |key: &str, size| zone("limit", "zones-test", key, size, || 0u8);
        let first = get("$a", 1).unwrap();
        *first.lock() = 7;
        assert_eq!(*get("$a", 1).unwrap().lock(), 7);
        assert_eq!(*get("$a", 2).unwrap().lock(), 0, "another size, another zone");
        assert_eq!(*zone("limit", "zones-test", "$a", 1, || 1u16).unwrap().lock(), 1, "another module's");
        let error = get("$b", 1).err().unwrap();
        assert_eq!(
            error.message,
            "limit \"zones-test\" uses the \"$b\" key while previously it used the \"$a\" key"
        );
        drop(first);
        assert_eq!(*get("$b", 1).unwrap().lock(), 0);
    }

    #[test]
    fn entries_cost_what_they_cost_in_nginx() {
        assert_eq!((cost(80 + 4), cost(128), cost(129), cost(3000)), (128, 128, 256, 4096));
        // nginx's documentation: a megabyte has some 8 thousand states of 128 bytes.
        assert!((7_900..8_192).contains(&(room(1 << 20) / 128)));
    }
}
