//! The logs of a server, or those that are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use machine::namespace;
use machine::servers::Server;

use super::built::Built;
use super::{Wanted, live};
use crate::facts::Facts;
use crate::logs::access::Reader;
use crate::logs::error::Scanner;
use crate::logs::format::COMBINED;
use crate::logs::{Follower, Source, rotated};

/// Of a running server, logs that were written to within this time are read.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// How logs are read.
pub(super) enum Reading<'a> {
    /// Whole.
    Once,
    /// What was added since the last look.
    Following(&'a mut Follower),
}

/// Reads them.
pub(super) fn look(
    wanted: &Wanted,
    server: Option<(&Server, &Built)>,
    reading: Reading<'_>,
    facts: &mut Facts,
) {
    let root = server.map(|(server, _)| namespace::root_of(server.master.pid));
    let of_server = |paths: Vec<String>| match &root {
        Some(root) => paths.iter().flat_map(|path| recent(&inside(root, path))).collect(),
        None => Vec::new(),
    };
    let mut errors = wanted.logs.clone();
    let mut accesses = wanted.access_logs.clone();
    if let (true, Some((server, built))) = (wanted.logs.is_empty(), server) {
        let written = error_logs(server, built, facts);
        errors = of_server(written.clone());
        let read = errors.iter().any(|log| log.is_file());
        let mut others = facts.config.as_ref().map(|config| config.other_logs.clone()).unwrap_or_default();
        others.extend(written.into_iter().filter(|_| !read));
        facts.unread.extend(elsewhere(server, &others));
    }
    if let (true, Some(config), true) = (wanted.access_logs.is_empty(), &facts.config, server.is_some()) {
        accesses = of_server(config.access_logs.iter().map(|(path, _)| path.clone()).collect());
    }
    match reading {
        Reading::Once => {
            read_errors(&errors, wanted, facts);
            read_accesses(&accesses, wanted, facts);
        }
        Reading::Following(follower) => {
            follower.look(errors.iter().map(PathBuf::as_path), |log, error| {
                facts.unread.push(format!("{}: {error}{}", log.display(), live::right(&error)));
            });
            facts.events = follower.seen();
        }
    }
}

fn error_logs(server: &Server, built: &Built, facts: &Facts) -> Vec<String> {
    let configured = facts.config.as_ref().map(|config| config.error_logs.clone()).unwrap_or_default();
    let flag = server.flags.error_log.clone();
    // Debian's is built with `stderr`.
    let other = flag.or_else(|| configured.is_empty().then(|| built.error_log.clone()));
    let other = other.filter(|path| path != "stderr");
    let prefix = live::prefix(server, built);
    let other = other.map(|path| prefix.join(path).display().to_string());
    configured.into_iter().chain(other).collect()
}

/// How to read what is written to a log that is no file here: of a container it is a link to its standard error.
fn elsewhere(server: &Server, logs: &[String]) -> Option<String> {
    if logs.is_empty() {
        return None;
    }
    let service = server.master.service();
    let (whence, whom) = match service.ends_with(".service") {
        true => (format!("journalctl -u {service} -o export"), service),
        false => ("docker logs CONTAINER 2>&1".to_owned(), server.master.pid.to_string()),
    };
    let logs = logs.join(", ");
    Some(format!("error_log {logs}: no file to be read; {whence} | plimsoll doctor --pid {whom} --log -"))
}

fn inside(root: &Path, path: &str) -> PathBuf {
    if root == Path::new("/") { PathBuf::from(path) } else { root.join(path.trim_start_matches('/')) }
}

/// The log and its rotated ones, as far as they are files of the last day.
fn recent(log: &Path) -> Vec<PathBuf> {
    let mut all = rotated(log);
    all.retain(|path| {
        let meta = fs::metadata(path);
        let modified = meta.as_ref().ok().filter(|meta| meta.is_file()).and_then(|meta| meta.modified().ok());
        modified.is_some_and(|at| {
            SystemTime::now().duration_since(at).is_ok_and(|ago| ago < RECENT) || path == log
        })
    });
    all
}

fn read_errors(logs: &[PathBuf], wanted: &Wanted, facts: &mut Facts) {
    let mut scanner = Scanner::new(wanted.window);
    for log in logs {
        let read = Source::open(log).and_then(|source| {
            let name = source.name.clone();
            scanner.read(&name, &mut source.blocks())
        });
        match read {
            Ok(true) => {}
            Ok(false) => facts.unread.push(format!(
                "{}: read, but not one of its first lines has a time or a level: is it an error log?",
                log.display()
            )),
            Err(error) => facts.unread.push(format!("{}: {error}{}", log.display(), live::right(&error))),
        }
    }
    facts.events = scanner.finish();
}

/// Logs of the first format that says when requests ended and how long they took.
fn read_accesses(logs: &[PathBuf], wanted: &Wanted, facts: &mut Facts) {
    let mut reader: Option<Reader> = None;
    for log in logs {
        let candidate = format_of(log, wanted, facts).map_or_else(Reader::guess, |text| Reader::new(&text));
        let candidate = candidate.within(wanted.window);
        if !candidate.has_times() && wanted.access_logs.is_empty() {
            continue;
        }
        let reader = reader.get_or_insert(candidate);
        if let Err(error) = Source::open(log).and_then(|source| reader.read(&mut source.blocks())) {
            facts.unread.push(format!("{}: {error}{}", log.display(), live::right(&error)));
        }
    }
    let access = reader.map(Reader::finish);
    if let Some(access) = access.as_ref().filter(|access| access.unread > access.requests) {
        let of = access.unread + access.requests;
        facts.unread.push(format!(
            "{} of {of} lines of the access log are not of its format; --format gives another, as in log_format",
            access.unread
        ));
    }
    facts.access = access.filter(|access| access.requests > 0);
}

/// `None`: nothing but its lines says it.
fn format_of(log: &Path, wanted: &Wanted, facts: &Facts) -> Option<String> {
    let config = facts.config.as_ref();
    let named = |name: &str| config.and_then(|config| config.formats.get(name).cloned());
    if let Some(format) = &wanted.format {
        return Some(named(format).unwrap_or_else(|| format.clone()));
    }
    let log = log.display().to_string();
    let same = config.and_then(|config| {
        config.access_logs.iter().find(|(path, _)| log.ends_with(path.as_str()) || log.starts_with(path))
    });
    // A log from elsewhere is most likely in the format that the configuration made.
    let only =
        config.filter(|config| config.formats.len() == 1).and_then(|config| config.formats.values().next());
    match same {
        Some((_, name)) if name == "combined" => Some(COMBINED.to_owned()),
        Some((_, name)) => named(name),
        None => only.cloned(),
    }
}
