//! Running other programs, and where things are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// The root of the source tree.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A call of the cargo that runs this.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs it with its output shown, as one titled step; says how long it took.
pub fn step(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("==> {title}");
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("{title}: {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{title} failed ({status})");
    }
    eprintln!("    {title}: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Runs it behind a spinner; its output is shown only if it fails.
pub fn quietly(title: &str, command: &mut Command) -> Result<()> {
    let spinner = spinner(title);
    let output = command.stdin(Stdio::null()).output();
    spinner.finish_and_clear();
    let output = output.with_context(|| format!("{title}: {}", command.get_program().display()))?;
    if !output.status.success() {
        eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{title} failed ({})", output.status);
    }
    eprintln!("    {title}: done");
    Ok(())
}

/// A spinner with this title; drawn only on a terminal.
pub fn spinner(title: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(title.to_owned());
    let style = ProgressStyle::with_template("    {spinner} {msg} ({elapsed})");
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Whether there is such a program on `PATH`.
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks sbin, where Debian puts nginx.
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    env::split_paths(&path).chain(sbin).any(|folder| folder.join(program).is_file())
}

/// Builds the server with optimisation and gives the program's path.
pub fn release_build() -> Result<PathBuf> {
    step("release build", &mut cargo(&["build", "--release", "--locked", "-p", "plimsoll"]))?;
    Ok(target().join("release/plimsoll"))
}

/// Runs it with its output thrown away.
pub fn quiet_status(title: &str, command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| title.to_owned())?;
    if !status.success() {
        bail!("{title} failed ({status})");
    }
    Ok(())
}
