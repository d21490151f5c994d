//! The report for people: 80 columns, readable without colour.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::IsTerminal;

use capacity::{Confidence, FULL, Finding, Kind, Link, Severity, draw};

use crate::diagnose::Diagnosis;
use crate::facts::Facts;

const WIDTH: usize = 80;
const BAR: usize = 20;
/// Ports towards this many destinations are shown.
const MOST_PORTS: usize = 3;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub bool);

impl Colour {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub fn of_stdout() -> Colour {
        Colour::for_terminal(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
    }

    /// An empty `NO_COLOR` is as none (no-color.org).
    fn for_terminal(terminal: bool, no_color: Option<&OsStr>) -> Colour {
        Colour(terminal && no_color.is_none_or(OsStr::is_empty))
    }

    /// Text in a colour, by its number.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Critical => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1",
        };
        self.paint(code, severity.name())
    }
}

/// The whole of it.
pub fn text(facts: &Facts, diagnosis: &Diagnosis, colour: Colour) -> String {
    let mut out = String::new();
    heading(facts).iter().for_each(|line| wrapped(&mut out, "", line));
    if !out.is_empty() {
        out.push('\n');
    }
    if !diagnosis.chain.links.is_empty() {
        chain(&mut out, facts, diagnosis, colour);
    }
    access(&mut out, facts);
    let notes = diagnosis.findings.iter().enumerate();
    notes.for_each(|(index, found)| finding(&mut out, index + 1, found, colour));
    if diagnosis.findings.is_empty() && !facts.is_empty() {
        let _ = writeln!(out, "{}", verdict(diagnosis));
        if facts.events.lines > 0 {
            out.push_str("Lines of the error logs that tell of no full link were not judged.\n");
        }
    }
    for unread in &facts.unread {
        wrapped(&mut out, "not read  ", unread);
    }
    let _ = writeln!(out, "exit {}.", diagnosis.exit_code(facts));
    out
}

/// What was looked at, a line for each kind.
pub(super) fn heading(facts: &Facts) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(running) = &facts.running {
        words.push(format!("{} {}", running.name, running.version).trim().to_owned());
        words.push(format!("master {}", running.master));
        words.push(match running.workers.len() {
            1 => "1 worker".to_owned(),
            many => format!("{many} workers"),
        });
    }
    words.extend(facts.config.as_ref().map(|config| config.path.clone()));
    let mut lines = vec![words.join(", ")];
    if !facts.events.logs.is_empty() {
        let lines_read = match facts.events.lines {
            0 => "empty".to_owned(),
            1 => "1 line".to_owned(),
            many => format!("{many} lines"),
        };
        lines.push(format!("{} of error logs, {lines_read}", draw::bytes(facts.events.bytes)));
    }
    lines.extend(others(&facts.others));
    lines.retain(|line| !line.is_empty());
    lines
}

/// Servers that run beside the one that was looked at.
fn others(all: &[String]) -> Option<String> {
    const MOST: usize = 3;
    let first = all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    let more = all.len().checked_sub(MOST).filter(|more| *more > 0);
    let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
    (!all.is_empty()).then(|| format!("not looked at: {first}{more}; --pid takes one"))
}

/// The findings in one sentence.
pub(super) fn verdict(diagnosis: &Diagnosis) -> &str {
    let first = diagnosis.findings.first().map(|finding| finding.title.as_str());
    first.unwrap_or("Nothing is wrong with what was looked at.")
}

/// `0.21 of 2 cores busy`, `1530 of 1536`; of files, which do not say how much is in use, `at most 1536`.
pub(super) fn figures(facts: &Facts, link: &Link) -> String {
    let ceiling = capacity::ceiling_words(link);
    if facts.running.is_none() && link.used == 0 {
        return format!("at most {ceiling}");
    }
    match link.kind {
        Kind::EventLoop => format!("{:.2} of {ceiling} busy", link.used as f64 / 1000.0),
        Kind::Memory => format!("{} of {ceiling}", draw::bytes(link.used)),
        _ => format!("{} of {ceiling}", link.used),
    }
}

fn chain(out: &mut String, facts: &Facts, diagnosis: &Diagnosis, colour: Colour) {
    let binding = diagnosis.chain.binding().map(|binding| binding.link.name());
    let mut ports = 0;
    for link in &diagnosis.chain.links {
        ports += usize::from(link.kind == Kind::Ports);
        if link.kind == Kind::Ports && ports > MOST_PORTS {
            continue;
        }
        let mark = match () {
            () if link.fullness() >= FULL => "FULL",
            () if binding.as_deref() == Some(link.name().as_str()) => "<- binds",
            () => "",
        };
        row(out, link, &figures(facts, link), mark, colour);
    }
    out.push('\n');
    wrapped(out, "", &diagnosis.chain.sentence());
    out.push('\n');
}

fn row(out: &mut String, link: &Link, figures: &str, mark: &str, colour: Colour) {
    const NAME: usize = 24;
    const FIGURES: usize = 21;
    let name: String = printable(&link.name()).into_iter().collect();
    let bar = draw::bar(link.fullness(), BAR);
    let mark = if mark == "FULL" { colour.paint("1;31", mark) } else { mark.to_owned() };
    // A long name has a line of its own.
    let room = (NAME + FIGURES).checked_sub(name.chars().count() + figures.chars().count());
    let (name, room) = match room {
        Some(room) => (name, room),
        None => {
            wrapped(out, "  ", &name);
            (String::new(), (NAME + FIGURES).saturating_sub(figures.chars().count()))
        }
    };
    // Figures that nobody has are cut, too.
    let figures: String = figures.chars().take(NAME + FIGURES).collect();
    let line = format!("  {name}{:room$} {figures} {bar} {mark}", "");
    let _ = writeln!(out, "{}", line.trim_end());
}

fn access(out: &mut String, facts: &Facts) {
    let Some(access) = &facts.access else { return };
    let mut words = format!("{} requests in access logs", access.requests);
    if let Some(found) = &access.concurrency {
        let at = crate::logs::moment::words(found.peak_at.div_euclid(1000));
        let _ = write!(
            words,
            ": at most {} at once ({at} UTC), p99 {}, median {}",
            found.peak,
            found.at_most(0.99),
            found.at_most(0.5)
        );
    }
    wrapped(out, "", &words);
    let mut slow: Vec<_> =
        access.upstreams.iter().filter(|(_, upstream)| upstream.took.count() > 0).collect();
    slow.sort_by_key(|(_, upstream)| std::cmp::Reverse(upstream.took.at(0.95)));
    for (name, upstream) in slow.into_iter().take(3) {
        let ms = |part: f64| upstream.took.at(part);
        let line = format!(
            "{}: median {} ms, p95 {} ms, {} failed",
            self::upstream(name),
            ms(0.5),
            ms(0.95),
            upstream.failed
        );
        wrapped(out, "  upstream ", &line);
    }
    out.push('\n');
}

/// Its name, which a `log_format` without `$upstream_addr` does not say.
pub(super) fn upstream(name: &str) -> &str {
    if name.is_empty() { "all upstreams" } else { name }
}

fn finding(out: &mut String, number: usize, finding: &Finding, colour: Colour) {
    let severity = colour.severity(finding.severity);
    // The escape codes have no width.
    let indent = format!("{number}  {} ", finding.severity.name());
    let mut title = String::new();
    wrapped(&mut title, &indent, &finding.title);
    out.push_str(&title.replacen(finding.severity.name(), &severity, 1));
    section(out, "seen", &finding.evidence);
    if finding.confidence != Confidence::Certain {
        section(out, "sure", &[format!("not certain, but {}", finding.confidence.name())]);
    }
    section(out, "means", &[finding.consequence()]);
    let changes: Vec<String> = finding.changes.iter().map(change).collect();
    section(out, "change", &changes);
    section(out, "verify", std::slice::from_ref(&finding.verify));
    section(out, "not this", &finding.not_this);
    out.push('\n');
}

fn change(change: &capacity::Change) -> String {
    let note = if change.note.is_empty() { String::new() } else { format!("; {}", change.note) };
    format!("{}   ({}: {}{note})", change.setting, change.place, change.effect.words())
}

fn section(out: &mut String, name: &str, lines: &[String]) {
    for (index, line) in lines.iter().filter(|line| !line.is_empty()).enumerate() {
        let name = if index == 0 { name } else { "" };
        wrapped(out, &format!("   {name:9} "), line);
    }
}

/// Words in lines that fit, each line after the first indented as the first.
pub(crate) fn wrapped(out: &mut String, indent: &str, text: &str) {
    let width = indent.chars().count();
    let mut line = indent.to_owned();
    let mut begun = false;
    for word in text.split(' ') {
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{}", line.trim_end());
            line = " ".repeat(width);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        begun = true;
        // A word that fits no line is cut, never lost.
        let mut rest: Vec<char> = printable(word);
        while line.chars().count() + rest.len() > WIDTH {
            let room = WIDTH.saturating_sub(line.chars().count()).max(1).min(rest.len());
            line.extend(rest.drain(..room));
            let _ = writeln!(out, "{line}");
            line = " ".repeat(width);
        }
        line.extend(rest);
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// What a log says must not command the terminal it is shown on.
fn printable(word: &str) -> Vec<char> {
    word.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_are_for_terminals_of_those_who_want_them() {
        let colour = |terminal, wish: Option<&str>| Colour::for_terminal(terminal, wish.map(OsStr::new)).0;
        assert!(colour(true, None) && colour(true, Some("")));
        assert!(!colour(true, Some("1")) && !colour(false, None));
        assert_eq!(
            (Colour(false).paint("1", "x"), Colour(true).paint("1", "x")),
            ("x".into(), "\x1b[1mx\x1b[0m".into())
        );
    }

    #[test]
    fn lines_are_indented() {
        let mut out = String::new();
        wrapped(&mut out, "   seen ", &"word ".repeat(20));
        assert!(out.lines().count() == 2 && out.lines().all(|line| line.len() <= WIDTH));
        assert!(out.lines().nth(1).is_some_and(|line| line.starts_with("        word")));
    }

    #[test]
    fn names_of_links_command_no_terminal() {
        let link = Link::new(Kind::AcceptQueue, Some(1), "").of("20\x1b[de");
        let mut out = String::new();
        row(&mut out, &link, "0 of 1", "", Colour(false));
        assert!(out.contains("accept queue 20?[de") && !out.contains('\x1b'), "{out}");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_the_terminal(text in ".{0,300}", indent in 0usize..20) {
            let mut out = String::new();
            wrapped(&mut out, &" ".repeat(indent), &text);
            prop_assert!(out.lines().all(|line| line.chars().count() <= WIDTH));
            prop_assert!(!out.contains('\x1b'));
        }
    }
}
