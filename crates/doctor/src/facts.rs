//! Everything that was seen of a server, in one value: what the diagnosis is made from, what `--save` writes and
//! `--facts` reads.

use capacity::Link;
use machine::descriptors::Descriptors;
use machine::kernel::{Counters, Settings};
use machine::sockets::{Held, Queue, Towards};
use machine::unit::Unit;
use serde::{Deserialize, Serialize};

use crate::logs::access::Access;
use crate::logs::error::Events;
use crate::probe::config::Config;

/// What was seen. What could not be seen is absent, and `unread` says why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The running server.
    pub running: Option<Running>,
    /// Its configuration.
    pub config: Option<Config>,
    /// What the kernel allows.
    pub kernel: Settings,
    /// What the kernel counted, and by how much that grew while looking.
    pub counters: Option<Growing>,
    /// The server's accept queues.
    pub queues: Vec<Queue>,
    /// Where it passes requests on.
    pub upstreams: Vec<Upstream>,
    /// `stub_status`.
    pub status: Option<Status>,
    /// Plimsoll's own account of its links (`capacity_status`).
    pub own: Vec<Link>,
    /// How often the quota of processor time was used up.
    pub throttled: Option<Throttled>,
    /// Processes of its cgroup that the kernel has killed for memory.
    pub killed: Option<Killed>,
    /// What error logs say.
    pub events: Events,
    /// What access logs say.
    pub access: Option<Access>,
    /// How many more found no place there while looking, in the same order.
    pub own_grown: Vec<u64>,
    /// Other servers that run here.
    pub others: Vec<String>,
    /// What could not be read, and with which right it could.
    pub unread: Vec<String>,
}

/// A running server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    /// `nginx`, `plimsoll`.
    pub name: String,
    /// Its version, where the program said it.
    pub version: String,
    /// The master's process id.
    pub master: u32,
    /// For how many seconds it has been running.
    pub seconds: u64,
    /// The master's limit of descriptors.
    pub limit: Limit,
    /// Whether the master may raise hard limits: as root, unless a container took that right (CAP_SYS_RESOURCE) away.
    pub root: bool,
    /// The processes that serve.
    pub workers: Vec<Worker>,
    /// How many only finish what they had.
    pub leaving: usize,
    /// The systemd service it runs in, or empty.
    pub service: String,
    /// What the files of that service ask for.
    pub unit: Option<Unit>,
    /// Processors online.
    pub online: usize,
    /// Processors' worth of time that its cgroup allows.
    pub quota: Option<f64>,
    /// Bytes of memory that its cgroup allows, or that there are.
    pub memory: Option<u64>,
    /// Bytes of memory that its processes have.
    pub resident: u64,
}

/// A limit of descriptors; `None` is "unlimited".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far it may be raised.
    pub hard: Option<u64>,
}

/// A process that serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Its id.
    pub pid: u32,
    /// Its own limit.
    pub limit: Limit,
    /// How many descriptors it has open, by kind; `None` without the right to see.
    pub open: Option<Open>,
    /// Its sockets.
    pub held: Held,
    /// The part of one processor it used while looking.
    pub busy: Option<f64>,
    /// The part of the time that it was ready to run and no processor was free.
    pub starved: Option<f64>,
    /// Seconds of processor time since it began.
    pub cpu: Option<f64>,
}

/// Descriptors by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Open {
    /// Sockets.
    pub sockets: u64,
    /// Files.
    pub files: u64,
    /// Deleted files.
    pub deleted: u64,
    /// All.
    pub all: u64,
}

impl From<&Descriptors> for Open {
    fn from(found: &Descriptors) -> Open {
        Open {
            sockets: found.sockets.len() as u64,
            files: found.files as u64,
            deleted: found.deleted as u64,
            all: found.total() as u64,
        }
    }
}

/// Counters of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Growing {
    /// Since the machine started.
    pub total: Counters,
    /// While looking.
    pub grown: Counters,
    /// For how many seconds that was.
    pub seconds: f64,
}

/// Periods of a quota of processor time: those in which the server ran, and those of them in which it stood still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttled {
    /// Since its cgroup was made.
    pub periods: u64,
    /// See above.
    pub throttled: u64,
    /// While looking.
    pub periods_grown: u64,
    /// See above.
    pub throttled_grown: u64,
    /// For how many microseconds it stood still, since its cgroup was made.
    pub micros: u64,
}

/// Processes that were killed because the memory of their cgroup was used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Killed {
    /// Since the cgroup was made.
    pub total: u64,
    /// While looking.
    pub grown: u64,
}

/// Where requests are passed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// Its address: `127.0.0.1:8000`, `unix:/run/app.sock`.
    pub address: String,
    /// What listens there, if that is on this machine: its process's name and id.
    pub program: String,
    /// How much that takes at once, as far as it says so.
    pub application: Option<Application>,
    /// Its accept queue, if it is on this machine.
    pub queue: Option<Queue>,
    /// What goes on towards it.
    pub towards: Towards,
}

/// A program that requests are passed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Application {
    /// `gunicorn`, `php-fpm`, `uwsgi`, `puma`, `node`.
    pub kind: String,
    /// Its first process.
    pub pid: u32,
    /// Processes that it has started: its workers.
    pub workers: u64,
    /// Settings that say how much it takes at once, by the names they have there.
    pub settings: Vec<Written>,
}

/// A setting as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Written {
    /// `pm.max_children`, `--backlog`, ..
    pub name: String,
    /// Its value.
    pub value: String,
    /// The file it stands in, or `its command line`.
    pub place: String,
}

impl Application {
    /// What a setting of this name is now; of workers, else, how many there are.
    pub fn now(&self, name: &str) -> Option<u64> {
        let written = self.settings.iter().rfind(|written| written.name == name);
        let there = Some(self.workers).filter(|workers| name == "workers" && *workers > 0);
        written.and_then(|written| written.value.parse().ok()).or(there)
    }
}

/// `stub_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Clients connected.
    pub active: u64,
    /// Connections accepted so far.
    pub accepts: u64,
    /// Of these, those that found a slot.
    pub handled: u64,
    /// Requests so far.
    pub requests: u64,
    /// Requests being read.
    pub reading: u64,
    /// Requests being answered.
    pub writing: u64,
    /// Idle clients.
    pub waiting: u64,
}

impl Facts {
    /// These, with what was read of files besides.
    pub fn with(self, files: Facts) -> Facts {
        let logs = if files.events.logs.is_empty() { self.events } else { files.events };
        Facts {
            config: files.config.or(self.config),
            events: logs,
            access: files.access.or(self.access),
            unread: self.unread.into_iter().chain(files.unread).collect(),
            ..self
        }
    }

    /// Whether there is anything to judge.
    pub fn is_empty(&self) -> bool {
        let logs = self.events.logs.is_empty() && self.access.is_none();
        self.running.is_none() && self.config.is_none() && logs
    }
}
