//! Where the master's own messages go: the main error log and, until it serves, the terminal.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use conf::Error;

use crate::log::{Context, Errno, ErrorLog, Level, LogFile, Target};
use crate::program::Call;

/// Speaks for the master.
pub struct Voice {
    log: RefCell<ErrorLog>,
    /// The log is the terminal already.
    log_is_stderr: Cell<bool>,
    /// Warnings and worse are for whoever started it, too.
    to_stderr: Cell<bool>,
}

impl Voice {
    /// Before a configuration is read: `-e`, or the log below the prefix if there is a folder for it.
    pub fn new(call: &Call) -> Voice {
        let voice = Voice {
            log: RefCell::new(ErrorLog::stderr(Level::Notice)),
            log_is_stderr: Cell::new(true),
            to_stderr: Cell::new(true),
        };
        match &call.error_log {
            Some(path) if path.as_os_str() == "stderr" => {}
            Some(path) => voice.begin(path, true),
            None => voice.begin(&call.prefix.join("logs/error.log"), false),
        }
        voice
    }

    /// Says nothing anywhere.
    #[cfg(test)]
    pub fn mute() -> Voice {
        let log = RefCell::new(ErrorLog::new(Vec::new()));
        Voice { log, log_is_stderr: Cell::new(false), to_stderr: Cell::new(false) }
    }

    /// `told`: the path was asked for, so its absence is worth a word.
    fn begin(&self, path: &Path, told: bool) {
        // A log that cannot be opened leaves only what goes to the terminal anyway.
        let file = Arc::new(LogFile::new(path.into()));
        match super::logs::open(path) {
            Ok(opened) => file.open(opened),
            Err(error) if told => eprintln!(
                "plimsoll: [alert] could not open error log file: open() \"{}\" failed ({})",
                path.display(),
                Errno(&error)
            ),
            Err(_) => {}
        }
        *self.log.borrow_mut() = ErrorLog::new(vec![(Level::Notice, Target::File(file))]);
        self.log_is_stderr.set(false);
    }

    /// Speaks through this log from now on.
    pub fn use_log(&self, log: &ErrorLog) {
        *self.log.borrow_mut() = log.clone();
        self.log_is_stderr.set(log.is_stderr());
    }

    /// Nobody watches the terminal any more.
    pub fn leave_terminal(&self) {
        self.to_stderr.set(false);
    }

    /// Writes a message.
    pub fn say(&self, level: Level, message: fmt::Arguments<'_>) {
        self.log.borrow().write(level, &Context::none(), message);
        if self.to_stderr.get() && !self.log_is_stderr.get() && level <= Level::Warn {
            eprintln!("plimsoll: [{}] {message}", level.name());
        }
    }
    /// Writes a notice.
    pub fn notice(&self, message: fmt::Arguments<'_>) {
        self.say(Level::Notice, message);
    }
    /// Writes what is wrong with a configuration, and what may help, on a line of its own.
    pub fn fault(&self, error: &Error) {
        let text = error.to_string();
        let (text, help) = text.split_once('\n').unwrap_or((&text, ""));
        self.say(error.level, format_args!("{text}"));
        if self.to_stderr.get() && !help.is_empty() {
            eprintln!("{help}");
        }
    }
}
