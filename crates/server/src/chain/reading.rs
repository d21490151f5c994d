//! The chain of the running worker at one moment, with everything that the status shows.

use std::sync::atomic::Ordering::Relaxed;

use capacity::{Chain, Change, Finding, Kind, Link, Setup, Why};
use serde::Serialize;

use super::meter::{Cause, LoopState, Sample};
use super::{Kernel, Meter};
use crate::program::Address;
use crate::worker::Process;
use crate::worker::generation::Generation;
use crate::worker::ledger::{self, Class};

/// Everything, for whoever shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Reading {
    /// The program's version.
    pub version: &'static str,
    /// The worker's process id.
    pub pid: u32,
    /// Seconds since 1970.
    pub time: u64,
    /// One sentence: how much room there is, and what ends it.
    pub sentence: String,
    /// Concurrent requests of the mix that the chain lets through.
    pub requests: Option<u64>,
    /// How many times the present load fits.
    pub headroom: Option<f64>,
    /// The link that binds.
    pub binding: Option<Bound>,
    /// Every link.
    pub links: Vec<Shown>,
    /// The listening sockets.
    pub listeners: Vec<Door>,
    /// What the kernel counted.
    pub kernel: Counted,
    /// Who has the slots.
    pub seats: Seats,
    /// What the open descriptors are.
    pub descriptors: Descriptors,
    /// The event loops.
    pub threads: Vec<LoopState>,
    /// The groups of upstreams.
    pub upstreams: Vec<Upstream>,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that got a slot.
    pub handled: u64,
    /// Requests.
    pub served: u64,
    /// Refusals, by cause.
    pub refusals: Vec<Refusal>,
    /// The last second.
    pub now: Sample,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The last ten minutes, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Sample>,
}

/// Which link binds, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Bound {
    /// Which.
    pub kind: Kind,
    /// Which one.
    pub of: String,
    /// `full`, `refused`, `headroom` or `requests`.
    pub why: &'static str,
}

/// A link, and what raises its ceiling.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The link.
    #[serde(flatten)]
    pub link: Link,
    /// Its name.
    pub name: String,
    /// Concurrent requests that it lets through.
    pub requests: Option<u64>,
    /// The settings that raise it, the best first.
    pub raise: Vec<Change>,
}

/// A listening socket.
#[derive(Clone, Debug, Serialize)]
pub struct Door {
    /// Its address.
    pub address: String,
    /// Connections that wait to be accepted.
    pub waiting: u64,
    /// How many may wait.
    pub ceiling: Option<u64>,
    /// How many found no room.
    pub dropped: u64,
}

/// Of all listening sockets of the machine (of its network namespace), whosoever they are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    /// TcpExt ListenOverflows: connections that found an accept queue full.
    pub listen_overflows: u64,
    /// TcpExt ListenDrops: the same, and what was dropped for other reasons.
    pub listen_drops: u64,
}

/// Who has the slots.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seats {
    /// Slots in all.
    pub total: u64,
    /// Clients whose request is being read.
    pub reading: u64,
    /// Clients that are being answered.
    pub writing: u64,
    /// Idle clients.
    pub waiting: u64,
    /// Upstream connections in use.
    pub upstream: u64,
    /// Idle upstream connections.
    pub upstream_idle: u64,
    /// Clients of listening sockets with a reserve of their own: beside the slots.
    pub reserve: u64,
    /// So many there may be.
    pub reserve_total: u64,
}

/// What the open descriptors are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Descriptors {
    /// All of them.
    pub open: u64,
    /// Clients.
    pub clients: u64,
    /// Clients that wait for a slot, or are told that there is none.
    pub waiting: u64,
    /// Connections to upstreams and name servers, in use or idle.
    pub upstreams: u64,
    /// Listening sockets.
    pub listeners: u64,
    /// Files that are sent or kept open for that, and those that are read or written otherwise.
    pub files: u64,
    /// Bodies that do not fit in memory.
    pub temporary: u64,
    /// Answers in caches, read or written.
    pub cached: u64,
    /// Logs, and connections to some.
    pub logs: u64,
    /// What event loops stand on.
    pub loops: u64,
    /// The rest: standard input, output and error, the way to the master, its signals.
    pub others: u64,
}

/// A group of upstreams.
#[derive(Clone, Debug, Serialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub peers: Vec<crate::upstream::PeerState>,
}

/// How often one cause led to refusals.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refusal {
    /// The link that was full.
    pub link: Kind,
    /// What was refused.
    pub cause: &'static str,
    /// How often.
    pub count: u64,
}

/// Looks at everything. Asks the kernel: nothing for an event loop.
pub fn read(process: &Process, generation: &Generation, time: u64, with_past: bool) -> Reading {
    let meter = &process.meter;
    let setup = meter.setup();
    let kernel = meter.kernel(|| Kernel::read(&setup.destinations));
    let seats = seats(process);
    let chain = chain(process, generation, &setup, &kernel).sorted();
    let binding = chain.binding().map(|binding| Bound {
        kind: binding.link.kind,
        of: binding.link.of.clone(),
        why: match binding.why {
            Why::Full => "full",
            Why::Refused(_) => "refused",
            Why::Headroom(_) => "headroom",
            Why::Requests(_) => "requests",
        },
    });
    let counters = process.counters();
    Reading {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        time,
        sentence: chain.sentence(),
        requests: chain.requests(),
        headroom: chain.headroom(),
        binding,
        links: chain.links.iter().map(|link| shown(link, &chain, &setup)).collect(),
        listeners: setup.listens.iter().map(|listen| door(&listen.address, &kernel)).collect(),
        kernel: Counted { listen_overflows: kernel.overflows, listen_drops: kernel.drops },
        seats,
        descriptors: descriptors(process, &setup, &kernel),
        threads: meter.loops(),
        upstreams: generation
            .upstreams
            .iter()
            .map(|group| Upstream { name: group.name.to_string(), peers: group.states() })
            .collect(),
        accepted: process.accepted.load(Relaxed),
        handled: process.handled.load(Relaxed),
        served: counters.iter().map(|c| c.requests.load(Relaxed)).sum(),
        refusals: refusals(meter),
        now: meter.last(),
        findings: setup.findings(),
        past: if with_past { meter.past() } else { Vec::new() },
    }
}

fn refusals(meter: &Meter) -> Vec<Refusal> {
    let refusal =
        |cause: &Cause| Refusal { link: cause.link(), cause: cause.key(), count: meter.refusals(*cause) };
    Cause::ALL.iter().map(refusal).collect()
}

fn shown(link: &Link, chain: &Chain, setup: &Setup) -> Shown {
    Shown {
        name: link.name(),
        requests: link.requests(&chain.mix),
        raise: capacity::raise(link, setup),
        link: link.clone(),
    }
}

fn door(address: &str, kernel: &Kernel) -> Door {
    let queue = kernel.queue(address);
    Door {
        address: address.to_owned(),
        waiting: queue.as_ref().map_or(0, |queue| queue.waiting),
        ceiling: queue.as_ref().map(|queue| queue.ceiling),
        dropped: queue.map_or(0, |queue| queue.dropped),
    }
}

/// Seats that are not clients': clients of a listener with a reserve of its own have theirs beside the pool.
fn upstream_seats(process: &Process) -> u64 {
    let clients = process.clients().saturating_sub(process.operators());
    (process.seats_taken() as u64).saturating_sub(clients)
}

fn seats(process: &Process) -> Seats {
    let counters = process.counters();
    let sum =
        |f: fn(&crate::worker::Counters) -> i64| counters.iter().map(|c| f(c)).sum::<i64>().max(0) as u64;
    let (reading, writing) = (sum(|c| c.reading.load(Relaxed)), sum(|c| c.writing.load(Relaxed)));
    let clients = process.clients();
    let upstream = upstream_seats(process);
    let idle = sum(|c| c.idle_upstream.load(Relaxed) as i64).min(upstream);
    Seats {
        total: process.seats() as u64,
        reading,
        writing,
        waiting: clients.saturating_sub(reading + writing),
        upstream: upstream - idle,
        upstream_idle: idle,
        reserve: process.operators(),
        reserve_total: crate::worker::OPERATORS as u64,
    }
}

fn descriptors(process: &Process, setup: &Setup, kernel: &Kernel) -> Descriptors {
    let of = ledger::open;
    let mut all = Descriptors {
        open: kernel.descriptors.unwrap_or(0),
        clients: process.clients(),
        waiting: of(Class::Waiting) + process.refusing(),
        upstreams: of(Class::Upstream),
        listeners: setup.listens.iter().map(|listen| listen.sockets).sum(),
        files: of(Class::File),
        temporary: of(Class::Temporary),
        cached: of(Class::Cache),
        logs: of(Class::Log),
        loops: of(Class::Loop),
        others: 0,
    };
    let Descriptors {
        open,
        clients,
        waiting,
        upstreams,
        listeners,
        files,
        temporary,
        cached,
        logs,
        loops,
        ..
    } = all;
    let connections = clients + waiting + upstreams + listeners;
    all.others = open.saturating_sub(connections + files + temporary + cached + logs + loops);
    all
}

/// The configured chain, with what is used of it.
fn chain(process: &Process, generation: &Generation, setup: &Setup, kernel: &Kernel) -> Chain {
    let meter = &process.meter;
    let mut chain = setup.chain();
    for link in &mut chain.links {
        let refused =
            Cause::ALL.iter().filter(|cause| cause.link() == link.kind).map(|cause| meter.refusals(*cause));
        link.refused = refused.sum();
        match link.kind {
            Kind::AcceptQueue => {
                if let Some(queue) = kernel.queue(&link.of) {
                    link.ceiling = Some(queue.ceiling);
                    (link.used, link.refused) = (queue.waiting, queue.dropped);
                }
            }
            Kind::Slots => {
                link.ceiling = Some(process.seats() as u64);
                link.used = process.seats_taken() as u64;
                link.peak = process.seats.peak() as u64;
            }
            Kind::Descriptors => {
                link.used = kernel.descriptors.unwrap_or(0);
                link.peak = meter.note_descriptors(link.used);
                // What is open beside connections.
                link.fixed = link.used.saturating_sub(process.seats_taken() as u64);
            }
            Kind::EventLoop => link.used = meter.last().busy,
            Kind::Ports => link.used = kernel.ports(&link.of),
            // How it grows with the load is not known: what is used now counts as spent.
            Kind::Memory => {
                (link.used, link.fixed) = (kernel.memory.unwrap_or(0), kernel.memory.unwrap_or(0))
            }
            Kind::UpstreamQueue => {}
        }
        link.peak = link.peak.max(link.used);
    }
    chain.links.extend(upstream_queues(generation, setup, kernel, meter));
    meter.compare(&mut chain.links);
    chain
}

/// The accept queues of upstreams on this machine.
fn upstream_queues(generation: &Generation, setup: &Setup, kernel: &Kernel, meter: &Meter) -> Vec<Link> {
    let peers = generation.upstreams.iter().flat_map(|group| group.peers());
    let unix =
        peers.filter(|peer| matches!(peer.address, Address::Unix(_))).map(|peer| peer.name.to_string());
    let mut all: Vec<String> = unix.chain(setup.destinations.iter().cloned()).collect();
    all.sort();
    all.dedup();
    let link = |of: String| {
        let queue = kernel.queue(&of)?;
        let link = Link::new(Kind::UpstreamQueue, Some(queue.ceiling), "the application's backlog");
        // The kernel counts for TCP alone; what it turned away at a unix socket was told to us.
        let refused = match of.starts_with("unix:") {
            true => meter.refusals(Cause::UpstreamQueue),
            false => queue.dropped,
        };
        Some(Link { refused, ..link.of(of).used(queue.waiting) })
    };
    all.into_iter().filter_map(link).collect()
}
