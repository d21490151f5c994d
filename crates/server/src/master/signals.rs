//! What each signal means to the master, in nginx's words.

use sys::signal::{Received, Signal};

use crate::log::{Errno, Level};

use super::supervise::{Master, Stage};

impl Master {
    /// Acts on all signals that have come.
    pub(super) fn take_signals(&mut self) {
        loop {
            match self.signals.next() {
                Ok(Some(received)) => self.signal(received),
                Ok(None) => return,
                Err(error) => {
                    return self
                        .voice
                        .say(Level::Alert, format_args!("signalfd() failed ({})", Errno(&error)));
                }
            }
        }
    }

    fn signal(&mut self, received: Received) {
        let action = self.action(received.signal);
        let (number, name) = (received.signal as i32, received.signal.as_str());
        match received.from {
            0 => self.voice.notice(format_args!("signal {number} ({name}) received{action}")),
            from => self.voice.notice(format_args!("signal {number} ({name}) received from {from}{action}")),
        }
        if received.signal == Signal::SIGUSR2 && action == IGNORED && !self.alone {
            let why = "the changing binary signal is ignored: you should shutdown or terminate \
                       before either old or new binary's process";
            return self.voice.say(Level::Crit, format_args!("{why}"));
        }
        match received.signal {
            Signal::SIGTERM | Signal::SIGINT => self.terminate(),
            Signal::SIGQUIT => self.quit(),
            Signal::SIGHUP => self.hang_up(),
            Signal::SIGUSR1 => self.reopen_logs(),
            Signal::SIGUSR2 if action == CHANGE => self.upgrade(),
            Signal::SIGWINCH if action == STOP_ACCEPTING => self.retire(),
            _ => {}
        }
    }

    /// What is said of it.
    fn action(&self, signal: Signal) -> &'static str {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => ", exiting",
            Signal::SIGQUIT => ", shutting down",
            Signal::SIGHUP => ", reconfiguring",
            Signal::SIGUSR1 => ", reopening logs",
            Signal::SIGUSR2 if self.alone || self.is_mid_upgrade() => IGNORED,
            Signal::SIGUSR2 => CHANGE,
            // A terminal that is resized sends it, too.
            Signal::SIGWINCH if self.place.daemonized && !self.alone => STOP_ACCEPTING,
            Signal::SIGWINCH => IGNORED,
            _ => "",
        }
    }

    fn is_mid_upgrade(&self) -> bool {
        let predecessor_lives = self.place.predecessor == std::os::unix::process::parent_id().into();
        self.successor.is_some() || predecessor_lives
    }

    /// A reload; while a new binary runs, a roll-back to this one.
    fn hang_up(&mut self) {
        match self.successor.is_some() {
            true => self.serve_again(),
            false => self.reconfigure = true,
        }
    }

    /// Sends the workers away, but keeps the sockets: a new binary serves, or none.
    fn retire(&mut self) {
        if self.stage == Stage::Serving {
            self.retired = true;
            self.respawn.cancel();
            self.workers.iter_mut().for_each(|worker| worker.quit(&self.voice));
        }
    }
}

const CHANGE: &str = ", changing binary";
const IGNORED: &str = ", ignoring";
const STOP_ACCEPTING: &str = ", stop accepting connections";
