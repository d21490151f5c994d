//! Processes, from /proc.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A process as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its arguments; one that wrote over them (as nginx does for its title) has one, the title.
    pub arguments: Vec<String>,
    /// The user it runs as.
    pub user: u32,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of processors.
    pub cpu: Duration,
    /// Bytes of memory that are its own or shared.
    pub resident: u64,
    /// Time that it was ready to run and no processor was free.
    pub starved: Duration,
}

/// Every process that can be seen.
pub fn all() -> io::Result<Vec<Process>> {
    let ids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(ids.filter_map(|pid| one(pid).ok()).collect())
}

/// One process.
pub fn one(pid: u32) -> io::Result<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number =
        |name: &str| field(&status, name).and_then(|text| text.split_whitespace().next()?.parse().ok());
    let command = fs::read(format!("/proc/{pid}/cmdline"))?;
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Ok(Process {
        pid,
        parent: number("PPid").unwrap_or(0),
        arguments: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
        user: number("Uid").unwrap_or(0),
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl Process {
    /// Its arguments in one line.
    pub fn title(&self) -> String {
        self.arguments.join(" ")
    }

    /// The program it runs, if that may be read.
    pub fn program(&self) -> Option<PathBuf> {
        sys::proc::program_of(self.pid).ok()
    }

    /// The last part of what it was called by, or of its title's first word.
    pub fn name(&self) -> &str {
        let called = self.arguments.first().and_then(|called| called.split_whitespace().next()).unwrap_or("");
        called.rsplit('/').next().unwrap_or(called).trim_end_matches(':')
    }

    /// The systemd service it runs in (the last part of its cgroup's path that is a unit's name), or empty.
    pub fn service(&self) -> String {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default();
        service_in(&groups).to_owned()
    }

    /// How long it has been running.
    pub fn age(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        age(&stat, &fs::read_to_string("/proc/uptime").ok()?)
    }

    /// A relative path, as it was from where the process is.
    pub fn from_its_folder(&self, path: &Path) -> PathBuf {
        let folder = fs::read_link(format!("/proc/{}/cwd", self.pid)).unwrap_or_else(|_| PathBuf::from("/"));
        folder.join(path)
    }

    /// What it has used so far.
    pub fn usage(&self) -> io::Result<Usage> {
        let pid = self.pid;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let schedule = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        Ok(Usage {
            cpu: cpu(&stat).unwrap_or_default(),
            resident: resident(&status).unwrap_or(0),
            starved: starved(&schedule).unwrap_or_default(),
        })
    }
}

fn service_in(groups: &str) -> &str {
    groups.split(['/', '\n']).rfind(|part| part.ends_with(".service")).unwrap_or_default()
}

/// Time in user and kernel mode. A tick is 10 ms to programs, whatever the kernel counts with.
fn cpu(stat: &str) -> Option<Duration> {
    // The program's name stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()?.checked_add(fields.get(12)?.parse().ok()?)?;
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

/// It says in ticks (10 ms) after the start of the machine when it began.
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    let begun: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64((now - begun as f64 / 100.0).max(0.0)).ok()
}

/// Nanoseconds on a processor, nanoseconds waiting for one, turns.
fn starved(schedule: &str) -> Option<Duration> {
    schedule.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

fn resident(status: &str) -> Option<u64> {
    field(status, "VmRSS")?.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn we_find_ourselves() {
        let me = std::process::id();
        let found = all().unwrap().into_iter().find(|process| process.pid == me).unwrap();
        assert_eq!(found, one(me).unwrap());
        assert_eq!(found.parent, std::os::unix::process::parent_id());
        assert_eq!(found.program().unwrap(), std::env::current_exe().unwrap());
        assert!(found.usage().unwrap().resident > 100_000);
    }

    #[test]
    fn ages() {
        let stat = format!("7 (a) b) S {}500 1", "0 ".repeat(18));
        assert_eq!(age(&stat, "17.25 3\n"), Some(Duration::from_millis(12_250)));
        assert_eq!((age("", "1"), age(&stat, "x"), age(&stat, "2")), (None, None, Some(Duration::ZERO)));
        let me = one(std::process::id()).unwrap();
        assert!(me.age().unwrap() < Duration::from_secs(86_400));
    }

    #[test]
    fn services() {
        let groups = "2:cpu:/\n0::/system.slice/nginx.service/inner\n";
        assert_eq!((service_in(groups), service_in("0::/user.slice\n")), ("nginx.service", ""));
    }

    #[test]
    fn names_of_programs_and_titles() {
        let named = |first: &str| Process { arguments: vec![first.to_owned()], ..Process::default() };
        assert_eq!(named("/usr/sbin/nginx").name(), "nginx");
        assert_eq!(named("php-fpm: master process (/etc/php/fpm.conf)").name(), "php-fpm");
        assert_eq!(Process::default().name(), "");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("7 (a"), None);
        assert_eq!(starved("9 2000 3\n"), Some(Duration::from_micros(2)));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2 kB\n"), Some(2048));
    }
}
