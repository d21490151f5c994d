//! The capacity chain of this server: what the configuration, the machine and the service make of it.

use std::net::{IpAddr, SocketAddr};

use capacity::{Listening, Place, Server, Setup};

use crate::http::plan::Content;
use crate::program::{Address, Listen, Program};
use crate::worker::generation::Generation;

mod kernel;
mod looks;
mod meter;
mod reading;

pub use kernel::Kernel;
pub use meter::{Behind, Cause, Meter, sample};
pub use reading::{Reading, read};

pub use capacity::OTHERS;

/// Slots for each thread where none are configured, as the limits of this process allow.
pub fn connections(threads: usize, rlimit_nofile: Option<u64>, listens: usize) -> u64 {
    let threads = threads.max(1) as u64;
    let asked = rlimit_nofile.map(|each| each.saturating_mul(threads));
    let limit = asked.or(sys::limits::descriptors().hard).unwrap_or(u64::MAX);
    let limit = limit.min(sys::proc::nr_open().unwrap_or(u64::MAX));
    capacity::slots_unasked(limit, listens as u64, threads)
}

/// What the capacity of a configuration follows from, in the service that runs it or will.
pub fn setup(program: &Program) -> Setup {
    let limit = sys::limits::descriptors();
    let service = service();
    let starts_with = service.as_ref().and_then(|service| service.1).unwrap_or(limit);
    Setup {
        service: service.map(|service| service.0).unwrap_or_default(),
        soft: starts_with.soft,
        hard: starts_with.hard,
        privileged: sys::privileges::is_root(),
        shell_soft: (starts_with != limit).then_some(limit.soft).flatten(),
        ..setup_here(program)
    }
}

/// The same for the process that calls.
pub fn setup_here(program: &Program) -> Setup {
    let limit = sys::limits::descriptors();
    let cgroup = sys::cgroup::limits();
    let online = sys::proc::online_cpus() as u64;
    let allowed = sys::affinity::allowed().map_or(online, |cpus| cpus.len() as u64);
    let memory = [cgroup.memory, sys::proc::memory()].into_iter().flatten().min();
    Setup {
        server: Server::Plimsoll,
        conf: program.conf.as_deref().map(|conf| conf.to_string_lossy().into_owned()).unwrap_or_default(),
        service: sys::service::own().unwrap_or_default(),
        workers: program.threads as u64,
        connections: program.connections,
        connections_written: program.connections_written,
        rlimit_nofile: program.rlimit_nofile,
        soft: limit.soft,
        hard: limit.hard,
        nr_open: sys::proc::nr_open(),
        file_max: sys::proc::file_max(),
        somaxconn: sys::proc::somaxconn().map(u64::from),
        listens: program.listens.iter().map(|listen| listening(listen, program.threads)).collect(),
        others: OTHERS,
        idle_upstream: idle_upstream(&program.generation),
        loops: loops(&program.generation),
        destinations: destinations(&program.generation),
        ports: sys::proc::local_ports(),
        online,
        quota: Some(cgroup.cpus.unwrap_or(f64::INFINITY).min(allowed as f64)),
        memory,
        ..Setup::default()
    }
}

/// The service, and the limits it starts with where they are not this process's own.
fn service() -> Option<(String, Option<sys::limits::Limit>)> {
    if let Some(own) = sys::service::own() {
        return Some((own, None));
    }
    let name = std::env::args_os().next();
    let name = name.as_deref().and_then(|name| std::path::Path::new(name).file_name()?.to_str());
    let service = sys::service::installed(name.unwrap_or("plimsoll"))?;
    Some((service.name, Some(service.limit)))
}

fn listening(listen: &Listen, threads: usize) -> Listening {
    Listening {
        address: listen.address.to_string(),
        // A negative one means "as much as there may be" to the kernel.
        backlog: listen.backlog.and_then(|backlog| u64::try_from(backlog).ok()),
        ceiling: None,
        sockets: if listen.reuseport { threads as u64 } else { 1 },
        place: Place::default(),
    }
}

fn idle_upstream(generation: &Generation) -> u64 {
    generation.upstreams.iter().filter_map(|group| Some(group.keepalive?.connections as u64)).sum()
}

/// The addresses that requests are passed to.
fn destinations(generation: &Generation) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, plan) in generation.plans() {
        let Some(group) = plan.content.asks() else { continue };
        let peers = group.peers();
        let tcp = peers.iter().filter(|peer| matches!(peer.address, Address::Tcp(_)));
        all.extend(tcp.map(|peer| peer.name.to_string()));
    }
    all.sort();
    all.dedup();
    all
}

/// Locations that pass requests, their path unchanged, to an address where only their own server answers: the same
/// location gets them again.
fn loops(generation: &Generation) -> Vec<(String, Place)> {
    let mut all = Vec::new();
    for (server, plan) in generation.plans() {
        let Content::Proxy(proxy) = &plan.content else { continue };
        let Some((group, true)) = proxy.fixed() else { continue };
        let own = |address: &Address| {
            let mut here = generation.listeners.iter().filter(|listener| reaches(address, &listener.address));
            here.any(|listener| listener.only_one_server() && listener.default_server == server)
        };
        if let Some(peer) = group.peers().iter().find(|peer| own(&peer.address))
            && !all.iter().any(|(to, _): &(String, Place)| **to == *peer.name)
        {
            all.push((peer.name.to_string(), Place::default()));
        }
    }
    all
}

/// Whether a connection to an address arrives at a listening one.
fn reaches(to: &Address, listening: &Address) -> bool {
    let (Address::Tcp(to), Address::Tcp(listening)) = (to, listening) else { return to == listening };
    let any = listening.ip().is_unspecified() && listening.is_ipv4() == to.is_ipv4();
    to.port() == listening.port() && (to.ip() == listening.ip() || (any && is_here(to)))
}

/// Addresses that are surely this machine's.
fn is_here(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    }
}
