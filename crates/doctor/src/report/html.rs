//! The report as one page that asks nobody for anything: no script, no picture from elsewhere, dark and light.

use std::fmt::Write;

use capacity::{Confidence, FULL, Finding, Link};

use super::{plot, text};
use crate::diagnose::Diagnosis;
use crate::facts::Facts;
use crate::logs::moment;

const HEAD: &str = include_str!("head.html");

/// The whole of it.
pub fn html(facts: &Facts, diagnosis: &Diagnosis) -> String {
    let mut out = String::from(HEAD);
    // What would fit says little where only files of the incident are known.
    let told = facts.running.is_none() && !diagnosis.findings.is_empty();
    let sentence = match told || diagnosis.chain.links.is_empty() {
        true => text::verdict(diagnosis).to_owned(),
        false => diagnosis.chain.sentence(),
    };
    let _ = write!(out, "<main><header><h1>{}</h1><p>", escaped(&sentence));
    for line in text::heading(facts) {
        let _ = write!(out, "{}<br>", escaped(&line));
    }
    out.push_str("</p></header>");
    chain(&mut out, facts, diagnosis);
    concurrency(&mut out, facts, diagnosis);
    events(&mut out, facts);
    upstreams(&mut out, facts);
    findings(&mut out, diagnosis);
    if !facts.unread.is_empty() {
        section(&mut out, "Not read", &list(&facts.unread));
    }
    out.push_str("</main></html>\n");
    out
}

fn section(out: &mut String, title: &str, inside: &str) {
    let _ = write!(out, "<section class=\"card\"><h2>{}</h2>{inside}</section>", escaped(title));
}

fn chain(out: &mut String, facts: &Facts, diagnosis: &Diagnosis) {
    if diagnosis.chain.links.is_empty() {
        return;
    }
    let binding = diagnosis.chain.binding().map(|binding| binding.link.name());
    let mut inside = String::from("<div class=\"chain\">");
    for link in &diagnosis.chain.links {
        let binds = binding.as_deref() == Some(link.name().as_str());
        inside.push_str(&vessel(facts, link, binds));
    }
    inside.push_str("</div>");
    section(out, "The way of a request, from left to right", &inside);
}

fn vessel(facts: &Facts, link: &Link, binds: bool) -> String {
    let class = if binds { "vessel binds" } else { "vessel" };
    let mark = match () {
        () if link.used > 0 && link.fullness() >= FULL => "<small class=\"full\">FULL</small>",
        () if binds => "<small class=\"full\">binds</small>",
        () => "",
    };
    let of = if link.of.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(&link.of)) };
    format!(
        "<figure class=\"{class}\" title=\"{}\">{}<figcaption><b>{}</b>{of}<small>{}</small>{mark}</figcaption></figure>",
        escaped(&link.set_by),
        plot::vessel(link, binds),
        link.kind.name(),
        escaped(&text::figures(facts, link))
    )
}

fn concurrency(out: &mut String, facts: &Facts, diagnosis: &Diagnosis) {
    let Some(access) = &facts.access else { return };
    let Some(found) = &access.concurrency else { return };
    let at = moment::words(found.peak_at.div_euclid(1000));
    let ceiling = diagnosis.chain.requests();
    let room = ceiling.map_or(String::new(), |ceiling| {
        format!("; the chain lets {ceiling} {} through", diagnosis.chain.mix.words())
    });
    let words = format!(
        "At most {} ({at} UTC), 99% of the time {} or less, half of it {} or less{room}.",
        found.peak,
        found.at_most(0.99),
        found.at_most(0.5)
    );
    let inside = format!("<p>{}</p>{}", escaped(&words), plot::concurrency(found, ceiling));
    section(out, "Requests at once", &inside);
}

fn events(out: &mut String, facts: &Facts) {
    let mut all: Vec<_> = facts.events.events.iter().collect();
    all.sort_by_key(|event| (event.first, event.cause));
    if all.is_empty() {
        return;
    }
    let mut inside = plot::events(&all);
    for event in all.iter().filter(|event| event.times.counts.is_empty()) {
        let _ = write!(inside, "<p>{}: {}, without a time</p>", escaped(event.cause.words()), event.count);
    }
    section(out, "Events in error logs", &inside);
}

fn upstreams(out: &mut String, facts: &Facts) {
    let Some(access) = facts.access.as_ref().filter(|access| !access.upstreams.is_empty()) else { return };
    let mut all: Vec<_> = access.upstreams.iter().collect();
    all.sort_by_key(|(_, upstream)| std::cmp::Reverse(upstream.took.at(0.95)));
    let mut inside = String::from(
        "<table><tr><th>upstream<th class=\"n\">requests<th class=\"n\">median<th class=\"n\">p95<th class=\"n\">p99<th class=\"n\">failed</tr>",
    );
    for (name, upstream) in all.into_iter().take(20) {
        let ms = |part: f64| format!("<td class=\"n\">{} ms", upstream.took.at(part));
        let _ = write!(
            inside,
            "<tr><td>{}<td class=\"n\">{}{}{}{}<td class=\"n\">{}</tr>",
            escaped(text::upstream(name)),
            upstream.took.count(),
            ms(0.5),
            ms(0.95),
            ms(0.99),
            upstream.failed
        );
    }
    inside.push_str("</table>");
    section(out, "Upstreams, the slowest first", &inside);
}

fn findings(out: &mut String, diagnosis: &Diagnosis) {
    if diagnosis.findings.is_empty() {
        return section(out, "Findings", &format!("<p>{}</p>", text::verdict(diagnosis)));
    }
    for (index, found) in diagnosis.findings.iter().enumerate() {
        finding(out, index + 1, found);
    }
}

fn finding(out: &mut String, number: usize, finding: &Finding) {
    let severity = finding.severity.name();
    let _ = write!(
        out,
        "<section class=\"card {}\"><h3><span>{severity}</span> {number}. {}</h3>",
        severity.to_lowercase(),
        escaped(&finding.title)
    );
    if !finding.evidence.is_empty() {
        let _ = write!(out, "<pre>{}</pre>", escaped(&finding.evidence.join("\n")));
    }
    if finding.confidence != Confidence::Certain {
        let _ = write!(out, "<p><i>Not certain: {}.</i></p>", finding.confidence.name());
    }
    let consequence = finding.consequence();
    if !consequence.is_empty() {
        let _ = write!(out, "<p>{}</p>", escaped(&consequence));
    }
    for change in &finding.changes {
        let note = if change.note.is_empty() { String::new() } else { format!("; {}", change.note) };
        let _ = write!(
            out,
            "<p class=\"change\"><code>{}</code> <span>{}: {}{}</span></p>",
            escaped(&change.setting),
            escaped(&change.place),
            change.effect.words(),
            escaped(&note)
        );
    }
    if !finding.verify.is_empty() {
        let _ = write!(
            out,
            "<p class=\"change\"><code>{}</code> <span>verifies it</span></p>",
            escaped(&finding.verify)
        );
    }
    if !finding.not_this.is_empty() {
        let _ = write!(out, "<h4>This will not help</h4>{}", list(&finding.not_this));
    }
    let _ = write!(out, "<small>plimsoll doctor --explain {}</small></section>", escaped(&finding.code));
}

fn list(lines: &[String]) -> String {
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect();
    format!("<ul>{items}</ul>")
}

/// Text that must not become markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(out, "&#{};", c as u32);
            }
            '\n' => out.push('\n'),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Blocks;
    use crate::logs::access::Reader;
    use crate::logs::error::{Scanner, Window};
    use proptest::prelude::*;

    fn page(log: &str, access: &str) -> String {
        let mut scanner = Scanner::new(Window::default());
        let mut reader = Reader::guess();
        let read = scanner.read("error.log", &mut Blocks::new(log.as_bytes())).is_ok()
            && reader.read(&mut Blocks::new(access.as_bytes())).is_ok();
        assert!(read);
        let facts = Facts { events: scanner.finish(), access: Some(reader.finish()), ..Facts::default() };
        html(&facts, &crate::diagnose::diagnose(&facts))
    }

    #[test]
    fn a_page_is_whole_by_itself() {
        let log = "2026/06/27 18:05:51 [alert] 7#7: 1024 worker_connections are not enough\n";
        let line = "1.1.1.1 - - [27/Jun/2026:18:05:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\" 2.000\n";
        let page = page(log, line);
        for words in [
            "All 1024 connection slots",
            "<svg class=\"plot\"",
            "At most 1 ",
            "<title>1 at 2026-06-27 18:05:51",
        ] {
            assert!(page.contains(words), "{words} is not in {page}");
        }
        for outside in ["http:", "https:", "src=", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}: {page}");
        }
    }

    proptest! {
        #[test]
        fn no_log_becomes_markup(text in ".{0,80}") {
            let log = format!("2026/06/27 18:05:51 [alert] 7#7: *1 5 worker_connections are not enough while connecting to upstream<script>{text}\n");
            let page = page(&log, "");
            prop_assert!(!page.contains("<script"));
            prop_assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
        }
    }
}
