//! The arithmetic: traffic at its peak to settings that fit.

use capacity::{Mix, Need};

/// Traffic at its peak.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests served at once.
    pub at_once: f64,
    /// The part of them that is passed on, 0 to 1.
    pub proxied: f64,
    /// Idle keep-alive clients.
    pub idle: f64,
    /// How many times that must fit.
    pub headroom: f64,
    /// Worker processes.
    pub workers: f64,
    /// Listening sockets.
    pub listens: f64,
}

/// Settings that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Slots for traffic, of all workers.
    pub slots: u64,
    /// `worker_connections`
    pub connections: u64,
    /// `worker_rlimit_nofile`
    pub descriptors: u64,
    /// `LimitNOFILE=`
    pub limit: u64,
    /// `backlog=` and net.core.somaxconn
    pub backlog: u64,
    /// `keepalive` of the upstream group, of each worker
    pub keepalive: u64,
    /// Bytes of memory, with the buffers of every request filled
    pub memory: u64,
}

/// Files that a process holds whatever the traffic: logs, epoll, the configuration while it is read.
pub(super) const HELD: f64 = 32.0;

/// The arithmetic, apart from where the figures come from.
pub fn size(load: &Load) -> Size {
    let files = 1.0 - load.proxied;
    let mix = Mix { proxied: load.proxied, files, answered: 0.0, idle: 0.0 };
    let slots = (load.at_once * mix.average(|need: Need| need.slots) + load.idle) * load.headroom;
    let each = slots / load.workers.max(1.0);
    let connections = round(each + load.listens + 1.0);
    // Every slot is a descriptor; a file beside it is one more.
    let open = connections as f64
        + load.at_once * files * load.headroom / load.workers.max(1.0)
        + load.listens
        + HELD;
    let descriptors = round(open);
    Size {
        slots: slots.ceil() as u64,
        connections,
        descriptors,
        limit: descriptors.saturating_mul(2),
        backlog: round((load.at_once * load.headroom).max(511.0)),
        keepalive: keepalive(load),
        memory: memory(load),
    }
}

/// Idle upstream connections that a worker keeps: as many as it uses at the peak, within bounds that people recognise.
fn keepalive(load: &Load) -> u64 {
    let each = load.at_once * load.proxied / load.workers.max(1.0);
    if each < 1.0 { 0 } else { (each.min(1024.0).ceil() as u64).next_power_of_two().max(16) }
}

/// A connection costs a little, a request its buffers, a worker itself.
fn memory(load: &Load) -> u64 {
    const IDLE: f64 = 1024.0;
    const REQUEST: f64 = 64.0 * 1024.0;
    const WORKER: f64 = 8.0 * 1024.0 * 1024.0;
    ((load.at_once * REQUEST + load.idle * IDLE) * load.headroom + load.workers * WORKER) as u64
}

/// The next power of two, or three quarters of it: figures that people recognise.
fn round(n: f64) -> u64 {
    let n = n.clamp(512.0, 1e15).ceil() as u64;
    let power = n.next_power_of_two();
    if power / 4 * 3 >= n { power / 4 * 3 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_working() {
        let load =
            Load { at_once: 412.0, proxied: 1.0, idle: 280.0, headroom: 1.5, workers: 2.0, listens: 2.0 };
        let size = size(&load);
        assert_eq!((size.slots, size.connections, size.descriptors), (1656, 1024, 1536));
        assert_eq!((size.limit, size.backlog, size.keepalive), (3072, 768, 256));
        assert!(size.memory > 50 << 20 && size.memory < 100 << 20, "{}", size.memory);
    }

    proptest! {
        #[test]
        fn what_is_asked_for_fits(at_once in 0.0f64..1e6, proxied in 0.0f64..1.0, idle in 0.0f64..1e5, workers in 1.0f64..64.0) {
            let load = Load { at_once, proxied, idle, headroom: 2.0, workers: workers.floor(), listens: 2.0 };
            let size = size(&load);
            let usable = (size.connections - 3) as f64 * load.workers;
            prop_assert!(usable + 1.0 >= at_once * (1.0 + proxied) + idle);
            prop_assert!(size.descriptors > size.connections && size.limit > size.descriptors);
        }
    }
}
