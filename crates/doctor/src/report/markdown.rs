//! The report for a ticket.

use std::fmt::Write;

use capacity::{Confidence, FULL, Finding, Link};

use crate::diagnose::Diagnosis;
use crate::facts::Facts;

/// The whole of it.
pub fn markdown(facts: &Facts, diagnosis: &Diagnosis) -> String {
    let mut out = String::from("# Capacity\n\n");
    let _ = writeln!(out, "{}\n", diagnosis.chain.sentence());
    if !diagnosis.chain.links.is_empty() {
        out.push_str("| link | used | of | set by |\n|---|---:|---:|---|\n");
        diagnosis.chain.links.iter().for_each(|link| row(&mut out, facts, link));
    }
    for (index, found) in diagnosis.findings.iter().enumerate() {
        finding(&mut out, index + 1, found);
    }
    if !facts.unread.is_empty() {
        out.push_str("\n## Not read\n\n");
        list(&mut out, &facts.unread);
    }
    out
}

fn row(out: &mut String, facts: &Facts, link: &Link) {
    let full = if link.fullness() >= FULL { " **full**" } else { "" };
    let ceiling = capacity::ceiling_words(link);
    // Files do not say how much is in use.
    let used = if facts.running.is_none() && link.used == 0 { "?".to_owned() } else { link.used.to_string() };
    let _ = writeln!(out, "| {} | {used}{full} | {ceiling} | {} |", cell(&link.name()), cell(&link.set_by));
}

fn finding(out: &mut String, number: usize, finding: &Finding) {
    let _ = writeln!(
        out,
        "\n## {number}. {}: {} (`{}`)\n",
        finding.severity.name(),
        cell(&finding.title),
        finding.code
    );
    // Indented, so that nothing in a log line means anything.
    finding.evidence.iter().for_each(|line| {
        let _ = writeln!(out, "    {}", plain(line));
    });
    if finding.confidence != Confidence::Certain {
        let _ = writeln!(out, "\nNot certain: {}.", finding.confidence.name());
    }
    let consequence = finding.consequence();
    if !consequence.is_empty() {
        let _ = writeln!(out, "\n{}", cell(&consequence));
    }
    if !finding.changes.is_empty() {
        out.push_str("\nChange:\n\n");
    }
    for change in &finding.changes {
        let note = if change.note.is_empty() { String::new() } else { format!("; {}", change.note) };
        let _ = writeln!(
            out,
            "- `{}` in {}: {}{note}",
            change.setting,
            cell(&change.place),
            change.effect.words()
        );
    }
    if !finding.verify.is_empty() {
        let _ = writeln!(out, "\nVerify: `{}`", finding.verify);
    }
    if !finding.not_this.is_empty() {
        out.push_str("\nThis will not help:\n\n");
        list(out, &finding.not_this);
    }
}

fn list(out: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "- {}", cell(line));
    }
}

/// Text that must not become markup.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        if matches!(c, '|' | '`' | '*' | '_' | '<' | '[' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use capacity::{Chain, Kind, Mix, Severity};

    #[test]
    fn a_ticket() {
        let link = Link::new(Kind::UpstreamQueue, Some(128), "its listen()").of("unix:/a|b").used(129);
        let found =
            Finding::new(Severity::Critical, "upstream_queue_full", Some(Kind::UpstreamQueue), "<b>full</b>")
                .seen("GET /\n# heading");
        let diagnosis = Diagnosis { chain: Chain::new(vec![link], Mix::PROXIED), findings: vec![found] };
        let text = markdown(&Facts::default(), &diagnosis);
        assert!(
            text.contains("| upstream queue unix:/a\\|b | 129 **full** | 128 | its listen() |"),
            "{text}"
        );
        assert!(text.contains("## 1. CRITICAL: \\<b>full\\</b> (`upstream_queue_full`)"), "{text}");
        assert!(text.contains("\n    GET /?# heading\n"), "{text}");
    }
}
