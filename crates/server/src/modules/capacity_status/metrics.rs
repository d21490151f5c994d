//! The chain as metrics: the names that dashboards for nginx's exporter know, and ours for each link.

use std::fmt::{Display, Write as _};

use crate::chain::Reading;

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Gauge,
    Counter,
    /// A counter whose name OpenMetrics would refuse: nginx's exporter leaves `_total` out.
    OldCounter,
}

struct Writer {
    text: String,
    open: bool,
}

impl Writer {
    fn family(&mut self, name: &str, kind: Type, help: &str) {
        let (shown, kind) = match (kind, self.open) {
            (Type::Counter, true) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Type::OldCounter, true) => (name, "unknown"),
            (Type::Gauge, _) => (name, "gauge"),
            (_, false) => (name, "counter"),
        };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP {shown} {help}\n# TYPE {shown} {kind}\n");
    }
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
    fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All metrics of one reading.
pub fn metrics(reading: &Reading, open: bool) -> String {
    let mut w = Writer { text: String::new(), open };
    nginx(&mut w, reading);
    links(&mut w, reading);
    doors(&mut w, reading);
    loops(&mut w, reading);
    upstreams(&mut w, reading);
    w.family("plimsoll_refused_total", Type::Counter, "Connections and requests refused, by cause.");
    for refusal in &reading.refusals {
        let labels = [("link", refusal.link.key()), ("cause", refusal.cause)];
        w.sample("plimsoll_refused_total", &labels, refusal.count);
    }
    if open {
        w.text += "# EOF\n";
    }
    w.text
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
}

fn links(w: &mut Writer, reading: &Reading) {
    if let Some(headroom) = reading.headroom {
        w.single("plimsoll_headroom_ratio", Type::Gauge, "How many times the present load fits.", headroom);
    }
    let of = |shown: &crate::chain::Shown| [shown.link.kind.key().to_owned(), shown.link.of.clone()];
    let mut family = |name: &str, kind, help: &str, value: &dyn Fn(&crate::chain::Shown) -> Option<f64>| {
        w.family(name, kind, help);
        for shown in &reading.links {
            let [link, of] = of(shown);
            if let Some(value) = value(shown) {
                w.sample(name, &[("link", &link), ("of", &of)], value);
            }
        }
    };
    family("plimsoll_link_used", Type::Gauge, "What is taken of a link.", &|s| Some(s.link.used as f64));
    family("plimsoll_link_peak", Type::Gauge, "The most that was taken.", &|s| Some(s.link.peak as f64));
    family("plimsoll_link_ceiling", Type::Gauge, "What fits.", &|s| s.link.ceiling.map(|c| c as f64));
    family("plimsoll_link_refused_total", Type::Counter, "Who found no place.", &|s| {
        Some(s.link.refused as f64)
    });
    let binds = |s: &crate::chain::Shown| {
        let binds = reading.binding.as_ref().is_some_and(|b| b.kind == s.link.kind && b.of == s.link.of);
        Some(f64::from(u8::from(binds)))
    };
    family("plimsoll_link_binding", Type::Gauge, "1 for the link that binds.", &binds);
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
}
