//! `-t` and `-T`: whether the configuration could be put in force.

use std::io::Write;
use std::process::ExitCode;

use crate::log::Level;
use crate::program::Call;

use super::flags::Flags;
use super::loaded::{self, Read};
use super::table;
use super::voice::Voice;

/// Checks the configuration and says so on standard error; `-T` prints it on standard output.
pub fn check(flags: &Flags, call: &Call, voice: &Voice) -> ExitCode {
    let file = call.conf.as_deref().map_or("(embedded)".into(), |path| path.to_string_lossy().into_owned());
    let Some(read) = checked(flags, call, &file, voice) else {
        eprintln!("plimsoll: configuration file {file} test failed");
        return ExitCode::FAILURE;
    };
    let setup = crate::chain::setup(&read.program);
    if !flags.quiet {
        table::warn_all(&setup, voice);
        eprintln!("plimsoll: configuration file {file} test is successful");
    }
    table::show(flags, &setup);
    if flags.dump {
        // Whoever closed the pipe has read enough.
        let _ = std::io::stdout().write_all(&read.program.tree.dump());
    }
    // The process ends here: giving a large configuration back piece by piece would only take time.
    std::mem::forget(read);
    ExitCode::SUCCESS
}

fn checked(flags: &Flags, call: &Call, file: &str, voice: &Voice) -> Option<Read> {
    super::files::make_prefix(call);
    let read = loaded::read(call, voice)?;
    if !flags.quiet {
        eprintln!("plimsoll: the configuration file {file} syntax is ok");
    }
    match loaded::check(&read, call.conf.is_some(), voice) {
        Ok(()) => Some(read),
        Err(error) => {
            voice.say(Level::Emerg, format_args!("{error}"));
            None
        }
    }
}
