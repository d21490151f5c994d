//! The master process: the command line, and everything that needs root or outlives a worker.
//!
//! It reads the configuration, binds the sockets, opens the logs, and hands all of it to a worker as one Snapshot. It
//! is single-threaded and never serves a request, so that nothing a client sends can reach what it holds.

mod check;
mod child;
mod daemon;
mod files;
pub mod flags;
mod loaded;
mod logs;
pub(crate) mod outbox;
mod reload;
mod respawn;
mod signal_process;
mod signals;
mod sockets;
mod supervise;
mod table;
mod upgrade;
pub mod version;
mod voice;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use sys::signal::Signals;

use crate::log::{Errno, Level};
use crate::program::Call;
use crate::worker::run;

use self::child::Binary;
use self::flags::Flags;
use self::supervise::{Master, Place, SIGNALS};
use self::voice::Voice;

pub use self::child::take_stdin as channel_from_stdin;

/// The program, whichever process of it this is. `commands` is what `-h` says of what else the program does.
pub fn main(commands: &str) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(name) = child::worker_name(&args) {
        return run::process(&name);
    }
    match flags::parse(args.into_iter().skip(1)) {
        Ok(flags) => with_flags(&flags, commands),
        Err(error) => {
            eprintln!("plimsoll: {error}");
            ExitCode::FAILURE
        }
    }
}

fn with_flags(flags: &Flags, commands: &str) -> ExitCode {
    if flags.version {
        eprint!("{}", version::version());
        if flags.configure {
            eprint!("{}", version::configure());
        }
        if flags.help {
            eprint!("{}{commands}", version::usage());
        }
        if !flags.test {
            return ExitCode::SUCCESS;
        }
    }
    let call = flags.call(&std::env::current_dir().unwrap_or_default());
    let voice = Voice::new(&call);
    if flags.test {
        return check::check(flags, &call, &voice);
    }
    match flags.signal {
        Some(order) => signal_process::send(order, &call, &voice),
        None => serve(call, voice).unwrap_or(ExitCode::FAILURE),
    }
}

/// Starts to serve; `None`: it could not, and said why.
fn serve(call: Call, voice: Voice) -> Option<ExitCode> {
    let inherited = said(upgrade::inherited(), "inheriting sockets", &voice)?;
    let binary = said(Binary::running(), "open() \"/proc/self/exe\"", &voice)?;
    let limit = sys::limits::descriptors();
    files::make_prefix(&call);
    let read = loaded::read(&call, &voice)?;
    let setup = crate::chain::setup(&read.program);
    raise_limit(limit);
    let kept = inherited.as_deref().unwrap_or_default();
    let loaded = match loaded::open(read, &call, 1, kept, &voice) {
        Ok(loaded) => loaded,
        Err(error) => {
            voice.say(Level::Emerg, format_args!("{error}"));
            return None;
        }
    };
    voice.use_log(&loaded.error_log);
    loaded::greet(&voice, limit);
    table::warn(&setup, &voice);
    if call.conf.is_none() {
        voice.notice(format_args!(
            "no configuration was found: the built-in one serves http://127.0.0.1:8080/"
        ));
    }
    let upgraded = inherited.is_some();
    let daemonized = match loaded.master_process && loaded.daemon && !upgraded {
        true => said(daemon::detach(), "daemon()", &voice).map(|()| true)?,
        false => upgraded && loaded.daemon,
    };
    let pid_file = call.conf.is_some();
    if pid_file && let Err(error) = files::write_pid(&loaded.pid) {
        voice.say(Level::Emerg, format_args!("{error}"));
        sockets::release(&loaded.bound);
        return None;
    }
    if daemonized {
        daemon::leave_terminal(&loaded.error_log);
    }
    voice.leave_terminal();
    let signals = said(Signals::new(SIGNALS), "signalfd()", &voice)?;
    let predecessor = upgraded.then(std::os::unix::process::parent_id);
    let place = Place { daemonized, predecessor, pid_file };
    let master = Master::new(call, voice, binary, signals, loaded, place);
    Some(if master.alone { alone(master) } else { master.run(None) })
}

/// `master_process off`: the worker is this process, its master a thread of it; between them goes what goes between
/// processes.
fn alone(master: Master) -> ExitCode {
    let outcome = sys::fdpass::pair().and_then(|(ours, theirs)| {
        let thread =
            std::thread::Builder::new().name("master".into()).spawn(move || master.run(Some(ours)))?;
        let code = run::here(theirs);
        Ok(if thread.join().is_ok() { code } else { ExitCode::FAILURE })
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("plimsoll: [emerg] {}", Errno(&error));
        ExitCode::FAILURE
    })
}

fn said<T>(outcome: std::io::Result<T>, what: &str, voice: &Voice) -> Option<T> {
    outcome.map_err(|error| voice.say(Level::Emerg, format_args!("{what} failed ({})", Errno(&error)))).ok()
}

/// Sockets and logs of many servers need descriptors, here and while they are handed over.
fn raise_limit(limit: sys::limits::Limit) {
    // Where it cannot be raised, what needs more says so.
    let _ = sys::limits::set_descriptors(sys::limits::Limit { soft: limit.hard, ..limit });
}
