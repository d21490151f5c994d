//! `overload`: more load than there is room for, on nginx and Plimsoll with the same file, and who got what.
//!
//! Plimsoll must not break a connection, answer 500 or leave anybody without an answer, and must be itself again when
//! the load has gone. What nginx does stands beside it.

mod chain;
mod crowd;
mod load;
mod slots;
mod stage;

use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::Binary;

use self::load::Outcome;
use self::stage::{Row, Stage, Wanted};
use crate::bench::with_plimsoll;

/// A story: what is configured, and what happens then.
struct Scenario {
    name: &'static str,
    /// What is short.
    about: &'static str,
    play: fn(&Stage) -> Result<Vec<Row>>,
}

const fn scenario(name: &'static str, about: &'static str, play: fn(&Stage) -> Result<Vec<Row>>) -> Scenario {
    Scenario { name, about, play }
}

const SCENARIOS: &[Scenario] = &[
    scenario("tiny", "4 slots, 100 clients through a proxy", slots::tiny),
    scenario("slots", "slots bind, a proxied request holds them for a while: 1x, 10x, 1x", slots::slots),
    scenario("cpu", "answers from memory, the processor binds: 1x, 10x", slots::cpu),
    scenario("slow", "the upstream takes 10 ms, then 5 s (2 in short), then 10 ms", slots::slow),
    scenario("fallback", "error_page into another proxied location when full", slots::fallback),
    scenario("retries", "every request is tried at a dead server first, at the limit", slots::retries),
    scenario("loop", "a location that passes requests to itself, and one that answers", slots::proxy_loop),
    scenario("log", "no room for a log line (ENOSPC), slots bind", slots::full_log),
    scenario("descriptors", "a hard limit of 256 descriptors, 2000 clients, files", chain::descriptors),
    scenario("eaten", "128 descriptors, open_file_cache keeps files open", chain::eaten),
    scenario("backlog", "an accept queue of 16, slots bind", chain::backlog),
    scenario("upstream-queue", "gunicorn on a unix socket, --backlog 8", chain::upstream_queue),
    scenario("idle", "idle clients hold every slot, others ask", crowd::idle),
    scenario("wake", "idle clients all ask at once, through a proxy", crowd::wake),
    scenario("slowloris", "heads that drip in hold every slot, others ask", crowd::slowloris),
];

/// How a performance is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Long and at full size; rates count, too.
    Full,
    /// Short and small: rates are to be near what they should be, even of a build without optimisation.
    Quick,
    /// Short and small, without nginx: who got what is all that counts, so that it says the same on a busy machine.
    Gate,
}

/// Plays all scenarios, or those named; `--quick`: shorter and smaller; `gate`: what CI runs.
pub fn overload(arguments: &[String]) -> Result<()> {
    let has = |word: &str| arguments.iter().any(|a| a == word);
    let form = match (has("gate"), has("--quick")) {
        (true, _) => Form::Gate,
        (_, true) => Form::Quick,
        _ => Form::Full,
    };
    let names: Vec<&String> =
        arguments.iter().filter(|a| !["--quick", "gate"].contains(&a.as_str())).collect();
    if let Some(unknown) = names.iter().find(|name| SCENARIOS.iter().all(|s| s.name != **name)) {
        bail!("no scenario {unknown:?}");
    }
    with_plimsoll("overload", arguments, || play(form, &names))
}

/// What CI runs: each scenario in a short form.
pub fn gate() -> Result<()> {
    eprintln!("==> overload gate");
    overload(&["gate".to_owned()])
}

fn play(form: Form, names: &[&String]) -> Result<()> {
    many_descriptors();
    println!(
        "{:<34} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>5} {:>7}",
        "", "200", "503", "500", "50x", "broken", "silent", "200/s", "us/200", "cpu %", "connections"
    );
    let mut faults = Vec::new();
    for scenario in SCENARIOS.iter().filter(|s| names.is_empty() || names.iter().any(|n| *n == s.name)) {
        println!("{}: {}", scenario.name, scenario.about);
        let binaries = if form == Form::Gate { vec![Binary::Plimsoll] } else { Binary::wanted() };
        for binary in binaries {
            let rows = (scenario.play)(&Stage { binary, quick: form != Form::Full })?;
            rows.iter().for_each(|row| show(binary, row, &rows));
            if binary == Binary::Plimsoll {
                faults.extend(check(&rows, form).into_iter().map(|f| format!("{}: {f}", scenario.name)));
            }
        }
    }
    match faults.len() {
        0 => Ok(()),
        _ => bail!("{}", faults.join("\n")),
    }
}

/// Clients have one each, and are many.
fn many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer, fewer clients come.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn show(binary: Binary, row: &Row, rows: &[Row]) {
    let Outcome { ok, refused, failed, gateway, broken, silent, connections } = row.outcome;
    println!(
        "  {:<9} {:<22} {ok:>7} {refused:>7} {failed:>6} {gateway:>6} {broken:>6} {silent:>6} {:>7.0} {:>6.0} {:>5.0} {connections:>7}",
        binary.name(),
        row.phase,
        row.rate(),
        row.cost(),
        row.processor()
    );
    if let Some((_, of)) = row.at_least {
        let ratio = row.rate() / figure(rows, of, Row::rate);
        println!("  {:<9} {:<22} {ratio:.2} of the rate of {of:?}", "", "");
    }
    row.notes.iter().for_each(|note| println!("  {:<9} {:<22} {note}", "", ""));
}

/// What Plimsoll must not do.
fn check(rows: &[Row], form: Form) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        let Outcome { ok, refused, failed, gateway, broken, silent, .. } = row.outcome;
        let wrong = failed + gateway + broken + silent > 0
            || (ok == 0 && row.wanted != Wanted::Answers)
            || (refused > 0 && row.wanted == Wanted::Served && form != Form::Gate);
        if wrong {
            faults.push(format!("{}: {:?}", row.phase, row.outcome));
        }
        if form != Form::Gate {
            faults.extend(too_slow(row, rows));
        }
        faults.extend(row.fault.iter().map(|fault| format!("{}: {fault}", row.phase)));
    }
    faults
}

/// What was measured in a phase of this name.
fn figure(rows: &[Row], phase: &str, of: fn(&Row) -> f64) -> f64 {
    rows.iter().find(|row| row.phase == phase).map_or(0.0, of)
}

/// What is wrong with how fast it was, measured by another phase.
fn too_slow(row: &Row, rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some((part, of)) = row.at_least {
        let least = figure(rows, of, Row::rate) * part;
        if row.rate() < least {
            // On a busy machine it may have had less of the processor.
            let (had, before) = (row.processor(), figure(rows, of, Row::processor));
            let (phase, rate) = (row.phase, row.rate());
            faults.push(format!(
                "{phase}: {rate:.0} a second, not {least:.0} (with {had:.0} % of a processor, {before:.0} % before)"
            ));
        }
    }
    if let Some((times, of)) = row.at_most {
        let most = figure(rows, of, Row::cost) * times;
        if row.cost() > most {
            faults.push(format!("{}: {:.1} us for each answer, not {most:.1}", row.phase, row.cost()));
        }
    }
    faults
}

/// Long enough for a moment's accident not to count.
const LONG: Duration = Duration::from_secs(5);
