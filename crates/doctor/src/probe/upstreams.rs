//! Where requests are passed to: the queues there, and who listens.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};

use machine::descriptors;
use machine::process::Process;
use machine::sockets::{self, Sockets};

use super::application;
use super::config::Config;
use crate::facts::{Application, Facts, Upstream, Worker};

/// Sockets, seen from where the server is.
pub(super) struct Found {
    sockets: Sockets,
    /// Destinations that are on this machine: a port of another one may be listened to here as well.
    here: HashSet<String>,
}

/// Those of processes with these sockets.
pub(super) fn read(inodes: &[Vec<u32>], config: Option<&Config>) -> io::Result<Found> {
    let sockets = sockets::read(inodes)?;
    let mut here: HashSet<String> =
        config.map(Config::destinations).unwrap_or_default().into_iter().collect();
    here.extend(sockets.towards.keys().cloned());
    here.retain(|address| is_here(address));
    Ok(Found { sockets, here })
}

fn is_here(address: &str) -> bool {
    let ip = address.parse::<SocketAddr>().map(|address| address.ip());
    // Binding to port 0 of it is the simplest question whether an address is ours.
    ip.map_or(address.starts_with("unix:"), |ip| UdpSocket::bind((ip, 0)).is_ok())
}

/// Whose sockets are whose.
pub(super) fn use_sockets(found: &Found, workers: &mut [(Worker, Vec<u32>)], facts: &mut Facts) {
    let sockets = &found.sockets;
    for ((worker, _), held) in workers.iter_mut().zip(&sockets.held) {
        worker.held = *held;
    }
    let ours = |inode: &u32| workers.iter().any(|(_, sockets)| sockets.contains(inode));
    facts.queues = sockets.queues.iter().filter(|queue| ours(&queue.inode)).cloned().collect();
    let destinations = facts.config.as_ref().map(Config::destinations).unwrap_or_default();
    facts.upstreams = destinations.iter().map(|address| found.upstream(address)).collect();
    // Variables in proxy_pass, and what was configured before: seen only as connections.
    for (address, towards) in &sockets.towards {
        let held = towards.open + towards.connecting;
        if held > 0 && !destinations.contains(address) {
            facts.upstreams.push(found.upstream(address));
        }
    }
    facts.upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.towards.open));
    let queues = facts.upstreams.iter().filter_map(|upstream| upstream.queue.as_ref());
    let holders = Holders::of(queues.map(|queue| queue.inode).collect());
    for upstream in &mut facts.upstreams {
        let inode = upstream.queue.as_ref().map_or(0, |queue| queue.inode);
        (upstream.program, upstream.application) = holders.program(inode, &upstream.address);
    }
}

impl Found {
    fn upstream(&self, address: &str) -> Upstream {
        let queue = self.sockets.queue(address).filter(|_| self.here.contains(address)).cloned();
        let towards = self.sockets.towards.get(address).cloned().unwrap_or_default();
        Upstream { address: address.to_owned(), queue, towards, ..Upstream::default() }
    }
}

/// Who holds a socket: the process that was there first.
struct Holders {
    all: Vec<Process>,
    of: HashMap<u32, usize>,
}

impl Holders {
    fn of(wanted: HashSet<u32>) -> Holders {
        let mut holders = Holders { all: Vec::new(), of: HashMap::new() };
        if wanted.is_empty() {
            return holders;
        }
        holders.all = machine::process::all().unwrap_or_default();
        holders.all.sort_by_key(|process| process.pid);
        for (index, process) in holders.all.iter().enumerate() {
            let sockets = descriptors::of(process.pid).map(|open| open.sockets).unwrap_or_default();
            for inode in sockets.into_iter().filter(|inode| wanted.contains(inode)) {
                holders.of.entry(inode).or_insert(index);
            }
        }
        holders
    }

    fn program(&self, inode: u32, address: &str) -> (String, Option<Application>) {
        match self.of.get(&inode).and_then(|index| self.all.get(*index)) {
            Some(process) => (called(process), application::application(process, &self.all, address)),
            None => Default::default(),
        }
    }
}

/// An interpreter's first argument says more than its own name.
fn called(process: &Process) -> String {
    let script = process.arguments.get(1).filter(|word| word.contains('/'));
    let script =
        script.and_then(|word| word.rsplit('/').next()).map_or(String::new(), |script| format!(" {script}"));
    format!("{}{script} (pid {})", process.name(), process.pid)
}
