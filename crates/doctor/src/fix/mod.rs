//! `--fix DIR`: the changes of all findings as files to be looked at, and installed by hand. Nothing is applied.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use capacity::{Change, Finding};

use crate::facts::Facts;

mod application;
mod configuration;
pub mod patch;

/// The last drop-in counts: `systemctl edit` makes an `override.conf`, which may be where the limit is too low.
const DROP_IN: &str = "zz-limits.conf";

/// Writes them; gives the names of the files.
pub fn write(folder: &Path, facts: &Facts, findings: &[Finding]) -> io::Result<Vec<String>> {
    let files = files(facts, findings);
    fs::create_dir_all(folder)?;
    for (name, text) in &files {
        fs::write(folder.join(name), text)?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// Names and contents: what the kernel needs, what the service needs, the configuration as a diff, and the rest in words.
pub fn files(facts: &Facts, findings: &[Finding]) -> Vec<(String, String)> {
    let changes: Vec<(&Finding, &Change)> = findings
        .iter()
        .flat_map(|finding| finding.changes.iter().map(move |change| (finding, change)))
        .collect();
    let mut files = Vec::new();
    let sysctl = settings(&changes, |change| change.place.starts_with("/etc/sysctl.d/"));
    if !sysctl.is_empty() {
        files.push((
            "60-plimsoll.conf".to_owned(),
            format!(
                "# to /etc/sysctl.d/, then: sysctl --system\n\
                 # what /etc/sysctl.conf says of the same names counts more: take it out there\n{sysctl}"
            ),
        ));
    }
    let unit = settings(&changes, |change| change.place.starts_with("[Service]"));
    if !unit.is_empty() {
        let service =
            facts.running.as_ref().map(|running| running.service.clone()).filter(|name| !name.is_empty());
        let service = service.unwrap_or_else(|| "nginx.service".to_owned());
        let head = format!(
            "# to /etc/systemd/system/{service}.d/, then: systemctl daemon-reload, and restart\n[Service]\n"
        );
        files.push((DROP_IN.to_owned(), format!("{head}{unit}")));
    }
    files.extend(application::files(&changes));
    let diff = configuration::diff(facts, findings);
    let patched = !diff.is_empty();
    if patched {
        files.push(("configuration.diff".to_owned(), diff));
    }
    files.push(("README".to_owned(), readme(&changes, patched)));
    files
}

/// The settings of one kind. The same one asked for twice is written once, with the larger value.
fn settings(changes: &[(&Finding, &Change)], wanted: impl Fn(&Change) -> bool) -> String {
    let wanted = changes.iter().filter(|(_, change)| wanted(change));
    let pairs = wanted.filter_map(|(_, change)| change.setting.split_once('='));
    largest(pairs.map(|(name, value)| (name.trim(), value.trim())))
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

/// Each name once, with its largest value, in the order in which they came.
fn largest<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for (name, value) in pairs {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, had)) => *had = larger(had, value),
            None => all.push((name, value)),
        }
    }
    all
}

fn larger<'a>(a: &'a str, b: &'a str) -> &'a str {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    if number(b) > number(a) { b } else { a }
}

fn readme(changes: &[(&Finding, &Change)], patched: bool) -> String {
    let mut out = String::from("Nothing was changed.\n");
    if patched {
        out.push_str("`patch -p1 -d / < configuration.diff` applies the diff.\n");
    }
    for (at, (finding, change)) in changes.iter().enumerate() {
        if changes[..at].iter().any(|(_, before)| before == change) {
            continue;
        }
        let _ = write!(
            out,
            "\n{}\n  {}\n  {}: {}\n",
            finding.title,
            change.setting,
            change.place,
            change.effect.words()
        );
        if !change.note.is_empty() {
            let _ = writeln!(out, "  {}", change.note);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::probe::config::Config;
    use capacity::{Effect, Place, Severity};

    #[test]
    fn changes_become_files() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("nginx.conf");
        fs::write(&conf, "user www;\nevents { worker_connections 512; }\n").unwrap();
        let place = Place { file: conf.display().to_string(), line: 2 };
        let config = Config { connections: Some((512, place)), ..Config::default() };
        let facts = Facts { config: Some(config), ..Facts::default() };
        let finding = Finding::new(Severity::Critical, "x", None, "All is full")
            .change(Change::new("worker_connections 2048;", "events context", Effect::Reload))
            .change(Change::new(
                "net.core.somaxconn = 1024",
                "/etc/sysctl.d/60-somaxconn.conf",
                Effect::Restart,
            ))
            .change(Change::new(
                "net.core.somaxconn = 4096",
                "/etc/sysctl.d/60-somaxconn.conf",
                Effect::Restart,
            ))
            .change(Change::new("LimitNOFILE=8192", "[Service] of the service", Effect::Restart));
        let fixes = folder.path().join("fix");
        let names = write(&fixes, &facts, &[finding]).unwrap();
        assert_eq!(names, ["60-plimsoll.conf", "zz-limits.conf", "configuration.diff", "README"]);
        let read = |name: &str| fs::read_to_string(fixes.join(name)).unwrap();
        assert!(read("60-plimsoll.conf").ends_with("net.core.somaxconn=4096\n"));
        assert!(read("zz-limits.conf").ends_with("[Service]\nLimitNOFILE=8192\n"));
        assert!(read("configuration.diff").ends_with(
            "@@ -1,2 +1,2 @@\n user www;\n-events { worker_connections 512; }\n+events { worker_connections 2048; }\n"
        ));
        assert!(read("README").contains("All is full"));
        assert_eq!(fs::read_to_string(&conf).unwrap().matches("512").count(), 1);
    }
}
