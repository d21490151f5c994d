//! The session cache: rustls's, with nginx's `ssl_session_timeout`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

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
}
