//! The master at work: one thread that waits for signals, for what its workers say, and for the next restart.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sys::signal::{Signal, Signals};

use crate::log::{Errno, Level};
use crate::program::Call;
use crate::snapshot::Answer;

use super::child::Binary;
use super::loaded::Loaded;
use super::upgrade::Successor;
use super::voice::Voice;
use super::workers::{self, End, Worker};
use super::{files, respawn::Respawn, sockets};

/// The signals the master takes.
pub const SIGNALS: &[Signal] = &[
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGALRM,
    Signal::SIGIO,
    Signal::SIGSYS,
];

/// A worker that was told to end at once and did not is killed; as nginx.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// Workers finish what they have begun.
    Quitting,
    /// Workers end now.
    Terminating,
}

/// The master.
pub struct Master {
    pub(super) call: Call,
    pub(super) voice: Voice,
    pub(super) binary: Binary,
    pub(super) signals: Signals,
    /// The configuration in force.
    pub(super) loaded: Loaded,
    /// The one a worker was sent but has not yet confirmed.
    pub(super) pending: Option<Loaded>,
    pub(super) generation: u64,
    pub(super) workers: Vec<Worker>,
    pub(super) respawn: Respawn,
    pub(super) stage: Stage,
    pub(super) kill_at: Option<Instant>,
    /// The configuration is to be read anew.
    pub(super) reconfigure: bool,
    /// No worker is wanted (WINCH).
    pub(super) retired: bool,
    pub(super) place: Place,
    pub(super) successor: Option<Successor>,
    /// `master_process off`: the worker runs in this process.
    pub(super) alone: bool,
}

/// How the master came to be where it is.
pub struct Place {
    /// The process is in the background.
    pub daemonized: bool,
    /// The master before, whose upgrade this one is.
    pub predecessor: Option<u32>,
    /// Whether there is a pid file.
    pub pid_file: bool,
}

impl Master {
    /// A master with everything opened, and no worker yet.
    pub fn new(
        call: Call,
        voice: Voice,
        binary: Binary,
        signals: Signals,
        loaded: Loaded,
        place: Place,
    ) -> Master {
        Master {
            alone: !loaded.master_process,
            generation: loaded.generation,
            call,
            voice,
            binary,
            signals,
            loaded,
            pending: None,
            workers: Vec::new(),
            respawn: Respawn::default(),
            stage: Stage::Serving,
            kill_at: None,
            reconfigure: false,
            retired: false,
            place,
            successor: None,
        }
    }

    /// Starts workers and looks after them until it is told to end.
    pub fn run(mut self, here: Option<OwnedFd>) -> ExitCode {
        match here {
            Some(channel) => self.adopt(channel),
            None => {
                self.voice.notice(format_args!("start worker processes"));
                self.start_worker();
            }
        }
        while !self.is_done() {
            self.wait();
            self.take_signals();
            self.hear();
            self.reap();
            self.keep_time();
        }
        self.leave();
        ExitCode::SUCCESS
    }

    fn adopt(&mut self, channel: OwnedFd) {
        let worker =
            super::outbox::Outbox::new(channel).and_then(|o| Worker::here(o, &self.loaded, &self.voice));
        match worker {
            Ok(worker) => self.workers.push(worker),
            Err(error) => self.voice.say(Level::Emerg, format_args!("{}", Errno(&error))),
        }
    }

    fn is_done(&self) -> bool {
        let ending = self.stage != Stage::Serving || self.alone;
        ending && self.workers.is_empty()
    }

    /// Waits for a signal, a message, or the next thing to do.
    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let channels = self.workers.iter().filter_map(Worker::channel);
        for channel in channels.chain(self.successor.as_ref().and_then(Successor::channel)) {
            let room = if channel.is_full() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(channel, PollFlags::IN | room));
        }
        let next = [self.kill_at, self.respawn.due()].into_iter().flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
        // An interrupted wait is a wait that ended.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Listens to what the workers say.
    fn hear(&mut self) {
        for i in 0..self.workers.len() {
            while let Some(answer) = self.workers[i].answer(&self.voice) {
                match answer {
                    Answer::Received => {}
                    Answer::Ready(generation) => self.ready(i, generation),
                    Answer::Refused(generation, why) => self.refused(generation, &why),
                }
            }
        }
        if let Some(successor) = &mut self.successor {
            successor.hear();
        }
        if !self.alone {
            self.replace_the_deaf();
        }
    }

    /// A worker that closed its channel finishes what it began and accepts nobody: another has to.
    fn replace_the_deaf(&mut self) {
        let deaf = self.workers.iter_mut().filter(|worker| !worker.leaving && worker.channel().is_none());
        let mut lost = Vec::new();
        for worker in deaf {
            worker.leaving = true;
            lost.push((worker.sent, worker.started.elapsed()));
        }
        for (sent, age) in lost {
            self.lost(sent, age);
        }
    }

    /// Deals with the workers that ended.
    fn reap(&mut self) {
        let mut i = 0;
        while i < self.workers.len() {
            match self.workers[i].ended() {
                None => i += 1,
                Some(end) => {
                    let worker = self.workers.remove(i);
                    self.ended(&worker, &end);
                }
            }
        }
        self.reap_successor();
    }

    fn ended(&mut self, worker: &Worker, end: &End) {
        if let End::Status(status) = end {
            workers::say_end("worker process", worker.pid(), *status, &self.voice);
        }
        if !worker.leaving && !self.alone {
            self.lost(worker.sent, worker.started.elapsed());
        }
    }

    /// A worker that was sent this generation does not serve any more.
    fn lost(&mut self, sent: u64, age: Duration) {
        if self.give_up_pending(sent) {
            let why = "the worker process ended before the new configuration was in force: the old one stays";
            self.voice.say(Level::Alert, format_args!("{why}"));
        }
        if self.wants_workers() && self.workers.iter().all(|w| w.leaving) {
            self.respawn.after(age, Instant::now());
        }
    }

    pub(super) fn wants_workers(&self) -> bool {
        self.stage == Stage::Serving && !self.retired
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.workers.iter_mut().for_each(Worker::kill);
            self.kill_at = Some(now + PATIENCE);
        }
        if self.respawn.take_due(now) && self.wants_workers() {
            self.start_worker();
        }
        if self.reconfigure && self.pending.is_none() && self.stage == Stage::Serving {
            self.reconfigure = false;
            self.reload();
        }
    }

    /// Starts a worker with the configuration in force; one that cannot be started is tried again later.
    pub(super) fn start_worker(&mut self) {
        match Worker::start(&self.binary, &self.loaded, &self.voice) {
            Ok(worker) => self.workers.push(worker),
            Err(error) => {
                self.voice.say(Level::Alert, format_args!("fork() failed ({})", Errno(&error)));
                self.respawn.after(Duration::ZERO, Instant::now());
            }
        }
    }

    /// Graceful: workers finish what they have begun; nobody new is listened to.
    pub(super) fn quit(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        self.stage = Stage::Quitting;
        self.workers.iter_mut().for_each(|worker| worker.quit(&self.voice));
        self.close_sockets();
    }

    /// Fast.
    pub(super) fn terminate(&mut self) {
        if self.stage == Stage::Terminating {
            return;
        }
        self.stage = Stage::Terminating;
        self.workers.iter_mut().for_each(|worker| worker.terminate(&self.voice));
        self.kill_at = Some(Instant::now() + PATIENCE);
    }

    pub(super) fn close_sockets(&mut self) {
        let pending = self.pending.as_mut().map(|pending| std::mem::take(&mut pending.bound));
        for bound in [Some(std::mem::take(&mut self.loaded.bound)), pending].into_iter().flatten() {
            if self.owns_paths() {
                sockets::release(&bound);
            }
        }
    }

    /// Whether unix sockets in the file system are this master's to remove: not while another listens there, too.
    pub(super) fn owns_paths(&self) -> bool {
        let predecessor_lives = self.place.predecessor == std::os::unix::process::parent_id().into();
        self.successor.is_none() && !predecessor_lives
    }

    /// Leaves nothing behind.
    fn leave(mut self) {
        self.close_sockets();
        if self.place.pid_file {
            // The file is the successor's by now if there is one.
            let pid = match self.successor {
                Some(_) => files::old_pid(&self.loaded.pid),
                None => self.loaded.pid.clone(),
            };
            if let Err(error) = std::fs::remove_file(&pid) {
                let pid = pid.display();
                self.voice.say(Level::Alert, format_args!("unlink() \"{pid}\" failed ({})", Errno(&error)));
            }
        }
        self.voice.notice(format_args!("exit"));
    }
}
