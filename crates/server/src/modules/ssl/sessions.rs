//! `ssl_session_cache`: rustls's cache, with nginx's names, sizes and `ssl_session_timeout`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use conf::{Args, Error, Scope};
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};

use crate::worker::zones::{self, Zone};

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
    /// `shared`: a zone by its name and size.
    Zone(String, u64),
}

/// What is in a zone: sessions, and the keys of those that clients keep. Both go on over a reload.
struct Shared {
    cache: Arc<ServerSessionMemoryCache>,
    keys: Option<Arc<dyn ProducesTickets>>,
    start: Instant,
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
                zones::declare(at, a, "ssl_session_cache", name, size)?;
                Cache::Zone(name.into(), size)
            }
            _ => return Err(invalid()),
        };
    }
    Ok(cache)
}

impl Cache {
    /// The zone, if it is one: that of a configuration before, or a new one.
    fn zone(&self) -> Result<Option<Arc<Zone<Shared>>>, Error> {
        let Cache::Zone(name, size) = self else { return Ok(None) };
        let sessions = ((size * SESSIONS_PER_MEGABYTE) >> 20).max(1) as usize;
        let fresh =
            || Shared { cache: ServerSessionMemoryCache::new(sessions), keys: None, start: Instant::now() };
        zones::zone("ssl_session_cache", name, "", *size, fresh).map(Some)
    }
}

/// The storage of a server whose sessions last so many seconds.
///
/// # Errors
/// None that is not a mistake of this program.
pub fn storage(cache: Option<&Cache>, timeout: u64) -> Result<Arc<dyn StoresServerSessions>, Error> {
    Ok(match cache {
        None | Some(Cache::None) => Arc::new(NoServerSessionStorage {}),
        Some(Cache::Own(sessions)) => Timed::new(*sessions, timeout),
        Some(cache) => match cache.zone()? {
            Some(zone) => Timed::shared(zone, timeout),
            None => Arc::new(NoServerSessionStorage {}),
        },
    })
}

/// A storage of a server's own.
pub fn own(timeout: u64) -> Arc<dyn StoresServerSessions> {
    Timed::new(BUILTIN_SESSIONS, timeout)
}

/// Tickets with keys of our own, good for so many seconds: a zone's, or new ones.
///
/// # Errors
/// When there is no key to be had.
pub fn tickets(cache: Option<&Cache>, timeout: u64) -> Result<Arc<Tickets>, Error> {
    let Some(zone) = cache.map_or(Ok(None), Cache::zone)? else { return Tickets::fresh(timeout) };
    let mut shared = zone.lock();
    let keys = match &shared.keys {
        Some(keys) => keys.clone(),
        None => shared.keys.insert(new_keys()?).clone(),
    };
    Ok(Tickets::with(keys, timeout, Clock::Since(shared.start)))
}

fn new_keys() -> Result<Arc<dyn ProducesTickets>, Error> {
    aws_lc_rs::Ticketer::new().map_err(|e| Error::emerg(format!("session tickets: {e}")))
}

/// A cache whose entries end after a time.
pub struct Timed {
    cache: Arc<ServerSessionMemoryCache>,
    timeout: Duration,
    /// Times are kept as seconds since this moment.
    start: Instant,
    /// The zone lives as long as somebody has it.
    zone: Option<Arc<Zone<Shared>>>,
}
impl std::fmt::Debug for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timed").field("timeout", &self.timeout).field("shared", &self.zone.is_some()).finish()
    }
}
impl Timed {
    /// A cache for so many sessions, each good for so many seconds.
    pub fn new(sessions: usize, timeout: u64) -> Arc<Timed> {
        let cache = ServerSessionMemoryCache::new(sessions);
        Arc::new(Timed { cache, timeout: Duration::from_secs(timeout), start: Instant::now(), zone: None })
    }
    fn shared(zone: Arc<Zone<Shared>>, timeout: u64) -> Arc<Timed> {
        let shared = zone.lock();
        let (cache, start) = (shared.cache.clone(), shared.start);
        drop(shared);
        Arc::new(Timed { cache, timeout: Duration::from_secs(timeout), start, zone: Some(zone) })
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
    clock: Clock,
}

/// What the age of a ticket is measured by.
#[derive(Debug)]
enum Clock {
    /// The time since this moment: the keys are as old.
    Since(Instant),
    /// The time of day: given keys outlive the process, and are others' too.
    Unix,
}

impl Tickets {
    /// Tickets good for so many seconds, with keys of our own.
    ///
    /// # Errors
    /// When there is no key to be had.
    pub fn fresh(timeout: u64) -> Result<Arc<Tickets>, Error> {
        // rustls forgets a key after twelve hours: what is promised beyond is a full handshake.
        Ok(Tickets::with(new_keys()?, timeout, Clock::Since(Instant::now())))
    }
    /// Tickets with the keys of `ssl_session_ticket_key`: the first encrypts, all decrypt.
    pub fn given(keys: Vec<TicketKey>, timeout: u64) -> Arc<Tickets> {
        Tickets::with(Arc::new(TicketKeys(keys)), timeout, Clock::Unix)
    }
    fn with(keys: Arc<dyn ProducesTickets>, timeout: u64, clock: Clock) -> Arc<Tickets> {
        let timeout = u32::try_from(timeout).unwrap_or(u32::MAX);
        Arc::new(Tickets { keys, timeout, clock })
    }
    fn seconds(&self) -> u64 {
        match self.clock {
            Clock::Since(start) => start.elapsed().as_secs(),
            Clock::Unix => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        }
    }
}

/// A key of `ssl_session_ticket_key`: a name, and what encrypts.
pub struct TicketKey {
    name: [u8; 16],
    key: RandomizedNonceKey,
}
impl TicketKey {
    /// Reads a file of 48 bytes, or 80. nginx takes them apart for a cipher and a signature; here one key does both.
    pub fn read(file: &[u8]) -> Option<TicketKey> {
        let (name, rest) = file.split_first_chunk()?;
        let secret = match file.len() {
            48 => rest,
            80 => &rest[32..],
            _ => return None,
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, secret).ok()?;
        Some(TicketKey { name: *name, key })
    }
}

/// All of `ssl_session_ticket_key`.
struct TicketKeys(Vec<TicketKey>);
impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}
impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }
    fn lifetime(&self) -> u32 {
        0 // `Tickets` knows.
    }
    /// Name, nonce, ciphertext.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.0.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], nonce.as_ref(), &sealed].concat())
    }
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<16>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let TicketKey { name, key } = self.0.iter().find(|known| known.name == *name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        key.open_in_place(nonce, Aad::from(name), &mut opened).ok().map(|plain| plain.to_vec())
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
        let lasting = Tickets::fresh(300).expect("a key");
        let ticket = lasting.encrypt(b"session").expect("a ticket");
        assert_eq!(lasting.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(lasting.decrypt(&ticket[1..]), None);
        let over = Tickets::fresh(0).expect("a key");
        let ticket = over.encrypt(b"session").expect("a ticket");
        assert_eq!(over.decrypt(&ticket), None);
    }

    #[test]
    fn given_keys_are_known_by_name() {
        let key = |byte: u8, length: usize| TicketKey::read(&vec![byte; length]);
        assert!(key(1, 47).is_none() && key(1, 81).is_none());
        let old = Tickets::given(vec![key(1, 48).expect("a key")], 300);
        let ticket = old.encrypt(b"session").expect("a ticket");
        let new = Tickets::given(vec![key(2, 80).expect("a key"), key(1, 48).expect("a key")], 300);
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(old.decrypt(&new.encrypt(b"session").expect("a ticket")), None);
        assert_eq!(new.decrypt(&ticket[..20]), None);
    }
}
