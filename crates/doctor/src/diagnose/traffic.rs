//! What access logs tell of the load, against what fits.

use capacity::{Chain, Change, Effect, Finding, Kind, NEARLY_FULL, Severity};

use crate::facts::Facts;
use crate::logs::moment;

/// All of them.
pub(super) fn findings(facts: &Facts, chain: &Chain) -> Vec<Finding> {
    [near_the_ceiling(facts, chain), given_up(facts)].into_iter().flatten().collect()
}

/// The measured peak is near what the chain lets through.
fn near_the_ceiling(facts: &Facts, chain: &Chain) -> Option<Finding> {
    let found = facts.access.as_ref()?.concurrency.as_ref()?;
    let smallest = chain.links.iter().filter_map(|link| Some((link, link.requests(&chain.mix)?)));
    let (link, ceiling) = smallest.min_by_key(|(_, requests)| *requests)?;
    let part = found.peak as f64 / ceiling.max(1) as f64;
    // Memory is reckoned with every buffer filled: too rough for this.
    if part < NEARLY_FULL || link.kind == Kind::Memory {
        return None;
    }
    let title = format!("At the peak {} requests were served at once; {ceiling} fit", found.peak);
    let finding = Finding::new(Severity::Warning, "peak_near_ceiling", Some(link.kind), title)
        .seen(format!(
            "access log: peak {} at {} UTC, p99 {}, median {}",
            found.peak,
            moment::words(found.peak_at.div_euclid(1000)),
            found.at_most(0.99),
            found.at_most(0.5)
        ))
        .seen(format!("{}: room for {ceiling} {}", link.name(), chain.mix.words()))
        .means("twice the measured peak should fit; the next larger one does not")
        .change(
            Change::new("plimsoll size --access-log FILE", "a terminal", Effect::AtOnce)
                .note("says which settings do"),
        )
        .not_this("the average: it says nothing of the peak");
    Some(finding)
}

/// What nginx logs of a request whose client has left.
const GIVEN_UP: u16 = 499;
/// A few leave everywhere: people close pages.
const FEW: u64 = 20;

/// Clients that did not wait for their answers.
fn given_up(facts: &Facts) -> Option<Finding> {
    let access = facts.access.as_ref()?;
    let left = *access.statuses.get(&GIVEN_UP)?;
    if left < FEW || left.saturating_mul(20) < access.requests {
        return None;
    }
    let part = left as f64 * 100.0 / access.requests as f64;
    let title = format!("{part:.0}% of the requests were given up by their clients (499)");
    let mut finding = Finding::new(Severity::Warning, "clients_gave_up", None, title)
        .seen(format!("access log: {left} of {} requests have status 499", access.requests))
        .means("they waited longer than their clients, or a balancer before this server, wanted to; each held its slots until then");
    if access.took.count() > 0 {
        let seconds = |part: f64| access.took.at(part) as f64 / 1000.0;
        finding = finding.seen(format!(
            "requests took {:.1} s (median), {:.1} s (p95), {:.1} s (p99)",
            seconds(0.5),
            seconds(0.95),
            seconds(0.99)
        ));
    }
    let change = Change::new("find out what it waits for", "the application", Effect::AtOnce);
    Some(
        finding
            .change(change.note("its own logs, its database"))
            .change(
                Change::new("the timeout of who asks", "the client, or the balancer before", Effect::AtOnce)
                    .note("longer than the slowest answer that is worth waiting for"),
            )
            .not_this("a longer proxy_read_timeout: the client is gone before")
            .not_this("proxy_ignore_client_abort on: the application works for nobody"),
    )
}
