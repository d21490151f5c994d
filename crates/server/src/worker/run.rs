//! The life of a worker: its first Snapshot, its rights, its threads, and then what the master says until the end.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::log::{Context, Errno, ErrorLog, Level, LogFile};
use crate::program::{self, Listen, Program};

use super::channel::{self, Channel, Command, Receiver, Start};
use super::{Sockets, Worker, settle};

/// A worker that cannot begin: nginx's exit code for it.
const FATAL: u8 = 2;

/// The worker process; `name` is the program's.
pub fn process(name: &str) -> ExitCode {
    settle::show_name(name);
    settle::raise_limit();
    let outcome = crate::master::channel_from_stdin().and_then(|fd| channel::open(fd, true));
    live(outcome, false)
}

/// The worker in the process of its master (`master_process off`): it keeps its rights, as in nginx.
pub fn here(fd: OwnedFd) -> ExitCode {
    live(channel::open(fd, false), true)
}

fn live(channel: io::Result<(Channel, Receiver)>, here: bool) -> ExitCode {
    let started = channel.and_then(|(channel, receiver)| {
        let start = receiver.first()?;
        Ok(start.map(|start| (channel, receiver, start)))
    });
    match started {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((channel, receiver, start))) => begin(channel, receiver, start, here),
        Err(error) => {
            ErrorLog::stderr(Level::Emerg).write(
                Level::Emerg,
                &Context::none(),
                format_args!("no configuration from the master ({})", Errno(&error)),
            );
            ExitCode::from(FATAL)
        }
    }
}

fn begin(channel: Channel, receiver: Receiver, start: Start, here: bool) -> ExitCode {
    let generation = start.snapshot.generation;
    match Life::begin(start, &channel, here) {
        Ok(life) => {
            channel.ready(generation);
            life.live(receiver)
        }
        Err(why) => {
            channel.refused(generation, why);
            channel.close();
            ExitCode::from(FATAL)
        }
    }
}

/// A worker and what it has in force.
struct Life {
    worker: Worker,
    channel: Channel,
    state: Mutex<State>,
    /// It was told to end.
    leaving: AtomicBool,
}

struct State {
    error_log: ErrorLog,
    shutdown_timeout: Option<Duration>,
    /// Also of generations that only serve what they began: their logs are reopened, too.
    logs: Vec<Weak<LogFile>>,
}

impl Life {
    fn begin(start: Start, channel: &Channel, here: bool) -> Result<Arc<Life>, String> {
        let account = start.snapshot.user.clone();
        let (program, sockets) = compiled(start)?;
        if !here {
            settle::settle(&program, account.as_ref())?;
        }
        let worker = Worker::start(&program, &sockets).map_err(|error| format!("{}", Errno(&error)))?;
        sys::process::give_memory_back();
        let state = State {
            error_log: program.error_log.clone(),
            shutdown_timeout: program.generation.shutdown_timeout,
            logs: program.logs.iter().map(Arc::downgrade).collect(),
        };
        Ok(Arc::new(Life {
            worker,
            channel: channel.clone(),
            state: Mutex::new(state),
            leaving: AtomicBool::new(false),
        }))
    }

    fn live(self: Arc<Life>, receiver: Receiver) -> ExitCode {
        let life = self.clone();
        if let Err(error) = receiver.start(move |command| life.obey(command)) {
            self.say(Level::Emerg, format_args!("pthread_create() failed ({})", Errno(&error)));
            return ExitCode::from(FATAL);
        }
        self.worker.join();
        self.leaving.store(true, Relaxed);
        self.say(Level::Notice, format_args!("exit"));
        self.channel.close();
        ExitCode::SUCCESS
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Configure(start) => self.configure(*start),
            Command::Reopen(files) => self.reopen(files),
            // Said once: the end of the channel, too, means to quit.
            Command::Quit if self.leaving.swap(true, Relaxed) => {}
            Command::Quit => {
                self.say(Level::Notice, format_args!("gracefully shutting down"));
                let timeout = self.lock().shutdown_timeout;
                self.worker.quit(timeout);
            }
            Command::Terminate => {
                self.leaving.store(true, Relaxed);
                self.say(Level::Notice, format_args!("exiting"));
                self.worker.stop();
            }
        }
    }

    fn configure(&self, start: Start) {
        let generation = start.snapshot.generation;
        match compiled(start) {
            Err(why) => self.channel.refused(generation, why),
            Ok((program, sockets)) => {
                settle::set_descriptors(&program);
                if let Err(error) = self.worker.install(&program, &sockets) {
                    return self.channel.refused(generation, Errno(&error).to_string());
                }
                self.note(&program);
                drop(program);
                // Logs that no configuration has any more get what waits for them.
                self.worker.wait_turn();
                // The text, what was made of it on the way, and most of what went.
                sys::process::give_memory_back();
                self.channel.ready(generation);
            }
        }
    }

    fn note(&self, program: &Program) {
        let mut state = self.lock();
        state.error_log = program.error_log.clone();
        state.shutdown_timeout = program.generation.shutdown_timeout;
        state.logs.retain(|log| log.strong_count() > 0);
        state.logs.extend(program.logs.iter().map(Arc::downgrade));
    }

    fn reopen(&self, files: Vec<(PathBuf, OwnedFd)>) {
        self.say(Level::Notice, format_args!("reopening logs"));
        let logs: Vec<Arc<LogFile>> = self.lock().logs.iter().filter_map(Weak::upgrade).collect();
        for (path, fd) in files {
            let file = File::from(fd);
            for log in logs.iter().filter(|log| log.path == path) {
                match file.try_clone() {
                    Ok(file) => log.open(file),
                    Err(error) => self.say(Level::Alert, format_args!("dup() failed ({})", Errno(&error))),
                }
            }
        }
        self.worker.turn();
    }

    fn say(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let log = self.lock().error_log.clone();
        log.write(level, &Context::none(), message);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles what was read, and gives it the logs and the sockets that came with it.
fn compiled(start: Start) -> Result<(Program, Sockets), String> {
    // The master has said what there is to remark.
    let outcome = program::compile(&start.snapshot.inputs, &start.snapshot.call, &mut Vec::new());
    let mut program = outcome.map_err(|error| error.to_string())?;
    // Nobody asks the worker for the text.
    program.tree.files = Vec::new();
    let mut files: HashMap<PathBuf, OwnedFd> = start.logs.into_iter().collect();
    for log in &program.logs {
        let fd = files
            .remove(&log.path)
            .ok_or_else(|| format!("no descriptor for log \"{}\"", log.path.display()))?;
        log.open(File::from(fd));
    }
    Ok((program, by_address(start.listens)))
}

fn by_address(listens: Vec<(Listen, OwnedFd)>) -> Sockets {
    let mut sockets = Sockets::new();
    for (listen, fd) in listens {
        sockets.entry(listen.address).or_default().push(Arc::new(fd));
    }
    sockets
}
