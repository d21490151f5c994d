//! The report for Prometheus: names that dashboards for nginx's exporter and for Plimsoll itself know.

use capacity::exposition::{Type, Writer};

use crate::diagnose::Diagnosis;
use crate::facts::{Facts, Status};
use crate::logs::cause::Cause;

/// All metrics of one look.
pub fn metrics(facts: &Facts, diagnosis: &Diagnosis) -> String {
    let mut w = Writer::new(false);
    let up = u8::from(facts.running.is_some());
    w.single("nginx_up", Type::Gauge, "The server runs.", up);
    if let Some(status) = &facts.status {
        stub_status(&mut w, status);
    }
    let chain = &diagnosis.chain;
    // Sockets that share an address (reuseport) are one series: that of the fullest.
    let mut links: Vec<_> = chain.links.iter().collect();
    links.sort_by(|a, b| (a.kind, &a.of).cmp(&(b.kind, &b.of)).then_with(|| b.used.cmp(&a.used)));
    links.dedup_by_key(|link| (link.kind, &link.of));
    let binding = chain.binding().map(|binding| (binding.link.kind, binding.link.of.as_str()));
    w.links(&links, binding, chain.headroom());
    queues(&mut w, facts);
    workers(&mut w, facts);
    kernel(&mut w, facts);
    log_events(&mut w, facts);
    let help = "1 for what is wrong now, or was in error logs in the last five minutes.";
    w.family("plimsoll_finding", Type::Gauge, help);
    let mut codes: Vec<_> =
        diagnosis.findings.iter().map(|found| (found.code.as_str(), found.severity.name())).collect();
    codes.sort_unstable();
    codes.dedup_by_key(|(code, _)| *code);
    for (code, severity) in codes {
        w.sample("plimsoll_finding", &[("code", code), ("severity", &severity.to_lowercase())], 1);
    }
    let help = "What could not be read, for want of a right or of a file.";
    w.single("plimsoll_unread", Type::Gauge, help, facts.unread.len());
    w.finish()
}

fn stub_status(w: &mut Writer, status: &Status) {
    let gauges = [
        ("nginx_connections_active", status.active),
        ("nginx_connections_reading", status.reading),
        ("nginx_connections_waiting", status.waiting),
        ("nginx_connections_writing", status.writing),
    ];
    gauges.iter().for_each(|(name, value)| w.single(name, Type::Gauge, "As stub_status has it.", value));
    let old = [("nginx_connections_accepted", status.accepts), ("nginx_connections_handled", status.handled)];
    old.iter().for_each(|(name, value)| w.single(name, Type::OldCounter, "As stub_status has it.", value));
    w.single("nginx_http_requests_total", Type::Counter, "Requests.", status.requests);
}

fn queues(w: &mut Writer, facts: &Facts) {
    w.family("plimsoll_listen_queue", Type::Gauge, "Connections that wait to be accepted.");
    for queue in &facts.queues {
        w.sample(
            "plimsoll_listen_queue",
            &[("listen", &queue.address), ("inode", &queue.inode.to_string())],
            queue.waiting,
        );
    }
    w.family("plimsoll_listen_dropped_total", Type::Counter, "Connections that found the accept queue full.");
    for queue in &facts.queues {
        let labels = [("listen", queue.address.as_str()), ("inode", &queue.inode.to_string())];
        w.sample(
            "plimsoll_listen_dropped_total",
            &labels,
            u64::from(queue.drops) + u64::from(queue.drops_grown),
        );
    }
    w.family("plimsoll_upstream_connections", Type::Gauge, "Connections towards an upstream, by state.");
    for upstream in &facts.upstreams {
        let states = [
            ("open", upstream.towards.open),
            ("connecting", upstream.towards.connecting),
            ("time_wait", upstream.towards.time_wait),
        ];
        for (state, count) in states {
            w.sample(
                "plimsoll_upstream_connections",
                &[("peer", &upstream.address), ("state", state)],
                count,
            );
        }
    }
}

fn workers(w: &mut Writer, facts: &Facts) {
    let Some(running) = &facts.running else { return };
    w.family("plimsoll_worker_cpu_seconds_total", Type::Counter, "Processor time of a worker.");
    for worker in &running.workers {
        let Some(cpu) = worker.cpu else { continue };
        w.sample("plimsoll_worker_cpu_seconds_total", &[("pid", &worker.pid.to_string())], cpu);
    }
    w.family(
        "plimsoll_worker_connections",
        Type::Gauge,
        "Connections of a worker, by who is at the other end.",
    );
    for worker in &running.workers {
        let pid = worker.pid.to_string();
        for (of, count) in [("client", worker.held.clients), ("upstream", worker.held.upstreams)] {
            w.sample("plimsoll_worker_connections", &[("pid", &pid), ("of", of)], count);
        }
    }
    let help = "Workers of earlier configurations.";
    w.single("plimsoll_old_workers", Type::Gauge, help, running.leaving);
}

fn kernel(w: &mut Writer, facts: &Facts) {
    if let Some(counters) = &facts.counters {
        let help = "Connections lost to any full accept queue of the machine.";
        w.single("plimsoll_tcp_listen_overflows_total", Type::Counter, help, counters.total.listen_overflows);
    }
    if let Some(found) = &facts.throttled {
        let help = "Periods in which the quota of processor time was used up.";
        w.single("plimsoll_cpu_throttled_periods_total", Type::Counter, help, found.throttled);
        let help = "Periods of the quota of processor time.";
        w.single("plimsoll_cpu_periods_total", Type::Counter, help, found.periods);
    }
}

fn log_events(w: &mut Writer, facts: &Facts) {
    w.family("plimsoll_log_events_total", Type::Counter, "Lines of error logs, by cause.");
    for cause in Cause::ALL {
        let found = facts.events.events.iter().find(|event| event.cause == cause);
        w.sample(
            "plimsoll_log_events_total",
            &[("cause", cause.key())],
            found.map_or(0, |event| event.count),
        );
    }
}
