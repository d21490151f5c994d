//! What to change when a link binds, and what everybody tries that does not help.

use crate::draw;
use crate::finding::{Change, Effect};
use crate::link::{Kind, Link};
use crate::setup::{Server, Setup};

/// What raises the ceiling of a link, the best first.
pub fn raise(link: &Link, setup: &Setup) -> Vec<Change> {
    match link.kind {
        Kind::AcceptQueue => accept_queue(link, setup),
        Kind::Slots => slots(setup),
        Kind::Descriptors => descriptors(setup),
        Kind::EventLoop => event_loop(setup),
        Kind::UpstreamQueue => upstream_queue(link),
        Kind::Ports => ports(setup),
        Kind::Memory => vec![memory(link, setup)],
    }
}

fn main_context(setup: &Setup) -> String {
    match setup.conf.as_str() {
        "" => "main context".to_owned(),
        conf => format!("main context of {conf}"),
    }
}

/// The drop-in that changes a service's limits.
fn unit(setup: &Setup) -> String {
    let service = if setup.service.is_empty() { "the service" } else { setup.service.as_str() };
    format!("[Service] of {service}")
}

fn accept_queue(link: &Link, setup: &Setup) -> Vec<Change> {
    let wanted = round(link.ceiling.unwrap_or(0).saturating_mul(2).max(1024));
    let mut changes = Vec::new();
    if setup.somaxconn.is_some_and(|most| most < wanted) {
        let place = "/etc/sysctl.d/60-somaxconn.conf";
        let change = Change::new(format!("net.core.somaxconn = {wanted}"), place, Effect::Restart);
        changes.push(change.note(format!("of a container: --sysctl net.core.somaxconn={wanted}")));
    }
    let setting = format!("listen {} backlog={wanted};", link.of);
    changes.push(Change::new(setting, "server context", Effect::Reload));
    changes
}

fn slots(setup: &Setup) -> Vec<Change> {
    let wanted = round(setup.connections.saturating_mul(2));
    let place = match setup.conf.as_str() {
        "" => "events context".to_owned(),
        conf => format!("events context of {conf}"),
    };
    let change = Change::new(format!("worker_connections {wanted};"), place, Effect::Reload);
    let Some(most) = most_connections(setup) else { return vec![change] };
    let mut changes = vec![change.note(format!("descriptors allow worker_connections {most}"))];
    if most < wanted {
        let each = round(wanted.saturating_add(setup.fixed_descriptors()).saturating_add(1));
        if !hard_allows(setup, each) {
            changes.push(Change::new(format!("LimitNOFILE={each}"), unit(setup), Effect::Restart));
        }
        let own = Change::new(format!("worker_rlimit_nofile {each};"), main_context(setup), Effect::Reload);
        changes.push(own.note("so that there are descriptors for them"));
    }
    changes
}

/// The most `worker_connections` that the limit of descriptors has room for; `None`: unlimited.
pub fn most_connections(setup: &Setup) -> Option<u64> {
    let each = setup.descriptors_each()?.saturating_sub(setup.fixed_descriptors());
    let each = match setup.server {
        Server::Nginx => each,
        Server::Plimsoll => each / setup.workers.max(1),
    };
    Some(each)
}

/// Whether the server may have so many descriptors without another limit from its service.
fn hard_allows(setup: &Setup, descriptors: u64) -> bool {
    setup.privileged || setup.hard.is_none_or(|hard| hard >= descriptors)
}

fn descriptors(setup: &Setup) -> Vec<Change> {
    // More than what is just enough: a file or two are open besides.
    let least = setup.needed_descriptors().max(setup.descriptors_each().unwrap_or(0));
    let process = round(least.saturating_add(least / 16).saturating_add(1));
    let each = match setup.server {
        Server::Nginx => process,
        Server::Plimsoll => round(process.div_ceil(setup.workers.max(1))),
    };
    let total = match setup.server {
        Server::Nginx => each,
        Server::Plimsoll => each.saturating_mul(setup.workers.max(1)),
    };
    let hard_allows = hard_allows(setup, total);
    let own = Change::new(format!("worker_rlimit_nofile {each};"), main_context(setup), Effect::Reload);
    let limit = Change::new(format!("LimitNOFILE={total}"), unit(setup), Effect::Restart);
    let mut changes = Vec::new();
    if setup.nr_open.is_some_and(|most| most < total) {
        changes.push(Change::new(
            format!("fs.nr_open = {total}"),
            "/etc/sysctl.d/60-files.conf",
            Effect::Restart,
        ));
    }
    if setup.file_max.is_some_and(|most| most < total) {
        changes.push(Change::new(
            format!("fs.file-max = {total}"),
            "/etc/sysctl.d/60-files.conf",
            Effect::AtOnce,
        ));
    }
    if !hard_allows {
        changes.push(limit);
    }
    // Without a setting of its own, Plimsoll takes what the hard limit gives.
    let written = setup.rlimit_nofile.is_some_and(|written| written >= each);
    if !written && (setup.server == Server::Nginx || setup.rlimit_nofile.is_some() || hard_allows) {
        changes.push(own);
    }
    changes
}

fn event_loop(setup: &Setup) -> Vec<Change> {
    let usable = setup.quota.map_or(setup.online, |quota| quota.ceil() as u64).max(1);
    if setup.workers < usable {
        return vec![Change::new("worker_processes auto;", main_context(setup), Effect::Reload)];
    }
    match setup.quota {
        Some(quota) if quota < setup.online as f64 => {
            let percent = (quota * 200.0).min(setup.online as f64 * 100.0);
            vec![Change::new(format!("CPUQuota={percent:.0}%"), unit(setup), Effect::AtOnce)]
        }
        _ => vec![Change::new("more cores, or less work for each request", "the machine", Effect::Restart)],
    }
}

fn upstream_queue(link: &Link) -> Vec<Change> {
    let wanted = round(link.ceiling.unwrap_or(0).saturating_mul(2).max(1024));
    let application = match link.of.as_str() {
        "" => "the application".to_owned(),
        of => format!("the application at {of}"),
    };
    vec![
        Change::new("more workers", application.clone(), Effect::RestartUpstream)
            .note("more work done: the real fix"),
        Change::new(
            format!("a backlog of {wanted} and net.core.somaxconn = {wanted}"),
            application,
            Effect::RestartUpstream,
        )
        .note("a longer queue only waits longer"),
    ]
}

fn memory(link: &Link, setup: &Setup) -> Change {
    let wanted = link.ceiling.map_or("infinity".to_owned(), |bytes| format!("{}M", (bytes >> 19).max(1)));
    Change::new(format!("MemoryMax={wanted}"), unit(setup), Effect::Restart)
        .note("where that is the limit; or more memory")
}

fn ports(setup: &Setup) -> Vec<Change> {
    let mut changes = vec![
        Change::new("keepalive 64;", "upstream context", Effect::Reload).note("connections are used again"),
    ];
    if setup.server == Server::Nginx {
        changes.push(
            Change::new(
                "proxy_http_version 1.1; proxy_set_header Connection \"\";",
                "the location that passes there",
                Effect::Reload,
            )
            .note("without it nginx before 1.29.7 closes each"),
        );
    }
    changes.extend([
        Change::new(
            "net.ipv4.ip_local_port_range = 10240 65535",
            "/etc/sysctl.d/60-ports.conf",
            Effect::AtOnce,
        ),
        Change::new("one more address of the upstream", "upstream context", Effect::Reload),
    ]);
    changes
}

/// What does not help when a link binds.
pub fn not_this(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::AcceptQueue => &[
            "sysctl net.core.somaxconn and a reload: the live queue keeps its length until the socket is listened on anew",
            "multi_accept: it changes how connections are accepted, not how many fit",
        ],
        Kind::Slots => &[
            "multi_accept: it changes how connections are accepted, not how many fit",
            "worker_connections beyond the limit of descriptors: the error only changes its name to (24)",
            "a shorter keepalive_timeout alone: trades slots for handshakes and TIME_WAIT",
        ],
        Kind::Descriptors => &[
            "/etc/security/limits.conf: not applied to a systemd service; LimitNOFILE= is",
            "more worker_connections: the error only changes its name",
        ],
        Kind::EventLoop => &["more worker_connections: more clients wait for the same processors"],
        Kind::UpstreamQueue => &[
            "more worker_connections: they only hold more waiting clients",
            "more worker processes: all of them push at the same queue",
            "multi_accept",
            "chmod of the socket: that would be errno 13",
            "a shorter keepalive_timeout",
        ],
        Kind::Ports => &["a shorter keepalive_timeout: more connections, and more ports in TIME_WAIT"],
        Kind::Memory => &["more worker_connections: each costs memory"],
    }
}

/// The next power of two: settings that people recognise.
fn round(n: u64) -> u64 {
    n.checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// Why a link has the ceiling it has, and what is in it, for a table: `1024 (hard limit 1024)`.
pub fn ceiling_words(link: &Link) -> String {
    match (link.kind, link.ceiling) {
        (Kind::Memory, Some(bytes)) => draw::bytes(bytes),
        (Kind::EventLoop, Some(thousandths)) => format!("{} cores", thousandths as f64 / 1000.0),
        (_, ceiling) => draw::limit(ceiling),
    }
}
