//! What error logs tell, line by line of the capacity family.

use capacity::{Change, Confidence, Effect, Finding, Kind, Setup, Severity};

use super::live::{advised, code, means};
use super::setup::is_reached;
use super::upstreams;
use crate::facts::Facts;
use crate::logs::cause::Cause;
use crate::logs::error::Event;
use crate::logs::moment;

/// All of them.
pub(super) fn findings(facts: &Facts, setup: Option<&Setup>) -> Vec<Finding> {
    let mut all: Vec<Finding> =
        facts.events.events.iter().map(|event| finding(event, facts, setup)).collect();
    all.extend(proxy_loop(facts));
    all.extend(broken(facts));
    all
}

/// What the server would refuse as well.
fn broken(facts: &Facts) -> Option<Finding> {
    let error = facts.config.as_ref()?.error.as_ref()?;
    let found = new(Severity::Warning, "configuration_broken", None, "The configuration has a mistake")
        .not_this("a restart: the server would not come up again")
        .seen(error.clone())
        .means("it is read up to there: what follows was not looked at, and a reload would be refused")
        .change(
            Change::new("nginx -t", "the server", Effect::AtOnce).note("says the same when it is mended"),
        );
    Some(found)
}

fn finding(event: &Event, facts: &Facts, setup: Option<&Setup>) -> Finding {
    let found = match event.cause {
        Cause::SlotsOnAccept | Cause::SlotsToUpstream => slots(event, facts, setup),
        Cause::SlotsReusing => advised(slots_low(), None, setup),
        Cause::SlotsForListeners => advised(slots_for_listeners(), None, setup),
        Cause::SlotsOverLimit => advised(descriptors_short(), None, setup),
        Cause::RlimitRefused => rlimit_refused(event, setup),
        Cause::FilesOnAccept | Cause::FilesToUpstream | Cause::FilesOpen => files(event, facts, setup),
        Cause::FilesOfMaster => files_of_master(),
        Cause::FilesOfMachine => files_of_machine(),
        Cause::UpstreamQueue => upstreams::queue(event, facts),
        Cause::ConnectTimeout => upstreams::connect_timeout(event, facts),
        Cause::UpstreamSlow => upstreams::slow(event, facts),
        Cause::UpstreamDown => upstreams::down(),
        Cause::Ports => advised(ports(facts), None, setup),
        Cause::BindInUse => upstreams::bind_in_use(facts),
        Cause::KernelMemory => kernel_memory(),
        Cause::NoLiveUpstreams | Cause::UpstreamDisabled => upstreams::no_live(event, facts),
        Cause::Limited => limited(),
        Cause::Application => upstreams::application(event, facts),
        Cause::Killed => killed(),
    };
    Finding { evidence: evidence(event).into_iter().chain(found.evidence).collect(), ..found }
}

fn slots_low() -> Finding {
    let title = "Slots ran low: idle clients were closed to make room";
    new(Severity::Warning, "slots_low", Kind::Slots, title)
        .means("the earliest warning there is: less than a sixteenth of a worker's slots was free")
}

fn slots_for_listeners() -> Finding {
    let title = "Fewer slots than listening sockets: it does not start";
    new(Severity::Critical, "slots_for_listeners", Kind::Slots, title)
        .means("each worker needs a slot for every listening socket: not one request is served")
        .not_this("fewer workers: the number is each worker's")
}

fn descriptors_short() -> Finding {
    let title = "worker_connections exceed the limit of descriptors";
    new(Severity::Warning, "descriptors_short", Kind::Descriptors, title)
        .means("connections fail with (24) before the slots are used up")
}

fn ports(facts: &Facts) -> Finding {
    let title = "Local ports towards an upstream were used up";
    new(Severity::Critical, code(Kind::Ports), Kind::Ports, title).means(means(Kind::Ports, facts))
}

fn limited() -> Finding {
    new(Severity::Note, "limited", None, "limit_conn or limit_req refused requests")
        .means("they work as configured")
        .change(
            Change::new("burst=, rate=, or another key", "the limit_req or limit_conn", Effect::Reload)
                .note("if people were refused who should not be"),
        )
        .not_this("more slots: the limit stays")
}

fn killed() -> Finding {
    new(Severity::Critical, "worker_killed", Kind::Memory, "A worker process was killed (signal 9)")
        .sure(Confidence::Likely)
        .means("most likely for memory: all its connections were lost")
        .change(
            Change::new("dmesg | grep -i 'killed process'", "the machine", Effect::AtOnce)
                .note("says whether and why"),
        )
        .not_this("more worker_connections: each costs memory")
}

pub(super) fn new(severity: Severity, code: &str, kind: impl Into<Option<Kind>>, title: &str) -> Finding {
    Finding::new(severity, code, kind.into(), title)
}

/// How often, when, where, and the line itself.
fn evidence(event: &Event) -> Vec<String> {
    let when = match (event.first, event.last) {
        (Some(first), Some(last)) if first != last => {
            format!(", {} to {}", moment::words(first), moment::words(last))
        }
        (Some(first), _) => format!(", {}", moment::words(first)),
        _ => String::new(),
    };
    let mut lines =
        vec![format!("{} x, first at {}{when}", grouped(event.count), event.place), event.sample.clone()];
    let mut upstreams: Vec<_> = event.upstreams.iter().collect();
    upstreams.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if !upstreams.is_empty() {
        let words: Vec<String> =
            upstreams.iter().take(3).map(|(name, count)| format!("{name} ({})", grouped(**count))).collect();
        lines.push(format!("towards {}", words.join(", ")));
    }
    lines
}

/// `2,214`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

pub(super) fn happened(facts: &Facts, cause: Cause) -> Option<&Event> {
    facts.events.events.iter().find(|event| event.cause == cause)
}

fn slots(event: &Event, facts: &Facts, setup: Option<&Setup>) -> Finding {
    // The other line of the two may have lost its number.
    let both = [Cause::SlotsOnAccept, Cause::SlotsToUpstream]
        .into_iter()
        .filter_map(|cause| happened(facts, cause)?.limit);
    let limit = event.limit.or(both.max());
    let title = match limit {
        Some(limit) => format!("All {limit} connection slots of a worker were taken"),
        None => "All connection slots of a worker were taken".to_owned(),
    };
    let mut found =
        new(Severity::Critical, code(Kind::Slots), Kind::Slots, &title).means(means(Kind::Slots, facts));
    if setup.is_none() && event.cause == Cause::SlotsToUpstream {
        // A client and an upstream for each.
        found.requests = limit.map(|limit| limit / 2);
    }
    if let Some((had, setup)) = limit.zip(setup).filter(|(had, setup)| is_other(*had, setup)) {
        return of_others(found, had, setup);
    }
    if let Some(behind) = behind_slots(facts) {
        found.means = format!("{}; {behind}", found.means);
    }
    // Without a configuration, the line itself says how many there were.
    let from_line =
        limit.map(|connections| Setup { server: capacity::Server::Nginx, connections, ..Setup::default() });
    let setup = setup.or(from_line.as_ref());
    let found = advised(found, None, setup);
    match setup.filter(|setup| facts.running.is_none() && setup.rlimit_nofile.is_none()) {
        Some(setup) => found.change(descriptors_too(setup)),
        None => found,
    }
}

/// Whether a worker with so many slots has not read this configuration.
fn is_other(had: u64, setup: &Setup) -> bool {
    setup.server == capacity::Server::Nginx && setup.connections_written && setup.connections != had
}

/// More than what is configured now is no answer to what was too little before.
fn of_others(mut found: Finding, had: u64, setup: &Setup) -> Finding {
    found.means = format!(
        "{}; the configuration says {} now: who had {had} was a worker from before it was loaded, or the cache manager, which has 512",
        found.means, setup.connections
    );
    found.requests = Some(had / 2);
    found
        .change(
            Change::new("nginx -s reload", "a terminal", Effect::Reload)
                .note("if none has followed the change; then look at newer lines with --since"),
        )
        .not_this(format!("more than {}: nobody had so many yet", setup.connections))
}

/// Whoever sent files may not know that more slots need descriptors.
fn descriptors_too(setup: &Setup) -> Change {
    let each = setup.connections.saturating_mul(4).checked_next_power_of_two().unwrap_or(u64::MAX);
    Change::new(format!("worker_rlimit_nofile {each};"), "main context", Effect::Reload)
        .note("unless the workers' limit of descriptors is as large already")
}

/// What makes requests hold their slots for long.
fn behind_slots(facts: &Facts) -> Option<String> {
    let slow = facts.access.as_ref().and_then(|access| {
        let (name, upstream) = access.upstreams.iter().max_by_key(|(_, upstream)| upstream.took.count())?;
        let half = upstream.took.at(0.5);
        (half >= 1000).then(|| {
            let to = if name.is_empty() { "passed on" } else { &format!("to {name}") };
            format!(
                "half of the requests {to} take {:.1} s or more: that is what holds the slots",
                half as f64 / 1000.0
            )
        })
    });
    let timed_out = happened(facts, Cause::UpstreamSlow).map(|event| {
        format!(
            "{} requests waited in vain for a slow upstream: that is what holds the slots",
            grouped(event.count)
        )
    });
    slow.or(timed_out)
}

fn rlimit_refused(event: &Event, setup: Option<&Setup>) -> Finding {
    let asked = || event.sample.split_once("RLIMIT_NOFILE, ")?.1.split(')').next()?.parse().ok();
    let wanted = setup.and_then(|setup| setup.rlimit_nofile).or_else(asked).unwrap_or(65_536);
    let wanted = setup.and_then(|setup| setup.nr_open).map_or(wanted, |most| wanted.min(most));
    new(
        Severity::Warning,
        "rlimit_refused",
        Kind::Descriptors,
        "worker_rlimit_nofile was refused by the kernel",
    )
    .means("the workers go on with the limit they had")
    .change(Change::new(format!("LimitNOFILE={wanted}"), "[Service] of the server's unit", Effect::Restart))
    .change(Change::new(format!("--ulimit nofile={wanted}:{wanted}"), "the container", Effect::Restart))
    .not_this("/etc/security/limits.conf: not applied to a systemd service; LimitNOFILE= is")
}

/// `worker_connections` that somebody may have whose descriptors do not suffice.
const USUAL: u64 = 16_384;

fn files(event: &Event, facts: &Facts, setup: Option<&Setup>) -> Finding {
    let found = new(
        Severity::Critical,
        code(Kind::Descriptors),
        Kind::Descriptors,
        "A worker had no descriptor left (24)",
    );
    let found = found.means(means(Kind::Descriptors, facts));
    let found = match setup {
        Some(_) => advised(found, None, setup),
        // Nothing but the log is known: what most begin with is 1024.
        None => advised(found, None, Some(&Setup { connections: USUAL, ..Setup::default() })),
    };
    match event.cause {
        Cause::FilesOpen => found.change(
            Change::new("open_file_cache max=1000;", "http context", Effect::Reload)
                .note("where the same files are served again and again"),
        ),
        _ => found,
    }
}

fn files_of_master() -> Finding {
    new(
        Severity::Critical,
        "descriptors_master",
        Kind::Descriptors,
        "The master had no descriptor left: a reload was refused",
    )
    .means("the old configuration goes on; worker_rlimit_nofile does not touch the master")
    .change(Change::new("LimitNOFILE=65536", "[Service] of the server's unit", Effect::Restart))
    .not_this("worker_rlimit_nofile: it is for the workers")
}

fn files_of_machine() -> Finding {
    new(
        Severity::Critical,
        "descriptors_machine",
        Kind::Descriptors,
        "The whole machine had no descriptor left (23)",
    )
    .means("no program of the machine can open anything: clients hang, files and upstreams fail (500)")
    .change(Change::new("fs.file-max = 2097152", "/etc/sysctl.d/60-files.conf", Effect::AtOnce))
    .not_this("worker_rlimit_nofile, LimitNOFILE: it is not the process's limit")
}

fn kernel_memory() -> Finding {
    new(Severity::Critical, "kernel_memory", Kind::Memory, "The kernel had no memory for sockets (105)")
        .means("connections to upstreams fail at once (500), however much memory the server may use")
        .change(Change::new("net.ipv4.tcp_mem: larger values", "/etc/sysctl.d/60-tcp.conf", Effect::AtOnce))
        .not_this("more worker_connections")
}

/// Slots run out towards this very server, by its own doing.
fn proxy_loop(facts: &Facts) -> Option<Finding> {
    let (event, config) = (happened(facts, Cause::SlotsToUpstream)?, facts.config.as_ref()?);
    let back = event
        .upstreams
        .keys()
        .find(|to| config.listens.iter().any(|listen| is_reached(&listen.address, to)))?;
    if event.local.saturating_mul(2) < event.count {
        return None;
    }
    let title = format!("requests passed to {back} come back to this server");
    let found = Finding::new(Severity::Critical, "proxy_loop", Some(Kind::Slots), title)
        .seen(format!(
            "{} of {} failed requests came from this machine itself, on their way to its own address",
            event.local, event.count
        ))
        .means("each takes two slots more on every round, until none is left")
        .change(Change::new(
            "another proxy_pass, or another listen",
            "the location that passes there",
            Effect::Reload,
        ))
        .not_this("more of anything: a loop takes all there is");
    Some(found)
}
