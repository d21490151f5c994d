//! The workers that live: usually one, two while one takes over from another.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::libc;

use crate::log::{Errno, Level};
use crate::snapshot::{Answer, Outgoing};

use super::child::Binary;
use super::loaded::Loaded;
use super::outbox::Outbox;
use super::voice::Voice;

/// A worker.
pub struct Worker {
    process: Process,
    /// `None` once the other end is gone.
    outbox: Option<Outbox>,
    /// The newest generation it was sent.
    pub sent: u64,
    /// The newest generation it has in force; 0: none yet.
    pub running: u64,
    /// It was told to end.
    pub leaving: bool,
    /// When it was started.
    pub started: Instant,
}

enum Process {
    Child(Child),
    /// `master_process off`: it runs in this very process.
    Here,
}

/// How a worker ended.
pub enum End {
    /// With its process.
    Status(ExitStatus),
    /// It ran in this process.
    Here,
}

impl Worker {
    /// Starts a worker with a configuration.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn start(binary: &Binary, loaded: &Loaded, voice: &Voice) -> io::Result<Worker> {
        let environment = super::child::environment(loaded.lasting.environment());
        let (child, outbox) = binary.start_worker(environment)?;
        voice.notice(format_args!("start worker process {}", child.id()));
        Worker::with(Process::Child(child), outbox, loaded, voice)
    }

    /// The worker of this process, at the other end of the channel.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn here(outbox: Outbox, loaded: &Loaded, voice: &Voice) -> io::Result<Worker> {
        Worker::with(Process::Here, outbox, loaded, voice)
    }

    fn with(process: Process, outbox: Outbox, loaded: &Loaded, voice: &Voice) -> io::Result<Worker> {
        let started = Instant::now();
        let mut worker =
            Worker { process, outbox: Some(outbox), sent: 0, running: 0, leaving: false, started };
        worker.configure(loaded, voice)?;
        Ok(worker)
    }

    /// Hands it a configuration.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn configure(&mut self, loaded: &Loaded, voice: &Voice) -> io::Result<()> {
        self.sent = loaded.generation;
        self.raise_limit(loaded);
        self.send(loaded.messages()?, voice);
        Ok(())
    }

    /// What the configuration allows, and what is about to be sent, must fit; the worker sets its limit exactly then.
    fn raise_limit(&self, loaded: &Loaded) {
        if sys::privileges::is_root() {
            let allowed = loaded.descriptors.unwrap_or(0).min(sys::proc::nr_open().unwrap_or(u64::MAX));
            // The worker says what it lacks in the end.
            let _ = sys::limits::raise_descriptors_of(self.pid(), allowed);
        }
    }

    /// Sends messages. Where nobody is left to read them, the end of the process is about to be seen.
    pub fn send(&mut self, messages: impl IntoIterator<Item = Outgoing>, voice: &Voice) {
        let outcome = self.outbox.as_mut().map_or(Ok(()), |outbox| outbox.send(messages));
        self.heed(outcome, voice);
    }

    /// Tells it to finish what it has begun, and to end.
    pub fn quit(&mut self, voice: &Voice) {
        self.leaving = true;
        self.send(Outgoing::quit(), voice);
    }

    /// Tells it to end.
    pub fn terminate(&mut self, voice: &Voice) {
        self.leaving = true;
        self.send(Outgoing::terminate(), voice);
    }

    /// Ends it.
    pub fn kill(&mut self) {
        if let Process::Child(child) = &mut self.process {
            // It may be gone already, which is as well.
            let _ = child.kill();
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Child(child) => child.id(),
            Process::Here => std::process::id(),
        }
    }

    /// What to wait for, while there is somebody to hear from.
    pub fn channel(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    /// The next answer, if there is one.
    pub fn answer(&mut self, voice: &Voice) -> Option<Answer> {
        let outbox = self.outbox.as_mut()?;
        let outcome = outbox.push().and_then(|()| outbox.receive());
        match outcome {
            Ok(answer) => answer,
            Err(error) => {
                self.heed(Err(error), voice);
                None
            }
        }
    }

    fn heed(&mut self, outcome: io::Result<()>, voice: &Voice) {
        let Err(error) = outcome else { return };
        self.outbox = None;
        let gone = [libc::EPIPE, libc::ECONNRESET].map(Some).contains(&error.raw_os_error());
        if !gone && error.kind() != io::ErrorKind::UnexpectedEof {
            let pid = self.pid();
            voice.say(
                Level::Alert,
                format_args!("channel to worker process {pid} failed ({})", Errno(&error)),
            );
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<End> {
        match &mut self.process {
            Process::Child(child) => child.try_wait().ok().flatten().map(End::Status),
            Process::Here => self.outbox.is_none().then_some(End::Here),
        }
    }
}

/// Says how a process ended, in nginx's words.
pub fn say_end(name: &str, pid: u32, status: ExitStatus, voice: &Voice) {
    match status.signal() {
        Some(signal) if status.core_dumped() => {
            voice.say(Level::Alert, format_args!("{name} {pid} exited on signal {signal} (core dumped)"));
        }
        Some(signal) => voice.say(Level::Alert, format_args!("{name} {pid} exited on signal {signal}")),
        None => voice.notice(format_args!("{name} {pid} exited with code {}", status.code().unwrap_or(0))),
    }
}
