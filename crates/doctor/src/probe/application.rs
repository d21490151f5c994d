//! The application behind an upstream: what it says of how much it takes at once, in its configuration and on its
//! command line.

use std::fs;
use std::path::{Path, PathBuf};

use conf::{Inputs, SystemInputs};
use machine::namespace;
use machine::process::Process;

use crate::facts::{Application, Written};
use crate::input;

const COMMAND_LINE: &str = "its command line";

/// Settings of gunicorn: as flags, then as a configuration has them.
const GUNICORN: [(&str, &str); 8] = [
    ("-w", "workers"),
    ("--workers", "workers"),
    ("--threads", "threads"),
    ("--backlog", "backlog"),
    ("-k", "worker_class"),
    ("--worker-class", "worker_class"),
    ("--worker-connections", "worker_connections"),
    ("-c", "config"),
];
const UWSGI: [(&str, &str); 8] = [
    ("-p", "processes"),
    ("--processes", "processes"),
    ("--workers", "processes"),
    ("--threads", "threads"),
    ("-l", "listen"),
    ("--listen", "listen"),
    ("--ini", "ini"),
    ("--cheaper", "cheaper"),
];
const PHP: [&str; 4] = ["pm", "pm.max_children", "pm.status_path", "listen.backlog"];

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

/// Values of `--name value`, `--name=value` and `-n value`.
fn flags<'a>(words: impl Iterator<Item = &'a str>, known: &[(&str, &str)], place: &str) -> Vec<Written> {
    let mut words = words.peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let (flag, inline) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        let Some((_, name)) = known.iter().find(|(known, _)| *known == flag) else { continue };
        if let Some(value) = inline.or_else(|| words.peek().copied()) {
            found.push(written(name, value, place));
        }
    }
    found
}

/// Values of `name = value`, for these names.
fn lines(text: &str, known: &[&str], place: &str) -> Vec<Written> {
    let assigned = text.lines().filter_map(|line| line.split_once('='));
    let known = assigned.map(|(name, value)| (name.trim(), value)).filter(|(name, _)| known.contains(name));
    let value = |value: &str| {
        value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    known.map(|(name, text)| written(name, &value(text), place)).collect()
}

fn written(name: &str, value: &str, place: &str) -> Written {
    Written { name: name.to_owned(), value: value.to_owned(), place: place.to_owned() }
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

/// The settings of the pool that listens to this address.
fn pool(text: &str, address: &str, place: &str) -> Option<Vec<Written>> {
    let sections = text.split("\n[").filter_map(|section| section.split_once(']'));
    let listens = |section: &&(&str, &str)| {
        let (name, body) = section;
        let listen = lines(body, &["listen"], "")
            .pop()
            .map_or_else(String::new, |line| line.value.replace("$pool", name.trim_start_matches('[')));
        is_same(&listen, address)
    };
    let sections: Vec<_> = sections.collect();
    let (name, body) = sections.iter().find(listens)?;
    Some(lines(body, &PHP, &format!("{place}, [{}]", name.trim_start_matches('['))))
}

/// php-fpm writes `9000`, `127.0.0.1:9000` and `/run/php.sock`.
fn is_same(listen: &str, address: &str) -> bool {
    match address.strip_prefix("unix:") {
        Some(path) => path == listen,
        None => {
            let port = |text: &str| text.rsplit(':').next().map(str::to_owned);
            listen == address
                || (!listen.contains('/') && port(listen) == port(address) && !listen.is_empty())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(found: &[Written]) -> Vec<(&str, &str)> {
        found.iter().map(|written| (written.name.as_str(), written.value.as_str())).collect()
    }

    #[test]
    fn command_lines() {
        let line = "python3 /usr/bin/gunicorn -w 4 --backlog=10 --threads 2 app:app";
        let found = flags(line.split(' '), &GUNICORN, COMMAND_LINE);
        assert_eq!(values(&found), [("workers", "4"), ("backlog", "10"), ("threads", "2")]);
        assert!(flags(["-w"].into_iter(), &GUNICORN, "").is_empty());
    }

    #[test]
    fn pools() {
        let text = "; a comment\n[global]\npid = /x\n[www]\nlisten = /run/$pool.sock ; here\npm.max_children = 5\n\
                    listen.backlog=511\n[two]\nlisten = 9000\npm = static\n";
        let found = pool(text, "unix:/run/www.sock", "a.conf").unwrap_or_default();
        assert_eq!(values(&found), [("pm.max_children", "5"), ("listen.backlog", "511")]);
        assert_eq!(found[0].place, "a.conf, [www]");
        assert_eq!(values(&pool(text, "127.0.0.1:9000", "").unwrap_or_default()), [("pm", "static")]);
        assert_eq!(pool(text, "unix:/run/other.sock", ""), None);
        assert!(pool("[one]\nlisten=1.1.1.1:9000\n", "unix:/a", "").is_none());
    }

    #[test]
    fn we_are_no_application() {
        let me = Process { arguments: vec!["doctor".to_owned()], ..Process::default() };
        assert_eq!(application(&me, &[], "unix:/x"), None);
    }

    proptest! {
        #[test]
        fn any_file_and_any_command_line(text in "([\\[\\]=;#a]|listen|include|pm|\n| |-w|\\PC){0,40}") {
            let _ = pool(&text, "unix:/a", "");
            let _ = lines(&text, &PHP, "");
            let _ = flags(text.split_whitespace(), &GUNICORN, "");
        }
    }
}
