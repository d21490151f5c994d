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

/// How many local ports connections to one destination may use (net.ipv4.ip_local_port_range, less those reserved).
pub fn local_ports() -> Option<u64> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    ports_in(&range, reserved.trim())
}

fn ports_in(range: &str, reserved: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    let inside = |range: &str| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        (to.min(last) + 1).checked_sub(from.max(first))
    };
    let reserved: u64 = reserved.split(',').filter_map(inside).sum();
    (last + 1).checked_sub(first).map(|all| all.saturating_sub(reserved))
}

/// How many descriptors this process has open.
pub fn open_descriptors() -> Option<u64> {
    // Newer kernels say it at once.
    let told = fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count > 0);
    told.or_else(|| Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64))
}

/// Bytes of memory that this process has in use.
pub fn resident_memory() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Bytes of memory that the machine has.
pub fn memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemTotal:")
}

fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let number: u64 =
        text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
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
    fn reserved_ports_are_not_counted() {
        assert_eq!(ports_in("32768\t60999\n", ""), Some(28_232));
        assert_eq!(ports_in("32768 60999", "8080,40000-40009,60990-61010"), Some(28_212));
        assert_eq!(ports_in("x", ""), None);
        assert!(open_descriptors().unwrap() > 2 && resident_memory().unwrap() > 0);
        assert!(local_ports().unwrap() > 0 && memory().unwrap() > 0);
    }

    #[test]
    fn the_machine_says_something() {
        assert!(online_cpus() >= usable_cpus());
        assert!(nr_open().unwrap() >= 1024);
        assert!(somaxconn().is_some() && file_max().is_some());
        assert_eq!(program_of(std::process::id()).unwrap(), std::env::current_exe().unwrap());
    }
}
