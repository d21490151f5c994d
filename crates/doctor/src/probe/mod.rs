//! Looking at a running server and at files of one. Nothing is changed; what cannot be read is said, with the right that
//! it would take.

pub(crate) mod address;
mod application;
pub mod built;
pub mod config;
pub mod dump;
mod live;
mod logs;
mod lua;
mod names;
pub mod page;
mod sent;
pub mod settings;
pub mod status;
pub mod tls;
mod upstreams;
mod walk;
mod whom;

use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::process::{self, Process};
use machine::servers::{self, Server};

use crate::facts::Facts;
use crate::input;
use crate::logs::Follower;
use crate::logs::error::Window;
use built::Built;
use config::Config;
pub use whom::Whom;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// This server; else the one with most workers.
    pub pid: Option<Whom>,
    /// A configuration, or a saved `nginx -T`.
    pub conf: Option<PathBuf>,
    /// What relative names in it start from.
    pub prefix: Option<PathBuf>,
    /// Error logs, also of the applications.
    pub logs: Vec<PathBuf>,
    /// Access logs.
    pub access_logs: Vec<PathBuf>,
    /// The format of access logs: its name in the configuration, or its text.
    pub format: Option<String>,
    /// The page of `stub_status`.
    pub status: Option<String>,
    /// Which lines of logs count.
    pub window: Window,
    /// How long counters are watched.
    pub watch: Duration,
}

impl Wanted {
    /// Whether files are given: then the machine this runs on is not looked at.
    pub(crate) fn only_files(&self) -> bool {
        let files = self.conf.is_some() || !self.logs.is_empty() || !self.access_logs.is_empty();
        files && self.pid.is_none()
    }
}

/// Looks.
pub fn look(wanted: &Wanted) -> Facts {
    look_at(wanted, logs::Reading::Once)
}

/// Looks again: of error logs, only what was added is read; access logs are not.
pub fn look_again(wanted: &Wanted, follower: &mut Follower) -> Facts {
    look_at(wanted, logs::Reading::Following(follower))
}

fn look_at(wanted: &Wanted, reading: logs::Reading<'_>) -> Facts {
    let mut facts = Facts::default();
    let server = if wanted.only_files() { None } else { find(wanted, &mut facts) };
    let server = server.map(|server| (built::built(&server), server));
    facts.unread.extend(server.as_ref().and_then(|(_, server)| live::hidden(server)));
    facts.config = match (&wanted.conf, &server) {
        (Some(file), _) => read_config(file, wanted, &mut facts),
        (None, Some((built, server))) => config_of(server, built, wanted, &mut facts),
        (None, None) => None,
    };
    if server.is_none() && facts.config.as_ref().is_some_and(Config::has_auto) {
        facts
            .unread
            .push("how many processors `worker_processes auto` meets there: counted as one".to_owned());
    }
    if let Some((built, server)) = &server {
        names::resolve(server, &mut facts);
        live::look(server, built.version.clone(), wanted, &mut facts);
    }
    logs::look(wanted, server.as_ref().map(|(built, server)| (server, built)), reading, &mut facts);
    facts
}

/// The configuration that is asked for, or that of the running server.
///
/// # Errors
/// What keeps it from being read, or that no server runs.
pub fn configuration(wanted: &Wanted) -> Result<Config, String> {
    let mut facts = Facts::default();
    let config = match &wanted.conf {
        Some(file) => read_config(file, wanted, &mut facts),
        None => find(wanted, &mut facts)
            .and_then(|server| config_of(&server, &built::built(&server), wanted, &mut facts)),
    };
    config.ok_or_else(|| facts.unread.join("; "))
}

fn find(wanted: &Wanted, facts: &mut Facts) -> Option<Server> {
    let processes: Vec<Process> = match process::all() {
        Ok(processes) => processes,
        Err(error) => {
            facts.unread.push(format!("/proc: {error}"));
            return None;
        }
    };
    let found = match &wanted.pid {
        Some(whom) => whom.find(&processes),
        None => {
            let mut all = servers::servers(&processes).into_iter();
            let first = all.next().ok_or_else(|| "no running nginx or plimsoll".to_owned());
            facts.others = all.map(|other| whom::words(&other)).collect();
            first
        }
    };
    found.map_err(|why| facts.unread.push(why)).ok()
}

fn read_config(file: &Path, wanted: &Wanted, facts: &mut Facts) -> Option<Config> {
    let text = match input::read(file) {
        Ok(text) => String::from_utf8_lossy(&lua::without_lua(&text)).into_owned(),
        Err(error) => {
            facts.unread.push(format!("{}: {error}", file.display()));
            return None;
        }
    };
    if text.lines().any(|line| line.starts_with("# configuration file /")) {
        return Some(Config::of_dump(file, &text));
    }
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let prefix = wanted.prefix.clone().or_else(|| file.parent().map(Path::to_owned)).unwrap_or_default();
    let inputs = sent::Sent::new(live::Rooted("/".into()));
    let config = Config::of_text(&inputs, &file, &prefix, &text);
    facts.unread.extend(inputs.unread());
    Some(config)
}

/// A running server's configuration as it is now on the disk, which it may not have loaded yet.
fn config_of(server: &Server, built: &Built, wanted: &Wanted, facts: &mut Facts) -> Option<Config> {
    let prefix = wanted.prefix.clone().unwrap_or_else(|| live::prefix(server, built));
    let file = prefix.join(server.flags.conf.as_ref().unwrap_or(&built.conf));
    let globals = server.flags.globals.as_deref().unwrap_or("");
    let inputs = live::inputs(server);
    if let Err(error) = conf::Inputs::read(&inputs, &file) {
        facts.unread.push(format!("{}: {error}{}", file.display(), live::right(&error)));
        return None;
    }
    Some(Config::read(&inputs, &file, &prefix, globals))
}
