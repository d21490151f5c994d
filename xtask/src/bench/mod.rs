//! `bench`: what a request costs, on nginx and on Plimsoll with the same file.
//!
//! Both servers run at the same time, pinned to one processor, and take turns, so that whatever else the machine
//! does hits both. Costs are CPU time over requests, not throughput: throughput measures the load generator too.

pub mod cases;
pub mod count;
pub mod load;
pub mod process;
mod report;

use std::process::Command;

use anyhow::{Result, bail};
use testkit::{Binary, Server};

use crate::run::{has, release_build, spinner};
use cases::{CASES, Case};
use report::{Figure, Report};

const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
const IDLE: usize = 10_000;
/// Where the servers run, and where the load and the origin do.
const SERVER_PROCESSOR: usize = 0;
const LOAD_PROCESSOR: usize = 1;

/// The name of the measurement that is no [`Case`].
const IDLE_NAME: &str = "idle-10000";

/// Measures the named cases, or all.
pub fn bench(names: &[String]) -> Result<()> {
    for name in names {
        if cases::named(name).is_none() && name != IDLE_NAME {
            bail!(
                "no case {name:?}; there are {}, {IDLE_NAME}",
                CASES.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")
            );
        }
    }
    for program in ["nginx", "wrk", "taskset"] {
        if !has(program) {
            bail!("{program} is not installed: cargo xtask setup");
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    with_plimsoll("bench", names, || {
        let mut report = Report::default();
        for case in CASES.iter().filter(|case| wanted(case.name)) {
            measure(case, &mut report)?;
        }
        if wanted(IDLE_NAME) {
            report.add(IDLE_NAME, "bytes/connection", idle()?);
        }
        report.print();
        report.save()
    })
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

fn measure(case: &Case, report: &mut Report) -> Result<()> {
    let origin = Binary::Nginx.serve(cases::origin());
    process::pin(&origin, LOAD_PROCESSOR)?;
    let address = format!("127.0.0.1:{}", origin.port());
    report.add(case.name, "CPU us/request", cpu(case, &address)?);
    if has("strace") {
        let calls = |binary| count::system_calls(binary, case, &address);
        report.add(
            case.name,
            "system calls",
            Figure::single(calls(Binary::Nginx)?, calls(Binary::Plimsoll)?),
        );
    }
    if has("valgrind") {
        let spin = spinner(&format!("{}: instructions", case.name));
        let (nginx, plimsoll) =
            (count::work(Binary::Nginx, case, &address)?, count::work(Binary::Plimsoll, case, &address)?);
        spin.finish_and_clear();
        report.add(case.name, "instructions", Figure::single(nginx.instructions, plimsoll.instructions));
        report.add(case.name, "allocations", Figure::single(nginx.allocations, plimsoll.allocations));
    }
    Ok(())
}

/// CPU microseconds per request, in rounds that alternate.
fn cpu(case: &Case, origin: &str) -> Result<Figure> {
    let start = |binary: Binary| -> Result<Server> {
        let server = binary.serve(case.site(origin, false));
        process::pin(&server, SERVER_PROCESSOR)?;
        load::wrk(&server, case, LOAD_PROCESSOR, 1)?;
        Ok(server)
    };
    let (nginx, plimsoll) = (start(Binary::Nginx)?, start(Binary::Plimsoll)?);
    let spin = spinner(&format!("{}: CPU", case.name));
    let mut figure = Figure::default();
    for _ in 0..ROUNDS {
        figure.push(cpu_round(&nginx, case)?, cpu_round(&plimsoll, case)?);
    }
    spin.finish_and_clear();
    Ok(figure)
}

fn cpu_round(server: &Server, case: &Case) -> Result<f64> {
    let before = process::cpu_nanoseconds(server)?;
    let requests = load::wrk(server, case, LOAD_PROCESSOR, SECONDS)?;
    let after = process::cpu_nanoseconds(server)?;
    Ok((after - before) as f64 / 1000.0 / requests as f64)
}

/// Bytes of server memory per connection that waits for its next request.
fn idle() -> Result<Figure> {
    let spin = spinner(IDLE_NAME);
    let case = &CASES[0];
    let grown = |binary: Binary| -> Result<f64> {
        let server = binary.serve(case.site("127.0.0.1:1", false));
        drop(load::idle(&server, 50));
        let before = process::memory(&server)?;
        let clients = load::idle(&server, IDLE);
        let after = process::memory(&server)?;
        drop(clients);
        Ok(after.saturating_sub(before) as f64 / IDLE as f64)
    };
    let mut figure = Figure::default();
    for _ in 0..3 {
        figure.push(grown(Binary::Nginx)?, grown(Binary::Plimsoll)?);
    }
    spin.finish_and_clear();
    Ok(figure)
}
