//! `-s`: tells the running master something.

use std::process::ExitCode;

use sys::signal::Signal;

use crate::log::{Errno, Level};
use crate::program::Call;

use super::flags::Order;
use super::voice::Voice;
use super::{files, loaded};

/// Finds the master through the pid file that the configuration names, and sends it the signal.
pub fn send(order: Order, call: &Call, voice: &Voice) -> ExitCode {
    let Some(read) = loaded::read(call, voice) else { return ExitCode::FAILURE };
    voice.notice(format_args!("signal process started"));
    let pid = match files::read_pid(&read.program.pid) {
        Ok(pid) => pid,
        Err(error) => {
            voice.say(Level::Error, format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let signal = signal(order);
    match sys::signal::send(pid, signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            voice
                .say(Level::Alert, format_args!("kill({pid}, {}) failed ({})", signal as i32, Errno(&error)));
            ExitCode::FAILURE
        }
    }
}

fn signal(order: Order) -> Signal {
    match order {
        Order::Stop => Signal::SIGTERM,
        Order::Quit => Signal::SIGQUIT,
        Order::Reopen => Signal::SIGUSR1,
        Order::Reload => Signal::SIGHUP,
    }
}
