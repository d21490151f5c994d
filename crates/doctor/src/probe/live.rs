//! The running processes and their sockets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conf::{Inputs, SystemInputs};
use machine::kernel::{Counters, Settings};
use machine::process::Process;
use machine::servers::Server;
use machine::sockets;
use machine::{descriptors, namespace};

use super::built::Built;
use super::{Wanted, lua, status, upstreams};
use crate::facts::{Facts, Growing, Killed, Limit, Open, Running, Throttled, Worker};
use crate::input;

/// Which right an error asks for, unless it is there.
pub(super) fn right(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            " (run as root to read it)"
        }
        _ => "",
    }
}

/// Whether it is hidden which files and which network the server sees.
pub(super) fn hidden(server: &Server) -> Option<String> {
    let pid = server.master.pid;
    let error = fs::read_link(format!("/proc/{pid}/ns/mnt")).err()?;
    let what = format!("the folder and the namespaces of process {pid}");
    Some(format!("{what}, taken for ours: {error}{}", right(&error)))
}

/// What relative names start from.
pub(super) fn prefix(server: &Server, built: &Built) -> PathBuf {
    let given = server.flags.prefix.as_deref().map(|prefix| server.master.from_its_folder(Path::new(prefix)));
    given.unwrap_or_else(|| PathBuf::from(&built.prefix))
}

/// The system as the server sees it: a container has files of its own.
pub(super) fn inputs(server: &Server) -> Rooted {
    Rooted(namespace::root_of(server.master.pid))
}

/// Files below another root, as far as they are files that a configuration can be.
pub(super) struct Rooted(pub(super) PathBuf);

impl Rooted {
    fn inside(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Inputs for Rooted {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        let text = input::read(&self.inside(path))?;
        Ok(lua::without_lua(&text).into_owned().into())
    }
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let found = SystemInputs.glob(&self.inside(Path::new(pattern)).to_string_lossy())?;
        let outside = |path: PathBuf| path.strip_prefix(&self.0).map(|rest| Path::new("/").join(rest)).ok();
        Ok(found.into_iter().filter_map(outside).collect())
    }
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<std::net::SocketAddr>> {
        SystemInputs.resolve(host, port)
    }
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        SystemInputs.user(name)
    }
    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        SystemInputs.group(name)
    }
    fn exists(&self, path: &Path) -> bool {
        self.inside(path).exists()
    }
}

/// Reads twice, with the watch between: what grows is what is wrong now.
pub(super) fn look(server: &Server, version: String, wanted: &Wanted, facts: &mut Facts) {
    let begun = Instant::now();
    let pid = server.master.pid;
    let ((first, settings), entered) = namespace::in_network_of(pid, || (Counters::read(), Settings::read()));
    if let Err(error) = entered {
        facts.unread.push(format!("the network namespace of {pid}: {error}{}", right(&error)));
    }
    facts.kernel = settings;
    let before: Vec<_> = server.workers.iter().map(|worker| worker.usage().ok()).collect();
    let quota = || server.workers.first().and_then(|worker| sys::cgroup::throttling_of(worker.pid));
    let throttled = quota();
    let killed = || server.workers.first().and_then(|worker| sys::cgroup::killed_of(worker.pid));
    let killed_before = killed();
    let mut workers = open(server, facts);
    let inodes: Vec<Vec<u32>> = workers.iter().map(|(_, sockets)| sockets.clone()).collect();
    let config = facts.config.as_ref();
    let (found, _) = namespace::in_network_of(pid, || upstreams::read(&inodes, config));
    match found {
        Ok(found) => upstreams::use_sockets(&found, &mut workers, facts),
        Err(error) => facts.unread.push(format!("sock_diag: {error}{}", right(&error))),
    }
    let pages = status::Pages::of(wanted, facts, pid);
    pages.ask(facts);
    std::thread::sleep(wanted.watch.saturating_sub(begun.elapsed()));
    let ((last, queues), _) = namespace::in_network_of(pid, || (Counters::read(), sockets::listening()));
    for queue in &mut facts.queues {
        let now = queues.iter().flatten().find(|now| now.inode == queue.inode);
        queue.drops_grown = now.map_or(0, |now| now.drops.wrapping_sub(queue.drops));
    }
    pages.ask_again(facts);
    let seconds = begun.elapsed().as_secs_f64();
    facts.counters = Some(Growing { total: last, grown: last.since(&first), seconds });
    facts.killed = killed()
        .zip(killed_before)
        .map(|(total, before)| Killed { total, grown: total.saturating_sub(before) });
    facts.throttled = quota().map(|after| grown(after, throttled.unwrap_or(after)));
    for (((worker, _), process), before) in workers.iter_mut().zip(&server.workers).zip(before) {
        let Some((before, after)) = before.zip(process.usage().ok()) else { continue };
        let part = |time: Duration| time.as_secs_f64() / seconds;
        worker.busy = Some(part(after.cpu.saturating_sub(before.cpu)));
        worker.starved = Some(part(after.starved.saturating_sub(before.starved)));
        worker.cpu = Some(after.cpu.as_secs_f64());
    }
    let workers = workers.into_iter().map(|(worker, _)| worker).collect();
    facts.running = Some(Running { version, ..running(server, workers) });
}

fn running(server: &Server, workers: Vec<Worker>) -> Running {
    let pid = server.master.pid;
    let all =
        std::iter::once(&server.master).chain(&server.workers).chain(&server.leaving).chain(&server.helpers);
    let service = server.master.service();
    let limits = sys::cgroup::limits_of(server.workers.first().map_or(pid, |worker| worker.pid));
    Running {
        name: server.name.clone(),
        master: pid,
        seconds: server.master.age().map_or(0, |age| age.as_secs()),
        limit: limit(pid),
        root: sys::limits::may_raise_hard(pid).unwrap_or(server.master.user == 0),
        workers,
        leaving: server.leaving.len(),
        unit: machine::unit::read(&namespace::root_of(pid), &service),
        service,
        online: sys::proc::online_cpus(),
        quota: limits.cpus,
        memory: limits.memory.or_else(machine_memory),
        resident: all.filter_map(|process| process.usage().ok()).map(|usage| usage.resident).sum(),
        ..Running::default()
    }
}

fn grown(after: sys::cgroup::Throttling, before: sys::cgroup::Throttling) -> Throttled {
    Throttled {
        periods: after.periods,
        throttled: after.throttled,
        periods_grown: after.periods.saturating_sub(before.periods),
        throttled_grown: after.throttled.saturating_sub(before.throttled),
        micros: after.micros,
    }
}

fn limit(pid: u32) -> Limit {
    sys::limits::descriptors_of(pid)
        .map_or(Limit::default(), |found| Limit { soft: found.soft, hard: found.hard })
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn open(server: &Server, facts: &mut Facts) -> Vec<(Worker, Vec<u32>)> {
    let mut refused = None;
    let workers = server.workers.iter().map(|process: &Process| {
        let found = descriptors::of(process.pid).map_err(|error| refused = Some(error)).ok();
        let worker = Worker {
            pid: process.pid,
            limit: limit(process.pid),
            open: found.as_ref().map(Open::from),
            ..Worker::default()
        };
        (worker, found.map(|found| found.sockets).unwrap_or_default())
    });
    let workers = workers.collect();
    if let Some(error) = refused {
        facts.unread.push(format!("descriptors of the workers: {error}{}", right(&error)));
    }
    workers
}
