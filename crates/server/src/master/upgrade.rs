//! The upgrade of the running binary (USR2): a new master takes over the listening sockets, side by side with this one.

use std::os::fd::OwnedFd;
use std::process::Child;

use crate::log::{Errno, Level};
use crate::program::Listen;
use crate::snapshot::{self, Arrived, Kind, Sealed};

use super::child;
use super::files;
use super::outbox::Outbox;
use super::sockets::{self, Bound};
use super::supervise::Master;
use super::workers;

/// The new master.
pub struct Successor {
    child: Child,
    outbox: Option<Outbox>,
}

impl Successor {
    /// What to wait for while it is handed the sockets.
    pub fn channel(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }
    /// Goes on handing over; when it has all, nothing is left to say.
    pub fn hear(&mut self) {
        let Some(outbox) = &mut self.outbox else { return };
        let outcome = outbox.push().and_then(|()| outbox.receive());
        if outcome.is_err() || outbox.is_empty() {
            self.outbox = None;
        }
    }
}

impl Master {
    /// Starts the new binary. The pid file becomes its; ours is kept under another name.
    pub(super) fn upgrade(&mut self) {
        self.voice.notice(format_args!("changing binary"));
        let (pid, old_pid) = (&self.loaded.pid, files::old_pid(&self.loaded.pid));
        if self.place.pid_file
            && let Err(error) = std::fs::rename(pid, &old_pid)
        {
            let (pid, old_pid) = (pid.display(), old_pid.display());
            let error = Errno(&error);
            return self.voice.say(
                Level::Alert,
                format_args!(
                    "rename() {pid} to {old_pid} failed before executing new binary process ({error})"
                ),
            );
        }
        match self.start_successor() {
            Ok(successor) => {
                self.voice.notice(format_args!("start new binary process {}", successor.child.id()));
                self.successor = Some(successor);
            }
            Err(error) => {
                let path = self.binary.path().display();
                let error = Errno(&error);
                self.voice.say(
                    Level::Alert,
                    format_args!("execve() failed while executing new binary process \"{path}\" ({error})"),
                );
                self.take_pid_file_back();
            }
        }
    }

    fn start_successor(&self) -> std::io::Result<Successor> {
        let (listens, fds) = sockets::listed(&self.loaded.bound);
        let messages = Sealed::new(Kind::Sockets, &listens)?.messages(&fds)?;
        let (child, mut outbox) = self.binary.start_successor()?;
        // If it does not listen it ends, which is seen like any other end.
        let sent = outbox.send(messages).is_ok();
        Ok(Successor { child, outbox: sent.then_some(outbox) })
    }

    fn take_pid_file_back(&self) {
        let (pid, old_pid) = (&self.loaded.pid, files::old_pid(&self.loaded.pid));
        if self.place.pid_file
            && let Err(error) = std::fs::rename(&old_pid, pid)
        {
            let (pid, old_pid) = (pid.display(), old_pid.display());
            self.voice.say(
                Level::Alert,
                format_args!("rename() {old_pid} back to {pid} failed ({})", Errno(&error)),
            );
        }
    }

    /// Where the new master ended, this one is the only one again, and serves if it did not.
    pub(super) fn reap_successor(&mut self) {
        let ended = self.successor.as_mut().and_then(|s| s.child.try_wait().ok().flatten());
        let Some((status, successor)) = ended.and_then(|status| Some((status, self.successor.take()?)))
        else {
            return;
        };
        workers::say_end("new binary process", successor.child.id(), status, &self.voice);
        self.take_pid_file_back();
        self.serve_again();
    }

    /// Starts workers where a WINCH had sent them away.
    pub(super) fn serve_again(&mut self) {
        if self.retired {
            self.retired = false;
            if self.wants_workers() {
                self.voice.notice(format_args!("start worker processes"));
                self.start_worker();
            }
        }
    }
}

/// The sockets of the master before, when this process is its upgrade.
///
/// # Errors
/// When they do not arrive.
pub fn inherited() -> std::io::Result<Option<Vec<Bound>>> {
    if std::env::var_os(child::UPGRADE).is_none() {
        return Ok(None);
    }
    let channel: OwnedFd = child::take_stdin()?;
    match snapshot::receive(&channel)? {
        Arrived::Parcel(parcel) if parcel.kind == Kind::Sockets => {
            let listens: Vec<Listen> = parcel.open()?;
            Ok(Some(sockets::gathered(listens, parcel.fds)))
        }
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}
