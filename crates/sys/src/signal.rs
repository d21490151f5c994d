//! Signals as something to read: blocked, and taken from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub use nix::sys::signal::Signal;

/// Signals that arrive at a descriptor instead of interrupting.
pub struct Signals {
    fd: SignalFd,
    set: SigSet,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The process that sent it; 0: the kernel.
    pub from: u32,
}

impl Signals {
    /// Blocks the signals for the calling thread and those it starts from now on, and collects them. Call before
    /// starting a thread: one that does not block a signal may be interrupted by it instead.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd, set })
    }

    /// The next signal that arrived, if any: does not wait. The same signal several times may be one.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let Some(info) = self.fd.read_signal()? else { return Ok(None) };
        let signal = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
        Ok(Some(Received { signal: Signal::try_from(signal)?, from: info.ssi_pid }))
    }

    /// The signals this collects.
    pub fn set(&self) -> &SigSet {
        &self.set
    }
}

impl AsFd for Signals {
    /// Readable when a signal waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Blocks signals for the calling thread and those it starts from now on.
pub fn block(signals: &[Signal]) -> io::Result<()> {
    let set: SigSet = signals.iter().copied().collect();
    Ok(set.thread_block()?)
}

/// Lets all signals through again: a program inherits what its parent blocked.
pub fn unblock_all() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Sends a signal to a process.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    // 0 and negative numbers mean groups of processes, none of which is meant here.
    let pid = i32::try_from(pid).ok().filter(|p| *p > 0).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_blocked_signal_is_read() {
        // To the thread, not the process: other tests run beside this one.
        let signals = Signals::new(&[Signal::SIGUSR1, Signal::SIGWINCH]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        let received = signals.next().unwrap().unwrap();
        assert_eq!(received, Received { signal: Signal::SIGUSR1, from: std::process::id() });
        assert_eq!(signals.next().unwrap(), None);
        assert!(signals.set().contains(Signal::SIGWINCH));
        unblock_all().unwrap();
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1));
    }

    #[test]
    fn groups_are_not_signalled() {
        assert!(send(0, Signal::SIGCONT).is_err());
        assert!(send(u32::MAX, Signal::SIGCONT).is_err());
    }
}
