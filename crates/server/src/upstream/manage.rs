//! Looking at the servers of a group, and changing them while it runs. What is changed holds until the next reload.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::group::Group;
use super::names::{key, split};
use super::peers::Members;
use super::slot::{Mode, Peer, Slot};
use super::tried::Tried;
use crate::program::Address;

/// A group as it is now.
#[derive(Debug, Serialize)]
pub struct GroupShown {
    /// Its name.
    pub name: String,
    /// Requests that wait for a server.
    pub queued: usize,
    /// Its servers.
    pub servers: Vec<ServerShown>,
}

/// A server as it is now; times are written as in a configuration.
#[derive(Debug, Serialize)]
pub struct ServerShown {
    /// Its number, for as long as this configuration is in force.
    pub id: u32,
    /// Its address.
    pub server: String,
    /// The name that it was found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// See the directive `server`.
    pub weight: u32,
    /// See the directive `server`.
    pub max_conns: u32,
    /// See the directive `server`.
    pub max_fails: u32,
    /// See the directive `server`.
    pub fail_timeout: String,
    /// See the directive `server`.
    pub slow_start: String,
    /// What binds clients to it.
    pub route: String,
    /// It is asked when no other is left.
    pub backup: bool,
    /// It is not asked at all.
    pub down: bool,
    /// It gets only what is bound to it.
    pub drain: bool,
    /// Whether it would be asked now: `up`, `draining`, `down`, `unavail`, `unhealthy` or `full`.
    pub state: &'static str,
    /// Requests under way.
    pub active: u32,
    /// Failures that count against it.
    pub fails: u32,
    /// Milliseconds until the head of its answers comes, on average; 0 where nobody wants to know.
    pub header_time: u64,
    /// Milliseconds until its answers are complete.
    pub response_time: u64,
    /// What checks found out.
    pub health_checks: ChecksShown,
}

/// The checks of a server.
#[derive(Debug, Serialize)]
pub struct ChecksShown {
    /// How many there were.
    pub checks: u64,
    /// How many failed.
    pub fails: u64,
    /// How the last one went.
    pub last_passed: Option<bool>,
}

/// What is to be different; what is not named stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Its address: needed for a new server, impossible for others.
    pub server: Option<String>,
    /// See the directive `server`.
    pub weight: Option<u32>,
    /// See the directive `server`.
    pub max_conns: Option<u32>,
    /// See the directive `server`.
    pub max_fails: Option<u32>,
    /// See the directive `server`.
    pub fail_timeout: Option<String>,
    /// See the directive `server`.
    pub slow_start: Option<String>,
    /// See the directive `server`.
    pub route: Option<String>,
    /// For a new server only.
    pub backup: Option<bool>,
    /// Not to be asked at all.
    pub down: Option<bool>,
    /// To get only what is bound to it.
    pub drain: Option<bool>,
}

impl Group {
    /// The group as it is now.
    pub fn show(&self, now: Duration) -> GroupShown {
        let mut servers = Vec::new();
        for backup in [false, true] {
            let members = self.set(backup).lock();
            servers.extend((0..members.slots.len()).map(|i| self.show_server(&members, i, backup, now)));
        }
        GroupShown { name: self.name.to_string(), queued: self.queue.len(), servers }
    }
    fn show_server(&self, members: &Members, i: usize, backup: bool, now: Duration) -> ServerShown {
        let slot = &members.slots[i];
        let Slot { peer, state, .. } = slot;
        let followed = slot.found_by.and_then(|i| self.followed.get(i as usize));
        ServerShown {
            id: number(slot.id, backup),
            server: peer.name.to_string(),
            parent: followed.map(|followed| followed.host.to_string()),
            weight: peer.weight,
            max_conns: peer.max_conns,
            max_fails: peer.max_fails,
            fail_timeout: seconds(peer.fail_timeout),
            slow_start: seconds(peer.slow_start),
            route: peer.bond.to_string(),
            backup,
            down: peer.mode == Mode::Down,
            drain: peer.mode == Mode::Drain,
            state: condition(members, i, now),
            active: state.conns,
            fails: state.fails,
            header_time: state.header_time,
            response_time: state.response_time,
            health_checks: ChecksShown {
                checks: state.health.checks,
                fails: state.health.fails,
                last_passed: state.health.passed,
            },
        }
    }
    /// Adds a server.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&self, change: &Change, now: Duration) -> Result<ServerShown, String> {
        let server = change.server.as_deref().ok_or("\"server\" is missing")?;
        let address = address(server)?;
        let peer = Peer::new(address.clone(), server, key(&address));
        let peer = change.apply(peer)?;
        let peer = if self.sticky.is_some() { peer.bound() } else { peer };
        let backup = change.backup.unwrap_or(false);
        if (backup || !peer.slow_start.is_zero()) && !self.balancer.has_backups() {
            return Err("balancing method does not support \"backup\" and \"slow_start\"".into());
        }
        self.count();
        let mut members = self.set(backup).lock();
        members.add(peer);
        let shown = self.show_server(&members, members.slots.len() - 1, backup, now);
        drop(members);
        self.queue.wake_first();
        Ok(shown)
    }
    /// Changes a server; `None`: there is no such one.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn change(&self, id: u32, change: &Change, now: Duration) -> Result<Option<ServerShown>, String> {
        if change.server.is_some() || change.backup.is_some() {
            return Err("\"server\" and \"backup\" cannot be changed".into());
        }
        let (id, backup) = (id / 2, id % 2 == 1);
        let mut members = self.set(backup).lock();
        let Some(i) = members.place(id) else { return Ok(None) };
        let before = members.slots[i].peer.clone();
        let peer = change.apply((*before).clone())?;
        self.count();
        let slot = &mut members.slots[i];
        if before.mode != Mode::Up && peer.mode == Mode::Up {
            slot.state.fails = 0;
            slot.state.come_back(&peer, now);
        }
        if peer.weight != before.weight {
            slot.state.effective_weight = peer.weight.into();
        }
        slot.peer = Arc::new(peer);
        members.changed();
        let shown = self.show_server(&members, i, backup, now);
        drop(members);
        self.queue.wake_first();
        Ok(Some(shown))
    }
    /// Removes a server; requests that it is answering go on. `false`: there is no such one.
    pub fn remove(&self, id: u32) -> bool {
        self.count();
        let mut members = self.set(id % 2 == 1).lock();
        let Some(i) = members.place(id / 2) else { return false };
        members.slots.remove(i);
        members.changed();
        true
    }
}

/// A server's number: those of backup servers are odd.
fn number(id: u32, backup: bool) -> u32 {
    id * 2 + u32::from(backup)
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

fn condition(members: &Members, i: usize, now: Duration) -> &'static str {
    let Slot { peer, state, .. } = &members.slots[i];
    match peer.mode {
        Mode::Down => "down",
        _ if state.health.out => "unhealthy",
        _ if peer.max_conns > 0 && state.conns >= peer.max_conns => "full",
        _ if !members.available(i, &Tried::default(), now) => "unavail",
        Mode::Drain => "draining",
        Mode::Up => "up",
    }
}

/// An address as a configuration writes it; names would have to be looked up.
fn address(server: &str) -> Result<Address, String> {
    if let Some(path) = server.strip_prefix("unix:") {
        return match path.len() {
            1..=107 => Ok(Address::Unix(path.into())),
            _ => Err("no path, or too long a path, in the unix domain socket".into()),
        };
    }
    let (host, port) = split(server)?;
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let ip = ip.map_err(|_| "\"server\" must be an address or a unix domain socket")?;
    Ok(Address::Tcp((ip, port.unwrap_or(80)).into()))
}

impl Change {
    fn apply(&self, mut peer: Peer) -> Result<Peer, String> {
        let time = |text: &str, name: &str| {
            let seconds = conf::sec(text.as_bytes());
            seconds.map(Duration::from_secs).ok_or_else(|| format!("invalid \"{name}\""))
        };
        if let Some(weight) = self.weight {
            if weight == 0 {
                return Err("invalid \"weight\"".into());
            }
            peer.weight = weight;
        }
        peer.max_conns = self.max_conns.unwrap_or(peer.max_conns);
        peer.max_fails = self.max_fails.unwrap_or(peer.max_fails);
        if let Some(text) = &self.fail_timeout {
            peer.fail_timeout = time(text, "fail_timeout")?;
        }
        if let Some(text) = &self.slow_start {
            peer.slow_start = time(text, "slow_start")?;
        }
        if let Some(route) = &self.route {
            if route.is_empty() || route.len() > 32 {
                return Err("invalid \"route\"".into());
            }
            peer.bond = route.as_str().into();
        }
        peer.mode = match (self.down, self.drain) {
            (Some(true), _) => Mode::Down,
            (_, Some(true)) => Mode::Drain,
            (None, None) => peer.mode,
            (Some(false), None) if peer.mode == Mode::Drain => Mode::Drain,
            (None, Some(false)) if peer.mode == Mode::Down => Mode::Down,
            _ => Mode::Up,
        };
        Ok(peer)
    }
}
