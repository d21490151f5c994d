//! Facts to findings: pure, and each rule in one function.

mod application;
mod chain;
mod events;
mod live;
mod processors;
mod setup;
mod traffic;
mod upstreams;

use capacity::{Chain, Change, Effect, Finding, Kind, Severity};
use serde::{Deserialize, Serialize};

use crate::explain;
use crate::facts::Facts;

/// What the facts mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The links, in the order in which a request meets them.
    pub chain: Chain,
    /// What is wrong, first causes before their consequences.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// What the program exits with: 0 healthy, 1 warnings, 2 a link is full or was, 3 could not look.
    pub fn exit_code(&self, facts: &Facts) -> u8 {
        match self.findings.iter().map(|finding| finding.severity).max() {
            _ if facts.is_empty() => 3,
            Some(Severity::Critical) => 2,
            Some(Severity::Warning) => 1,
            _ => 0,
        }
    }
}

/// Judges.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let setup = setup::setup(facts);
    let chain = chain::chain(facts, setup.as_ref());
    let mut findings = setup.as_ref().map(capacity::Setup::findings).unwrap_or_default();
    findings.extend(live::findings(facts, &chain, setup.as_ref()));
    findings.extend(events::findings(facts, setup.as_ref()));
    findings.extend(traffic::findings(facts, &chain));
    let findings = ordered(findings).into_iter().map(|found| completed(found, &chain, facts)).collect();
    Diagnosis { chain, findings }
}

/// The same thing seen in a log and live is one finding; causes come before what they cause.
fn ordered(findings: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for finding in findings {
        match all.iter_mut().find(|known| known.code == finding.code && same_thing(known, &finding)) {
            Some(known) => merge(known, finding),
            None => all.push(finding),
        }
    }
    raise_the_cause(&mut all);
    leave_it_to_the_loop(&mut all);
    all.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), rank(finding)));
    all
}

/// Where a quota is used up it is why the event loops have no time left: as grave as that, so that it comes first.
fn raise_the_cause(all: &mut [Finding]) {
    let busy = all.iter().find(|finding| finding.code == "event_loop_busy").map(|finding| finding.severity);
    let quota = all.iter_mut().find(|finding| finding.code == "quota_used_up");
    if let (Some(busy), Some(quota)) = (busy, quota) {
        quota.severity = quota.severity.max(busy);
    }
}

/// Slots that a loop takes are not to be raised: it would take those too.
fn leave_it_to_the_loop(all: &mut [Finding]) {
    let Some(cause) = all.iter().find(|finding| finding.code == "proxy_loop") else { return };
    let what = Change::new("what the loop asks for", "the finding about it", Effect::Reload)
        .note(format!("as long as {}, no number helps", cause.title));
    for full in all.iter_mut().filter(|finding| finding.code == "slots_full") {
        full.changes = vec![what.clone()];
    }
}

/// Findings of one code about different addresses are different findings, unless the code has only one subject.
fn same_thing(a: &Finding, b: &Finding) -> bool {
    let many = [
        "backlog_clamped",
        "proxy_loop",
        "queue_shorter",
        "accept_queue_full",
        "accept_queue_overflows",
        "accept_queue_overflowed",
    ];
    !many.contains(&a.code.as_str()) || a.title == b.title
}

fn merge(known: &mut Finding, other: Finding) {
    if other.severity > known.severity {
        known.severity = other.severity;
        known.title = other.title;
    }
    known.confidence = known.confidence.max(other.confidence);
    known.requests = known.requests.into_iter().chain(other.requests).min();
    if known.means.is_empty() {
        known.means = other.means;
    }
    for seen in other.evidence {
        if !known.evidence.contains(&seen) {
            known.evidence.push(seen);
        }
    }
    for change in other.changes {
        if !known.changes.iter().any(|had| had.setting == change.setting) {
            known.changes.push(change);
        }
    }
    for wrong in other.not_this {
        if !known.not_this.contains(&wrong) {
            known.not_this.push(wrong);
        }
    }
}

/// With what follows from the chain and from the finding's code.
fn completed(mut found: Finding, chain: &Chain, facts: &Facts) -> Finding {
    found.evidence.extend(tried(&found, facts));
    let requests = found.requests.or_else(|| chain.requests_through(found.link?));
    let verify = explain::verify(&found.code).unwrap_or_default().to_owned();
    Finding { requests, verify, ..found }
}

/// So many slots were asked for that somebody must have hoped for them to help.
const HUGE: u64 = 10_000;

/// What was tried already, and could not help.
fn tried(found: &Finding, facts: &Facts) -> Vec<String> {
    let Some(config) = &facts.config else { return Vec::new() };
    let multi_accept =
        config.multi_accept.as_ref().map(|place| format!("multi_accept is on ({})", place.words()));
    let connections = config.connections.as_ref().filter(|(written, _)| *written >= HUGE);
    let huge =
        connections.map(|(written, place)| format!("worker_connections {written} ({})", place.words()));
    let useless = match found.code.as_str() {
        "slots_full" => [multi_accept, None],
        "upstream_queue_full" | "application_busy" | "proxy_loop" => [multi_accept, huge],
        _ => [None, None],
    };
    useless.into_iter().flatten().map(|what| format!("{what}: tried already, and no help")).collect()
}

/// A request that cannot go on fills what is before it: so the last link of the chain is the first cause.
fn rank(finding: &Finding) -> u8 {
    match finding.code.as_str() {
        "proxy_loop" => 0,
        "worker_killed" => 1,
        "no_live_upstreams" => 20,
        "limited" => 21,
        "quota_used_up" => 4,
        _ => match finding.link {
            Some(Kind::Ports) => 2,
            Some(Kind::UpstreamQueue) => 3,
            Some(Kind::EventLoop) => 5,
            Some(Kind::Descriptors) => 6,
            Some(Kind::Slots) => 7,
            Some(Kind::AcceptQueue) => 8,
            Some(Kind::Memory) => 9,
            None => 10,
        },
    }
}
