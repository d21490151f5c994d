//! A configuration with everything the master opened for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use conf::{Recording, SystemInputs};
use sys::limits::Limit;

use crate::log::{ErrorLog, LogFile};
use crate::modules::core::process::Affinity;
use crate::program::{self, Call, Program};
use crate::snapshot::{Account, Kind, Outgoing, Sealed, Snapshot};

use super::sockets::{self, Bound, Wish};
use super::voice::Voice;
use super::{files, logs};

/// What the master keeps of a configuration.
pub struct Loaded {
    /// Which one, from 1.
    pub generation: u64,
    /// The listening sockets.
    pub bound: Vec<Bound>,
    /// The logs.
    pub logs: Vec<Arc<LogFile>>,
    /// The main error log.
    pub error_log: ErrorLog,
    /// Where the master's process id is.
    pub pid: PathBuf,
    /// The worker's user.
    pub user: Option<(u32, u32)>,
    /// Whether to go to the background.
    pub daemon: bool,
    /// Whether there is a process for the worker.
    pub master_process: bool,
    /// What no running worker can change; other than before means another worker.
    pub lasting: Lasting,
    /// `worker_rlimit_nofile` of all threads together.
    pub descriptors: Option<u64>,
    sealed: Sealed,
}

/// What holds for a worker's whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting {
    user: Option<Account>,
    environment: Vec<(String, Option<String>)>,
    folder: Option<PathBuf>,
    priority: Option<i32>,
    core: Option<u64>,
    affinity: Option<Affinity>,
}

impl Lasting {
    /// `env`
    pub fn environment(&self) -> &[(String, Option<String>)] {
        &self.environment
    }
}

/// What is known when the configuration was read but nothing opened.
pub struct Read {
    /// The program.
    pub program: Program,
    /// What it was made of.
    inputs: conf::Recorded,
}

/// Reads and compiles the configuration. Warnings are said; so is what is wrong.
pub fn read(call: &Call, voice: &Voice) -> Option<Read> {
    let inputs = Recording::new(SystemInputs);
    let mut remarks = Vec::new();
    let outcome = program::compile(&inputs, call, &mut remarks);
    remarks.iter().for_each(|remark| voice.fault(remark));
    match outcome {
        Ok(program) => Some(Read { program, inputs: inputs.into_recorded() }),
        Err(error) => {
            voice.fault(&error);
            None
        }
    }
}

/// Opens what the configuration names: folders, logs, sockets. Nothing that is in force changes.
///
/// # Errors
/// In nginx's words; what was opened is closed.
pub fn open(
    read: Read,
    call: &Call,
    generation: u64,
    kept: &[Bound],
    voice: &Voice,
) -> Result<Loaded, String> {
    let Read { program, inputs } = read;
    enough_slots(&program)?;
    files::make_folders(&program.temp_paths, program.user)?;
    logs::open_all(&program.logs)?;
    let wish = Wish { listens: &program.listens, threads: program.threads, check: false };
    let user = account(program.user)?;
    let bound = sockets::open(&wish, kept, voice)?;
    let (listens, _) = sockets::listed(&bound);
    let paths = program.logs.iter().map(|log| log.path.clone()).collect();
    let snapshot =
        Snapshot { generation, call: call.clone(), inputs, user: user.clone(), listens, logs: paths };
    let sealed =
        Sealed::new(Kind::Snapshot, &snapshot).map_err(|error| format!("memfd_create() failed: {error}"))?;
    Ok(Loaded {
        generation,
        bound,
        logs: program.logs,
        error_log: program.error_log,
        pid: program.pid,
        user: program.user,
        daemon: program.daemon,
        master_process: program.master_process,
        lasting: Lasting {
            user,
            environment: program.env,
            folder: program.working_directory,
            priority: program.priority,
            core: program.rlimit_core,
            affinity: program.affinity,
        },
        descriptors: program.rlimit_nofile.map(|each| each.saturating_mul(program.threads as u64)),
        sealed,
    })
}

impl Loaded {
    /// The messages that hand it to a worker.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn messages(&self) -> io::Result<Vec<Outgoing>> {
        let (_, mut fds) = sockets::listed(&self.bound);
        fds.extend(logs::descriptors(&self.logs)?);
        self.sealed.messages(&fds)
    }

    /// The messages that hand reopened logs to a worker.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn reopened(&self) -> io::Result<Vec<Outgoing>> {
        let fds: Vec<Arc<OwnedFd>> = logs::descriptors(&self.logs)?;
        let paths: Vec<PathBuf> = self.logs.iter().map(|log| log.path.clone()).collect();
        Sealed::new(Kind::Reopen, &paths)?.messages(&fds)
    }

    /// Opens the logs anew.
    pub fn reopen_logs(&self, voice: &Voice) {
        logs::reopen_all(&self.logs, self.user, voice);
    }
}

/// Only root can become somebody else.
fn account(user: Option<(u32, u32)>) -> Result<Option<Account>, String> {
    let Some((uid, gid)) = user.filter(|_| sys::privileges::is_root()) else { return Ok(None) };
    let name = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
    let groups = match name {
        Some(name) => sys::privileges::groups_of(&name, gid)
            .map_err(|error| format!("initgroups({name}, {gid}) failed: {error}"))?,
        None => vec![gid],
    };
    Ok(Some(Account { uid, gid, groups }))
}

/// Checks all that can be checked without changing what runs, as `nginx -t` does.
///
/// # Errors
/// In nginx's words.
pub fn check(read: &Read, has_file: bool, voice: &Voice) -> Result<(), String> {
    let program = &read.program;
    enough_slots(program)?;
    if has_file {
        files::check_pid(&program.pid)?;
    }
    files::make_folders(&program.temp_paths, program.user)?;
    logs::open_all(&program.logs)?;
    let wish = Wish { listens: &program.listens, threads: 1, check: true };
    sockets::release(&sockets::open(&wish, &[], voice)?);
    Ok(())
}

/// Each listening socket takes a slot, and so does the channel to the master; with none left nobody could be served.
fn enough_slots(program: &Program) -> Result<(), String> {
    let (slots, listens) = (program.connections, program.listens.len());
    match slots < listens as u64 + 1 {
        true => Err(format!("{slots} worker_connections are not enough for {listens} listening sockets")),
        false => Ok(()),
    }
}

/// What a level of the log says of the start.
pub fn greet(voice: &Voice, limit: Limit) {
    voice.notice(format_args!("using the \"epoll\" event method"));
    voice.notice(format_args!("plimsoll/{}", env!("CARGO_PKG_VERSION")));
    let system = nix::sys::utsname::uname();
    if let Ok(system) = &system {
        let (name, release) = (system.sysname().to_string_lossy(), system.release().to_string_lossy());
        voice.notice(format_args!("OS: {name} {release}"));
    }
    let shown = |limit: Option<u64>| limit.map_or("unlimited".into(), |n| n.to_string());
    voice.notice(format_args!("getrlimit(RLIMIT_NOFILE): {}:{}", shown(limit.soft), shown(limit.hard)));
}
