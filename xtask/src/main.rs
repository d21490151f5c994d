//! What a contributor and CI run, as `cargo xtask <command>`. Each file is one command.
#![forbid(unsafe_code)]

mod bench;
mod budget;
mod ci;
mod diff;
mod fuzz;
mod lab;
mod overload;
mod run;
mod setup;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <command>

  setup            install what tests and benchmarks need (apt, pip, npm)
  test [ARG..]     setup, then all tests; arguments go to cargo test
  ci               everything that gates a change: fmt, clippy, test, deny, doc, fuzz, budget, tidy
  tidy             the rules of this source tree that no compiler checks
  deny             licences, advisories and sources of dependencies
  fuzz [SECONDS]   every fuzz target for this long (20 s)
  budget           instructions per request against xtask/budgets.toml (callgrind)
  diff gate        configurations and requests by chance, on nginx and Plimsoll; fixed seeds
  diff case SEED   one of them, with its text
  diff SECONDS SEED    as many as fit, from this seed on; SEED is 17, access-17 or all-17, by curl 17+h2, +tls, +h2tls; NGINX=PATH: against that nginx
  lab [NAME..]     incidents made with a real nginx; the doctor must name the right link
  overload [--quick] [NAME..]   more load than there is room for, on nginx and Plimsoll: who got what
  overload gate    the same, short and without nginx: everybody gets an answer
  bench [--cpu] [--latency] [--counts] [--rounds=N] [--seconds=N] [CASE..]
                   what a request costs, nginx (or $NGINX) and Plimsoll in turn
  bench all        every case, growth and worst, and docs/bench.md of them
  bench list       the cases
  bench growth [AXIS..]   what a request costs while something grows to 10,000
  bench worst      requests made to be dear
  bench document   docs/bench.md and its pictures from what was measured
";

fn main() -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    env::set_current_dir(run::root())?;
    match command.as_str() {
        "setup" => setup::setup(),
        "test" => test::test(&rest),
        "ci" => ci::ci(),
        "tidy" => tidy::tidy(),
        "deny" => ci::deny(),
        "fuzz" => fuzz::fuzz(&rest),
        "budget" => budget::budget(),
        "diff" => diff::diff(&rest),
        "overload" => overload::overload(&rest),
        "lab" => lab::lab(&rest),
        "bench" => bench::bench(&rest),
        "" | "-h" | "--help" | "help" => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("no command {other:?}\n\n{USAGE}"),
    }
}
