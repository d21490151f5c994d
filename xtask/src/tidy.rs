//! `tidy`: rules of this source tree as a test. Each says what is wrong where, all at once.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::root;

/// Longer files are the ones that other projects came to regret.
const MOST_LINES: usize = 700;
/// The crate that may use `unsafe`, in one file.
const UNSAFE_CRATE: &str = "crates/sys/";

/// Checks every file under version control.
pub fn tidy() -> Result<()> {
    eprintln!("==> tidy");
    let mut findings = Vec::new();
    for path in tracked()? {
        // Deleted but not yet committed, or binary: nothing to read.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        check(&path, &text, &mut findings);
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} things are not tidy"),
    }
}

fn tracked() -> Result<Vec<String>> {
    let listed = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(listed).current_dir(root()).output().context("git ls-files")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn check(path: &str, text: &str, findings: &mut Vec<String>) {
    if path.ends_with(".rs") {
        check_rust(path, text, findings);
    }
    if text.lines().any(|line| line.ends_with([' ', '\t'])) && is_ours(path) {
        findings.push(format!("{path}: white space at the end of a line"));
    }
    let machine = ["/work/", "/root/"].map(|folder| folder.to_owned());
    for (number, line) in text.lines().enumerate().filter(|_| is_ours(path)) {
        if machine.iter().any(|folder| line.contains(folder)) && !path.ends_with("tidy.rs") {
            findings.push(format!("{path}:{}: a path of somebody's machine", number + 1));
        }
    }
}

fn check_rust(path: &str, text: &str, findings: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(format!("{path}: {lines} lines, at most {MOST_LINES}"));
    }
    if is_root(path) && !path.starts_with(UNSAFE_CRATE) && !text.contains("#![forbid(unsafe_code)]") {
        findings.push(format!("{path}: a crate root without #![forbid(unsafe_code)]"));
    }
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        findings.push(format!("{path}: does not begin by saying what it is (//!)"));
    }
    for (number, line) in text.lines().enumerate() {
        if ["todo!(", "unimplemented!(", "dbg!("].iter().any(|m| line.contains(m))
            && !path.ends_with("tidy.rs")
        {
            findings.push(format!("{path}:{}: unfinished", number + 1));
        }
    }
}

/// The first file rustc reads of a crate. (Tests and examples get the same from the workspace's lints.)
fn is_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

/// Text that people wrote here, as against lock files and samples from elsewhere.
fn is_ours(path: &str) -> bool {
    let written = [".rs", ".toml", ".md", ".py", ".js", ".conf", ".sh", ".yml"];
    written.iter().any(|end| path.ends_with(end)) || path.starts_with(".ci/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(path, text, &mut findings);
        findings
    }

    #[test]
    fn a_tidy_root_has_no_findings() {
        let text = "//! What it is.\n#![forbid(unsafe_code)]\n";
        assert_eq!(findings("crates/wire/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let forbid = findings("crates/wire/src/lib.rs", "//! x\n");
        assert!(forbid[0].contains("forbid"), "{forbid:?}");
        assert_eq!(findings("crates/wire/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(findings("crates/wire/src/a.rs", "//! x\nfn a() { todo!() }\n").len(), 1);
        assert_eq!(findings("crates/wire/src/a.rs", &format!("//! x\n{}", "\n".repeat(MOST_LINES))).len(), 1);
        assert_eq!(findings("README.md", "see /work/main\n").len(), 1);
        assert_eq!(findings("README.md", "a \n").len(), 1);
    }

    #[test]
    fn sys_may_have_unsafe_code() {
        assert_eq!(findings("crates/sys/src/lib.rs", "//! x\n").len(), 0);
    }
}
