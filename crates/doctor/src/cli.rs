//! `plimsoll doctor`, `plimsoll size` and `plimsoll top`: their flags and what they do.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use capacity::NEARLY_FULL;

use crate::diagnose::{Diagnosis, diagnose};
use crate::exporter;
use crate::facts::Facts;
use crate::flags::{self, Doctor, Output};
use crate::logs::Follower;
use crate::report::{html, json, markdown, text};
use crate::{explain, fix, input, probe, size, top};

/// What the program exits with when it could not look.
const COULD_NOT_LOOK: u8 = 3;

/// What `plimsoll -h` says of the subcommands.
pub const COMMANDS: &str = "\
Commands (`plimsoll COMMAND --help` says more):
  doctor        : which link of a running nginx or plimsoll is full, and what to change
  top           : the load line of a running plimsoll, live
  size          : the limits that so many requests need

";

/// Runs a subcommand, if this is one of ours: `doctor`, `size` or `top`, with what follows it.
pub fn main(command: &str, args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let outcome = match command {
        "doctor" => doctor(&args),
        "size" => size::command(&args).map(|said| {
            say(&said);
            0
        }),
        "top" => top::command(&args),
        _ => return None,
    };
    Some(ExitCode::from(outcome.unwrap_or_else(|error| {
        eprintln!("plimsoll {command}: {error}");
        COULD_NOT_LOOK
    })))
}

fn doctor(args: &[String]) -> Result<u8, String> {
    let flags = flags::doctor(args)?;
    if flags.help {
        say(flags::DOCTOR_USAGE);
        return Ok(0);
    }
    if let Some(code) = &flags.explain {
        say(&explain::explain(code)?);
        return Ok(0);
    }
    if let Some(address) = &flags.listen {
        return exporter::serve(address, &flags.wanted);
    }
    if flags.watch {
        return watch(&flags);
    }
    let facts = facts(&flags)?;
    if let Some(file) = &flags.save {
        save(&facts, file)?;
    }
    say(&report(&facts, &flags));
    if let Some(folder) = &flags.fix {
        let written = fix::write(folder, &facts, &diagnose(&facts).findings);
        let names = written.map_err(|error| format!("{}: {error}", folder.display()))?;
        eprintln!("written to {}: {}; nothing was changed", folder.display(), names.join(", "));
    }
    Ok(diagnose(&facts).exit_code(&facts))
}

fn facts(flags: &Doctor) -> Result<Facts, String> {
    let Some(file) = &flags.facts else { return Ok(probe::look(&flags.wanted)) };
    let bytes = input::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let saved: Facts = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{}: not what --save writes: {error}", file.display()))?;
    Ok(if flags.wanted.only_files() { saved.with(probe::look(&flags.wanted)) } else { saved })
}

fn save(facts: &Facts, file: &PathBuf) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(facts).map_err(|error| error.to_string())?;
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn report(facts: &Facts, flags: &Doctor) -> String {
    let diagnosis = diagnose(facts);
    match flags.output {
        Output::Json => json::json(facts, &diagnosis),
        Output::Html => html::html(facts, &diagnosis),
        Output::Markdown => markdown::markdown(facts, &diagnosis),
        Output::Text => text::text(facts, &diagnosis, text::Colour::of_stdout()),
    }
}

/// Looks again and again, until it is interrupted or nobody reads any more.
fn watch(flags: &Doctor) -> Result<u8, String> {
    let terminal = std::io::stdout().is_terminal();
    let first = facts(flags)?;
    let mut follower = Follower::new(flags.wanted.window);
    let mut alarmed = false;
    loop {
        let mut seen = probe::look_again(&flags.wanted, &mut follower);
        seen.access.clone_from(&first.access);
        let diagnosis = diagnose(&seen);
        let alarm = alarm(&diagnosis);
        let clear = if terminal { "\x1b[H\x1b[2J" } else { "" };
        // The bell rings once.
        let bell = if terminal && !alarmed && alarm.is_some() { "\x07" } else { "" };
        alarmed = alarm.is_some();
        let text = format!("{clear}{bell}{}{}", alarm.unwrap_or_default(), report(&seen, flags));
        if std::io::stdout().write_all(text.as_bytes()).is_err() {
            return Ok(diagnosis.exit_code(&seen));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The links that are nearly full, in one line.
fn alarm(diagnosis: &Diagnosis) -> Option<String> {
    let nearly = diagnosis.chain.links.iter().filter(|link| link.used > 0 && link.fullness() >= NEARLY_FULL);
    let words: Vec<String> =
        nearly.map(|link| format!("{} {:.0}%", link.name(), link.fullness() * 100.0)).collect();
    (!words.is_empty()).then(|| format!("ALERT {}\n\n", words.join(", ")))
}

/// Whoever reads may stop reading (`| head`).
fn say(text: &str) {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(std::io::stdout(), "{text}{newline}");
}
