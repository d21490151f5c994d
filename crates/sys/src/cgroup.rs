//! What a container allows: CPU quota and memory, of cgroup version 1 and 2.
//!
//! The limit that counts is the smallest on the way from the process's group up to the root. Where a container does not
//! see its own path (version 1 without a namespace), its group is mounted at the root of the hierarchy.

use std::fs;
use std::path::{Path, PathBuf};

/// The limits that apply to this process; `None`: no limit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPUs' worth of time per time, e.g. 1.5.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// How often the quota of processor time was used up, since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which it ran.
    pub periods: u64,
    /// Those of them in which it had to stand still.
    pub throttled: u64,
    /// For how many microseconds, of all its threads together.
    pub micros: u64,
}

/// What the group of this process, or one around it, had to bear; `None` where no quota is counted.
pub fn throttling_of(pid: u32) -> Option<Throttling> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    throttling_in(Path::new("/sys/fs/cgroup"), &groups)
}

fn throttling_in(root: &Path, groups: &str) -> Option<Throttling> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let folders = folders(root, fields.next()?, fields.next()?);
        folders
            .iter()
            .filter_map(|folder| Throttling::of(&fs::read_to_string(folder.join("cpu.stat")).ok()?))
            .max_by_key(|t| t.throttled)
    };
    groups.lines().filter_map(of_line).max_by_key(|found| found.throttled)
}

/// How many processes of the group of this process the kernel has killed because its memory was used up; `None` where
/// nobody counts.
pub fn killed_of(pid: u32) -> Option<u64> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    killed_in(Path::new("/sys/fs/cgroup"), &groups)
}

fn killed_in(root: &Path, groups: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let file = if controllers.is_empty() { "memory.events" } else { "memory.oom_control" };
        // Its own group: those around it have others' in theirs.
        kills(&fs::read_to_string(folders(root, controllers, path).first()?.join(file)).ok()?)
    };
    groups.lines().filter_map(of_line).max()
}

impl Throttling {
    /// What `cpu.stat` says; `None` where there is no quota.
    pub fn of(text: &str) -> Option<Throttling> {
        // Version 1 counts nanoseconds.
        let nanos = || number(text, "throttled_time").map(|nanos| nanos / 1000);
        let micros = number(text, "throttled_usec").or_else(nanos).unwrap_or(0);
        let (periods, throttled) = (number(text, "nr_periods")?, number(text, "nr_throttled")?);
        (periods > 0).then_some(Throttling { periods, throttled, micros })
    }
}

/// What `memory.events` or `memory.oom_control` says of processes that were killed.
pub fn kills(text: &str) -> Option<u64> {
    number(text, "oom_kill")
}

/// `NAME 7`
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Reads the limits of this process.
pub fn limits() -> Limits {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits_in(Path::new("/sys/fs/cgroup"), &groups)
}

/// Reads the limits of another process, as seen from here.
pub fn limits_of(pid: u32) -> Limits {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    limits_in(Path::new("/sys/fs/cgroup"), &groups)
}

/// `groups` is what /proc/self/cgroup says, `root` where the hierarchies are mounted.
fn limits_in(root: &Path, groups: &str) -> Limits {
    let mut limits = Limits::default();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        for folder in folders(root, controllers, path) {
            let cpus = if controllers.is_empty() { cpus_v2(&folder) } else { cpus_v1(&folder) };
            limits.cpus = smaller(limits.cpus, cpus);
            let memory = if controllers.is_empty() { "memory.max" } else { "memory.limit_in_bytes" };
            limits.memory = smaller(limits.memory, memory_in(&folder.join(memory)));
        }
    }
    limits
}

/// The folders of a group and of those around it.
fn folders(root: &Path, controllers: &str, path: &str) -> Vec<PathBuf> {
    let mount = match controllers {
        // In the mixed layout, version 2 has a folder of its own.
        "" if root.join("unified").is_dir() => root.join("unified"),
        "" => root.to_owned(),
        names => root.join(names),
    };
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|group| mount.join(group)).collect()
}

fn smaller<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn cpus_v2(folder: &Path) -> Option<f64> {
    quota(&fs::read_to_string(folder.join("cpu.max")).ok()?)
}

/// Processors' worth of time in `cpu.max`: `QUOTA PERIOD` or `max PERIOD`.
pub fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn cpus_v1(folder: &Path) -> Option<f64> {
    let quota = fs::read_to_string(folder.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(folder.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

/// `None` also for "max" and -1, which are no limit.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.parse().ok().filter(|q| *q > 0)?;
    let period: u64 = period.parse().ok().filter(|p| *p > 0)?;
    Some(quota as f64 / period as f64)
}

/// Version 1 says "no limit" with the largest page-aligned number.
fn memory_in(file: &Path) -> Option<u64> {
    let bytes: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < 1 << 62).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("sys-cgroup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Tree(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn version_2_takes_the_smallest_up_the_tree() {
        let files = [
            ("a/cpu.max", "150000 100000\n"),
            ("a/b/cpu.max", "max 100000\n"),
            ("a/memory.max", "max\n"),
            ("a/b/memory.max", "1048576\n"),
        ];
        let tree = Tree::new("v2", &files);
        assert_eq!(limits_in(&tree.0, "0::/a/b\n"), Limits { cpus: Some(1.5), memory: Some(1 << 20) });
    }

    #[test]
    fn version_1_in_a_container_that_does_not_see_its_path() {
        let files = [
            ("cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let tree = Tree::new("v1", &files);
        let groups = "4:memory:/docker/1234\n3:cpu,cpuacct:/docker/1234\n1:name=systemd:/docker/1234\n";
        assert_eq!(limits_in(&tree.0, groups), Limits { cpus: Some(0.5), memory: None });
    }

    #[test]
    fn throttling_is_found_where_the_quota_is() {
        let files = [
            ("a/cpu.stat", "usage_usec 9\nnr_periods 100\nnr_throttled 40\nthrottled_usec 2000\n"),
            ("a/b/cpu.stat", "usage_usec 9\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n"),
            ("cpu/c/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7000\n"),
        ];
        let tree = Tree::new("throttling", &files);
        let found = Throttling { periods: 100, throttled: 40, micros: 2000 };
        assert_eq!(throttling_in(&tree.0, "0::/a/b\n"), Some(found));
        let old = Throttling { periods: 5, throttled: 2, micros: 7 };
        assert_eq!(throttling_in(&tree.0, "3:cpu:/c\n"), Some(old));
        assert_eq!(throttling_in(&tree.0, "0::/d\n"), None);
    }

    #[test]
    fn processes_that_were_killed() {
        let files = [
            ("memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("b/memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ];
        let tree = Tree::new("killed", &files);
        assert_eq!(killed_in(&tree.0, "4:memory:/a\n0::/\n"), Some(3));
        assert_eq!((killed_in(&tree.0, "0::/b\n"), killed_in(&tree.0, "0::/c\n")), (Some(1), None));
    }

    #[test]
    fn nothing_there_is_no_limit() {
        assert_eq!(limits_in(Path::new("/nowhere"), "0::/\nrubbish\n"), Limits::default());
        let no_quota =
            Tree::new("none", &[("cpu/cpu.cfs_quota_us", "-1"), ("cpu/cpu.cfs_period_us", "100000")]);
        assert_eq!(limits_in(&no_quota.0, "1:cpu:/"), Limits::default());
    }
}
