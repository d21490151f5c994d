//! `bench document`: docs/bench.md and its pictures, from the figures that earlier runs left in the target folder.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use testkit::Binary;

use super::cases::{CASES, Case};
use super::growth;
use super::measure::SPECIAL;
use super::picture;
use super::report::{Report, Row, Spread, median};
use super::worst;
use crate::run::root;

/// Writes them.
pub fn write(report: &Report) -> Result<()> {
    let docs = root().join("docs");
    fs::write(docs.join("bench.svg"), picture::ratios(report)).context("docs/bench.svg")?;
    fs::write(docs.join("growth.svg"), picture::growth(&growth::measured())).context("docs/growth.svg")?;
    fs::write(docs.join("bench.md"), text(report)).context("docs/bench.md")?;
    println!("docs/bench.md, docs/bench.svg, docs/growth.svg");
    Ok(())
}

fn text(report: &Report) -> String {
    let mut text = String::from(INTRODUCTION);
    let _ = writeln!(text, "{}\n", circumstances(report));
    text.push_str("![CPU time per request, Plimsoll by nginx](bench.svg)\n\n");
    costs(&mut text, report);
    counts(&mut text, report);
    latencies(&mut text, report);
    special(&mut text, report);
    growing(&mut text, report);
    worst_cases(&mut text);
    text
}

const INTRODUCTION: &str = "# Benchmark

What a request costs on nginx and on Plimsoll with the same file, and on haproxy where it has the like. Anyone can
measure it anew: `cargo xtask bench all` does everything below and writes this page, in some twenty minutes. The files set
keep-alive, HTTP version, buffers and logs explicitly. The servers run pinned to one core, load and origin to the other,
round by round in turn. What was learned from the figures is in [performance.md](performance.md).

";

fn circumstances(report: &Report) -> String {
    let mut dates: Vec<&str> = report.rows.iter().map(|row| row.date.as_str()).collect();
    dates.sort_unstable();
    dates.dedup();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = processor.map_or("", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Measured on {}: {cores} cores ({processor}), Linux {}, {}, {}.",
        dates.join(", "),
        kernel.trim(),
        version(&Binary::Nginx.path().to_string_lossy(), "-v"),
        version("haproxy", "-v"),
    )
}

/// The first line a program says of itself, without what is not its version.
fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return format!("no {program}") };
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
    line.trim_start_matches("nginx version: ").split(" - ").next().unwrap_or_default().to_owned()
}

/// The cases and their rows of this quantity.
fn rows<'a>(report: &'a Report, unit: &'a str) -> impl Iterator<Item = (&'static Case, &'a Row)> {
    CASES.iter().filter_map(move |case| Some((case, report.row(case.name, unit)?)))
}

fn costs(text: &mut String, report: &Report) {
    text.push_str("## CPU time\n\nMicroseconds per request, user and system, of all processes of the server; the median of the rounds. The\nratio is Plimsoll's by nginx's within a round: its median, and its extremes.\n\n");
    text.push_str("| case | | nginx | Plimsoll | haproxy | ratio | spread | budget |\n|---|---|---|---|---|---|---|---|\n");
    for (case, row) in rows(report, "CPU us/request") {
        let budget = case.budget.map_or_else(String::new, |budget| {
            format!("{budget:.2}{}", if row.ratio.median <= budget { "" } else { " missed" })
        });
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | **{:.2}** | {:.2}-{:.2} | {budget} |",
            case.name,
            case.about,
            median(&row.figure.nginx),
            median(&row.figure.plimsoll),
            median(&row.figure.haproxy),
            row.ratio.median,
            row.ratio.least,
            row.ratio.most
        );
    }
    text.push('\n');
}

fn counts(text: &mut String, report: &Report) {
    text.push_str("## What does not depend on the machine's mood\n\nPer request that comes alone: user instructions (callgrind), calls of the allocator, system calls (strace); nginx / Plimsoll.\n\n");
    text.push_str("| case | instructions | ratio | allocations | system calls |\n|---|---|---|---|---|\n");
    for (case, row) in rows(report, "instructions") {
        let pair = |unit: &str| {
            let row = report.row(case.name, unit);
            row.map_or("-".to_owned(), |r| {
                format!("{} / {}", median(&r.figure.nginx), median(&r.figure.plimsoll))
            })
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {:.2} | {} | {} |",
            case.name,
            pair("instructions"),
            row.ratio.median,
            pair("allocations"),
            pair("system calls")
        );
    }
    text.push('\n');
}

fn latencies(text: &mut String, report: &Report) {
    text.push_str("## Latency\n\nMicroseconds at 70 % of the greatest rate that nginx reached, requests at fixed times whether or not earlier ones have\nbeen answered, counted from when each was due; nginx / Plimsoll, medians of the rounds.\n\n");
    text.push_str("| case | p50 | p99 | p99.9 | p99.9 ratio |\n|---|---|---|---|---|\n");
    let reload = ("reload", report.row("reload", "p99.9 us"));
    let all = rows(report, "p99.9 us").map(|(case, row)| (case.name, Some(row))).chain([reload]);
    for (name, row) in all.filter_map(|(name, row)| Some((name, row?))) {
        let pair = |unit: &str| {
            let row = report.row(name, unit);
            row.map_or("-".to_owned(), |r| {
                format!("{} / {}", median(&r.figure.nginx), median(&r.figure.plimsoll))
            })
        };
        let (p50, p99, p999) = (pair("p50 us"), pair("p99 us"), pair("p99.9 us"));
        let _ = writeln!(text, "| `{name}` | {p50} | {p99} | {p999} | {:.2} |", row.ratio.median);
    }
    text.push_str(
        "\n`reload`: `return` at half that rate while the configuration is loaded five times a second.\n",
    );
    if let Some(row) = report.row("reload", "closed under a request") {
        let _ = writeln!(
            text,
            "Connections closed under a request meanwhile, so that the client had to ask again: {} / {}.",
            median(&row.figure.nginx),
            median(&row.figure.plimsoll)
        );
    }
    text.push('\n');
}

fn special(text: &mut String, report: &Report) {
    text.push_str(
        "## Memory\n\nBytes of server memory (Pss) for each connection that waits for its next request.\n\n",
    );
    text.push_str("| connections | nginx | Plimsoll | ratio |\n|---|---|---|---|\n");
    for (name, _) in SPECIAL {
        let (row, count) = (report.row(name, "bytes/connection"), report.row(name, "connections"));
        if let (Some(row), Some(count)) = (row, count) {
            let figure = &row.figure;
            let (nginx, plimsoll) = (median(&figure.nginx), median(&figure.plimsoll));
            let count = median(&count.figure.plimsoll);
            let _ = writeln!(text, "| {count} | {nginx} | {plimsoll} | {:.2} |", row.ratio.median);
        }
    }
    extrapolated(text, report);
}

/// What a machine that allows fewer connections lets one expect of 100,000.
fn extrapolated(text: &mut String, report: &Report) {
    const WANTED: f64 = 100_000.0;
    let middle = |values: &[f64]| Spread::of(values).median;
    let measured = |name: &str| {
        let count = report.row(name, "connections")?.figure.plimsoll.first().copied()?;
        let figure = &report.row(name, "bytes/connection")?.figure;
        Some((count, [middle(&figure.nginx), middle(&figure.plimsoll)]))
    };
    let (Some((few, low)), Some((many, high))) = (measured("idle-10000"), measured("idle-100000")) else {
        return;
    };
    if many <= few || many >= WANTED {
        return;
    }
    // The total as a straight line through both.
    let each = |low: f64, high: f64| {
        let slope = (high * many - low * few) / (many - few);
        (low * few + slope * (WANTED - few)) / WANTED
    };
    let (nginx, plimsoll) = (each(low[0], high[0]), each(low[1], high[1]));
    let ratio = plimsoll / nginx;
    let _ = writeln!(text, "| 100000, by extrapolation | {nginx:.1} | {plimsoll:.1} | {ratio:.2} |");
    let _ = writeln!(
        text,
        "\nThis machine allows a process {many} connections and what they need, so that 100,000 were not tried: that line is\nthe straight one through the totals of the other two."
    );
}

fn growing(text: &mut String, report: &Report) {
    text.push_str("\n## As something grows\n\nUser instructions of a request (callgrind), nginx / Plimsoll; a request should cost as much with 10,000 as with one.\nSmooth weighted round robin looks at every server of a group in nginx; expressions are tried one after the other in both.\n\n![The price of a request as something grows](growth.svg)\n\n");
    text.push_str("| | 1 | 10 | 100 | 1,000 | 10,000 |\n|---|---|---|---|---|---|\n");
    for line in growth::measured() {
        let _ = write!(text, "| {} |", line.title());
        for index in 0..5 {
            let at = |values: &[f64]| median(values.get(index..=index).unwrap_or_default());
            let _ = write!(text, " {} / {} |", at(&line.nginx), at(&line.plimsoll));
        }
        text.push('\n');
    }
    text.push_str("\nMilliseconds of processor time with 10,000 servers, until the first answer:\n\n| | nginx | Plimsoll | ratio | spread |\n|---|---|---|---|---|\n");
    for (unit, about) in
        [("start ms", "after the start"), ("reload ms", "by the configuration that was loaded anew")]
    {
        let Some(row) = report.row("start", unit) else { continue };
        let (nginx, plimsoll) = (median(&row.figure.nginx), median(&row.figure.plimsoll));
        let ratio = row.ratio;
        let _ = writeln!(
            text,
            "| {about} | {nginx} | {plimsoll} | {:.2} | {:.2}-{:.2} |",
            ratio.median, ratio.least, ratio.most
        );
    }
}

fn worst_cases(text: &mut String) {
    text.push_str("\n## Requests made to be dear\n\nUser instructions of an ordinary request and of one that was made to be dear, and how many times as much it takes.\n\n");
    text.push_str("| | nginx | times | Plimsoll | times |\n|---|---|---|---|---|\n");
    for price in worst::measured() {
        let pair =
            |(ordinary, worst): (f64, f64)| format!("{ordinary:.0}, {worst:.0} | {:.1}", worst / ordinary);
        let _ = writeln!(text, "| {} | {} | {} |", price.about, pair(price.nginx), pair(price.plimsoll));
    }
}
