//! Active health checks: every server of a group is asked now and then, and one that fails gets no requests.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use wire::{ResponseHead, ResponseParser};

use super::connect::open;
use super::group::Group;
use super::peers::Set;
use super::slot::{Mode, Peer, State};
use crate::http::regex::Regex;
use crate::log::Level;
use crate::program::Address;
use crate::worker::thread::Thread;

/// `health_check`
#[derive(Clone, Debug)]
pub struct Check {
    /// Between two checks of a server.
    pub interval: Duration,
    /// Up to so much more, at random.
    pub jitter: Duration,
    /// So many failures in a row make a server unhealthy.
    pub fails: u32,
    /// So many successes in a row make it healthy.
    pub passes: u32,
    /// What is asked for.
    pub uri: Box<str>,
    /// Instead of the server's own.
    pub port: Option<u16>,
    /// A server gets no requests before its first check.
    pub mandatory: bool,
    /// One that was healthy before a reload needs none.
    pub persistent: bool,
    /// How long a check may take.
    pub timeout: Duration,
    /// What the answer must be like; by default its status is 2xx or 3xx.
    pub wanted: Option<Arc<Match>>,
}

/// A `match` block.
#[derive(Debug)]
pub struct Match {
    /// Its name.
    pub name: Box<str>,
    /// All must hold.
    pub tests: Vec<Test>,
}

/// One line of a `match` block.
#[derive(Debug)]
pub enum Test {
    /// The status is in one of these ranges; or in none, if `not`.
    Status {
        /// First and last of each.
        ranges: Vec<(u16, u16)>,
        /// See above.
        not: bool,
    },
    /// A header of this name is there and fits.
    Header {
        /// Its name.
        name: Box<str>,
        /// What fits; `None`: anything.
        value: Option<Value>,
        /// It must not.
        not: bool,
    },
    /// The body fits.
    Body {
        /// What fits.
        value: Regex,
        /// It must not.
        not: bool,
    },
}

/// What a header's value is compared with.
#[derive(Debug)]
pub enum Value {
    /// It is this.
    Is(Box<str>),
    /// It matches.
    Like(Regex),
}

/// What checks found out about a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// It gets no requests.
    pub out: bool,
    /// Checks in a row that went as the last one did.
    streak: u32,
    /// How the last check went.
    pub passed: Option<bool>,
    /// A check is under way.
    busy: bool,
    pub checks: u64,
    pub fails: u64,
}

/// So much of an answer's body is looked at.
const BODY: usize = 256 * 1024;
/// The longest head.
const HEAD: usize = 64 * 1024;

/// Begins the checks of a group that comes into force; what was known of its servers may count.
pub(super) fn begin_checks(thread: &Rc<Thread>, group: &Arc<Group>, before: Option<&Arc<Group>>) {
    for check in group.checks() {
        if check.mandatory {
            let known = |peer: &Peer| {
                let healthy = |old: &Arc<Group>| {
                    [&old.primary, &old.backup].iter().any(|set| {
                        let members = set.lock();
                        let same = |slot: &&super::slot::Slot| slot.peer.address == peer.address;
                        members.slots.iter().find(same).is_some_and(|slot| !slot.state.health.out)
                    })
                };
                check.persistent && before.is_some_and(healthy)
            };
            for set in [&group.primary, &group.backup] {
                let mut members = set.lock();
                members.unrank();
                for slot in &mut members.slots {
                    slot.state.health.out = !known(&slot.peer);
                }
            }
        }
        thread.handle.spawn(keep_checking(thread.clone(), Arc::downgrade(group), check));
    }
}

async fn keep_checking(thread: Rc<Thread>, group: Weak<Group>, check: Arc<Check>) {
    loop {
        {
            let Some(group) = group.upgrade() else { return };
            for backup in [false, true] {
                for (id, peer) in due(group.set(backup)) {
                    let one = one(thread.clone(), group.clone(), check.clone(), backup, id, peer);
                    thread.handle.spawn(one);
                }
            }
        }
        let more = check.jitter.as_millis() as u64;
        let more = u64::from(crate::random::number()).checked_rem(more + 1).unwrap_or(0);
        thread.handle.sleep(check.interval + Duration::from_millis(more)).await;
    }
}

/// The servers to check: those whose last check is over.
fn due(set: &Set) -> Vec<(u32, Arc<Peer>)> {
    let mut members = set.lock();
    let mut due = Vec::new();
    for slot in &mut members.slots {
        if slot.peer.mode != Mode::Down && !std::mem::replace(&mut slot.state.health.busy, true) {
            due.push((slot.id, slot.peer.clone()));
        }
    }
    due
}

/// Checks one server.
async fn one(
    thread: Rc<Thread>,
    group: Arc<Group>,
    check: Arc<Check>,
    backup: bool,
    id: u32,
    peer: Arc<Peer>,
) {
    let outcome = ask(&thread, &group, &check, &peer).await;
    let now = thread.handle.unix_time();
    let mut changed = false;
    group.set(backup).note(id, |state| changed = state.checked(&check, &peer, outcome.is_ok(), now));
    if !changed {
        return;
    }
    let name = check.wanted.as_ref().map_or("", |wanted| &wanted.name);
    let of = format!("health check \"{name}\" of peer {} in upstream \"{}\"", peer.name, group.name);
    match outcome {
        Ok(()) => thread.process.log(Level::Notice, format_args!("peer is healthy, {of}")),
        Err(what) => thread.process.log(Level::Warn, format_args!("peer is unhealthy while {what}, {of}")),
    }
    group.queue.wake_first();
}

impl State {
    /// A check is over; whether the server's health changed.
    fn checked(&mut self, check: &Check, peer: &Peer, passed: bool, now: Duration) -> bool {
        let health = &mut self.health;
        health.busy = false;
        health.checks += 1;
        health.fails += u64::from(!passed);
        health.streak = if health.passed == Some(passed) { health.streak.saturating_add(1) } else { 1 };
        let first = health.passed.replace(passed).is_none();
        let enough = health.streak >= if passed { check.passes } else { check.fails };
        // A server of which nothing is known needs one success only.
        let comes = passed && health.out && (enough || first);
        let goes = !passed && !health.out && enough;
        if comes {
            health.out = false;
            self.come_back(peer, now);
        }
        self.health.out |= goes;
        comes || goes
    }
}

/// Asks a server; what was being done when it failed.
async fn ask(thread: &Rc<Thread>, group: &Group, check: &Check, peer: &Peer) -> Result<(), &'static str> {
    const CONNECTING: &str = "connecting to upstream";
    const SENDING: &str = "sending request to upstream";
    const READING: &str = "reading response header from upstream";
    let peer = at_port(peer, check.port);
    let link = open(thread, &peer, check.timeout).await.map_err(|_| CONNECTING)?;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: plimsoll (health check)\r\nConnection: close\r\n\r\n",
        check.uri, group.name
    );
    link.socket.write_all(request.as_bytes()).await.map_err(|_| SENDING)?;
    let (mut head, mut parser, mut text) = (ResponseHead::default(), ResponseParser::new(), Vec::new());
    let mut scratch = vec![0; 16 * 1024];
    while parser.parse(&text, &mut head, HEAD).map_err(|_| READING)? != wire::Progress::Done {
        let n = link.socket.read(&mut scratch).await.map_err(|_| READING)?;
        if n == 0 {
            return Err(READING);
        }
        text.extend_from_slice(&scratch[..n]);
    }
    let Some(wanted) = &check.wanted else {
        return if (200..400).contains(&head.status) { Ok(()) } else { Err("checking status code") };
    };
    let looks_at_body = wanted.tests.iter().any(|test| matches!(test, Test::Body { .. }));
    let length = head.content_length(&text).ok().flatten().map_or(BODY, |length| length as usize);
    while looks_at_body && text.len() - head.length < length.min(BODY) {
        match link.socket.read(&mut scratch).await.map_err(|_| "reading response body from upstream")? {
            0 => break,
            n => text.extend_from_slice(&scratch[..n]),
        }
    }
    wanted.judge(&head, &text)
}

/// The server at another port.
fn at_port(peer: &Peer, port: Option<u16>) -> Peer {
    let mut peer = peer.clone();
    if let (Address::Tcp(address), Some(port)) = (&mut peer.address, port) {
        address.set_port(port);
    }
    peer
}

impl Match {
    /// What the answer fails, if anything.
    fn judge(&self, head: &ResponseHead, text: &[u8]) -> Result<(), &'static str> {
        for test in &self.tests {
            let (holds, what) = match test {
                Test::Status { ranges, not } => {
                    let within = ranges.iter().any(|(first, last)| (*first..=*last).contains(&head.status));
                    (within != *not, "checking status code")
                }
                Test::Header { name, value, not } => {
                    let mut all =
                        head.headers.iter().filter(|h| h.name.of(text).eq_ignore_ascii_case(name.as_bytes()));
                    let fits = |found: &[u8]| match value {
                        None => true,
                        Some(Value::Is(wanted)) => found == wanted.as_bytes(),
                        Some(Value::Like(regex)) => regex.is_match(found),
                    };
                    (all.any(|h| fits(h.value.of(text))) != *not, "checking header")
                }
                Test::Body { value, not } => {
                    let body = text.get(head.length..).unwrap_or_default();
                    (value.is_match(body) != *not, "checking body")
                }
            };
            if !holds {
                return Err(what);
            }
        }
        Ok(())
    }
}
