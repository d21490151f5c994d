//! The chain as metrics: the names that dashboards for nginx's exporter know, and ours for each link.

use capacity::Link;
use capacity::exposition::{Type, Writer};

use crate::chain::Reading;

/// All metrics of one reading.
pub fn metrics(reading: &Reading, open: bool) -> String {
    let mut w = Writer::new(open);
    nginx(&mut w, reading);
    descriptors(&mut w, reading);
    links(&mut w, reading);
    doors(&mut w, reading);
    loops(&mut w, reading);
    upstreams(&mut w, reading);
    w.family("plimsoll_refused_total", Type::Counter, "Connections and requests refused, by cause.");
    for refusal in &reading.refusals {
        let labels = [("link", refusal.link.key()), ("cause", refusal.cause)];
        w.sample("plimsoll_refused_total", &labels, refusal.count);
    }
    w.finish()
}

fn nginx(w: &mut Writer, reading: &Reading) {
    let seats = &reading.seats;
    let active = seats.reading + seats.writing + seats.waiting;
    w.single("nginx_up", Type::Gauge, "The server answers.", 1);
    w.single(
        "nginx_connections_accepted",
        Type::OldCounter,
        "Accepted client connections.",
        reading.accepted,
    );
    w.single("nginx_connections_active", Type::Gauge, "Active client connections.", active);
    w.single("nginx_connections_handled", Type::OldCounter, "Handled client connections.", reading.handled);
    w.single("nginx_connections_reading", Type::Gauge, "Requests being read.", seats.reading);
    w.single("nginx_connections_waiting", Type::Gauge, "Idle client connections.", seats.waiting);
    w.single("nginx_connections_writing", Type::Gauge, "Requests being answered.", seats.writing);
    w.single("nginx_http_requests_total", Type::Counter, "Requests.", reading.served);
    w.family("plimsoll_slots", Type::Gauge, "Connection slots, by what holds them.");
    let kinds = [
        ("reading", seats.reading),
        ("writing", seats.writing),
        ("waiting", seats.waiting),
        ("upstream", seats.upstream),
        ("upstream_idle", seats.upstream_idle),
    ];
    kinds.iter().for_each(|(kind, count)| w.sample("plimsoll_slots", &[("kind", kind)], count));
    let help = "Clients of listening sockets with a reserve of their own: beside the slots.";
    w.single("plimsoll_reserve_used", Type::Gauge, help, seats.reserve);
    w.single("plimsoll_reserve_ceiling", Type::Gauge, "How many of those there may be.", seats.reserve_total);
}

fn descriptors(w: &mut Writer, reading: &Reading) {
    let d = &reading.descriptors;
    w.family("plimsoll_descriptors", Type::Gauge, "Open descriptors, by what they are for.");
    let kinds = [
        ("clients", d.clients),
        ("waiting", d.waiting),
        ("upstreams", d.upstreams),
        ("listeners", d.listeners),
        ("files", d.files),
        ("temporary", d.temporary),
        ("cached", d.cached),
        ("logs", d.logs),
        ("loops", d.loops),
        ("others", d.others),
    ];
    kinds.iter().for_each(|(kind, count)| w.sample("plimsoll_descriptors", &[("kind", kind)], count));
}

fn links(w: &mut Writer, reading: &Reading) {
    let binding = reading.binding.as_ref().map(|binding| (binding.kind, binding.of.as_str()));
    let links: Vec<&Link> = reading.links.iter().map(|shown| &shown.link).collect();
    w.links(&links, binding, reading.headroom);
}

fn doors(w: &mut Writer, reading: &Reading) {
    w.family("plimsoll_listen_queue", Type::Gauge, "Connections that wait to be accepted.");
    for door in &reading.listeners {
        w.sample("plimsoll_listen_queue", &[("listen", &door.address)], door.waiting);
    }
    w.family("plimsoll_listen_queue_ceiling", Type::Gauge, "How many may wait.");
    for door in &reading.listeners {
        let Some(ceiling) = door.ceiling else { continue };
        w.sample("plimsoll_listen_queue_ceiling", &[("listen", &door.address)], ceiling);
    }
    w.family("plimsoll_listen_dropped_total", Type::Counter, "Connections that found the accept queue full.");
    for door in &reading.listeners {
        w.sample("plimsoll_listen_dropped_total", &[("listen", &door.address)], door.dropped);
    }
    let help = "TcpExt ListenOverflows: who found an accept queue full, any of this machine.";
    w.single("plimsoll_kernel_listen_overflows_total", Type::Counter, help, reading.kernel.listen_overflows);
    let help = "TcpExt ListenDrops: the same, and what was dropped for other reasons.";
    w.single("plimsoll_kernel_listen_drops_total", Type::Counter, help, reading.kernel.listen_drops);
}

fn loops(w: &mut Writer, reading: &Reading) {
    w.family("plimsoll_loop_busy_ratio", Type::Gauge, "Part of the last second that a thread was at work.");
    for (i, state) in reading.threads.iter().enumerate() {
        let busy = state.busy as f64 / 1000.0;
        w.sample("plimsoll_loop_busy_ratio", &[("thread", &i.to_string())], busy);
    }
    w.family(
        "plimsoll_loop_lag_seconds",
        Type::Gauge,
        "The longest turn of a thread's loop in the last second.",
    );
    for (i, state) in reading.threads.iter().enumerate() {
        let lag = state.lag as f64 / 1e6;
        w.sample("plimsoll_loop_lag_seconds", &[("thread", &i.to_string())], lag);
    }
}

fn upstreams(w: &mut Writer, reading: &Reading) {
    let all = || reading.upstreams.iter().flat_map(|u| u.peers.iter().map(move |peer| (u, peer)));
    w.family("plimsoll_upstream_connections", Type::Gauge, "Requests under way at a server.");
    for (upstream, peer) in all() {
        let labels = [("upstream", upstream.name.as_str()), ("peer", peer.name.as_str())];
        w.sample("plimsoll_upstream_connections", &labels, peer.connections);
    }
    w.family("plimsoll_upstream_fails", Type::Gauge, "Failures of a server that count against it.");
    for (upstream, peer) in all() {
        let labels = [("upstream", upstream.name.as_str()), ("peer", peer.name.as_str())];
        w.sample("plimsoll_upstream_fails", &labels, peer.fails);
    }
    w.family(
        "plimsoll_upstream_latency_seconds",
        Type::Gauge,
        "How long a server took for the head of its answers in the last minutes; so many per cent took no longer.",
    );
    for (upstream, peer) in all() {
        let Some(latency) = peer.latency else { continue };
        for (percentile, millis) in [("50", latency.p50), ("90", latency.p90), ("99", latency.p99)] {
            let labels = [
                ("upstream", upstream.name.as_str()),
                ("peer", peer.name.as_str()),
                ("percentile", percentile),
            ];
            w.sample("plimsoll_upstream_latency_seconds", &labels, millis / 1000.0);
        }
    }
}
