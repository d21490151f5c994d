//! The report for programs: one object, `schema` 1.

use serde::Serialize;

use crate::diagnose::Diagnosis;
use crate::facts::Facts;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    exit: u8,
    sentence: String,
    binding: Option<String>,
    chain: &'a capacity::Chain,
    findings: &'a [capacity::Finding],
    facts: &'a Facts,
}

/// The whole of it.
pub fn json(facts: &Facts, diagnosis: &Diagnosis) -> String {
    let report = Report {
        schema: 1,
        exit: diagnosis.exit_code(facts),
        sentence: diagnosis.chain.sentence(),
        binding: diagnosis.chain.binding().map(|binding| binding.link.name()),
        chain: &diagnosis.chain,
        findings: &diagnosis.findings,
        facts,
    };
    serde_json::to_string_pretty(&report).unwrap_or_default()
}
