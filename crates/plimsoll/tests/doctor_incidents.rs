//! Incidents that were had elsewhere, as the files that somebody sent: logs, a configuration, what was seen live. Each
//! folder of `incidents/` and of `shapes/` is one; its `expect` says what the doctor must say.
//!
//! Lines of `expect`: `exit N`; `first CODE` (or `none`), the first finding; `binding LINK`; `says TEXT`, somewhere in the
//! report; `silent TEXT`, nowhere in it; `never CODE`, no such finding; `config TEXT`, somewhere in what was made of the
//! configuration.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use doctor::logs::cause::Cause;
use serde_json::Value;
use testkit::Binary;

fn folders(kind: &str) -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let mut all: Vec<_> = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// The doctor's flags for the files of a folder.
fn flags(folder: &Path) -> Vec<String> {
    let mut flags = Vec::new();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for file in names {
        let name = file.file_name().unwrap().to_str().unwrap();
        let flag = match name {
            "nginx.conf" | "nginx.dump" => "--conf",
            "facts.json" => "--facts",
            _ if name.starts_with("access.log") => "--access-log",
            _ if name.contains(".log") || name.contains("journal") => "--log",
            _ => continue,
        };
        flags.extend([flag.to_owned(), file.to_str().unwrap().to_owned()]);
    }
    flags
}

fn doctor(flags: &[String], form: &[&str]) -> Output {
    Command::new(Binary::Plimsoll.path()).arg("doctor").args(flags).args(form).output().unwrap()
}

#[track_caller]
fn check(folder: &Path) {
    let flags = flags(folder);
    let (json, text) = (doctor(&flags, &["--json"]), doctor(&flags, &[]));
    let text = String::from_utf8(text.stdout).unwrap();
    let report: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", folder.display(), String::from_utf8_lossy(&json.stderr))
    });
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(wide, Vec::<&str>::new(), "{}", folder.display());
    let codes: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap()).collect();
    // Where lines were broken does not matter; a long path is broken anywhere.
    let joined = |text: &str| text.split_whitespace().collect::<String>();
    let said = |wanted: &str| joined(&text).contains(&joined(wanted));
    for line in fs::read_to_string(folder.join("expect")).unwrap().lines() {
        let (what, wanted) = line.split_once(' ').unwrap();
        let right = match what {
            "exit" => json.status.code() == wanted.parse().ok(),
            "first" => codes.first().copied().unwrap_or("none") == wanted,
            "binding" => report["binding"] == wanted,
            "never" => !codes.contains(&wanted),
            "silent" => !said(wanted),
            "says" => said(wanted) || codes.contains(&wanted),
            "config" => report["facts"]["config"].to_string().contains(wanted),
            other => panic!("{}: \"{other}\" is no word of expect", folder.display()),
        };
        assert!(right, "{}: {line}\n{codes:?}\n{text}\n{}", folder.display(), report["facts"]["config"]);
    }
}

#[test]
fn incidents() {
    let all = folders("incidents");
    assert!(all.len() >= 12);
    all.iter().for_each(|folder| check(folder));
}

/// Each kind of line that the logs of an incident can have is in one of the folders.
#[test]
fn every_cause_is_among_them() {
    let mut missing: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.key()).collect();
    for folder in folders("incidents") {
        let report: Value = serde_json::from_slice(&doctor(&flags(&folder), &["--json"]).stdout).unwrap();
        for event in report["facts"]["events"]["events"].as_array().into_iter().flatten() {
            missing.remove(event["cause"].as_str().unwrap());
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn shapes_of_logs_and_configurations() {
    let all = folders("shapes");
    assert!(all.len() >= 6);
    all.iter().for_each(|folder| check(folder));
}

/// Whatever is asked for fits a terminal.
#[test]
fn help_and_pages_are_80_columns_wide() {
    let said = |args: &[&str]| {
        let output = Command::new(Binary::Plimsoll.path()).args(args).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let size = ["size", "--rate", "200", "--seconds", "0.4"];
    let all = [
        &["doctor", "--help"][..],
        &["size", "--help"],
        &["top", "--help"],
        &["doctor", "--nonsense"],
        &size,
    ];
    for args in all {
        let text = said(args);
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(!text.is_empty() && wide.is_empty(), "{args:?}: {wide:#?}");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings/slots_full.md");
    assert_eq!(said(&["doctor", "--explain", "slots_full"]), fs::read_to_string(page).unwrap());
    assert!(said(&["doctor", "--explain", "nothing"]).contains("no finding \"nothing\""));
}

/// One incident in every form of the report.
#[test]
fn forms() {
    let all = folders("incidents");
    for folder in all.iter().take(4) {
        for (form, beginning) in [("--html", "<!DOCTYPE html>"), ("--markdown", "# "), ("--json", "{")] {
            let output = doctor(&flags(folder), &[form]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.starts_with(beginning) && output.status.code() != Some(3), "{form}: {text}");
        }
    }
}
