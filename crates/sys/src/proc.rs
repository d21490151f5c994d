//! Numbers from /proc and /sys: what the machine has and what the kernel allows.

use std::fs;
use std::str::FromStr;

use crate::{affinity, cgroup};

/// CPUs that are online, whether this process may use them or not. At least 1.
pub fn online_cpus() -> usize {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let count = list.and_then(|l| count_list(l.trim()));
    count.or_else(|| affinity::allowed().ok().map(|cpus| cpus.len())).unwrap_or(1).max(1)
}

/// How many threads this process can keep busy: online CPUs, less if its affinity or its cgroup's quota (rounded up)
/// says so. At least 1.
pub fn usable_cpus() -> usize {
    let allowed = affinity::allowed().map_or(usize::MAX, |cpus| cpus.len());
    let quota = cgroup::limits().cpus.map_or(usize::MAX, |cpus| cpus.ceil() as usize);
    online_cpus().min(allowed).min(quota).max(1)
}

/// Counts a list like `0-3,6`.
fn count_list(list: &str) -> Option<usize> {
    let count = |range: &str| match range.split_once('-') {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        }
        None => range.parse().ok().map(|_: usize| 1),
    };
    list.split(',').map(count).sum()
}

/// The most a listening socket's queue may hold (net.core.somaxconn).
pub fn somaxconn() -> Option<u32> {
    number("/proc/sys/net/core/somaxconn")
}

/// The most files open on the machine (fs.file-max).
pub fn file_max() -> Option<u64> {
    number("/proc/sys/fs/file-max")
}

/// The most a process's descriptor limit may be set to (fs.nr_open).
pub fn nr_open() -> Option<u64> {
    number("/proc/sys/fs/nr_open")
}

/// The path of the program a process runs.
pub fn program_of(pid: u32) -> std::io::Result<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

fn number<T: FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_are_counted() {
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("0-3,6,8-9"), Some(7));
        assert_eq!(count_list("3-0"), None);
        assert_eq!(count_list("x"), None);
    }

    #[test]
    fn the_machine_says_something() {
        assert!(online_cpus() >= usable_cpus());
        assert!(nr_open().unwrap() >= 1024);
        assert!(somaxconn().is_some() && file_max().is_some());
        assert_eq!(program_of(std::process::id()).unwrap(), std::env::current_exe().unwrap());
    }
}
