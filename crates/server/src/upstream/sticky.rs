//! `sticky`: a client's requests go to the server that had its first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::group::{Held, Turn};
use crate::http::request::Request;
use crate::http::variables::{Index, Template};

/// How a request says which server it is bound to.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// The first of these variables that has a value.
    pub lookup: Vec<Index>,
    /// How the client comes to know.
    pub how: How,
}

/// See [`Sticky`].
#[derive(Clone, Debug)]
pub enum How {
    /// By a cookie of ours.
    Cookie(Cookie),
    /// By itself: the server tells it.
    Route,
    /// By something of the server's, of which we remember whose it is.
    Learn {
        /// The first of these variables that has a value names what the server made.
        create: Vec<Index>,
        /// What was learned.
        sessions: Arc<Sessions>,
    },
}

/// A cookie to set.
#[derive(Clone, Debug, Default)]
pub struct Cookie {
    /// Its name.
    pub name: Box<str>,
    /// `expires=`
    pub expires: Option<Expires>,
    /// `domain=`
    pub domain: Option<Template>,
    /// `path=`
    pub path: Option<Box<str>>,
    /// `samesite=`
    pub same_site: Option<Template>,
    /// `httponly`
    pub http_only: bool,
    /// `secure`
    pub secure: bool,
}

/// How long a browser keeps the cookie.
#[derive(Clone, Copy, Debug)]
pub enum Expires {
    /// Until 2037.
    Max,
    /// For so long.
    After(Duration),
}

/// What `samesite=` may be.
pub const SAME_SITE: [&str; 3] = ["strict", "lax", "none"];

fn first(variables: &[Index], request: &mut Request, out: &mut Vec<u8>) -> bool {
    variables.iter().any(|variable| {
        out.clear();
        request.variable(*variable, out) && !out.is_empty()
    })
}

impl Sticky {
    /// Finds out whom the request is bound to.
    pub(super) fn begin(&self, request: &mut Request, turn: &mut Turn) {
        let mut id = request.thread.buffer();
        if first(&self.lookup, request, &mut id) {
            match &self.how {
                How::Learn { sessions, .. } => {
                    if let Some(bond) = sessions.find(&id, request.thread.handle.unix_time()) {
                        turn.bond.extend_from_slice(bond.as_bytes());
                    }
                }
                How::Cookie(_) | How::Route => turn.bond.extend_from_slice(&id),
            }
        }
        request.thread.give_buffer(id);
    }
    /// A server answered: binds the client to it.
    pub fn answered(&self, request: &mut Request, held: &Held) {
        match &self.how {
            How::Route => {}
            How::Cookie(cookie) => cookie.set(request, &held.peer().bond),
            How::Learn { create, sessions } => {
                let mut id = request.thread.buffer();
                let made = first(create, request, &mut id);
                if made || first(&self.lookup, request, &mut id) {
                    let now = request.thread.handle.unix_time();
                    sessions.bind(&id, &held.peer().bond, made, now);
                }
                request.thread.give_buffer(id);
            }
        }
    }
}

impl Cookie {
    fn set(&self, request: &mut Request, bond: &str) {
        let mut text = request.thread.buffer();
        let mut part = request.thread.buffer();
        text.extend_from_slice(self.name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(bond.as_bytes());
        match self.expires {
            None => {}
            Some(Expires::Max) => {
                text.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000")
            }
            Some(Expires::After(time)) => {
                let at = SystemTime::UNIX_EPOCH + request.thread.handle.unix_time() + time;
                let seconds = time.as_secs();
                text.extend_from_slice(
                    format!("; expires={}; max-age={seconds}", cookie_date(at)).as_bytes(),
                );
            }
        }
        if let Some(domain) = &self.domain {
            domain.render(request, &mut part);
            put(&mut text, b"; domain=", &part);
        }
        if self.http_only {
            text.extend_from_slice(b"; httponly");
        }
        if self.secure {
            text.extend_from_slice(b"; secure");
        }
        if let Some(same_site) = &self.same_site {
            part.clear();
            same_site.render(request, &mut part);
            let known = SAME_SITE.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()));
            put(&mut text, b"; samesite=", if known || part.is_empty() { &part } else { b"strict" });
        }
        if let Some(path) = &self.path {
            put(&mut text, b"; path=", path.as_bytes());
        }
        request.response.add(wire::Known::SetCookie, b"Set-Cookie", &text);
        request.thread.give_buffer(text);
        request.thread.give_buffer(part);
    }
}

fn put(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !value.is_empty() {
        text.extend_from_slice(name);
        text.extend_from_slice(value);
    }
}

/// As nginx writes it: hyphens, and two digits of the year where they are enough.
fn cookie_date(at: SystemTime) -> String {
    let date = httpdate::fmt_http_date(at);
    let mut words = date.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (weekday, day, month, year, time) = (next(), next(), next(), next(), next());
    let year = if year < "2038" { year.get(2..).unwrap_or(year) } else { year };
    format!("{weekday} {day}-{month}-{year} {time} GMT")
}

/// Which server each session belongs to; shared by all threads, kept over reloads by the zone's name and size.
#[derive(Debug)]
pub struct Sessions {
    name: Box<str>,
    size: u64,
    timeout: Duration,
    keys: [RandomState; 2],
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    by_id: HashMap<u128, Session>,
    /// By when they were used last, and a number.
    by_use: BTreeMap<(Duration, u64), u128>,
    next: u64,
}

#[derive(Debug)]
struct Session {
    bond: Arc<str>,
    used: (Duration, u64),
}

/// What a session costs: a megabyte holds some 4,000, as nginx's documentation has it.
const SESSION: u64 = 256;

impl Sessions {
    /// The zone of this name, as it was if it was of this size.
    pub fn of_zone(name: &str, size: u64, timeout: Duration) -> Arc<Sessions> {
        static ALL: Mutex<Vec<Weak<Sessions>>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|zone| zone.strong_count() > 0);
        let same = |zone: &Arc<Sessions>| *zone.name == *name && (zone.size, zone.timeout) == (size, timeout);
        if let Some(zone) = all.iter().filter_map(Weak::upgrade).find(same) {
            return zone;
        }
        let keys = [RandomState::new(), RandomState::new()];
        let zone = Arc::new(Sessions { name: name.into(), size, timeout, keys, all: Mutex::default() });
        all.push(Arc::downgrade(&zone));
        zone
    }
    /// An identifier of any length takes the same room.
    fn key(&self, id: &[u8]) -> u128 {
        let [high, low] = &self.keys;
        u128::from(high.hash_one(id)) << 64 | u128::from(low.hash_one(id))
    }
    fn find(&self, id: &[u8], now: Duration) -> Option<Arc<str>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.expire(now, self.timeout);
        all.by_id.get(&self.key(id)).map(|session| session.bond.clone())
    }
    /// A session was used with this server; `made`: it may be a new one.
    fn bind(&self, id: &[u8], bond: &Arc<str>, made: bool, now: Duration) {
        let key = self.key(id);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.expire(now, self.timeout);
        match all.by_id.remove(&key) {
            Some(session) => drop(all.by_use.remove(&session.used)),
            None if !made => return,
            None => {
                while all.by_id.len() as u64 >= (self.size / SESSION).max(1) {
                    let Some((_, oldest)) = all.by_use.pop_first() else { break };
                    all.by_id.remove(&oldest);
                }
            }
        }
        let used = (now, all.next);
        all.next += 1;
        all.by_use.insert(used, key);
        all.by_id.insert(key, Session { bond: bond.clone(), used });
    }
}

impl All {
    fn expire(&mut self, now: Duration, timeout: Duration) {
        while let Some(oldest) = self.by_use.first_entry() {
            if oldest.key().0 + timeout > now {
                return;
            }
            let key = oldest.remove();
            self.by_id.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_found_until_they_are_old_or_too_many() {
        let zone = Sessions::of_zone("test sessions", 4 * SESSION, Duration::from_secs(10));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let at = Duration::from_secs;
        zone.bind(b"unknown", &a, false, at(0));
        assert_eq!(zone.find(b"unknown", at(0)), None);
        zone.bind(b"one", &a, true, at(0));
        zone.bind(b"two", &a, true, at(1));
        zone.bind(b"one", &b, false, at(5));
        assert_eq!(zone.find(b"one", at(14)), Some(b));
        assert_eq!(zone.find(b"two", at(14)), None);
        assert_eq!(zone.find(b"one", at(15)), None);
        for i in 0..9 {
            zone.bind(format!("{i}").as_bytes(), &a, true, at(20));
        }
        assert_eq!(zone.all.lock().map(|all| (all.by_id.len(), all.by_use.len())).ok(), Some((4, 4)));
        assert!(zone.find(b"8", at(20)).is_some() && zone.find(b"0", at(20)).is_none());
    }

    #[test]
    fn dates_have_hyphens() {
        let at = |seconds| cookie_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(784_111_777), "Sun, 06-Nov-94 08:49:37 GMT");
        assert_eq!(at(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }
}
