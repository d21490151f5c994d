//! A configuration, compiled: what the master needs to know of it, and the generation the worker runs.
//!
//! Compiling is a pure function of what was read ([`conf::Inputs`]) and of the command line: the master compiles to
//! check, the worker compiles the same inputs from the Snapshot, and both get the same program.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use conf::{Error, Inputs, Scope, Source, Tables, Tree, Warnings};
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::log::{ErrorLog, LogFile, LogFiles};
use crate::modules;
use crate::modules::core::delivery::Pools;
use crate::modules::core::process::{self, Affinity, Connections, Workers};
use crate::worker::generation::{self, Generation};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// Length of the accept queue; `None`: as long as the system allows (net.core.somaxconn).
    pub backlog: Option<i32>,
    /// SO_REUSEPORT: one socket a thread.
    pub reuseport: bool,
    /// Multipath TCP (RFC 8684) for clients that want it.
    pub multipath: bool,
    /// TCP_DEFER_ACCEPT.
    pub deferred: bool,
    /// IPV6_V6ONLY; `None`: on.
    pub ipv6only: Option<bool>,
    /// SO_RCVBUF in bytes.
    pub rcvbuf: Option<usize>,
    /// SO_SNDBUF in bytes.
    pub sndbuf: Option<usize>,
    /// TCP_FASTOPEN: length of its queue.
    pub fastopen: Option<u32>,
    /// SO_KEEPALIVE and its times.
    pub keepalive: Option<KeepAlive>,
}
impl Listen {
    /// A socket without options.
    pub fn new(address: Address) -> Listen {
        Listen {
            address,
            backlog: None,
            reuseport: false,
            multipath: false,
            deferred: false,
            ipv6only: None,
            rcvbuf: None,
            sndbuf: None,
            fastopen: None,
            keepalive: None,
        }
    }
}

/// `so_keepalive`; times in seconds, `None` for the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAlive {
    /// Whether it is on.
    pub on: bool,
    /// TCP_KEEPIDLE.
    pub idle: Option<u32>,
    /// TCP_KEEPINTVL.
    pub interval: Option<u32>,
    /// TCP_KEEPCNT.
    pub count: Option<u32>,
}

/// What the command line says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// `-p`: ends with a slash.
    pub prefix: PathBuf,
    /// `-c`, absolute; `None`: the embedded default.
    pub conf: Option<PathBuf>,
    /// `-g`
    pub directives: String,
    /// `-e`; `None`: logs/error.log below the prefix.
    pub error_log: Option<PathBuf>,
}

/// A compiled configuration.
pub struct Program {
    /// What the worker runs.
    pub generation: Arc<Generation>,
    /// The configuration file; `None`: the embedded one.
    pub conf: Option<PathBuf>,
    /// The sockets.
    pub listens: Vec<Listen>,
    /// The log files, to be opened by the master.
    pub logs: Vec<Arc<LogFile>>,
    /// The main error log.
    pub error_log: ErrorLog,
    /// Where the master's process id is written.
    pub pid: PathBuf,
    /// The worker's user and group; `None`: nobody's own choice, the master's if it is not root.
    pub user: Option<(u32, u32)>,
    /// Whether to go to the background.
    pub daemon: bool,
    /// Whether there is a master.
    pub master_process: bool,
    /// Threads.
    pub threads: usize,
    /// `worker_connections`, per thread.
    pub connections: u64,
    /// Whether `worker_connections` was written as a number; else it follows from the limits.
    pub connections_written: bool,
    /// `worker_rlimit_nofile`, per thread.
    pub rlimit_nofile: Option<u64>,
    /// `worker_rlimit_core`
    pub rlimit_core: Option<u64>,
    /// `worker_priority`
    pub priority: Option<i32>,
    /// Threads that do what blocks, and how much may wait for one (`thread_pool`).
    pub blocking: Option<(usize, usize)>,
    /// Cores of each thread.
    pub affinity: Option<Affinity>,
    /// `working_directory`
    pub working_directory: Option<PathBuf>,
    /// `env`
    pub env: Vec<(String, Option<String>)>,
    /// Directories for temporary files, to be made and chowned.
    pub temp_paths: Vec<PathBuf>,
    /// The files that were read, for `-T`.
    pub tree: Tree,
}

/// Reads and compiles a configuration. Remarks go to `warnings`, also if it fails.
///
/// # Errors
/// What nginx would say, with file and line.
pub fn compile(inputs: &dyn Inputs, call: &Call, warnings: &mut Vec<Error>) -> Result<Program, Error> {
    let mut remarks = Warnings::default();
    let result = load(inputs, call, &mut remarks);
    warnings.extend(remarks.take());
    result
}

fn load(inputs: &dyn Inputs, call: &Call, remarks: &mut Warnings) -> Result<Program, Error> {
    let root = Scope::root();
    *remarks = root.warnings();
    let embedded = call.prefix.join("embedded configuration");
    let source = Source {
        file: call.conf.as_deref().unwrap_or(&embedded),
        prefix: &call.prefix,
        globals: &call.directives,
        text: call.conf.is_none().then_some(crate::embedded::CONFIGURATION),
    };
    let (tree, root) = conf::load(inputs, &source, tables(), root);
    let mut root = root?;
    if !root.children.iter().any(|block| block.kind == conf::EVENTS) {
        return Err(Error::emerg("no \"events\" section in configuration").nowhere());
    }
    root.shared::<Pools>().check()?;
    root.inherit_down();
    let generation = generation::compile(&root, inputs, call)?;
    let program = program(&root, tree, call, generation, inputs);
    if let Some(Affinity::Masks(masks)) = &program.affinity
        && masks.len() != 1
        && masks.len() != program.threads
    {
        root.warn(Error::warn(OTHER_MASKS).nowhere());
    }
    Ok(program)
}

const OTHER_MASKS: &str = "the number of \"worker_processes\" is not equal to the number of \"worker_cpu_affinity\" masks, \
                           using last mask for remaining worker processes";

/// The modules' directives by name.
pub fn tables() -> &'static Tables {
    static TABLES: std::sync::OnceLock<Tables> = std::sync::OnceLock::new();
    TABLES.get_or_init(|| {
        let all: Vec<_> = modules::ALL.iter().map(|m| m.directives).collect();
        Tables::new(&all)
    })
}

fn program(root: &Scope, tree: Tree, call: &Call, generation: Generation, inputs: &dyn Inputs) -> Program {
    let none = process::Conf::default();
    let main = root.conf::<process::Conf>().unwrap_or(&none);
    let events = root.children.iter().find(|c| c.kind == conf::EVENTS);
    let events = events.and_then(|e| e.conf::<process::Conf>()).unwrap_or(&none);
    let threads = match main.worker_processes.or(Workers::Number(1)) {
        Workers::Auto => sys::proc::usable_cpus(),
        Workers::Number(n) => n as usize,
    };
    let rlimit_nofile = main.worker_rlimit_nofile.written().copied();
    let connections = match events.worker_connections.or(Connections::Auto) {
        Connections::Number(number) => Some(number),
        Connections::Auto => None,
    };
    let logs = root.shared::<LogFiles>().all();
    let default_user = || inputs.user("nobody").ok().flatten();
    Program {
        conf: call.conf.clone(),
        listens: generation.listens.clone(),
        logs,
        error_log: generation.error_log.clone(),
        pid: main.pid.written().cloned().unwrap_or_else(|| call.prefix.join("logs/plimsoll.pid")),
        user: main.user.written().copied().or_else(default_user),
        daemon: main.daemon.or(true),
        master_process: main.master_process.or(true),
        threads,
        connections: connections
            .unwrap_or_else(|| chain::connections(threads, rlimit_nofile, generation.listens.len())),
        connections_written: connections.is_some(),
        rlimit_nofile,
        rlimit_core: main.worker_rlimit_core.written().copied(),
        priority: main.worker_priority.written().copied(),
        blocking: root.shared::<Pools>().size(),
        affinity: main.worker_cpu_affinity.written().cloned(),
        working_directory: main.working_directory.written().cloned(),
        env: root.conf::<process::Env>().map(|e| e.0.clone()).unwrap_or_default(),
        temp_paths: generation.temp_paths.clone(),
        tree,
        generation: Arc::new(generation),
    }
}
