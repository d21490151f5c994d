//! What `capacity_status` says, as far as it is shown. A field that an older server does not say is empty.

use capacity::{Change, Finding, Kind, Link};
use serde::Deserialize;

/// One look.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seen {
    pub version: String,
    pub pid: u32,
    pub time: u64,
    pub sentence: String,
    pub binding: Option<Bound>,
    pub links: Vec<Shown>,
    pub seats: Seats,
    pub threads: Vec<State>,
    pub upstreams: Vec<Upstream>,
    pub refusals: Vec<Refusal>,
    pub now: Now,
    pub findings: Vec<Finding>,
}

/// The link that binds.
#[derive(Debug, Deserialize)]
pub struct Bound {
    pub kind: Kind,
    pub of: String,
}

/// A link.
#[derive(Debug, Deserialize)]
pub struct Shown {
    #[serde(flatten)]
    pub link: Link,
    #[serde(default)]
    pub raise: Vec<Change>,
}

/// Who has the slots.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seats {
    pub reading: u64,
    pub writing: u64,
    pub waiting: u64,
    pub upstream: u64,
    pub upstream_idle: u64,
}

/// A thread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    pub busy: u64,
    pub lag: u64,
}

/// A group of servers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Upstream {
    pub name: String,
    pub peers: Vec<Peer>,
}

/// A server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peer {
    pub name: String,
    pub up: bool,
    pub connections: u64,
    pub fails: u64,
    pub latency: Option<Latency>,
}

/// How long a server took for the head of its answers, in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// Why somebody found no place, and how often.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    pub cause: String,
    pub count: u64,
}

/// The last second.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Now {
    pub requests: u64,
    pub clients: u64,
    pub refused: u64,
}
