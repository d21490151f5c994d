//! Where requests are passed to: the queues there, and who listens.

use std::fs;

use machine::process::Process;
use machine::sockets::Sockets;

use super::application;
use super::config::Config;
use crate::facts::{Facts, Upstream, Worker};

/// Whose sockets are whose.
pub(super) fn use_sockets(found: &Sockets, workers: &mut [(Worker, Vec<u32>)], facts: &mut Facts) {
    for ((worker, _), held) in workers.iter_mut().zip(&found.held) {
        worker.held = *held;
    }
    let ours = |inode: &u32| workers.iter().any(|(_, sockets)| sockets.contains(inode));
    facts.queues = found.queues.iter().filter(|queue| ours(&queue.inode)).cloned().collect();
    let destinations = facts.config.as_ref().map(Config::destinations).unwrap_or_default();
    facts.upstreams = destinations.iter().map(|address| upstream(address, found)).collect();
    // Variables in proxy_pass, and what was configured before: seen only as connections.
    for (address, towards) in &found.towards {
        let held = towards.open + towards.connecting;
        if held > 0 && !facts.upstreams.iter().any(|known| known.address == *address) {
            facts.upstreams.push(Upstream { towards: towards.clone(), ..upstream(address, found) });
        }
    }
    facts.upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.towards.open));
}

fn upstream(address: &str, found: &Sockets) -> Upstream {
    let queue = if is_here(address) { found.queue(address).cloned() } else { None };
    let holder = queue.as_ref().and_then(|queue| holder(queue.inode));
    let (program, application) = holder.map_or_else(Default::default, |(holder, all)| {
        (called(&holder), application::application(&holder, &all, address))
    });
    let towards = found.towards.get(address).cloned().unwrap_or_default();
    Upstream { address: address.to_owned(), program, application, queue, towards }
}

/// A port of another machine may be listened to here as well.
fn is_here(address: &str) -> bool {
    let ip = address.parse::<std::net::SocketAddr>().map(|address| address.ip());
    // Binding to port 0 of it is the simplest question whether an address is ours.
    ip.map_or(address.starts_with("unix:"), |ip| std::net::UdpSocket::bind((ip, 0)).is_ok())
}

/// Who holds a socket: the process that was there first, and all that there are.
fn holder(inode: u32) -> Option<(Process, Vec<Process>)> {
    let mut all = machine::process::all().ok()?;
    all.sort_by_key(|process| process.pid);
    let target = format!("socket:[{inode}]");
    let holds = |process: &&Process| {
        let links = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
        links
            .filter_map(|link| fs::read_link(link.path()).ok())
            .any(|link| link.as_os_str() == target.as_str())
    };
    let process = all.iter().find(holds)?.clone();
    Some((process, all))
}

/// An interpreter's first argument says more than its own name.
fn called(process: &Process) -> String {
    let script = process.arguments.get(1).filter(|word| word.contains('/'));
    let script =
        script.and_then(|word| word.rsplit('/').next()).map_or(String::new(), |script| format!(" {script}"));
    format!("{}{script} (pid {})", process.name(), process.pid)
}
