//! What a process does once before it becomes a worker: limits, priority, folder, and giving up root.

use std::ffi::CString;

use sys::limits::{self, Limit};

use crate::chain::OTHERS;
use crate::log::{Context, Errno, Level};
use crate::program::Program;
use crate::snapshot::Account;

/// Shows the program's name where only the binary's descriptor would be (`ps -o comm`, `pgrep`).
pub fn show_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        // Only for the eye.
        let _ = rustix::thread::set_name(&name);
    }
}

/// As many descriptors as may be: a Snapshot brings its own before it can say how many are needed.
pub fn raise_limit() {
    let limit = limits::descriptors();
    // What then does not arrive is an error there.
    let _ = limits::set_descriptors(Limit { soft: limit.hard, ..limit });
}

/// Before the first thread is started, in this order: what needs root first.
///
/// # Errors
/// What keeps the worker from serving as configured, in nginx's words.
pub fn settle(program: &Program, account: Option<&Account>) -> Result<(), String> {
    let warn = |level: Level, text: String| warn(program, level, &text);
    let needed = set_descriptors(program);
    // A table that cannot be grown now is grown later, which only costs time.
    let _ = limits::grow_table(needed);
    if let Some(bytes) = program.rlimit_core
        && let Err(error) = limits::set_core(bytes)
    {
        warn(Level::Alert, format!("setrlimit(RLIMIT_CORE, {bytes}) failed ({})", Errno(&error)));
    }
    if let Some(nice) = program.priority
        && let Err(error) = sys::priority::set(nice)
    {
        warn(Level::Alert, format!("setpriority({nice}) failed ({})", Errno(&error)));
    }
    if let Some(Account { uid, gid, groups }) = account {
        sys::privileges::become_user(*uid, *gid, groups)
            .map_err(|error| format!("setuid({uid}) failed ({})", Errno(&error)))?;
        // A change of user forbids core dumps; the configuration decides about them.
        if let Err(error) = sys::privileges::allow_core_dumps() {
            warn(Level::Alert, format!("prctl(PR_SET_DUMPABLE) failed ({})", Errno(&error)));
        }
    }
    if let Some(folder) = &program.working_directory {
        std::env::set_current_dir(folder)
            .map_err(|error| format!("chdir(\"{}\") failed ({})", folder.display(), Errno(&error)))?;
    }
    Ok(())
}

fn warn(program: &Program, level: Level, text: &str) {
    program.error_log.write(level, &Context::none(), format_args!("{text}"));
}

/// Sets the limit of descriptors; how many there will be at most. One process does the work of all of nginx's workers,
/// so its limit is theirs together.
pub fn set_descriptors(program: &Program) -> u64 {
    let warn = |level: Level, text: String| warn(program, level, &text);
    let threads = program.threads as u64;
    let needed = threads.saturating_mul(program.connections) + program.listens.len() as u64 + OTHERS;
    let asked = program.rlimit_nofile.map(|each| each.saturating_mul(threads));
    if let Some(asked) = asked {
        let most = sys::proc::nr_open().unwrap_or(u64::MAX);
        let wanted = Some(asked.min(most));
        let limit = limits::descriptors();
        let both = Limit { soft: wanted, hard: wanted };
        // Without root the hard limit cannot be raised, but the soft one up to it.
        let outcome = limits::set_descriptors(both).or_else(|error| match limit.hard {
            Some(hard) if asked > hard => Err(error),
            _ => limits::set_descriptors(Limit { soft: wanted, ..limit }),
        });
        if let Err(error) = outcome {
            let each = program.rlimit_nofile.unwrap_or(0);
            warn(Level::Alert, format!("setrlimit(RLIMIT_NOFILE, {each}) failed ({})", Errno(&error)));
        }
    }
    let limit = limits::descriptors().soft.unwrap_or(u64::MAX);
    if needed > limit {
        let each = program.connections;
        warn(
            Level::Warn,
            format!("{each} worker_connections exceed open file resource limit: {}", limit / threads.max(1)),
        );
    }
    needed.min(limit)
}
