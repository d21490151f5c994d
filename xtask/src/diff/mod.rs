//! `diff`: configurations and requests by chance on Plimsoll and on nginx, and every difference between the two.
//!
//! A seed is a case: one configuration and some connections, about everything (`17`) or about a theme (`access-17`).
//! With `+h2`, `+tls` or `+h2tls` behind it, curl sends what it can of the requests over HTTP/2, TLS, or both.
//! A difference counts when it comes three times with the same text; one that does not is a matter of timing, printed
//! and counted apart. The environment's `NGINX` names another oracle than Debian's: where versions of nginx differ, the
//! newest is right, and an older one is not asked.

mod answer;
mod config;
mod dice;
mod oracle;
mod peers;
mod run;
mod seed;
mod site;
mod themes;
mod traffic;
mod way;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use testkit::Binary;

use self::oracle::Oracle;
use self::run::{Outcome, World, run};
use self::seed::Seed;
use self::way::Way;
use crate::bench::with_plimsoll;
use crate::run::has;

/// The gate: plain seeds up to this, themed ones up to that, and how long all may take.
const GATE: (u64, u64, Duration) = (300, 9, Duration::from_secs(120));
/// Connections of a case.
const CONNECTIONS: usize = 14;
/// How often a difference must come.
const TIMES: usize = 3;

/// `diff gate | diff case SEED | diff SECONDS SEED`.
pub fn diff(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run: Box<dyn FnOnce() -> Result<()>> = match words[..] {
        ["gate"] => Box::new(|| {
            let (plain, themed, most) = GATE;
            let seeds = (1..=plain).map(Seed::plain).chain((1..=themed).flat_map(Seed::themed));
            let seeds = Seed::curled(1).chain(seeds);
            sweep(seeds, most)
        }),
        ["case", seed] => {
            let seed = seed.parse()?;
            Box::new(move || one(seed))
        }
        [seconds, first] => {
            let most =
                Duration::from_secs(seconds.parse().with_context(|| format!("{seconds:?} is no number"))?);
            let seeds: Box<dyn Iterator<Item = Seed>> = match first.strip_prefix("all-") {
                // One of each theme, again and again.
                Some(first) => {
                    let (way, first) = Way::of(first);
                    Box::new((first.parse()?..).flat_map(Seed::themed).map(move |seed| seed.by(way)))
                }
                None => {
                    Box::new(std::iter::successors(Some(first.parse::<Seed>()?), |seed| Some(seed.next())))
                }
            };
            Box::new(move || sweep(seeds, most))
        }
        _ => bail!("diff gate | diff case SEED | diff SECONDS SEED"),
    };
    with_plimsoll("diff", arguments, run)
}

/// What CI runs: always the same cases.
pub fn gate() -> Result<()> {
    if !has("nginx") {
        eprintln!("SKIPPED: diff: nginx is not installed (cargo xtask setup)");
        return Ok(());
    }
    eprintln!("==> diff gate");
    diff(&["gate".to_owned()])
}

/// Runs seed after seed; fails if one differs.
fn sweep(seeds: impl Iterator<Item = Seed>, most: Duration) -> Result<()> {
    let (world, oracle) = (World::new(), Oracle::find()?);
    let end = Instant::now() + most;
    let (mut cases, mut unsteady, mut found) = (0, 0, Vec::new());
    for seed in seeds {
        if Instant::now() > end {
            break;
        }
        cases += 1;
        match judge(&world, &oracle, seed) {
            Verdict::Same => {}
            Verdict::Unsteady(text) => {
                unsteady += 1;
                eprintln!("seed {seed}: not again:\n{text}");
            }
            Verdict::Differs(text) => {
                eprintln!("seed {seed} differs:\n{text}");
                found.push(seed.to_string());
            }
        }
    }
    eprintln!(
        "    diff: {cases} configurations, {} connections, {} differ, {unsteady} not again",
        cases * CONNECTIONS,
        found.len()
    );
    if !found.is_empty() {
        bail!("differences: cargo xtask diff case SEED, with SEED one of {}", found.join(" "));
    }
    Ok(())
}

/// One case with everything it has to show.
fn one(seed: Seed) -> Result<()> {
    let oracle = Oracle::find()?;
    let (text, traffic) = case(&oracle, seed);
    println!("{text}");
    for bytes in traffic {
        println!("{:?}", String::from_utf8_lossy(&bytes));
    }
    match judge(&World::new(), &oracle, seed) {
        Verdict::Same => println!("no difference"),
        Verdict::Unsteady(text) => println!("not again:\n{text}"),
        Verdict::Differs(text) => bail!("differs:\n{text}"),
    }
    Ok(())
}

/// What belongs to a seed, as far as the oracle knows it.
fn case(oracle: &Oracle, seed: Seed) -> (String, Vec<Vec<u8>>) {
    let (mut dice, themes) = seed.dice();
    let text = oracle.configuration(config::generate(&mut dice, themes));
    let text = seed.way.configuration(&text);
    let traffic = (0..CONNECTIONS).map(|_| oracle.traffic(traffic::connection(&mut dice, themes))).collect();
    (text, traffic)
}

enum Verdict {
    Same,
    Unsteady(String),
    Differs(String),
}

fn judge(world: &World, oracle: &Oracle, seed: Seed) -> Verdict {
    let (text, traffic) = case(oracle, seed);
    let mut before: Option<String> = None;
    for _ in 0..TIMES {
        let ours = run(Binary::Plimsoll, world, &text, &traffic, seed.way);
        let theirs = run(Binary::Nginx, world, &text, &traffic, seed.way);
        match (difference(&ours, &theirs, &traffic), before) {
            (None, None) => return Verdict::Same,
            (None, Some(text)) => return Verdict::Unsteady(text),
            (Some(now), Some(then)) if now != then => return Verdict::Unsteady(now),
            (Some(now), _) => before = Some(now),
        }
    }
    before.map_or(Verdict::Same, Verdict::Differs)
}

/// The first thing in which the two differ.
fn difference(ours: &Outcome, theirs: &Outcome, traffic: &[Vec<u8>]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let (
        Outcome::Served { answers, access, errors, files },
        Outcome::Served { answers: answers_n, access: access_n, errors: errors_n, files: files_n },
    ) = (ours, theirs)
    else {
        return Some(format!("  plimsoll: {}\n  nginx:    {}", ours.start(), theirs.start()));
    };
    for ((ours, theirs), sent) in answers.iter().zip(answers_n).zip(traffic) {
        if ours != theirs {
            let sent = String::from_utf8_lossy(sent);
            return Some(format!("  sent:     {sent:?}\n  plimsoll: {ours:?}\n  nginx:    {theirs:?}"));
        }
    }
    lines("access log", access, access_n)
        .or_else(|| lines("error log", errors, errors_n))
        .or_else(|| lines("files", files, files_n))
}

/// The lines that only one has.
fn lines(what: &str, ours: &[String], theirs: &[String]) -> Option<String> {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let mut those = those.to_vec();
        let missing = |line: &&String| match those.iter().position(|other| other == *line) {
            Some(at) => {
                those.swap_remove(at);
                false
            }
            None => true,
        };
        these.iter().filter(missing).cloned().collect()
    };
    let (a, b) = (only(ours, theirs), only(theirs, ours));
    (!a.is_empty() || !b.is_empty()).then(|| {
        format!(
            "  {what}\n  plimsoll: {}\n  nginx:    {}",
            a.join("\n            "),
            b.join("\n            ")
        )
    })
}
