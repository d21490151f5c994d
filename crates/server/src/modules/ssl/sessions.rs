//! `ssl_session_cache`: rustls's cache, with nginx's names, sizes and `ssl_session_timeout`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conf::{Args, Error, Scope};
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};

/// nginx keeps about 4000 sessions in a megabyte.
const SESSIONS_PER_MEGABYTE: u64 = 4000;
/// Eight pages: the least nginx accepts for a zone.
const SMALLEST_ZONE: u64 = 8 * 4096;
/// What `builtin` alone means.
const BUILTIN_SESSIONS: usize = 20_480;

/// What a server keeps its sessions in.
#[derive(Clone, Debug)]
pub enum Cache {
    /// `off`, `none`: sessions are not resumed from a cache.
    None,
    /// `builtin`: so many sessions of its own.
    Own(usize),
    /// `shared`: a zone by its name.
    Zone(String),
}

/// The zones of a configuration by name.
#[derive(Default)]
struct Zones(Mutex<HashMap<String, Zone>>);
struct Zone {
    size: u64,
    storage: Option<Arc<Timed>>,
}

/// Reads the directive's words; the last one counts, so that `builtin:1000 shared:SSL:10m` shares.
///
/// # Errors
/// An unknown word, a zone that is too small or was declared with another size.
pub fn read(at: &Scope, a: &Args<'_>) -> Result<Cache, Error> {
    let mut cache = Cache::None;
    for i in 0..a.words.len() {
        let word = a.str(i);
        let invalid = || a.error(format!("invalid session cache \"{word}\""));
        cache = match word.split(':').collect::<Vec<_>>()[..] {
            ["off" | "none"] => Cache::None,
            ["builtin"] => Cache::Own(BUILTIN_SESSIONS),
            ["builtin", n] => Cache::Own(n.parse().map_err(|_| invalid())?),
            ["shared", name, size] if !name.is_empty() => {
                let size = conf::size(size.as_bytes()).ok_or_else(invalid)?;
                if size < SMALLEST_ZONE {
                    return Err(a.error(format!("session cache \"{word}\" is too small")));
                }
                declare(at, a, name, size)?;
                Cache::Zone(name.into())
            }
            _ => return Err(invalid()),
        };
    }
    Ok(cache)
}

fn declare(at: &Scope, a: &Args<'_>, name: &str, size: u64) -> Result<(), Error> {
    let zones = at.shared::<Zones>();
    let mut zones = zones.0.lock().unwrap_or_else(PoisonError::into_inner);
    let known = zones.entry(name.into()).or_insert(Zone { size, storage: None }).size;
    if known == size {
        return Ok(());
    }
    Err(a.error(format!(
        "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {known}"
    )))
}

/// The storage of a server whose sessions last so many seconds.
pub fn storage(at: &Scope, cache: Option<&Cache>, timeout: u64) -> Arc<dyn StoresServerSessions> {
    let name = match cache {
        None | Some(Cache::None) => return Arc::new(NoServerSessionStorage {}),
        Some(Cache::Own(sessions)) => return Timed::new(*sessions, timeout),
        Some(Cache::Zone(name)) => name,
    };
    let zones = at.shared::<Zones>();
    let mut zones = zones.0.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(zone) = zones.get_mut(name) else { return Arc::new(NoServerSessionStorage {}) };
    let sessions = ((zone.size * SESSIONS_PER_MEGABYTE) >> 20).max(1) as usize;
    zone.storage.get_or_insert_with(|| Timed::new(sessions, timeout)).clone()
}

/// A cache whose entries end after a time.
#[derive(Debug)]
pub struct Timed {
    cache: Arc<ServerSessionMemoryCache>,
    timeout: Duration,
    /// Times are kept as seconds since this moment.
    start: Instant,
}
impl Timed {
    /// A cache for so many sessions, each good for so many seconds.
    pub fn new(sessions: usize, timeout: u64) -> Arc<Timed> {
        let cache = ServerSessionMemoryCache::new(sessions);
        Arc::new(Timed { cache, timeout: Duration::from_secs(timeout), start: Instant::now() })
    }
    fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
    /// The value behind its time, unless that is over.
    fn fresh(&self, entry: Vec<u8>) -> Option<Vec<u8>> {
        let (time, value) = entry.split_first_chunk()?;
        let age = self.seconds().saturating_sub(u64::from_be_bytes(*time));
        (Duration::from_secs(age) < self.timeout).then(|| value.to_vec())
    }
}
impl StoresServerSessions for Timed {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut entry = self.seconds().to_be_bytes().to_vec();
        entry.extend_from_slice(&value);
        self.cache.put(key, entry)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.get(key).and_then(|entry| self.fresh(entry))
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.take(key).and_then(|entry| self.fresh(entry))
    }
    fn can_cache(&self) -> bool {
        true
    }
}

/// Sessions that the client keeps, encrypted for us (`ssl_session_tickets`), and their end.
#[derive(Debug)]
pub struct Tickets {
    keys: Arc<dyn ProducesTickets>,
    timeout: u32,
    start: Instant,
}
impl Tickets {
    /// Tickets good for so many seconds.
    ///
    /// # Errors
    /// When there is no key to be had.
    pub fn new(timeout: u64) -> Result<Arc<Tickets>, Error> {
        let keys = aws_lc_rs::Ticketer::new().map_err(|e| Error::emerg(format!("session tickets: {e}")))?;
        // rustls forgets a key after twelve hours: what is promised beyond is a full handshake.
        let timeout = u32::try_from(timeout).unwrap_or(u32::MAX);
        Ok(Arc::new(Tickets { keys, timeout, start: Instant::now() }))
    }
    fn seconds(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}
impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }
    fn lifetime(&self) -> u32 {
        self.timeout
    }
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let dated = [&self.seconds().to_be_bytes(), plain].concat();
        self.keys.encrypt(&dated)
    }
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let dated = self.keys.decrypt(cipher)?;
        let (time, plain) = dated.split_first_chunk()?;
        let age = self.seconds().saturating_sub(u64::from_be_bytes(*time));
        (age < u64::from(self.timeout)).then(|| plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end() {
        let lasting = Timed::new(32, 300);
        assert!(lasting.put(vec![1], vec![2, 3]));
        assert_eq!(lasting.get(&[1]), Some(vec![2, 3]));
        assert_eq!(lasting.take(&[1]), Some(vec![2, 3]));
        assert_eq!(lasting.get(&[1]), None);
        let over = Timed::new(32, 0);
        assert!(over.put(vec![1], vec![2, 3]));
        assert_eq!(over.get(&[1]), None);
    }

    #[test]
    fn tickets_end() {
        let lasting = Tickets::new(300).expect("a key");
        let ticket = lasting.encrypt(b"session").expect("a ticket");
        assert_eq!(lasting.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(lasting.decrypt(&ticket[1..]), None);
        let over = Tickets::new(0).expect("a key");
        let ticket = over.encrypt(b"session").expect("a ticket");
        assert_eq!(over.decrypt(&ticket), None);
    }
}
