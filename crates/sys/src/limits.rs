//! How many descriptors a process may have open.

use std::io;

use rustix::process::{Resource, Rlimit};

/// A limit; `None` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far `soft` may be raised without privileges.
    pub hard: Option<u64>,
}

/// RLIMIT_NOFILE of this process.
pub fn descriptors() -> Limit {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    Limit { soft: current, hard: maximum }
}

/// Sets RLIMIT_NOFILE of this process. Raising `hard` needs privileges, and /proc/sys/fs/nr_open bounds it.
pub fn set_descriptors(limit: Limit) -> io::Result<()> {
    let limit = Rlimit { current: limit.soft, maximum: limit.hard };
    Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
}

/// Raises soft and hard RLIMIT_NOFILE of another process, which may have given up the right to do so itself, to at
/// least `count`.
pub fn raise_descriptors_of(pid: u32, count: u64) -> io::Result<()> {
    let before = descriptors_of(pid)?;
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let Some(count) = before.hard.map(|hard| hard.max(count)) else { return Ok(()) };
    let limit = Rlimit { current: Some(count), maximum: Some(count) };
    rustix::process::prlimit(Some(pid), Resource::Nofile, limit)?;
    Ok(())
}

/// RLIMIT_NOFILE of another process, from /proc/PID/limits: prlimit(2) would need rights over it.
pub fn descriptors_of(pid: u32) -> io::Result<Limit> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no \"Max open files\" in limits"))
}

/// Whether a process may raise its hard limits (CAP_SYS_RESOURCE), which root in a container often may not; `None` where
/// that cannot be read.
pub fn may_raise_hard(pid: u32) -> Option<bool> {
    capable(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn capable(status: &str) -> Option<bool> {
    const SYS_RESOURCE: u32 = 24;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    Some(u64::from_str_radix(hex.trim(), 16).ok()? >> SYS_RESOURCE & 1 == 1)
}

fn parse(text: &str) -> Option<Limit> {
    let line = text.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Limit { soft: next()?, hard: next()? })
}

/// Sets RLIMIT_CORE's soft and hard value in bytes (`worker_rlimit_core`).
pub fn set_core(bytes: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    Ok(rustix::process::setrlimit(Resource::Core, limit)?)
}

/// Lets the kernel make room for `count` descriptors at once. A table that grows while other threads run stalls all of
/// them for 7 to 16 ms per doubling, so this belongs before the first thread. Costs 8 bytes of kernel memory per
/// descriptor, so `count` should be what is needed, not what is allowed.
pub fn grow_table(count: u64) -> io::Result<()> {
    let last = i32::try_from(count.saturating_sub(1)).unwrap_or(i32::MAX);
    let any = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    drop(rustix::io::fcntl_dupfd_cloexec(&any, last)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_ways_to_read_agree() {
        assert_eq!(descriptors_of(std::process::id()).unwrap(), descriptors());
    }

    #[test]
    fn what_is_enough_is_not_lowered() {
        // The soft limit only: lowering the other could not be taken back by everybody.
        let before = descriptors();
        raise_descriptors_of(std::process::id(), 1).unwrap();
        assert_eq!(descriptors(), Limit { soft: before.hard, hard: before.hard });
    }

    #[test]
    fn unlimited_is_none() {
        let text =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      unlimited    files\n";
        assert_eq!(parse(text), Some(Limit { soft: Some(1024), hard: None }));
        assert_eq!(parse("Max open files  many"), None);
    }

    /// Docker's default, and root outside.
    #[test]
    fn rights_of_a_process() {
        assert_eq!(capable("Name:\tnginx\nCapEff:\t00000000a80425fb\n"), Some(false));
        assert_eq!(capable("CapEff:\t000001ffffffffff\n"), Some(true));
        assert_eq!(capable("Name:\tnginx\n"), None);
        assert!(may_raise_hard(std::process::id()).is_some());
    }

    #[test]
    fn the_table_holds_no_more_than_the_limit() {
        let soft = descriptors().soft.unwrap_or(1024);
        grow_table(soft.min(4096)).unwrap();
        assert!(grow_table(soft + 1).is_err());
    }
}
