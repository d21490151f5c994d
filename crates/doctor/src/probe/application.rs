//! The application behind an upstream: what it says of how much it takes at once, in its configuration and on its
//! command line.

use std::fs;
use std::path::{Path, PathBuf};

use conf::{Inputs, SystemInputs};
use machine::namespace;
use machine::process::Process;

use super::settings::{GUNICORN, UWSGI, flags, lines, pool, written};
use crate::facts::{Application, Written};
use crate::input;

const COMMAND_LINE: &str = "its command line";

/// The application that this process is, if it is one that is known.
pub(super) fn application(process: &Process, all: &[Process], address: &str) -> Option<Application> {
    let title = process.title().to_lowercase();
    let kind =
        ["gunicorn", "php-fpm", "uwsgi", "puma", "node"].into_iter().find(|kind| title.contains(kind))?;
    let workers = all.iter().filter(|other| other.parent == process.pid).count() as u64;
    let files = Files { root: namespace::root_of(process.pid), process };
    let settings = match kind {
        "gunicorn" => gunicorn(&files),
        "php-fpm" => php(&files, address),
        "uwsgi" => uwsgi(&files),
        _ => Vec::new(),
    };
    Some(Application { kind: kind.to_owned(), pid: process.pid, workers, settings })
}

/// Files as a process sees them.
struct Files<'a> {
    root: PathBuf,
    process: &'a Process,
}

impl Files<'_> {
    fn read(&self, path: &str) -> Option<(String, String)> {
        let path = self.process.from_its_folder(Path::new(path));
        let bytes = input::read(&self.outside(&path)).ok()?;
        Some((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A variable of its environment.
    fn variable(&self, name: &str) -> Option<String> {
        let bytes = fs::read(format!("/proc/{}/environ", self.process.pid)).ok()?;
        let mut all = bytes.split(|byte| *byte == 0);
        let value = all.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// What counts more comes later: the configuration, the environment, the command line.
fn gunicorn(files: &Files<'_>) -> Vec<Written> {
    let words = files.process.arguments.iter().map(String::as_str);
    let mut given = flags(words, &GUNICORN, COMMAND_LINE);
    let environment = files.variable("GUNICORN_CMD_ARGS").unwrap_or_default();
    let around = flags(environment.split_whitespace(), &GUNICORN, "GUNICORN_CMD_ARGS");
    given.splice(0..0, around);
    let file = given.iter().rfind(|written| written.name == "config").map(|written| written.value.clone());
    let file = file.unwrap_or_else(|| "gunicorn.conf.py".to_owned());
    let names = ["workers", "threads", "backlog", "worker_class", "worker_connections"];
    let mut found: Vec<Written> = files
        .variable("WEB_CONCURRENCY")
        .map(|n| written("workers", &n, "WEB_CONCURRENCY"))
        .into_iter()
        .collect();
    found.extend(files.read(&file).map(|(place, text)| lines(&text, &names, &place)).unwrap_or_default());
    found.extend(given);
    found.retain(|written| written.name != "config");
    found
}

fn uwsgi(files: &Files<'_>) -> Vec<Written> {
    let words = || files.process.arguments.iter().skip(1).map(String::as_str);
    let mut given = flags(words(), &UWSGI, COMMAND_LINE);
    let named = given.iter().find(|written| written.name == "ini").map(|written| written.value.clone());
    let file = named.or_else(|| words().find(|word| word.ends_with(".ini")).map(str::to_owned));
    let names = ["processes", "workers", "threads", "listen", "cheaper"];
    let mut found = file.and_then(|file| files.read(&file)).map(|(place, text)| lines(&text, &names, &place));
    for written in found.iter_mut().flatten().filter(|written| written.name == "workers") {
        written.name = "processes".to_owned();
    }
    given.retain(|written| written.name != "ini");
    found.into_iter().flatten().chain(given).collect()
}

/// The pool that listens there: the master's title says where the configuration is.
fn php(files: &Files<'_>, address: &str) -> Vec<Written> {
    let title = files.process.title();
    let main = title.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(file, _)| file);
    let Some((place, text)) = main.and_then(|main| files.read(main)) else { return Vec::new() };
    let mut texts = vec![(place, text)];
    let includes: Vec<String> =
        lines(&texts[0].1, &["include"], "").into_iter().map(|line| line.value).collect();
    for pattern in includes {
        let outside = files.outside(&files.process.from_its_folder(Path::new(&pattern)));
        let found = SystemInputs.glob(&outside.to_string_lossy()).unwrap_or_default();
        let inside = found.iter().filter_map(|path| path.strip_prefix(&files.root).ok());
        texts.extend(inside.filter_map(|path| files.read(&format!("/{}", path.display()))));
    }
    texts.iter().find_map(|(place, text)| pool(text, address, place)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_no_application() {
        let me = Process { arguments: vec!["doctor".to_owned()], ..Process::default() };
        assert_eq!(application(&me, &[], "unix:/x"), None);
    }
}
