//! Names of upstreams: their addresses, as far as they can be had at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use conf::Inputs;
use machine::namespace;
use machine::servers::Server;

use super::live;
use crate::facts::Facts;

/// A name server that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Puts addresses beside the names in the configuration.
pub(super) fn resolve(server: &Server, facts: &mut Facts) {
    let Some(config) = &mut facts.config else { return };
    let mut names = config.names();
    let hosts = live::inputs(server).read(Path::new("/etc/hosts")).unwrap_or_default();
    let hosts = String::from_utf8_lossy(&hosts);
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    names.retain(|name| {
        let addresses = in_hosts(&hosts, name);
        let none = addresses.is_empty();
        if !none {
            found.insert(name.clone(), addresses);
        }
        none
    });
    // A container has name servers of its own; its connections show the addresses.
    if namespace::root_of(server.master.pid) == Path::new("/") {
        found.extend(asked(names.clone()));
    }
    names.retain(|name| !found.contains_key(name));
    config.use_addresses(&found);
    if !names.is_empty() {
        facts.unread.push(format!("addresses of {}: nobody says them here", names.join(", ")));
    }
}

/// Addresses of `name:port` in a file of hosts.
fn in_hosts(text: &str, name: &str) -> Vec<String> {
    let Some((host, port)) = name.rsplit_once(':') else { return Vec::new() };
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let named = words.any(|word| word.eq_ignore_ascii_case(host));
        Some(SocketAddr::new(address, port.parse().ok()?).to_string()).filter(|_| named)
    };
    lines.filter_map(address).collect()
}

/// What the system says, as far as it says it soon.
fn asked(names: Vec<String>) -> HashMap<String, Vec<String>> {
    let (sender, receiver) = mpsc::channel();
    let until = Instant::now() + PATIENCE;
    let count = names.len();
    for name in names {
        let sender = sender.clone();
        // It ends by itself, when the system gives up.
        std::thread::spawn(move || {
            let addresses = name.to_socket_addrs().into_iter().flatten().map(|address| address.to_string());
            let addresses = addresses.collect();
            // Nobody may listen any more.
            let _ = sender.send((name, addresses));
        });
    }
    let answers =
        std::iter::from_fn(|| receiver.recv_timeout(until.saturating_duration_since(Instant::now())).ok());
    let answers = answers.take(count);
    answers.filter(|(_, addresses): &(String, Vec<String>)| !addresses.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_in_a_file() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.1 app\n10.0.0.7 x APP # app2\nfe80::1 app\nrubbish app\n";
        assert_eq!(in_hosts(hosts, "app:80"), ["10.0.0.7:80", "[fe80::1]:80"]);
        assert!(in_hosts(hosts, "app2:80").is_empty() && in_hosts(hosts, "app").is_empty());
    }

    proptest! {
        #[test]
        fn any_file_of_hosts(text in "([#:.a1 \t\n]|127.0.0.1|\\PC){0,40}", name in "[a:1]{0,5}") {
            in_hosts(&text, &name);
        }
    }
}
