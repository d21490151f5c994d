//! Facts as a [`Setup`]: what `-t` knows of its own configuration, known of somebody else's.

use capacity::{Listening, Mix, Server, Setup};

use crate::facts::{Facts, Running};
use crate::probe::config::Config;

/// nginx's default.
const CONNECTIONS: u64 = 512;

/// The setup; `None` without a configuration.
pub(super) fn setup(facts: &Facts) -> Option<Setup> {
    let config = facts.config.as_ref()?;
    let running = facts.running.clone().unwrap_or_default();
    let known = facts.running.is_some();
    let plimsoll = running.name.contains("plimsoll");
    let online = if known { running.online as u64 } else { 1 };
    let limit = running.limit;
    // What the workers have counts; the master's may have been changed since it started them.
    let soft = running.workers.first().map_or(limit.soft, |worker| worker.limit.soft);
    let workers = workers(config, &running, plimsoll);
    let unasked = match plimsoll {
        true => capacity::slots_unasked(soft.unwrap_or(u64::MAX), config.listens.len() as u64, workers),
        false => CONNECTIONS,
    };
    Some(Setup {
        server: if plimsoll { Server::Plimsoll } else { Server::Nginx },
        conf: config.path.clone(),
        service: running.service.clone(),
        workers,
        connections: config.connections.as_ref().map_or(unasked, |(n, _)| *n),
        connections_written: config.connections.is_some(),
        rlimit_nofile: config.rlimit_nofile.as_ref().map(|(n, _)| *n),
        soft,
        hard: limit.hard,
        privileged: running.root,
        shell_soft: None,
        nr_open: facts.kernel.nr_open,
        file_max: facts.kernel.file_max,
        somaxconn: facts.kernel.somaxconn.map(u64::from),
        listens: listens(facts, config),
        others: (config.error_logs.len() + config.access_logs.len()) as u64 + 5,
        idle_upstream: super::chain::sum(config.groups.iter().filter_map(|group| group.keepalive)),
        loops: loops(config),
        destinations: config.destinations().into_iter().filter(|to| !to.starts_with("unix:")).collect(),
        ports: facts.kernel.local_ports(),
        online,
        quota: running.quota,
        memory: running.memory,
        mix: mix(facts, config),
        ..Setup::default()
    })
}

fn workers(config: &Config, running: &Running, plimsoll: bool) -> u64 {
    let written = config.processes.as_deref();
    match written.and_then(|text| text.parse().ok()) {
        // What runs is what counts, but Plimsoll's threads are not processes.
        Some(written) if plimsoll || running.workers.is_empty() => written,
        None if plimsoll && written == Some("auto") => (running.online as u64).max(1),
        _ => (running.workers.len() as u64).max(1),
    }
}

fn listens(facts: &Facts, config: &Config) -> Vec<Listening> {
    let listen = |listen: &crate::probe::config::Listen| {
        let live: Vec<_> = facts.queues.iter().filter(|queue| queue.address == listen.address).collect();
        Listening {
            address: listen.address.clone(),
            backlog: listen.backlog,
            ceiling: live.iter().map(|queue| u64::from(queue.ceiling)).min(),
            sockets: (live.len() as u64).max(1),
            place: listen.place.clone(),
        }
    };
    config.listens.iter().map(listen).collect()
}

/// Requests passed to where this server itself listens.
fn loops(config: &Config) -> Vec<(String, capacity::Place)> {
    // Where several servers share the address, another of them may answer, and the way ends there.
    let alone =
        |address: &str| config.listens.iter().any(|listen| listen.address == address && listen.servers == 1);
    let back = |pass: &&crate::probe::config::Pass| {
        let own = || pass.listens.iter().filter(|listen| alone(listen));
        config.addresses(&pass.to).iter().any(|to| own().any(|listen| is_reached(listen, to)))
    };
    let passes = config.passes.iter().filter(|pass| !pass.elsewhere).filter(back);
    passes.map(|pass| (pass.to.clone(), pass.place.clone())).collect()
}

/// Whether who connects to `to` meets who listens to `listen`.
pub(super) fn is_reached(listen: &str, to: &str) -> bool {
    if listen == to {
        return true;
    }
    let (Ok(listen), Ok(to)) = (listen.parse::<std::net::SocketAddr>(), to.parse::<std::net::SocketAddr>())
    else {
        return false;
    };
    listen.port() == to.port() && listen.ip().is_unspecified() && to.ip().is_loopback()
}

fn mix(facts: &Facts, config: &Config) -> Mix {
    match &facts.access {
        Some(access) if access.requests > 0 && !access.upstreams.is_empty() => {
            let proxied = access.proxied as f64;
            Mix { proxied, files: access.requests as f64 - proxied, answered: 0.0, idle: 0.0 }
        }
        _ if config.passes.is_empty() && !config.passes_anywhere => Mix::FILES,
        _ => Mix::PROXIED,
    }
}
