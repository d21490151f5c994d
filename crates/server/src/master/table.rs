//! What `-t` says of capacity: warnings where nginx is silent, a table on a terminal, everything as JSON.

use std::io::{IsTerminal, Write};

use capacity::{Setup, Severity};
use serde::Serialize;

use crate::log::Level;

use super::flags::{Flags, Show};
use super::voice::Voice;

/// The JSON document of `-t --json`.
#[derive(Serialize)]
struct Document<'a> {
    setup: &'a Setup,
    chain: &'a capacity::Chain,
    /// Concurrent requests of the mix that the whole chain lets through.
    requests: Option<u64>,
    /// The link that binds, and which one of several.
    binding: Option<(capacity::Kind, &'a str)>,
    findings: &'a [capacity::Finding],
}

/// Says what will go wrong under load, which nginx does not.
pub fn warn(setup: &Setup, voice: &Voice) {
    for finding in setup.findings() {
        // The worker says this one in nginx's own words.
        if finding.severity >= Severity::Warning && finding.code != "descriptors_short" {
            let change =
                finding.changes.first().map(|change| format!("; {}", change.setting)).unwrap_or_default();
            voice.say(Level::Warn, format_args!("{}{change}", finding.title));
        }
    }
}

/// What [`warn`] says, and what the worker will say in nginx's words when it starts.
pub fn warn_all(setup: &Setup, voice: &Voice) {
    warn_in_nginxs_words(setup, voice);
    warn(setup, voice);
}

/// After a configuration was found good: what it is good for.
pub fn show(flags: &Flags, setup: &Setup) {
    let text = match flags.show {
        Some(Show::Json) => json(setup),
        Some(Show::Table) => setup.table(),
        None if !flags.quiet && !flags.dump && std::io::stdout().is_terminal() => {
            format!("\n{}", setup.table())
        }
        None => return,
    };
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn warn_in_nginxs_words(setup: &Setup, voice: &Voice) {
    let Some(limit) = setup.descriptors_each() else { return };
    let needed = setup.connections.saturating_mul(setup.workers).saturating_add(setup.fixed_descriptors());
    if needed > limit {
        let limit = limit / setup.workers.max(1);
        voice.say(
            Level::Warn,
            format_args!("{} worker_connections exceed open file resource limit: {limit}", setup.connections),
        );
    }
}

fn json(setup: &Setup) -> String {
    let chain = setup.chain();
    let findings = setup.findings();
    let document = Document {
        setup,
        chain: &chain,
        requests: chain.requests(),
        binding: chain.binding().map(|binding| (binding.link.kind, binding.link.of.as_str())),
        findings: &findings,
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n").unwrap_or_default()
}
