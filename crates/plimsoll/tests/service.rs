//! The unit for systemd, as systemd itself reads it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use testkit::{Binary, peers};

/// What systemd says of a unit, if it is here.
fn verify(text: &str) -> Option<Output> {
    let systemd = peers::require("systemd-analyze")?;
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("plimsoll.service");
    // It asks for the program, too.
    fs::write(&unit, text.replace("/usr/sbin/plimsoll", &Binary::Plimsoll.path().display().to_string()))
        .unwrap();
    Some(Command::new(systemd).args(["verify", "--man=no"]).arg(&unit).output().unwrap())
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/plimsoll.service");
    let text = fs::read_to_string(unit).unwrap();
    let limit = text.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")?.parse::<u64>().ok());
    assert!(limit >= Some(65_536), "{text}");
    let (Some(good), Some(bad)) = (verify(&text), verify(&text.replace("LimitNOFILE=", "LimitNOFILES=")))
    else {
        return;
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    // Of other units on the machine it may say things, too.
    let ours =
        |output: &Output| said(output).lines().filter(|line| line.contains("plimsoll.service")).count();
    assert!(ours(&bad) > 0, "{}", said(&bad));
    assert!(good.status.success() && ours(&good) == 0, "{}", said(&good));
}
