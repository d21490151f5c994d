//! `fuzz`: each target of `fuzz/` for a while.
//!
//! cargo-fuzz needs a nightly compiler only for the address sanitizer. Our code has no `unsafe` to speak of, so
//! coverage is what matters, and that a stable compiler can do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, root, step, target};

/// What cargo-fuzz passes, less the sanitizer; overflow and debug checks stay on, since they are what finds.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";
const HOST: &str = env!("XTASK_HOST");

/// `fuzz [SECONDS]`.
pub fn fuzz(arguments: &[String]) -> Result<()> {
    let seconds = arguments.first().map_or(Ok(20), |text| text.parse()).context("SECONDS is a number")?;
    run_all(seconds)
}

/// Builds all targets and runs each for so many seconds.
pub fn run_all(seconds: u64) -> Result<()> {
    let targets = targets()?;
    let folder = target().join("fuzz");
    // With an explicit target, RUSTFLAGS are kept away from build scripts, which could not link with them.
    let mut build =
        cargo(&["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", HOST]);
    build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder);
    step("fuzz targets", &mut build)?;
    eprintln!("==> fuzz, {seconds} s each");
    // Two at a time: each uses one core.
    for pair in targets.chunks(2) {
        let running = pair.iter().map(|name| begin(name, seconds, &folder)).collect::<Result<Vec<_>>>()?;
        for (name, mut child) in pair.iter().zip(running) {
            let status = child.wait()?;
            if !status.success() {
                bail!("fuzz {name} failed ({status}); what it failed on is in {}", folder.display());
            }
            eprintln!("    {name}: done");
        }
    }
    Ok(())
}

fn begin(name: &str, seconds: u64, folder: &Path) -> Result<Child> {
    let corpus = root().join("fuzz/corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let mut run = Command::new(folder.join(HOST).join("release").join(name));
    run.arg(&corpus).args(seeds(name));
    run.arg(format!("-max_total_time={seconds}")).args(["-timeout=5", "-rss_limit_mb=1024", "-verbosity=0"]);
    run.arg(format!("-artifact_prefix={}/", folder.display()));
    run.spawn().with_context(|| format!("fuzz {name}"))
}

/// Inputs under version control to begin from.
fn seeds(name: &str) -> Option<PathBuf> {
    Some(root().join("fuzz/seeds").join(name)).filter(|folder| folder.is_dir())
}

fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
