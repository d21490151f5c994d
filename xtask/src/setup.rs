//! `setup`: the programs that tests and benchmarks talk to. Installs only what is missing; what cannot be
//! installed (no apt, no root, no network) is named, and the tests that need it are skipped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::Result;
use testkit::peers::peers;

use crate::run::{has, quietly, root};

/// Program wanted, Debian package that has it, what for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("nginx", "nginx", "the oracle"),
    ("python3", "python3", "the WSGI sample"),
    ("node", "nodejs", "the Express and websocket samples"),
    ("npm", "npm", "the packages of these samples"),
    ("wrk", "wrk", "load for benchmarks"),
    ("valgrind", "valgrind", "instruction budgets"),
    ("strace", "strace", "system calls per request"),
    ("curl", "curl", "HTTP/2"),
    ("g++", "g++", "the fuzzer's runtime"),
];

/// Installs what is missing. Never fails for that alone.
pub fn setup() -> Result<()> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(p, ..)| !has(p)).map(|(_, package, _)| *package).collect();
    if has_no_venv() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        apt(&missing);
    }
    report("gunicorn", gunicorn());
    report("express and ws", node_packages());
    for (program, package, purpose) in PROGRAMS.iter().filter(|(p, ..)| !has(p)) {
        eprintln!("MISSING: {program} (Debian: {package}), {purpose}: what needs it is skipped");
    }
    Ok(())
}

fn has_no_venv() -> bool {
    let probe = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    !probe.is_ok_and(|output| output.status.success()) && !peers().join("venv").is_dir()
}

fn apt(packages: &[&str]) {
    let am_root = fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    if !am_root || !has("apt-get") {
        eprintln!("MISSING: {}; to install them: sudo apt-get install {0}", packages.join(" "));
        return;
    }
    report("apt-get update", quietly("apt-get update", &mut apt_get(&["update", "-q"])));
    let mut install = apt_get(&["install", "-q", "-y", "--no-install-recommends"]);
    let title = format!("apt-get install {}", packages.join(" "));
    report("apt-get install", quietly(&title, install.args(packages)));
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn gunicorn() -> Result<()> {
    let venv = peers().join("venv");
    if venv.join("bin/gunicorn").is_file() {
        return Ok(());
    }
    fs::create_dir_all(peers())?;
    quietly("python3 -m venv target/peers/venv", Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    quietly("pip install gunicorn", pip.arg(root().join("tests/apps/requirements.txt")))
}

fn node_packages() -> Result<()> {
    if peers().join("node_modules/ws").is_dir() {
        return Ok(());
    }
    fs::create_dir_all(peers())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(root().join("tests/apps").join(file), peers().join(file))?;
    }
    quietly(
        "npm ci (express, ws)",
        Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(peers()),
    )
}

fn report(what: &str, result: Result<()>) {
    if let Err(e) = result {
        eprintln!("MISSING: {what}: {e:#}");
    }
}
