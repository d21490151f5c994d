//! Programs from outside that some tests need. `cargo xtask setup` installs them; where they are missing, a test
//! that needs one is skipped, and says so.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program of this name, from the project's own folder for such programs (`target/peers`) or from `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let folders = [peers().join("venv/bin"), peers().join("node_modules/.bin")];
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.into_iter().chain(env::split_paths(&path));
    all.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// As [`find`]; says on standard error that the running test is skipped if there is none.
pub fn require(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(program);
    }
    found
}

/// A call of gunicorn that leaves no control socket behind (newer ones make one unless told not to).
pub fn gunicorn() -> Option<Command> {
    let program = require("gunicorn")?;
    let help = Command::new(&program).arg("--help").output().map(|output| output.stdout).unwrap_or_default();
    let mut command = Command::new(program);
    if String::from_utf8_lossy(&help).contains("--no-control-socket") {
        command.arg("--no-control-socket");
    }
    Some(command)
}

/// A package for Node below `target/peers/node_modules`; a missing one is reported as [`require`] does.
pub fn require_node(package: &str) -> Option<PathBuf> {
    let node = require("node")?;
    if !peers().join("node_modules").join(package).is_dir() {
        skip(&format!("{package} for node"));
        return None;
    }
    Some(node)
}

/// PHP's FastCGI server, which Debian names after its version; reported as [`require`] does where it is missing.
pub fn require_php() -> Option<PathBuf> {
    let folders = [Path::new("/usr/sbin"), Path::new("/usr/local/sbin"), Path::new("/usr/bin")];
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let is_it =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"php-fpm"));
    let found = files.map(|file| file.path()).filter(is_it).max();
    if found.is_none() {
        skip("php-fpm");
    }
    found
}

/// Prometheus' own opinion of metrics or rules, where the machine has it: `promtool` with these arguments and this input
/// must find nothing.
#[track_caller]
pub fn promtool(arguments: &[&str], input: &str) {
    let Some(program) = require("promtool") else { return };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    // It may have seen enough before it has read all.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("promtool's output");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{input}", String::from_utf8_lossy(&said));
}

/// The folder the peers are installed in.
pub fn peers() -> PathBuf {
    workspace().join("target/peers")
}

/// The root of the source tree.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn skip(what: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("SKIPPED: {test}: {what} is not installed (cargo xtask setup)");
}
