//! The worker's end of the channel to its master: complete messages, received on a thread of their own.
//!
//! No event loop ever reads a half-sent Snapshot. The thread also takes the signals an administrator may send to the
//! worker itself, which mean the same as the master's messages.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use sys::signal::{Signal, Signals};

use crate::program::Listen;
use crate::snapshot::{self, Answer, Arrived, Kind, Parcel, Snapshot};

/// The signals that a worker takes itself. The rest of the master's are blocked, so that one sent to the whole
/// group (a terminal's) does not end it.
const SIGNALS: &[Signal] = &[
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// What a worker starts with, or is changed to.
pub struct Start {
    /// What was read.
    pub snapshot: Snapshot,
    /// The listening sockets; with `reuseport` an address comes several times.
    pub listens: Vec<(Listen, OwnedFd)>,
    /// The log files, open for appending.
    pub logs: Vec<(PathBuf, OwnedFd)>,
}

/// What the worker is to do.
pub enum Command {
    /// Put this in force, or refuse it; the master waits for [`Channel::ready`] or [`Channel::refused`].
    Configure(Box<Start>),
    /// Write these logs to these files from now on.
    Reopen(Vec<(PathBuf, OwnedFd)>),
    /// Finish what was begun, then end. Also when the master is gone: another could not listen otherwise.
    Quit,
    /// End now.
    Terminate,
}

/// The way back to the master; clones share it.
#[derive(Clone, Debug)]
pub struct Channel {
    fd: Arc<OwnedFd>,
}

/// The way from the master.
pub struct Receiver {
    fd: Arc<OwnedFd>,
    signals: Option<Signals>,
}

impl Channel {
    /// A generation is in force.
    pub fn ready(&self, generation: u64) {
        self.answer(&Answer::Ready(generation));
    }
    /// A generation cannot be put in force, and why.
    pub fn refused(&self, generation: u64, why: String) {
        self.answer(&Answer::refused(generation, why));
    }
    /// Nothing more will be said or heard: the master sees the end of the worker, the receiver that of the master.
    pub fn close(&self) {
        // It may be closed already.
        let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Both);
    }
    fn answer(&self, answer: &Answer) {
        // Without a master nobody is waiting for it; the receiver sees its end.
        let _ = snapshot::answer(&self.fd, answer);
    }
}

/// Both ways of a channel. Call before the first thread is started: it blocks signals for all of them.
///
/// # Errors
/// When signals cannot be taken.
pub fn open(fd: OwnedFd, take_signals: bool) -> io::Result<(Channel, Receiver)> {
    let fd = Arc::new(fd);
    let signals = if take_signals { Some(Signals::new(SIGNALS)?) } else { None };
    Ok((Channel { fd: fd.clone() }, Receiver { fd, signals }))
}

impl Receiver {
    /// Waits for the first Snapshot; `None` when the master wants the worker to end instead.
    ///
    /// # Errors
    /// When what arrives is not understood.
    pub fn first(&self) -> io::Result<Option<Start>> {
        match self.next()? {
            Command::Configure(start) => Ok(Some(*start)),
            Command::Reopen(_) => Err(io::ErrorKind::InvalidData.into()),
            Command::Quit | Command::Terminate => Ok(None),
        }
    }

    /// Hands every command to `handler`, on a thread of its own, until one says to end.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(self, mut handler: impl FnMut(Command) + Send + 'static) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("channel".into()).spawn(move || {
            loop {
                // A channel out of step cannot be mended: the master starts another worker when this one is gone.
                let command = self.next().unwrap_or(Command::Quit);
                let last = matches!(command, Command::Terminate);
                let gone = matches!(command, Command::Quit) && self.is_closed();
                handler(command);
                if last || gone {
                    return;
                }
            }
        })
    }

    fn next(&self) -> io::Result<Command> {
        loop {
            if let Some(command) = self.signalled()? {
                return Ok(command);
            }
            if !self.wait()? {
                continue;
            }
            return match snapshot::receive(&self.fd)? {
                Arrived::Parcel(parcel) => command(parcel),
                Arrived::Quit | Arrived::Closed => Ok(Command::Quit),
                Arrived::Terminate => Ok(Command::Terminate),
            };
        }
    }

    /// Waits for either; whether it is a message.
    fn wait(&self) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.fd, PollFlags::IN)];
        if let Some(signals) = &self.signals {
            fds.push(PollFd::new(signals, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            outcome => outcome.map(|_| !fds[0].revents().is_empty()).map_err(io::Error::from),
        }
    }

    fn signalled(&self) -> io::Result<Option<Command>> {
        let Some(signals) = &self.signals else { return Ok(None) };
        while let Some(received) = signals.next()? {
            match received.signal {
                Signal::SIGTERM | Signal::SIGINT => return Ok(Some(Command::Terminate)),
                Signal::SIGQUIT => return Ok(Some(Command::Quit)),
                // Logs are opened with the master's rights, the rest is the master's.
                _ => {}
            }
        }
        Ok(None)
    }

    fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        poll(&mut fds, Some(&rustix::event::Timespec::default())).is_ok()
            && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

fn command(parcel: Parcel) -> io::Result<Command> {
    match parcel.kind {
        Kind::Snapshot => Ok(Command::Configure(Box::new(start(parcel)?))),
        Kind::Reopen => {
            let paths: Vec<PathBuf> = parcel.open()?;
            Ok(Command::Reopen(paths.into_iter().zip(parcel.fds).collect()))
        }
        Kind::Sockets => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn start(parcel: Parcel) -> io::Result<Start> {
    let snapshot: Snapshot = parcel.open()?;
    let mut fds = parcel.fds;
    if fds.len() != snapshot.listens.len() + snapshot.logs.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors do not match the snapshot"));
    }
    let logs = fds.split_off(snapshot.listens.len());
    let logs = snapshot.logs.iter().cloned().zip(logs).collect();
    let listens = snapshot.listens.iter().cloned().zip(fds).collect();
    Ok(Start { snapshot, listens, logs })
}
