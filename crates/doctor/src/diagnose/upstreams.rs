//! What error logs tell of the servers behind this one.

use capacity::{Change, Confidence, Effect, Finding, Kind, Severity};

use super::application;
use super::events::{happened, new};
use super::live::{code, holders};
use crate::facts::Facts;
use crate::logs::cause::Cause;
use crate::logs::error::Event;

pub(super) fn queue(event: &Event, facts: &Facts) -> Finding {
    let unix = event.upstreams.iter().filter(|(name, _)| name.starts_with("unix:"));
    let path = unix.max_by_key(|(_, count)| **count).map(|(name, _)| name.clone()).unwrap_or_default();
    let title = format!("The application's accept queue is full: {path}");
    let mut found = new(Severity::Critical, code(Kind::UpstreamQueue), Kind::UpstreamQueue, &title).means(
        "requests come faster than the application takes them; each one too many is refused at once (502)",
    );
    found.changes = application::changes(&path, facts);
    found.evidence.extend(application::seen(&path, facts));
    advised(found)
}

pub(super) fn connect_timeout(event: &Event, facts: &Facts) -> Finding {
    let full = facts.upstreams.iter().find(|upstream| {
        let queue = upstream.queue.as_ref();
        event.upstreams.contains_key(&upstream.address)
            && queue.is_some_and(|queue| queue.waiting >= queue.ceiling)
    });
    let address = event.upstreams.keys().next().cloned().unwrap_or_default();
    let title = format!("Connections to {address} are not answered (110)");
    let mut found = new(Severity::Critical, code(Kind::UpstreamQueue), Kind::UpstreamQueue, &title);
    found.means = match full {
        Some(_) => {
            "its accept queue is full: SYNs are dropped until the connect timeout, then 504".to_owned()
        }
        None => "its accept queue was full, or the network drops packets; 504 after the connect timeout"
            .to_owned(),
    };
    found.confidence = if full.is_some() { Confidence::Certain } else { Confidence::Likely };
    found.changes = application::changes(&address, facts);
    found.evidence.extend(application::seen(&address, facts));
    if full.is_none() {
        found = found.change(
            Change::new(
                "ss -ltn: Recv-Q against Send-Q of its listening socket",
                "the upstream's machine",
                Effect::AtOnce,
            )
            .note("tells a full queue from a bad network"),
        );
    }
    advised(found)
}

pub(super) fn slow(event: &Event, facts: &Facts) -> Finding {
    let address = event.upstreams.keys().next().cloned().unwrap_or_default();
    let found = new(
        Severity::Warning,
        "upstream_slow",
        None,
        &format!("{address} takes longer than its read timeout to answer"),
    );
    let found = found
        .means("each such request holds two slots and two descriptors all that time (504)")
        .change(
            Change::new("find out what it waits for", "the application", Effect::AtOnce)
                .note("its own logs, its database"),
        )
        .not_this("a longer proxy_read_timeout alone: requests hold their places longer");
    holders(facts).into_iter().fold(found, Finding::seen)
}

pub(super) fn bind_in_use(facts: &Facts) -> Finding {
    let place =
        facts.config.as_ref().and_then(|config| config.fixed_port.as_ref()).map(capacity::Place::words);
    new(
        Severity::Critical,
        "fixed_port",
        Kind::Ports,
        "proxy_bind has a fixed port: one connection at a time",
    )
    .means("one request at a time reaches the upstream, all others get 500")
    .change(Change::new(
        "proxy_bind with an address, without a port",
        place.unwrap_or_else(|| "the location".to_owned()),
        Effect::Reload,
    ))
    .not_this("net.ipv4.tcp_tw_reuse: the port is still only one")
}

/// A consequence, unless nothing came before it.
pub(super) fn no_live(event: &Event, facts: &Facts) -> Finding {
    let firsts =
        [Cause::UpstreamQueue, Cause::ConnectTimeout, Cause::UpstreamDown, Cause::UpstreamSlow, Cause::Ports];
    let causes = firsts.iter().filter_map(|cause| happened(facts, *cause));
    let before = causes
        .filter(|cause| cause.first.is_none() || event.first.is_none() || cause.first <= event.first)
        .min_by_key(|cause| cause.first);
    let limited =
        facts.config.as_ref().is_some_and(|config| config.groups.iter().any(|group| group.max_conns));
    let found =
        new(Severity::Warning, "no_live_upstreams", None, "All servers of an upstream group were set aside")
            .change(no_live_change(before, limited));
    match before {
        Some(cause) => found.means(format!(
            "a consequence: two failures within fail_timeout are enough. First came: {}",
            cause.sample
        )),
        None if limited => Finding {
            severity: Severity::Critical,
            ..found.means("all servers are at their max_conns: works as configured, but 502")
        },
        None => Finding {
            severity: Severity::Critical,
            confidence: Confidence::Possible,
            ..found.means("look for the first error before it, in older logs too")
        },
    }
    .not_this("max_fails=0 alone: hides it, the failures stay")
}

fn no_live_change(before: Option<&Event>, limited: bool) -> Change {
    let (setting, place) = match (before, limited) {
        (Some(_), _) => ("what the first cause asks for", "the finding about it"),
        (None, true) => {
            ("max_conns=: more, or more servers; queueing is the application's", "upstream context")
        }
        (None, false) => ("plimsoll doctor --log error.log --log error.log.1", "a terminal"),
    };
    Change::new(setting, place, Effect::Reload)
}

pub(super) fn application(event: &Event, facts: &Facts) -> Finding {
    let mut found = new(
        Severity::Critical,
        "application_busy",
        Kind::UpstreamQueue,
        "The application says that all its workers are busy",
    )
    .means("what arrives waits in its accept queue, until that is full too");
    found.changes = application::changes(&event.sample, facts);
    advised(found)
}

/// With what does not help against a full queue of an application.
fn advised(found: Finding) -> Finding {
    let wrong = capacity::not_this(Kind::UpstreamQueue).iter();
    Finding { not_this: wrong.map(|wrong| (*wrong).to_owned()).collect(), ..found }
}

pub(super) fn down() -> Finding {
    new(Severity::Warning, "upstream_down", None, "Nobody listens where requests are passed to")
        .means(
            "the application was down or restarting: no question of capacity, unless it was killed for memory",
        )
        .change(
            Change::new(
                "systemctl status, journalctl -u, dmesg: why it ended",
                "the application",
                Effect::AtOnce,
            )
            .note("and start it"),
        )
        .not_this("more slots, descriptors or workers: nobody is there to answer")
}
