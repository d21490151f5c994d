//! The plimsoll program: a subcommand, or the server.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().and_then(|word| word.into_string().ok());
    let done = command.and_then(|command| doctor::cli::main(&command, args));
    done.unwrap_or_else(|| server::master::main(doctor::cli::COMMANDS))
}
