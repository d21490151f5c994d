//! The running processes and their sockets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conf::{Inputs, SystemInputs};
use machine::kernel::{Counters, Settings};
use machine::process::Process;
use machine::servers::Server;
use machine::sockets::{self, Sockets};
use machine::{descriptors, namespace};

use super::{Wanted, lua, status};
use crate::facts::{Facts, Growing, Limit, Open, Running, Throttled, Upstream, Worker};
use crate::input;

/// What a program was built with.
pub(super) struct Built {
    pub(super) version: String,
    pub(super) prefix: String,
    pub(super) conf: String,
    pub(super) error_log: String,
}

/// Asks the program itself (`-V`); Debian's places where it does not say.
pub(super) fn built(server: &Server) -> Built {
    let program = server.master.program().filter(|program| program.exists());
    let output = program.and_then(|program| Command::new(program).arg("-V").output().ok());
    let text =
        output.map(|output| String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned());
    let text = text.unwrap_or_default();
    let option = |name: &str, default: &str| {
        let found = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or(default).to_owned()
    };
    let plimsoll = server.name.contains("plimsoll");
    let version = text.split("version: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Built {
        version: version.unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
        prefix: option("--prefix", if plimsoll { "/etc/plimsoll" } else { "/etc/nginx" }),
        conf: option("--conf-path", if plimsoll { "plimsoll.conf" } else { "/etc/nginx/nginx.conf" }),
        error_log: option(
            "--error-log-path",
            if plimsoll { "logs/error.log" } else { "/var/log/nginx/error.log" },
        ),
    }
}

/// Which right an error asks for.
pub(super) fn right(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (run as root to read it)",
        _ => "",
    }
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
pub(super) fn look(server: &Server, wanted: &Wanted, facts: &mut Facts) {
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
    let mut workers = open(server, facts);
    let inodes: Vec<Vec<u32>> = workers.iter().map(|(_, sockets)| sockets.clone()).collect();
    let (found, _) = namespace::in_network_of(pid, || sockets::read(&inodes));
    match found {
        Ok(found) => use_sockets(&found, &mut workers, facts),
        Err(error) => facts.unread.push(format!("sock_diag: {error}{}", right(&error))),
    }
    status::ask_server(wanted, facts, pid);
    std::thread::sleep(wanted.watch.saturating_sub(begun.elapsed()));
    let ((last, queues), _) = namespace::in_network_of(pid, || (Counters::read(), sockets::listening()));
    for queue in &mut facts.queues {
        let now = queues.iter().flatten().find(|now| now.inode == queue.inode);
        queue.drops_grown = now.map_or(0, |now| now.drops.wrapping_sub(queue.drops));
    }
    let seconds = begun.elapsed().as_secs_f64();
    facts.counters = Some(Growing { total: last, grown: last.since(&first), seconds });
    facts.throttled = quota().map(|after| grown(after, throttled.unwrap_or(after)));
    for (((worker, _), process), before) in workers.iter_mut().zip(&server.workers).zip(before) {
        let Some((before, after)) = before.zip(process.usage().ok()) else { continue };
        let part = |time: Duration| time.as_secs_f64() / seconds;
        worker.busy = Some(part(after.cpu.saturating_sub(before.cpu)));
        worker.starved = Some(part(after.starved.saturating_sub(before.starved)));
        worker.cpu = Some(after.cpu.as_secs_f64());
    }
    facts.running = Some(running(server, workers.into_iter().map(|(worker, _)| worker).collect()));
}

fn running(server: &Server, workers: Vec<Worker>) -> Running {
    let pid = server.master.pid;
    let all =
        std::iter::once(&server.master).chain(&server.workers).chain(&server.leaving).chain(&server.helpers);
    let limits = sys::cgroup::limits_of(server.workers.first().map_or(pid, |worker| worker.pid));
    Running {
        name: server.name.clone(),
        version: built(server).version,
        master: pid,
        limit: limit(pid),
        root: sys::limits::may_raise_hard(pid).unwrap_or(server.master.user == 0),
        workers,
        leaving: server.leaving.len(),
        service: service(pid),
        online: sys::proc::online_cpus(),
        quota: limits.cpus,
        memory: limits.memory.or_else(machine_memory),
        resident: all.filter_map(|process| process.usage().ok()).map(|usage| usage.resident).sum(),
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

/// The last part of a cgroup's path that is a unit's name.
fn service(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mut parts = groups.split(['/', '\n']).filter(|part| part.ends_with(".service"));
    parts.next_back().unwrap_or_default().to_owned()
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

fn use_sockets(found: &Sockets, workers: &mut [(Worker, Vec<u32>)], facts: &mut Facts) {
    for ((worker, _), held) in workers.iter_mut().zip(&found.held) {
        worker.held = *held;
    }
    let ours = |inode: &u32| workers.iter().any(|(_, sockets)| sockets.contains(inode));
    facts.queues = found.queues.iter().filter(|queue| ours(&queue.inode)).cloned().collect();
    let destinations = facts.config.as_ref().map(super::Config::destinations).unwrap_or_default();
    facts.upstreams = destinations.iter().map(|address| upstream(address, found)).collect();
    // Variables in proxy_pass, and what was configured before: seen only as connections.
    for (address, towards) in &found.towards {
        let held = towards.open + towards.connecting;
        if held > 0 && !facts.upstreams.iter().any(|known| known.address == *address) {
            facts.upstreams.push(Upstream { towards: towards.clone(), ..upstream(address, found) });
        }
    }
    facts.upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.towards.open));
}

fn upstream(address: &str, found: &Sockets) -> Upstream {
    let queue = if is_here(address) { found.queue(address).cloned() } else { None };
    let program = queue.as_ref().and_then(|queue| holder(queue.inode)).unwrap_or_default();
    let towards = found.towards.get(address).cloned().unwrap_or_default();
    Upstream { address: address.to_owned(), program, queue, towards }
}

/// A port of another machine may be listened to here as well.
fn is_here(address: &str) -> bool {
    let ip = address.parse::<std::net::SocketAddr>().map(|address| address.ip());
    // Binding to port 0 of it is the simplest question whether an address is ours.
    ip.map_or(address.starts_with("unix:"), |ip| std::net::UdpSocket::bind((ip, 0)).is_ok())
}

/// Who holds a socket: the process that was there first, with its name.
fn holder(inode: u32) -> Option<String> {
    let mut all = machine::process::all().ok()?;
    all.sort_by_key(|process| process.pid);
    let target = format!("socket:[{inode}]");
    let holds = |process: &Process| {
        let links = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
        links
            .filter_map(|link| fs::read_link(link.path()).ok())
            .any(|link| link.as_os_str() == target.as_str())
    };
    let process = all.into_iter().find(holds)?;
    // An interpreter's first argument says more than its own name.
    let script = process.arguments.get(1).filter(|word| word.contains('/'));
    let script =
        script.and_then(|word| word.rsplit('/').next()).map_or(String::new(), |script| format!(" {script}"));
    Some(format!("{}{script} (pid {})", process.name(), process.pid))
}
