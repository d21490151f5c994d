//! The main and `events` contexts: processes, their user, limits and files.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conf::{Args, Directive, EVENTS as IN_EVENTS, Error, Inherit, MAIN, Scope, block, directive};

settings! {
    /// As written.
    pub struct Conf {
        user: (u32, u32),
        worker_processes: Workers,
        worker_connections: Connections,
        worker_rlimit_nofile: u64,
        worker_rlimit_core: u64,
        worker_priority: i32,
        worker_cpu_affinity: Affinity,
        worker_shutdown_timeout: u64,
        working_directory: PathBuf,
        pid: PathBuf,
        daemon: bool,
        master_process: bool,
    }
}

/// `worker_processes`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many threads as the service may use cores: affinity and cgroup quota are respected.
    Auto,
    /// So many.
    Number(u32),
}

/// `worker_connections`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// As many as the limit of descriptors has room for.
    Auto,
    /// So many.
    Number(u64),
}

/// `worker_cpu_affinity`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// One core each, of those in the mask, or of all.
    Auto(Option<Vec<usize>>),
    /// A set of cores for each thread; the last one for the rest.
    Masks(Vec<Vec<usize>>),
}

/// `env`: variables kept or set for the worker.
#[derive(Default)]
pub struct Env(pub Vec<(String, Option<String>)>);
impl Inherit for Env {
    fn inherit(&mut self, _: &Env) {}
    fn reaches(_: conf::Within) -> bool {
        false
    }
}

/// The blocks that may stand once in a configuration.
#[derive(Default)]
pub struct Once(Mutex<Vec<&'static str>>);
impl Once {
    /// Notes one; a second is nginx's error.
    fn note(&self, name: &'static str) -> Result<(), Error> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&name) {
            return Err(Error::directive("is duplicate"));
        }
        seen.push(name);
        Ok(())
    }
}

/// Notes a block that may stand once.
pub fn once(at: &Scope, name: &'static str) -> Result<(), Error> {
    at.shared::<Once>().note(name)
}

/// `events {`
pub const EVENTS: Directive = block("events", MAIN, conf::exactly(0), IN_EVENTS, |at, _| once(at, "events"));
/// `user name [group];`
pub const USER: Directive = directive("user", MAIN, conf::between(1, 2), user);
/// `worker_processes number | auto;`
pub const WORKER_PROCESSES: Directive = directive("worker_processes", MAIN, conf::exactly(1), |at, a| {
    let workers = match a.str(0) {
        "auto" => Workers::Auto,
        _ => Workers::Number(a.number::<u32>(0).map_err(|_| a.invalid())?),
    };
    if workers == Workers::Number(0) {
        return Err(a.error("invalid number of worker processes"));
    }
    at.own::<Conf>().worker_processes.set(workers)
});
/// `worker_connections number | auto;`
pub const WORKER_CONNECTIONS: Directive =
    directive("worker_connections", IN_EVENTS, conf::exactly(1), |at, a| {
        let connections = match a.str(0) {
            "auto" => Connections::Auto,
            text => {
                let number = a.number(0).map_err(|_| a.error(format!("invalid number \"{text}\"")))?;
                Connections::Number(number)
            }
        };
        at.own::<Conf>().worker_connections.set(connections)
    });
/// `worker_rlimit_nofile number;`
pub const WORKER_RLIMIT_NOFILE: Directive =
    directive("worker_rlimit_nofile", MAIN, conf::exactly(1), |at, a| {
        at.own::<Conf>().worker_rlimit_nofile.set(a.number(0)?)
    });
/// `worker_rlimit_core size;`
pub const WORKER_RLIMIT_CORE: Directive = directive("worker_rlimit_core", MAIN, conf::exactly(1), |at, a| {
    at.own::<Conf>().worker_rlimit_core.set(a.offset(0)?)
});
/// `worker_priority number;`
pub const WORKER_PRIORITY: Directive = directive("worker_priority", MAIN, conf::exactly(1), |at, a| {
    let (sign, digits) = match a.str(0).strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, a.str(0).strip_prefix('+').unwrap_or(a.str(0))),
    };
    let number: i32 = digits.parse().map_err(|_| Error::directive("invalid number"))?;
    at.own::<Conf>().worker_priority.set(sign * number)
});
/// `worker_cpu_affinity mask ..;`
pub const WORKER_CPU_AFFINITY: Directive =
    directive("worker_cpu_affinity", MAIN, conf::at_least(1), affinity);
/// `worker_shutdown_timeout time;`
pub const WORKER_SHUTDOWN_TIMEOUT: Directive =
    directive("worker_shutdown_timeout", MAIN, conf::exactly(1), |at, a| {
        at.own::<Conf>().worker_shutdown_timeout.set(a.msec(0)?)
    });
/// How long what was begun may last when a worker is to end, or another configuration is in force; `None`: as long as it
/// takes, which 0 means, too.
pub fn shutdown_timeout(root: &Scope) -> Option<Duration> {
    let written = root.conf::<Conf>()?.worker_shutdown_timeout.written().copied();
    written.filter(|milliseconds| *milliseconds > 0).map(Duration::from_millis)
}
/// `working_directory path;`
pub const WORKING_DIRECTORY: Directive = directive("working_directory", MAIN, conf::exactly(1), |at, a| {
    at.own::<Conf>().working_directory.set(a.str(0).into())
});
/// `env variable[=value];`
pub const ENV: Directive = directive("env", MAIN, conf::exactly(1), |at, a| {
    let pair = match a.str(0).split_once('=') {
        Some((name, value)) => (name.into(), Some(value.into())),
        None => (a.str(0).into(), None),
    };
    at.own::<Env>().0.push(pair);
    Ok(())
});
/// `pid file;`
pub const PID: Directive = directive("pid", MAIN, conf::exactly(1), |at, a| {
    match a.str(0) {
        // As if nothing was said.
        "" => Ok(()),
        path => at.own::<Conf>().pid.set(a.prefix_path(path).into()),
    }
});
/// `lock_file file;`: this server needs none.
pub const LOCK_FILE: Directive = directive("lock_file", MAIN, conf::exactly(1), no_effect);
/// `daemon on | off;`
pub const DAEMON: Directive =
    directive("daemon", MAIN, conf::flag(), |at, a| at.own::<Conf>().daemon.set(a.flag(0)?));
/// `master_process on | off;`
pub const MASTER_PROCESS: Directive =
    directive("master_process", MAIN, conf::flag(), |at, a| at.own::<Conf>().master_process.set(a.flag(0)?));
/// `timer_resolution interval;`: the clock is read once per turn of the loop anyway.
pub const TIMER_RESOLUTION: Directive = directive("timer_resolution", MAIN, conf::exactly(1), |at, a| {
    a.msec(0)?;
    no_effect(at, a)
});
/// `pcre_jit on | off;`: always on where the machine has it.
pub const PCRE_JIT: Directive = directive("pcre_jit", MAIN, conf::flag(), |at, a| match a.flag(0)? {
    true => once_here(at, a),
    false => no_effect(at, a),
});
/// `use method;`
pub const USE: Directive = directive("use", IN_EVENTS, conf::exactly(1), |at, a| match a.str(0) {
    "epoll" => no_effect(at, a),
    other => Err(a.error(format!("invalid event type \"{other}\""))),
});
/// `accept_mutex on | off;`
pub const ACCEPT_MUTEX: Directive = directive("accept_mutex", IN_EVENTS, conf::flag(), flag_without_effect);
/// `accept_mutex_delay time;`
pub const ACCEPT_MUTEX_DELAY: Directive =
    directive("accept_mutex_delay", IN_EVENTS, conf::exactly(1), |at, a| {
        a.msec(0)?;
        no_effect(at, a)
    });
/// `multi_accept on | off;`
pub const MULTI_ACCEPT: Directive = directive("multi_accept", IN_EVENTS, conf::flag(), flag_without_effect);
/// `worker_aio_requests number;`
pub const WORKER_AIO_REQUESTS: Directive =
    directive("worker_aio_requests", IN_EVENTS, conf::exactly(1), |at, a| {
        a.number::<u32>(0)?;
        no_effect(at, a)
    });

fn flag_without_effect(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.flag(0)?;
    no_effect(at, a)
}

/// What blocks have that has no effect.
#[derive(Default)]
struct Here(Vec<Box<str>>);
impl Inherit for Here {
    fn inherit(&mut self, _: &Here) {}
}
/// Notes a directive that may stand once in a block.
pub fn once_here(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let here = &mut at.own::<Here>().0;
    if here.iter().any(|name| **name == *a.directive) {
        return Err(Error::directive("is duplicate"));
    }
    here.push(a.directive.into());
    Ok(())
}

/// Accepted so that files load, and said once: it changes nothing here.
pub fn no_effect(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    once_here(at, a)?;
    let mut notice = a.error(format!("the \"{}\" directive has no effect in plimsoll", a.directive));
    notice.level = conf::Level::Notice;
    at.warn(notice);
    Ok(())
}

const USELESS: &str =
    "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored";

fn user(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if !sys::privileges::is_root() {
        at.warn(a.warning(USELESS));
        return Ok(());
    }
    let name = a.str(0);
    let found = a.inputs().user(name).ok().flatten();
    let (uid, _) = found.ok_or_else(|| a.error(format!("getpwnam(\"{name}\") failed")))?;
    let group = a.opt(1).unwrap_or(name);
    let found = a.inputs().group(group).ok().flatten();
    let gid = found.ok_or_else(|| a.error(format!("getgrnam(\"{group}\") failed")))?;
    at.own::<Conf>().user.set((uid, gid))
}

fn affinity(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let value = if a.str(0) == "auto" {
        if a.words.len() > 2 {
            let text = "invalid number of arguments in \"worker_cpu_affinity\" directive";
            return Err(a.error(text));
        }
        Affinity::Auto(if a.words.len() == 2 { Some(mask(a, a.str(1))?) } else { None })
    } else {
        Affinity::Masks((0..a.words.len()).map(|i| mask(a, a.str(i))).collect::<Result<_, _>>()?)
    };
    at.own::<Conf>().worker_cpu_affinity.set(value)
}

/// As many as a set of the kernel's has.
const MOST_CORES: usize = 1024;

/// `0101`: the last digit is core 0.
fn mask(a: &Args<'_>, text: &str) -> Result<Vec<usize>, Error> {
    if text.len() > MOST_CORES {
        return Err(a.error(format!("\"worker_cpu_affinity\" supports up to {MOST_CORES} CPUs only")));
    }
    let mut cores = Vec::new();
    for (i, digit) in text.bytes().rev().filter(|byte| *byte != b' ').enumerate() {
        match digit {
            b'1' => cores.push(i),
            b'0' => {}
            _ => {
                return Err(
                    a.error(format!("invalid character \"{}\" in \"worker_cpu_affinity\"", digit as char))
                );
            }
        }
    }
    Ok(cores)
}
