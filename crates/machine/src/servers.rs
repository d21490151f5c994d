//! Masters and workers of nginx, of Plimsoll, and of what descends from them.

use serde::{Deserialize, Serialize};

use crate::process::Process;

/// A running server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it calls itself: `nginx`, `plimsoll`.
    pub name: String,
    /// The process that has the configuration; the only one where there is no master.
    pub master: Process,
    /// Those that serve.
    pub workers: Vec<Process>,
    /// Those that only finish what they had.
    pub leaving: Vec<Process>,
    /// Cache manager and loader.
    pub helpers: Vec<Process>,
    /// What the master was started with.
    pub flags: Flags,
}

/// nginx's command line, as far as it says where things are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// The program, as it was called.
    pub program: String,
    /// `-c`
    pub conf: Option<String>,
    /// `-p`
    pub prefix: Option<String>,
    /// `-e`
    pub error_log: Option<String>,
    /// `-g`
    pub globals: Option<String>,
}

const MASTER: &str = ": master process";
const WORKER: &str = ": worker process";

/// The servers among these processes, the one with most workers first.
pub fn servers(processes: &[Process]) -> Vec<Server> {
    let masters = processes.iter().filter(|process| is_master(process, processes));
    let mut found: Vec<Server> = masters.map(|master| server(master, processes)).collect();
    if found.is_empty() {
        // `master_process off` leaves one process that does it all.
        found.extend(processes.iter().filter(|process| serves_alone(process)).map(alone));
    }
    found.sort_by_key(|server| std::cmp::Reverse(server.workers.len()));
    found
}

/// The server this process belongs to, as master, as worker, or as the only one.
pub fn server_of(pid: u32, processes: &[Process]) -> Option<Server> {
    let process = processes.iter().find(|process| process.pid == pid)?;
    if is_master(process, processes) {
        return Some(server(process, processes));
    }
    let above = processes.iter().find(|other| other.pid == process.parent);
    match above.filter(|above| is_master(above, processes)) {
        Some(master) => Some(server(master, processes)),
        None => Some(alone(process)),
    }
}

/// By its title, or (Plimsoll's keeps its arguments) by its workers'.
fn is_master(process: &Process, processes: &[Process]) -> bool {
    let title = process.title();
    let has_worker = || processes.iter().any(|p| p.parent == process.pid && p.title().contains(WORKER));
    title.contains(MASTER) || (!title.contains(WORKER) && has_worker())
}

fn serves_alone(process: &Process) -> bool {
    let title = process.title();
    process.name() == "nginx" && !title.contains(WORKER) && !title.contains(": cache ")
}

fn server(master: &Process, processes: &[Process]) -> Server {
    let title = master.title();
    let (name, flags) = match title.split_once(MASTER) {
        Some((name, rest)) => (name, flags_in_title(rest)),
        None => (master.name(), flags(&master.arguments)),
    };
    let name = name.rsplit('/').next().unwrap_or(name).to_owned();
    let mut server = Server { name, master: master.clone(), flags, ..Server::default() };
    for child in processes.iter().filter(|process| process.parent == master.pid) {
        let title = child.title();
        match () {
            () if title.contains("process is shutting down") => server.leaving.push(child.clone()),
            () if title.contains(WORKER) => server.workers.push(child.clone()),
            () if title.contains(": cache ") => server.helpers.push(child.clone()),
            () => {}
        }
    }
    server
}

fn alone(process: &Process) -> Server {
    Server {
        name: process.name().trim_end_matches(':').to_owned(),
        master: process.clone(),
        workers: vec![process.clone()],
        flags: flags(&process.arguments),
        ..Server::default()
    }
}

/// A title is one text: where a word ended is lost, but `-g` is the only flag whose value has spaces.
fn flags_in_title(title: &str) -> Flags {
    let (before, globals) = match title.split_once(" -g ") {
        Some((before, globals)) => (before, Some(globals)),
        None => (title, None),
    };
    // What follows the last semicolon are flags again.
    let (globals, after) = match globals.map(|text| text.rsplit_once(';').unwrap_or((text, ""))) {
        Some((globals, after)) => (Some(format!("{globals};")), after),
        None => (None, ""),
    };
    let words: Vec<String> =
        before.split_whitespace().chain(after.split_whitespace()).map(str::to_owned).collect();
    Flags { globals, ..flags(&words) }
}

fn flags(words: &[String]) -> Flags {
    let mut flags = Flags { program: words.first().cloned().unwrap_or_default(), ..Flags::default() };
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').filter(|flag| flag.is_ascii()) else { continue };
        let (letter, value) = flag.split_at(flag.len().min(1));
        let place = match letter {
            "c" => &mut flags.conf,
            "p" => &mut flags.prefix,
            "e" => &mut flags.error_log,
            "g" => &mut flags.globals,
            _ => continue,
        };
        *place = if value.is_empty() { words.next().cloned() } else { Some(value.to_owned()) };
    }
    flags
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn process(pid: u32, parent: u32, title: &str) -> Process {
        Process { pid, parent, arguments: vec![title.to_owned()], user: 0 }
    }

    #[test]
    fn masters_have_their_workers() {
        let all = [
            process(1, 0, "init"),
            process(10, 1, "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;"),
            process(11, 10, "nginx: worker process"),
            process(12, 10, "nginx: worker process is shutting down"),
            process(13, 10, "nginx: cache manager process"),
            process(20, 1, "nginx: master process nginx -p /srv -c/etc/x.conf"),
            Process {
                arguments: ["/usr/bin/plimsoll", "-p", "/srv"].map(str::to_owned).to_vec(),
                ..process(30, 1, "")
            },
            process(31, 30, "plimsoll: worker process"),
        ];
        let found = servers(&all);
        assert_eq!(found.iter().map(|s| s.master.pid).collect::<Vec<_>>(), [10, 30, 20]);
        let first = &found[0];
        assert_eq!((first.workers.len(), first.leaving.len(), first.helpers.len()), (1, 1, 1));
        assert_eq!(first.flags.globals.as_deref(), Some("daemon on; master_process on;"));
        assert_eq!(found[2].flags.prefix.as_deref(), Some("/srv"));
        assert_eq!(found[2].flags.conf.as_deref(), Some("/etc/x.conf"));
        assert_eq!((found[1].name.as_str(), found[1].flags.prefix.as_deref()), ("plimsoll", Some("/srv")));
        assert_eq!(server_of(11, &all).unwrap().master.pid, 10);
        assert_eq!(server_of(1, &all).unwrap().workers.len(), 1);
        assert_eq!(server_of(99, &all), None);
    }

    #[test]
    fn a_server_without_a_master() {
        let alone = Process {
            arguments: ["/usr/sbin/nginx", "-c", "a"].map(str::to_owned).to_vec(),
            ..process(7, 1, "")
        };
        let found = servers(&[process(1, 0, "init"), alone.clone()]);
        assert_eq!(
            found.iter().map(|s| (s.workers.len(), s.flags.conf.as_deref())).collect::<Vec<_>>(),
            [(1, Some("a"))]
        );
        let master = process(10, 1, "nginx: master process nginx");
        assert_eq!(servers(&[alone, master]).len(), 1);
    }

    #[test]
    fn flags_around_directives() {
        let flags = flags_in_title(" nginx -p /a -g daemon off; pid x; -c b");
        assert_eq!(flags.globals.as_deref(), Some("daemon off; pid x;"));
        assert_eq!((flags.prefix.as_deref(), flags.conf.as_deref()), (Some("/a"), Some("b")));
    }
}
