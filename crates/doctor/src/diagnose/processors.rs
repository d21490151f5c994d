//! Time of processors: whether the server gets what it asks for.

use capacity::{Change, Confidence, Effect, Finding, Kind, Setup, Severity};

use super::live::advised;
use crate::facts::{Facts, Running, Throttled, Worker};

/// The part of the periods of a quota in which standing still is felt.
const FELT: f64 = 0.01;
/// A worker that waits for a processor more than this part of the time is late for everybody.
const STARVED: f64 = 0.25;
/// One worker is saturated when it is busier than this, and others idle when they are a third as busy.
const BUSY: f64 = 0.9;

/// All of them.
pub(super) fn findings(facts: &Facts, setup: Option<&Setup>) -> Vec<Finding> {
    let running = facts.running.as_ref();
    let quota = facts.throttled.and_then(|throttled| quota_used_up(&throttled, running, setup));
    // A short look says nothing about waiting.
    let long = facts.counters.is_some_and(|counters| counters.seconds >= 0.5);
    let starved = running.filter(|_| long && quota.is_none()).and_then(starved);
    [quota, starved, running.and_then(uneven)].into_iter().flatten().collect()
}

/// The cgroup's quota was used up before its period was over.
fn quota_used_up(found: &Throttled, running: Option<&Running>, setup: Option<&Setup>) -> Option<Finding> {
    let part = |throttled: u64, of: u64| throttled as f64 / of.max(1) as f64;
    let now = part(found.throttled_grown, found.periods_grown);
    let severity = match () {
        () if now >= 0.5 || (now > 0.0 && running.is_some_and(takes_all)) => Severity::Critical,
        () if now > 0.0 || part(found.throttled, found.periods) >= FELT => Severity::Warning,
        () => return None,
    };
    let title = "The quota of processor time was used up: all workers stood still";
    let mut finding = Finding::new(severity, "quota_used_up", Some(Kind::EventLoop), title);
    if now > 0.0 {
        finding = finding.seen(format!(
            "live: in {} of {} periods while looking",
            found.throttled_grown, found.periods_grown
        ));
    }
    finding = finding.seen(format!(
        "cpu.stat: nr_throttled {} of nr_periods {}, {:.1} s in all",
        found.throttled,
        found.periods,
        found.micros as f64 / 1e6
    ));
    if let Some(quota) = running.and_then(|running| running.quota) {
        finding = finding.seen(format!("the cgroup allows {quota} processors' worth of time"));
    }
    let finding = finding
        .means("until its period ends, nothing is accepted, read or sent, however idle the machine is")
        .not_this("more worker_processes: they use the same quota up sooner");
    let finding = advised(finding, None, setup);
    let quota = running.and_then(|running| running.quota).unwrap_or(1.0);
    let more = format!("--cpus {}", (quota * 2.0).max(0.1));
    let change = Change::new(more, "the container", Effect::Restart);
    Some(finding.change(change.note("where it is one; limits.cpu in Kubernetes")))
}

/// Whether the workers use what the quota gives.
fn takes_all(running: &Running) -> bool {
    let busy: f64 = running.workers.iter().filter_map(|worker| worker.busy).sum();
    running.quota.is_some_and(|quota| busy >= BUSY * quota)
}

/// Ready to run, and others run.
fn starved(running: &Running) -> Option<Finding> {
    let waited = |worker: &&Worker| worker.starved.unwrap_or(0.0);
    let worst = running.workers.iter().max_by(|a, b| waited(a).total_cmp(&waited(b)))?;
    if waited(&worst) < STARVED {
        return None;
    }
    let title = "Workers wait for a processor that others use";
    let finding = Finding::new(Severity::Warning, "processors_taken", Some(Kind::EventLoop), title)
        .seen(format!(
            "worker {}: ready to run but waiting {:.0}% of the time, running {:.0}%",
            worst.pid,
            waited(&worst) * 100.0,
            worst.busy.unwrap_or(0.0) * 100.0
        ))
        .sure(Confidence::Likely)
        .means("every request is late by what the others take, and no counter of the server shows it")
        .change(Change::new("CPUWeight=500", "[Service] of the server's unit", Effect::AtOnce))
        .change(Change::new("find out who: top", "the machine", Effect::AtOnce))
        .not_this("more worker_processes: more of them wait")
        .not_this("more worker_connections: more clients wait for the same processors");
    Some(finding)
}

/// One worker does the work of all.
fn uneven(running: &Running) -> Option<Finding> {
    // What it would use, if others did not take some of it.
    let busy = |worker: &Worker| worker.busy.unwrap_or(0.0) + worker.starved.unwrap_or(0.0);
    let most = running.workers.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)))?;
    let least = running.workers.iter().map(busy).min_by(f64::total_cmp)?;
    if busy(most) < BUSY || least > BUSY / 3.0 {
        return None;
    }
    let title = "One worker is saturated while others are idle";
    let finding = Finding::new(Severity::Warning, "uneven_workers", Some(Kind::EventLoop), title)
        .seen(format!(
            "worker {}: {:.0}% busy; the idlest {:.0}%",
            most.pid,
            busy(most) * 100.0,
            least * 100.0
        ))
        .sure(Confidence::Likely)
        .means("long-lived connections stay where they were accepted: those of this worker all wait")
        .change(Change::new("listen .. reuseport;", "server context", Effect::Reload))
        .not_this("more workers: old connections stay where they are")
        .not_this("multi_accept: who is awake takes even more");
    Some(finding)
}
