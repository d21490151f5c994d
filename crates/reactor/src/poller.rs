//! The kernel's part of the loop, behind two small traits so that a test can run the same scheduler in simulated time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

/// Where readiness comes from.
pub trait Poller {
    /// Registers a descriptor; its events carry `key`.
    fn add(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()>;
    /// Changes what a registered descriptor is watched for, and reports what is so already.
    fn modify(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()>;
    /// Forgets a descriptor. Not needed before the last copy of it is closed.
    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// Waits until something is ready or `timeout` is over (`None`: for ever) and puts the events into the spare
    /// capacity of `events`. An interruption by a signal is no error but an early end.
    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;
}

/// Where time comes from.
pub trait Clock {
    /// Monotonic time.
    fn now(&self) -> Instant;
    /// Wall-clock time since the epoch.
    fn unix_time(&self) -> Duration;
}

/// epoll(7).
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new epoll instance.
    pub fn new() -> io::Result<Self> {
        Ok(Epoll(epoll::create(CreateFlags::CLOEXEC)?))
    }
}

impl Poller for Epoll {
    fn add(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, EventData::new_u64(key), events)?)
    }

    fn modify(&self, fd: BorrowedFd<'_>, key: u64, events: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, EventData::new_u64(key), events)?)
    }

    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(whole_milliseconds);
        match epoll::wait(self.0.as_fd(), spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// epoll_wait counts milliseconds; rounded up, so that a timer is due when it returns. A day at most: it is only an
/// early look at the timers.
fn whole_milliseconds(timeout: Duration) -> Timespec {
    let ms = timeout.as_secs().saturating_mul(1000) + u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
    let ms = ms.min(86_400_000) as i64;
    Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 }
}

/// The system's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_time(&self) -> Duration {
        // A clock set before 1970 is taken as 1970: only log lines and dates depend on it.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}
