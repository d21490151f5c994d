//! `ci`: what a change must pass, in the order in which it fails soonest.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, has, quietly, step, target};
use crate::{budget, diff, fuzz, overload, setup, test, tidy};

/// How long each fuzz target runs here, in seconds.
const FUZZ_SECONDS: u64 = 10;

/// Runs all of it; the first failure ends it.
pub fn ci() -> Result<()> {
    tidy::tidy()?;
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step("clippy", &mut cargo(&clippy))?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    step("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    deny()?;
    setup::setup()?;
    fuzz::run_all(FUZZ_SECONDS)?;
    budget::budget()?;
    diff::gate()?;
    overload::gate()?;
    let seats = ["test", "-p", "capacity", "--locked", "--features", "loom", "--test", "seats"];
    step("every interleaving of the seat pool", &mut cargo(&seats))?;
    // Last, so that the count of tests is the last thing to be read.
    test::test(&[])
}

/// Licences, sources, bans and advisories, as `deny.toml` says.
pub fn deny() -> Result<()> {
    let tool = match cargo_deny() {
        Ok(tool) => tool,
        Err(e) => {
            eprintln!("SKIPPED: dependencies: cargo-deny is not here and cannot be built: {e:#}");
            return Ok(());
        }
    };
    let check = |what: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(["--log-level", "error", "check", "--hide-inclusion-graph"]).args(what);
        command
    };
    step("dependencies", &mut check(&["bans", "licenses", "sources"]))?;
    if quietly("fetching the advisories", Command::new(&tool).args(["fetch", "db"])).is_err() {
        eprintln!("SKIPPED: advisories: their database cannot be reached from here");
        return Ok(());
    }
    step("advisories", &mut check(&["advisories"]))
}

/// cargo-deny from `PATH`, else built once into the target folder.
fn cargo_deny() -> Result<PathBuf> {
    if has("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let tools = target().join("tools");
    let tool = tools.join("bin/cargo-deny");
    if !tool.is_file() {
        let mut install =
            cargo(&["install", "--quiet", "--locked", "cargo-deny", "--version", "^0.20", "--root"]);
        quietly("cargo install cargo-deny (once)", install.arg(&tools).env_remove("RUSTFLAGS"))?;
    }
    Ok(tool)
}
