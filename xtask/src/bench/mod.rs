//! `bench`: what a request costs, on nginx and on Plimsoll with the same file, and on haproxy where it has the like.
//!
//! The servers run at the same time, pinned to one processor, and take turns, so that whatever else the machine
//! does hits all of them. Costs are CPU time over requests, not throughput: throughput measures the load generator
//! too. Results are kept in the target folder case by case, so that a run of some cases completes an earlier one.

pub mod cases;
pub mod count;
mod document;
mod growth;
mod haproxy;
mod latency;
pub mod load;
mod measure;
mod picture;
pub mod process;
mod report;
mod start;
mod tls;
pub mod worst;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::run::{has, release_build};
use cases::CASES;
use measure::{Plan, SPECIAL};
use report::Report;

/// Measures what the arguments name; see [`crate::USAGE`].
pub fn bench(arguments: &[String]) -> Result<()> {
    match arguments.first().map(String::as_str) {
        Some("document") => return document::write(&Report::load()?),
        Some("list") => {
            list();
            return Ok(());
        }
        _ => {}
    }
    let plan = Plan::from_arguments(arguments)?;
    for program in ["nginx", "wrk", "taskset"] {
        if !has(program) {
            bail!("{program} is not installed: cargo xtask setup");
        }
    }
    with_plimsoll("bench", arguments, move || match plan.names.first().map(String::as_str) {
        Some("growth") => growth::growth(&plan.names[1..]),
        Some("worst") => worst::worst(),
        Some("all") => all(&plan.of_every_case()),
        _ => measure::measure(&plan),
    })
}

/// Everything that docs/bench.md shows, and the page. What failed is told at the end, and left out.
fn all(plan: &Plan) -> Result<()> {
    let begun = Instant::now();
    Report::forget()?;
    let mut failed = Vec::new();
    let steps: [(&str, &dyn Fn() -> Result<()>); 3] = [
        ("cases", &|| measure::measure(plan)),
        ("growth", &|| growth::growth(&[])),
        ("worst", &|| worst::worst()),
    ];
    for (name, step) in steps {
        if let Err(error) = step() {
            eprintln!("FAILED: {name}: {error:#}");
            failed.push(name);
        }
        eprintln!("{name}: {} s since the beginning", begun.elapsed().as_secs());
    }
    document::write(&Report::load()?)?;
    if !failed.is_empty() {
        bail!("not measured to the end: {}", failed.join(", "));
    }
    Ok(())
}

fn list() {
    for case in CASES {
        println!("{:<18} {}", case.name, case.about);
    }
    for (name, about) in SPECIAL {
        println!("{name:<18} {about}");
    }
    println!("{:<18} all of these, growth and worst, and docs/bench.md of them", "all");
    println!("{:<18} the price of a request with 1 to 10,000 of something", "growth");
    println!("{:<18} requests made to be dear", "worst");
}

/// Sees to it that testkit finds a release build: it looks for the program in `PLIMSOLL`, which cannot be set from
/// here without `unsafe`, so this command is run once more with it.
pub fn with_plimsoll(command: &str, arguments: &[String], run: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os("PLIMSOLL").is_some() {
        return run();
    }
    let built = release_build()?;
    let mut again = Command::new(std::env::current_exe()?);
    let status = again.arg(command).args(arguments).env("PLIMSOLL", built).status()?;
    if !status.success() {
        bail!("{command} failed");
    }
    Ok(())
}
