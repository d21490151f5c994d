//! The application behind an upstream: what to change there.

use capacity::{Change, Effect};

use crate::facts::Facts;

fn queue_of(address: &str, facts: &Facts) -> Option<u64> {
    let upstream = facts.upstreams.iter().find(|upstream| upstream.address == address)?;
    upstream.queue.as_ref().map(|queue| u64::from(queue.ceiling))
}

/// What the application calls itself, or what its socket's name says.
fn program(address: &str, facts: &Facts) -> String {
    let upstream = facts.upstreams.iter().find(|upstream| upstream.address == address);
    let named = upstream.map(|upstream| upstream.program.clone()).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| address.to_owned()).to_lowercase()
}

/// The settings of the application that make its queue emptier, then longer.
pub(super) fn changes(address: &str, facts: &Facts) -> Vec<Change> {
    let (program, ceiling) = (program(address, facts), queue_of(address, facts));
    let length = ceiling.map_or(2048, |ceiling| (ceiling * 2).max(1024).next_power_of_two());
    let (workers, backlog, place) = match () {
        () if program.contains("gunicorn") => (
            "gunicorn --workers, or --threads: more of them",
            format!("gunicorn --backlog {length}"),
            "gunicorn",
        ),
        () if program.contains("php") => {
            ("pm.max_children: more of them", format!("listen.backlog = {length}"), "the php-fpm pool")
        }
        () if program.contains("uwsgi") => {
            ("processes, threads: more of them", format!("listen = {length}"), "uwsgi")
        }
        () if program.contains("puma") => {
            ("workers, threads: more of them", format!("bind 'unix://..?backlog={length}'"), "config/puma.rb")
        }
        () if program.contains("node") => (
            "more processes (cluster, pm2 -i max)",
            format!("server.listen({{ .., backlog: {length} }})"),
            "the Node application",
        ),
        () => ("more workers", format!("its listen backlog: {length}"), "the application"),
    };
    vec![
        Change::new(workers, place, Effect::RestartUpstream).note("more work done: the real fix"),
        Change::new(format!("{backlog} and net.core.somaxconn = {length}"), place, Effect::RestartUpstream)
            .note("a longer queue only waits longer; a reload keeps the old one"),
    ]
}
