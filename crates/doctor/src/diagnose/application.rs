//! The application behind an upstream: what to change there, in the words of its own settings.

use std::net::SocketAddr;

use capacity::{Change, Effect};

use crate::facts::{Application, Facts};

/// Applications whose settings are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Gunicorn,
    Php,
    Uwsgi,
    Puma,
    Node,
    Other,
}

impl Program {
    /// By what it calls itself, by its socket's name, or by a line of its log.
    fn of(text: &str) -> Program {
        let text = text.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match () {
            () if has(&["gunicorn", "worker timeout"]) => Program::Gunicorn,
            () if has(&["php", "max_children"]) => Program::Php,
            () if has(&["uwsgi"]) => Program::Uwsgi,
            () if has(&["puma"]) => Program::Puma,
            () if has(&["node"]) => Program::Node,
            () => Program::Other,
        }
    }

    fn place(self) -> &'static str {
        match self {
            Program::Gunicorn => "gunicorn",
            Program::Php => "the php-fpm pool",
            Program::Uwsgi => "uwsgi",
            Program::Puma => "config/puma.rb",
            Program::Node => "the Node application",
            Program::Other => "the application",
        }
    }

    /// What makes it do more at once.
    fn workers(self, text: &str, online: Option<u64>, known: Option<&Application>) -> String {
        let now = known.and_then(|known| known.now(self.setting()));
        // Beside those that wait for something, one that works for each processor; but more than there are.
        let enough = online.map(|online| (2 * online + 1).max(now.unwrap_or(0).saturating_mul(2)));
        let processes = enough.map_or("2 x processors + 1".to_owned(), |enough| enough.to_string());
        match self {
            Program::Gunicorn => format!("gunicorn --workers {processes}"),
            Program::Php => match in_brackets(text).or(now) {
                Some(children) => format!("pm.max_children = {}", children.saturating_mul(2)),
                None => "pm.max_children: twice as many".to_owned(),
            },
            Program::Uwsgi => format!("processes = {processes}"),
            Program::Puma => format!("workers {processes}"),
            Program::Node => "pm2 start app.js -i max".to_owned(),
            Program::Other => "more workers".to_owned(),
        }
    }

    /// What it calls the number of its workers.
    fn setting(self) -> &'static str {
        match self {
            Program::Php => "pm.max_children",
            Program::Uwsgi => "processes",
            _ => "workers",
        }
    }

    /// `address` is where it listens, if that is known.
    fn backlog(self, length: u64, address: Option<&str>) -> String {
        let unix = address.and_then(|address| address.strip_prefix("unix:"));
        let tcp = address.and_then(|address| address.parse::<SocketAddr>().ok());
        match self {
            Program::Gunicorn => format!("gunicorn --backlog {length}"),
            Program::Php => format!("listen.backlog = {length}"),
            Program::Uwsgi => format!("listen = {length}"),
            Program::Puma => match (unix, tcp) {
                (Some(path), _) => format!("bind 'unix://{path}?backlog={length}'"),
                (_, Some(address)) => format!("bind 'tcp://{address}?backlog={length}'"),
                _ => format!("bind '..?backlog={length}'"),
            },
            Program::Node => {
                let place = match (unix, tcp) {
                    (Some(path), _) => format!("path: '{path}'"),
                    (_, Some(address)) => format!("host: '{}', port: {}", address.ip(), address.port()),
                    _ => "..".to_owned(),
                };
                format!("server.listen({{ {place}, backlog: {length} }})")
            }
            Program::Other => format!("its listen backlog: {length}"),
        }
    }
}

/// `server reached pm.max_children setting (5)`
fn in_brackets(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("max_children setting (")?;
    after.split(')').next()?.parse().ok()
}

/// How much it says that it takes at once.
pub(super) fn seen(address: &str, facts: &Facts) -> Option<String> {
    let known = facts.upstreams.iter().find(|upstream| upstream.address == address)?.application.as_ref()?;
    let workers =
        if known.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", known.workers) };
    let mut words = format!("{} (pid {}): {workers}", known.kind, known.pid);
    let mut place = "";
    for set in &known.settings {
        // Settings of one file, or of the command line, stand together.
        words += &match set.place == place {
            true => format!(", {} {}", set.name, set.value),
            false => format!("; {}: {} {}", set.place, set.name, set.value),
        };
        place = &set.place;
    }
    Some(words)
}

/// The settings of the application that make its queue emptier, then longer; by its address, or by what it said.
pub(super) fn changes(of: &str, facts: &Facts) -> Vec<Change> {
    let upstream = facts.upstreams.iter().find(|upstream| upstream.address == of);
    let named = upstream.map(|upstream| upstream.program.as_str()).filter(|name| !name.is_empty());
    let known = upstream.and_then(|upstream| upstream.application.as_ref());
    let program = Program::of(known.map(|known| known.kind.as_str()).or(named).unwrap_or(of));
    let ceiling = upstream.and_then(|upstream| upstream.queue.as_ref()).map(|queue| u64::from(queue.ceiling));
    let length = ceiling.map_or(2048, |ceiling| (ceiling * 2).max(1024).next_power_of_two());
    let online = facts.running.as_ref().map(|running| running.online as u64).filter(|online| *online > 0);
    let mut changes = vec![
        Change::new(program.workers(of, online, known), program.place(), Effect::RestartUpstream)
            .note("more work done is the real fix"),
        Change::new(program.backlog(length, upstream.map(|_| of)), program.place(), Effect::RestartUpstream)
            .note("a longer queue only waits longer; a reload keeps the old one"),
    ];
    if facts.kernel.somaxconn.is_none_or(|most| u64::from(most) < length) {
        let place = "/etc/sysctl.d/60-somaxconn.conf";
        let without = match program {
            Program::Uwsgi => "uWSGI does not start",
            _ => "the backlog is cut",
        };
        changes.push(
            Change::new(format!("net.core.somaxconn = {length}"), place, Effect::RestartUpstream)
                .note(format!("without it {without}; of a container: --sysctl net.core.somaxconn={length}")),
        );
    }
    changes
}
