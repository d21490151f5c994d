//! Files that were made to harm whoever reads them: an error within moments, in memory of twice the file at most.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::Binary;

/// What the program takes for itself: a file of one line is checked within this.
const BASE: usize = 4 << 20;
/// So much is written at once.
const BUFFER: usize = 1 << 16;
/// Nothing takes longer, not even without optimisation and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks a file of `begin`, many times `again`, and `end`, so that it has `size` bytes; what is said about it. More memory
/// than may be used is not given.
fn check(begin: &str, again: &str, size: usize, end: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nginx.conf");
    let mut file = File::create(&path).unwrap();
    file.write_all(begin.as_bytes()).unwrap();
    let some = again.repeat(BUFFER.min(size) / again.len());
    for _ in 0..size / some.len() {
        file.write_all(some.as_bytes()).unwrap();
    }
    file.write_all(end.as_bytes()).unwrap();
    drop(file);
    let most = BASE + 2 * size;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d \"$1\"; shift; exec \"$@\"", "sh", &(most / 1024).to_string()]);
    command.arg(Binary::Plimsoll.path()).arg("-t").arg("-p").arg(folder.path()).arg("-c").arg(&path);
    let begun = Instant::now();
    let output = command.args(["-e", "error.log"]).output().unwrap();
    let (took, said) = (begun.elapsed(), String::from_utf8_lossy(&output.stderr).into_owned());
    let short: String = said.chars().take(300).collect();
    assert_eq!(output.status.code(), Some(1), "{begin}{again}..: {:?}, {short}", output.status);
    assert!(said.contains("[emerg]") && said.len() < 10_000, "{begin}{again}..: {short}");
    assert!(took < PATIENCE, "{begin}{again}..: {took:?}");
    said
}

#[test]
fn a_line_without_end() {
    let said = check("events {} ", "x", 20 << 20, ";");
    assert!(said.contains("too long parameter") || said.contains("unknown directive"), "{said:.300}");
}

#[test]
fn a_quote_without_end() {
    for quote in ["\"", "'"] {
        let said = check(&format!("events {{}} a {quote}"), "xxxx xx\n", 10 << 20, "");
        assert!(
            said.contains("too long parameter") || said.contains("unexpected end of file"),
            "{said:.300}"
        );
    }
}

#[test]
fn nothing_but_nul() {
    check("events {} ", "\0", 10 << 20, "");
    check("events {} ", "a\0;\n", 4 << 20, "");
}

#[test]
fn blocks_in_blocks() {
    check("events {} http { server { ", "location / { ", 4 << 20, "");
    check("", "{", 4 << 20, "");
    check("events {} http { ", "}", 4 << 20, "");
}

#[test]
fn files_that_are_none() {
    check("include nginx.conf;", "#", 1000, "");
    check("events {} ", "include nginx.conf; ", 1 << 20, "");
    check("events {} http { include /; }", "#", 1000, "");
    check("events {} http { include none.conf; }", "#", 1000, "");
}

#[test]
fn many_of_all() {
    check("events {} ", "nonsense; ", 4 << 20, "");
    check("events {} http { server { ", "a ", 4 << 20, "; } }");
}
