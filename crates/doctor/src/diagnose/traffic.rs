//! What access logs tell of the load, against what fits.

use capacity::{Chain, Change, Effect, Finding, Kind, NEARLY_FULL, Severity};

use crate::facts::Facts;
use crate::logs::moment;

/// The measured peak is near what the chain lets through.
pub(super) fn findings(facts: &Facts, chain: &Chain) -> Option<Finding> {
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
