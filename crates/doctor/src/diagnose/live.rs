//! What can be seen of a running server.

use capacity::{
    Chain, Change, Confidence, Effect, FULL, Finding, Kind, Link, NEARLY_FULL, Setup, Severity, not_this,
    raise,
};

use super::chain::{slots_of, sum};
use super::{application, processors};
use machine::sockets::Queue;

use crate::facts::{Facts, Running};
use crate::probe::config::Config;

/// An event loop that is busier than this makes everybody wait.
const BUSY: f64 = 0.9;

/// All of them.
pub(super) fn findings(facts: &Facts, chain: &Chain, setup: Option<&Setup>) -> Vec<Finding> {
    let mut all: Vec<Finding> = chain.links.iter().filter_map(|link| full(link, facts, setup)).collect();
    all.extend(facts.queues.iter().filter_map(|queue| dropped(queue, facts, setup)));
    all.extend(machine_overflows(facts));
    all.extend(processors::findings(facts, setup));
    let grown = facts.own_grown.iter().copied().chain(std::iter::repeat(0));
    all.extend(facts.own.iter().zip(grown).filter_map(|(link, grown)| refused(link, grown, facts, setup)));
    all.extend(facts.queues.iter().filter_map(|queue| shorter(queue, facts, setup)));
    if let (Some(running), Some(config)) = (&facts.running, &facts.config) {
        all.extend(limit_not_landed(running, config, facts.kernel.nr_open));
        all.extend(full_worker(running, setup));
        all.extend(held_by_idle(facts, setup));
    }
    if let Some(running) = &facts.running {
        all.extend(killed(facts));
        all.extend(unit_not_applied(running, facts.kernel.nr_open));
        all.extend(leaving(running));
    }
    all
}

/// The code of a finding about a link that is full, or nearly.
pub(super) fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::AcceptQueue => "accept_queue_full",
        Kind::Slots => "slots_full",
        Kind::Descriptors => "descriptors_full",
        Kind::EventLoop => "event_loop_busy",
        Kind::UpstreamQueue => "upstream_queue_full",
        Kind::Ports => "ports_exhausted",
        Kind::Memory => "memory_full",
    }
}

/// A link that has little or no room left.
fn full(link: &Link, facts: &Facts, setup: Option<&Setup>) -> Option<Finding> {
    let fullness = link.fullness();
    let limit = if link.kind == Kind::EventLoop { BUSY } else { FULL };
    let severity = match () {
        () if fullness >= limit => Severity::Critical,
        () if fullness >= NEARLY_FULL => Severity::Warning,
        () => return None,
    };
    let ceiling = capacity::ceiling_words(link);
    let finding = Finding::new(severity, code(link.kind), Some(link.kind), title(link, severity))
        .seen(format!("live: {} of {ceiling} ({})", used_words(link), link.set_by))
        .means(means(link.kind, facts));
    let mut finding = advised(finding, Some(link), setup);
    if link.kind == Kind::UpstreamQueue {
        finding.changes = application::changes(&link.of, facts);
        finding.evidence.extend(application::seen(&link.of, facts));
    }
    Some(finding)
}

/// What Plimsoll itself remembers: somebody found no place. Where that was long ago, there may be room now.
fn refused(link: &Link, grown: u64, facts: &Facts, setup: Option<&Setup>) -> Option<Finding> {
    if link.refused == 0 {
        return None;
    }
    let (severity, when) = match grown {
        0 => (Severity::Warning, "none of them while looking".to_owned()),
        grown => (Severity::Critical, format!("{grown} of them while looking")),
    };
    let title = format!("The server had to refuse or to keep waiting: {} had no room", link.name());
    let finding = Finding::new(severity, code(link.kind), Some(link.kind), title).seen(format!(
        "capacity_status: {} found no place since it started, {when}; at most {} of {} taken",
        link.refused,
        link.peak,
        capacity::ceiling_words(link)
    ));
    let finding = finding.means(means(link.kind, facts));
    Some(advised(finding, Some(link), setup))
}

fn title(link: &Link, severity: Severity) -> String {
    let nearly = if severity == Severity::Critical { "" } else { "nearly " };
    let of = &link.of;
    match link.kind {
        Kind::AcceptQueue => format!("The accept queue of {of} is {nearly}full"),
        Kind::Slots => format!("Connection slots are {nearly}used up"),
        Kind::Descriptors => format!("The workers' descriptors are {nearly}used up"),
        Kind::EventLoop => {
            format!("The event loops have {nearly}no time left: {:.0}% busy", link.fullness() * 100.0)
        }
        Kind::UpstreamQueue => format!("The application's accept queue is {nearly}full: {of}"),
        Kind::Ports => format!("Local ports towards {of} are {nearly}used up"),
        Kind::Memory => format!("Memory is {nearly}used up"),
    }
}

fn used_words(link: &Link) -> String {
    match link.kind {
        Kind::EventLoop => format!("{:.2}", link.used as f64 / 1000.0),
        Kind::Memory => capacity::draw::bytes(link.used),
        _ => link.used.to_string(),
    }
}

/// Adds what raises the link, and what does not.
pub(super) fn advised(mut finding: Finding, link: Option<&Link>, setup: Option<&Setup>) -> Finding {
    let Some(kind) = finding.link else { return finding };
    let unknown = Setup { server: capacity::Server::Nginx, ..Setup::default() };
    let empty = Link::new(kind, None, "");
    finding.changes.extend(raise(link.unwrap_or(&empty), setup.unwrap_or(&unknown)));
    finding.not_this.extend(not_this(kind).iter().map(|wrong| (*wrong).to_owned()));
    finding
}

/// What a full link means for requests.
pub(super) fn means(kind: Kind, facts: &Facts) -> String {
    match kind {
        Kind::AcceptQueue => "new clients are dropped by the kernel; no log says so, they time out".to_owned(),
        Kind::Slots => match holders(facts) {
            Some(holders) => format!("clients are closed without an answer, or get 500; {holders}"),
            None => "clients are closed without an answer, or get 500".to_owned(),
        },
        Kind::Descriptors => "new clients hang; files and upstreams cannot be opened (500)".to_owned(),
        Kind::EventLoop => "every request waits for its turn, however many slots are free".to_owned(),
        Kind::UpstreamQueue => {
            "requests come faster than the application takes them: 502 at once over unix, 504 after the connect timeout over TCP".to_owned()
        }
        Kind::Ports => "no further connection to this destination can be made: 502".to_owned(),
        Kind::Memory => "the kernel kills the largest process when it is used up".to_owned(),
    }
}

/// What holds the slots: who makes clients wait is the cause, and more slots are no cure.
pub(super) fn holders(facts: &Facts) -> Option<String> {
    let running = facts.running.as_ref()?;
    let clients = sum(running.workers.iter().map(|worker| worker.held.clients));
    let upstreams = sum(running.workers.iter().map(|worker| worker.held.upstreams));
    let idle = facts.status.map(|status| status.waiting);
    let (mut words, total) = (Vec::new(), clients.saturating_add(upstreams));
    if total == 0 {
        return None;
    }
    words.push(format!("{clients} clients{}", idle.map_or(String::new(), |idle| format!(" ({idle} idle)"))));
    if upstreams > 0 {
        let most = facts.upstreams.iter().max_by_key(|upstream| upstream.towards.open)?;
        words.push(format!("{upstreams} upstream connections, most to {}", most.address));
    }
    Some(format!("held by {}", words.join(" and ")))
}

/// Losses that no log mentions: the kernel counts them for each socket.
fn dropped(queue: &Queue, facts: &Facts, setup: Option<&Setup>) -> Option<Finding> {
    if queue.drops == 0 && queue.drops_grown == 0 {
        return None;
    }
    let lost = queue.drops.wrapping_add(queue.drops_grown);
    let age = facts.running.as_ref().map_or(0, |running| running.seconds);
    // Less than one an hour is a storm of long ago, or none.
    let seldom = u64::from(lost).saturating_mul(3600) < age;
    let (severity, code, what) = match queue.drops_grown {
        0 if seldom => (Severity::Note, "accept_queue_overflowed", "has lost clients since it was opened"),
        0 => (Severity::Warning, "accept_queue_overflowed", "has lost clients since it was opened"),
        _ => (Severity::Critical, "accept_queue_overflows", "loses clients right now"),
    };
    let title = format!("The accept queue of {} {what}", queue.address);
    let seconds = facts.counters.as_ref().map_or(0.0, |counters| counters.seconds);
    let finding = Finding::new(severity, code, Some(Kind::AcceptQueue), title)
        .seen(format!("{} dropped in all, {} of them within {seconds:.1} s", lost, queue.drops_grown))
        .means(means(Kind::AcceptQueue, facts));
    let finding = finding.sure(if queue.drops_grown == 0 { Confidence::Likely } else { Confidence::Certain });
    let link = Link::new(Kind::AcceptQueue, Some(u64::from(queue.ceiling)), "").of(queue.address.clone());
    Some(advised(finding, Some(&link), setup))
}

/// The machine's own counters, where no socket of this server lost anything.
fn machine_overflows(facts: &Facts) -> Option<Finding> {
    let counters = facts.counters.as_ref()?;
    if counters.grown.listen_overflows == 0 || facts.queues.iter().any(|queue| queue.drops_grown > 0) {
        return None;
    }
    let title = "The accept queue of another socket on this machine overflows";
    let finding = Finding::new(Severity::Note, "machine_overflows", Some(Kind::AcceptQueue), title)
        .seen(format!(
            "TcpExtListenOverflows +{} in {:.1} s",
            counters.grown.listen_overflows, counters.seconds
        ))
        .means("not of this server: the clients of another are dropped")
        .change(
            Change::new("ss -ltnp: whose Recv-Q has reached its Send-Q", "a terminal", Effect::AtOnce)
                .note("it may be one of this server's upstreams"),
        )
        .not_this("a longer backlog of this server: its own queue lost nothing");
    Some(finding)
}

/// The live queue keeps the length it had when it was listened on.
fn shorter(queue: &Queue, facts: &Facts, setup: Option<&Setup>) -> Option<Finding> {
    let setup = setup?;
    let somaxconn = u64::from(facts.kernel.somaxconn?);
    let listen = setup.listens.iter().find(|listen| listen.address == queue.address)?;
    let default = match setup.server {
        capacity::Server::Nginx => capacity::DEFAULT_BACKLOG,
        capacity::Server::Plimsoll => somaxconn,
    };
    let wanted = listen.backlog.unwrap_or(default).min(somaxconn);
    if u64::from(queue.ceiling) >= wanted {
        return None;
    }
    let title = format!("The live accept queue of {} is shorter than configured", queue.address);
    let finding = Finding::new(Severity::Warning, "queue_shorter", Some(Kind::AcceptQueue), title)
        .seen(format!("{} live, {wanted} by backlog= and net.core.somaxconn", queue.ceiling))
        .means("the sysctl or backlog= was changed after the socket was listened on")
        .change(Change::new("restart the server", "the service", Effect::Restart))
        .not_this("a reload: an unchanged backlog= leaves the socket as it is");
    Some(finding)
}

/// `worker_rlimit_nofile` is there, and the workers have another limit.
fn limit_not_landed(running: &Running, config: &Config, nr_open: Option<u64>) -> Option<Finding> {
    let (wanted, place) = config.rlimit_nofile.as_ref()?;
    let worker =
        running.workers.iter().find(|worker| worker.limit.soft.is_some_and(|soft| soft < *wanted))?;
    let soft = worker.limit.soft.unwrap_or(0);
    let title = "worker_rlimit_nofile is not in force";
    let hard = capacity::draw::limit(worker.limit.hard);
    let finding = Finding::new(Severity::Warning, "limit_not_landed", Some(Kind::Descriptors), title)
        .seen(format!("{}: {wanted}; worker {} has {soft} (hard {hard})", place.words(), worker.pid))
        .means("the old limit holds: the setting was refused, or not loaded yet")
        .change(Change::new(
            "reload, and look for setrlimit() in the error log",
            "the server",
            Effect::Reload,
        ))
        .change(Change::new(
            format!("LimitNOFILE={}", nr_open.map_or(*wanted, |most| most.min(*wanted))),
            "[Service] of the server's unit",
            Effect::Restart,
        ))
        .not_this("the master's /proc/PID/limits: the worker's count");
    Some(finding)
}

/// The memory of the cgroup was used up, once at least.
fn killed(facts: &Facts) -> Option<Finding> {
    let killed = facts.killed.filter(|killed| killed.total > 0)?;
    let severity = if killed.grown > 0 { Severity::Critical } else { Severity::Note };
    let title = "The kernel has killed processes of this service for memory";
    let finding = Finding::new(severity, "worker_killed", Some(Kind::Memory), title)
        .seen(format!("memory.events: oom_kill {}, {} of them while looking", killed.total, killed.grown))
        .means("all connections of a worker that is killed are lost")
        .change(
            Change::new("dmesg | grep -i 'killed process'", "the machine", Effect::AtOnce)
                .note("says when, and which"),
        )
        .not_this("more worker_connections: each costs memory");
    Some(finding)
}

/// The unit was changed after the service was started. More than fs.nr_open nobody gets, whatever a unit asks for.
fn unit_not_applied(running: &Running, nr_open: Option<u64>) -> Option<Finding> {
    let unit = running.unit.as_ref()?;
    let (_, written) = unit.descriptors?;
    let (has, service) = (running.limit.hard?, &running.service);
    let possible = written.unwrap_or(u64::MAX).min(nr_open.unwrap_or(u64::MAX));
    if possible <= has {
        return None;
    }
    let wanted = capacity::draw::limit(written);
    let title = format!("LimitNOFILE={wanted} of {service} is not in force");
    let mut finding = Finding::new(Severity::Warning, "limit_not_landed", Some(Kind::Descriptors), title)
        .seen(format!("{}: {wanted}; master {} has {has}", unit.file, running.master))
        .means("a unit's limits are those of its next start: this one began before")
        .change(Change::new(
            format!("systemctl daemon-reload && systemctl restart {service}"),
            "a terminal",
            Effect::Restart,
        ))
        .not_this("a reload: the master keeps the limits that it was started with");
    if Some(possible) != written && possible < u64::MAX {
        finding = finding.change(
            Change::new(format!("LimitNOFILE={possible}"), "[Service] of the server's unit", Effect::Restart)
                .note("if that does not help: for more than fs.nr_open systemd takes what it has itself"),
        );
    }
    Some(finding)
}

/// Each worker of nginx has slots and descriptors of its own: one may be full while there is room beside it.
fn full_worker(running: &Running, setup: Option<&Setup>) -> Option<Finding> {
    let setup = setup.filter(|setup| setup.server == capacity::Server::Nginx && running.workers.len() > 1)?;
    let room = setup.slots() / setup.workers.max(1);
    let fullest = running.workers.iter().max_by_key(|worker| slots_of(worker))?;
    let all = sum(running.workers.iter().map(slots_of));
    let full = |used: u64, of: u64| used as f64 >= of as f64 * FULL;
    if !full(slots_of(fullest), room) || full(all, setup.slots()) {
        return None;
    }
    let title = "One worker is full while others have room";
    let finding = Finding::new(Severity::Critical, "slots_full", Some(Kind::Slots), title)
        .seen(format!(
            "worker {}: {} of {room}; all together {all} of {}",
            fullest.pid,
            slots_of(fullest),
            setup.slots()
        ))
        .means("connections stay with the worker that accepted them; `listen .. reuseport` spreads them");
    Some(advised(finding, None, Some(setup)))
}

/// Idle keep-alive clients that take most of the slots.
fn held_by_idle(facts: &Facts, setup: Option<&Setup>) -> Option<Finding> {
    let (setup, status, config) = (setup?, facts.status?, facts.config.as_ref()?);
    if status.waiting.saturating_mul(2) < setup.slots() {
        return None;
    }
    let timeout = config.keepalive_timeout.unwrap_or(75_000) / 1000;
    let title = format!("Idle keep-alive clients hold {} of {} slots", status.waiting, setup.slots());
    let finding = Finding::new(Severity::Warning, "idle_clients", Some(Kind::Slots), title)
        .seen(format!("stub_status: Waiting {}; keepalive_timeout {timeout} s", status.waiting))
        .sure(Confidence::Likely)
        .means("they come back without a handshake, but their slots are not free; nginx closes them when a sixteenth is left")
        .change(Change::new(format!("worker_connections {};", setup.connections.saturating_mul(2)), "events context", Effect::Reload).note("with descriptors for them"))
        .not_this("a much shorter keepalive_timeout alone: trades slots for handshakes and TIME_WAIT");
    Some(finding)
}

fn leaving(running: &Running) -> Option<Finding> {
    let workers = running.workers.len().max(1);
    let title = format!("{} old workers still finish their connections", running.leaving);
    let finding = Finding::new(Severity::Note, "old_workers", Some(Kind::Memory), title)
        .seen(format!("/proc: {} processes are shutting down, {workers} serve", running.leaving))
        .means("each reload leaves some behind while clients stay: memory and upstream connections are held twice")
        .change(Change::new("worker_shutdown_timeout 5m;", "main context", Effect::Reload))
        .not_this("killing them: their clients are cut off");
    (running.leaving > workers).then_some(finding)
}
