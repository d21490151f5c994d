//! The chain as it is used now.

use capacity::{Chain, Kind, Link, Setup};

use crate::facts::{Facts, Worker};

/// The links that are known, with what is taken of them.
pub(super) fn chain(facts: &Facts, setup: Option<&Setup>) -> Chain {
    let mut links = Vec::new();
    for queue in &facts.queues {
        let link = Link::new(Kind::AcceptQueue, Some(u64::from(queue.ceiling)), "the listening socket");
        links.push(link.of(queue.address.clone()).used(u64::from(queue.waiting)));
    }
    let configured = setup.map(Setup::chain).unwrap_or_default();
    let others = configured.links.into_iter().filter(|link| match link.kind {
        // Live ones say more.
        Kind::AcceptQueue => facts.queues.is_empty(),
        // What is not bounded, or what this machine would give another one's configuration, is no news.
        Kind::Ports => false,
        // A count that nobody could take is not none.
        Kind::Descriptors if unseen(facts) => false,
        Kind::Slots if unseen(facts) => facts.status.is_some(),
        _ => facts.running.is_some() || link.kind == Kind::Slots,
    });
    links.extend(others.map(|link| remembered(used(link, facts), facts)));
    links.extend(facts.upstreams.iter().filter_map(|upstream| {
        let queue = upstream.queue.as_ref()?;
        let link = Link::new(Kind::UpstreamQueue, Some(u64::from(queue.ceiling)), "its listen()");
        Some(link.of(upstream.address.clone()).used(u64::from(queue.waiting)))
    }));
    links.extend(facts.upstreams.iter().filter_map(|upstream| {
        let towards = &upstream.towards;
        let used = sum([towards.open, towards.connecting, towards.time_wait]);
        let ports =
            facts.kernel.local_ports().filter(|_| !upstream.address.starts_with("unix:") && used > 0)?;
        let link = Link::new(Kind::Ports, Some(ports), "net.ipv4.ip_local_port_range");
        Some(link.of(upstream.address.clone()).used(used))
    }));
    Chain::new(links, setup.map(|setup| setup.mix).unwrap_or_default()).sorted()
}

/// Whether there was no right to see what the workers hold.
fn unseen(facts: &Facts) -> bool {
    let workers = facts.running.as_ref().map(|running| &running.workers);
    workers.is_some_and(|workers| !workers.is_empty() && workers.iter().all(|worker| worker.open.is_none()))
}

/// With the most that was ever taken, where the server itself remembers that.
fn remembered(link: Link, facts: &Facts) -> Link {
    let own = facts.own.iter().find(|own| own.kind == link.kind && own.of == link.of);
    match own {
        Some(own) => Link { refused: own.refused, ..link }.peak(own.peak),
        None => link,
    }
}

fn used(link: Link, facts: &Facts) -> Link {
    let Some(running) = &facts.running else { return link };
    let sum = |of: &dyn Fn(&Worker) -> u64| sum(running.workers.iter().map(of));
    match link.kind {
        // Without the right to see the sockets, the server's own count of clients is better than nothing.
        Kind::Slots => {
            let seen = sum(&slots_of);
            link.used(seen.max(facts.status.map_or(0, |status| status.active)))
        }
        Kind::Descriptors => {
            let limits = running.workers.iter().map(|worker| worker.limit.soft);
            let ceiling =
                limits.collect::<Option<Vec<u64>>>().map(self::sum).filter(|sum| *sum > 0).or(link.ceiling);
            let open = sum(&|worker| worker.open.map_or(0, |open| open.all));
            // A client may have a file besides; what is left belongs to nobody.
            let passing = sum(&|worker| slots_of(worker).saturating_add(worker.held.clients));
            let fixed = link.fixed.max(open.saturating_sub(passing));
            Link { ceiling, fixed, ..link }.used(open)
        }
        Kind::EventLoop => link.used(sum(&|worker| (worker.busy.unwrap_or(0.0) * 1000.0) as u64)),
        // How it grows with the load is not known: what is used now counts as spent, as the server itself counts it.
        Kind::Memory => link.fixed(running.resident).used(running.resident),
        _ => link,
    }
}

/// Connections that take a slot of this worker, beside its listening sockets and the channel.
pub(super) fn slots_of(worker: &Worker) -> u64 {
    worker.held.clients.saturating_add(worker.held.upstreams)
}

/// What was saved, or made up, may be more than can be.
pub(super) fn sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}
