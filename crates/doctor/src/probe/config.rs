//! What a configuration says about capacity, from its tree: directives nobody here knows are no obstacle.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use capacity::Place;
use conf::{Inputs, Source, Tree};
use serde::{Deserialize, Serialize};

use super::page::Page;
use super::walk::Walk;

/// Names of upstreams that are asked about.
const MOST_NAMES: usize = 32;

/// A configuration, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The main file.
    pub path: String,
    /// The first mistake in the text, where reading stopped.
    pub error: Option<String>,
    /// `worker_processes` as written.
    pub processes: Option<String>,
    /// `worker_connections`
    pub connections: Option<(u64, Place)>,
    /// `worker_rlimit_nofile`
    pub rlimit_nofile: Option<(u64, Place)>,
    /// Where `multi_accept on` stands.
    pub multi_accept: Option<Place>,
    /// `pid`
    pub pid: Option<String>,
    /// The longest `keepalive_timeout` for clients, in milliseconds.
    pub keepalive_timeout: Option<u64>,
    /// `listen`, each address once.
    pub listens: Vec<Listen>,
    /// `proxy_pass` and its like.
    pub passes: Vec<Pass>,
    /// Whether a variable says somewhere where requests are passed to: it is not among `passes`.
    pub passes_anywhere: bool,
    /// `upstream` groups.
    pub groups: Vec<Group>,
    /// Files of `error_log`.
    pub error_logs: Vec<String>,
    /// What `error_log` has that is no file: `stderr`, `syslog:..`.
    pub other_logs: Vec<String>,
    /// Files of `access_log`, with the name of their format.
    pub access_logs: Vec<(String, String)>,
    /// `log_format`: name and text.
    pub formats: BTreeMap<String, String>,
    /// Where `stub_status` is.
    pub status: Vec<Page>,
    /// Where Plimsoll's `capacity_status` is; the operator's own way in, if there is one.
    pub capacity: Option<Page>,
    /// `proxy_bind` with a fixed port.
    pub fixed_port: Option<Place>,
}

/// A listening address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// As the kernel knows it: `0.0.0.0:80`, `[::]:80`, `unix:/path`.
    pub address: String,
    /// `backlog=`
    pub backlog: Option<u64>,
    /// `reuseport`: a socket for each worker.
    pub reuseport: bool,
    /// How many `server` blocks listen to it.
    pub servers: u64,
    /// Where it stands.
    pub place: Place,
}

/// A directive that passes requests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// `proxy_pass`, `fastcgi_pass`, ..
    pub directive: String,
    /// A group's name, or an address.
    pub to: String,
    /// Whether it has a URI of its own: what comes there has another path than what came here.
    pub elsewhere: bool,
    /// Where its `server` listens.
    pub listens: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

/// An `upstream` group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its servers' addresses.
    pub servers: Vec<String>,
    /// `keepalive`: idle connections per worker.
    pub keepalive: Option<u64>,
    /// Whether a server has `max_conns`.
    pub max_conns: bool,
    /// Where it stands.
    pub place: Place,
}

impl Config {
    /// Whether there are as many workers as processors.
    pub fn has_auto(&self) -> bool {
        self.processes.as_deref() == Some("auto")
    }

    /// Reads a file with what it includes.
    pub fn read(inputs: &dyn Inputs, file: &Path, prefix: &Path, globals: &str) -> Config {
        Config::of(&Tree::read(inputs, &Source { file, prefix, globals, text: None }))
    }

    /// Reads this text of a file, and what it includes.
    pub fn of_text(inputs: &dyn Inputs, file: &Path, prefix: &Path, text: &str) -> Config {
        Config::of(&Tree::read(inputs, &Source { file, prefix, globals: "", text: Some(text) }))
    }

    /// Reads the output of `nginx -T`.
    pub fn of_dump(name: &Path, dump: &str) -> Config {
        let inputs = super::dump::Dump::new(dump);
        let Some(main) = inputs.main() else {
            return Config {
                path: name.display().to_string(),
                error: Some("no configuration in it".into()),
                ..Config::default()
            };
        };
        let source = Source { file: &main, prefix: Path::new("/etc/nginx"), globals: "", text: None };
        Config::of(&Tree::read(&inputs, &source))
    }

    fn of(tree: &Tree) -> Config {
        let mut config = Config {
            path: tree.files.first().map(|file| file.path.display().to_string()).unwrap_or_default(),
            error: tree.error.as_ref().map(ToString::to_string),
            ..Config::default()
        };
        Walk::new(tree, &mut config).statements(&tree.statements);
        config
    }

    /// The addresses of a group, or the address itself.
    pub fn addresses<'a>(&'a self, to: &'a str) -> Vec<&'a str> {
        match self.groups.iter().find(|group| group.name == to) {
            Some(group) => group.servers.iter().map(String::as_str).collect(),
            None => vec![to],
        }
    }

    /// Hosts with ports that are no addresses.
    pub fn names(&self) -> Vec<String> {
        let is_name = |to: &String| {
            let address = to.starts_with("unix:") || to.parse::<std::net::SocketAddr>().is_ok();
            !address
                && to
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let mut names: Vec<String> = self.destinations().into_iter().filter(is_name).collect();
        names.truncate(MOST_NAMES);
        names
    }

    /// Puts addresses in the place of names, as the server itself does: a name that is passed to becomes a group.
    pub fn use_addresses(&mut self, found: &HashMap<String, Vec<String>>) {
        for group in &mut self.groups {
            let servers = std::mem::take(&mut group.servers).into_iter();
            group.servers =
                servers.flat_map(|name| found.get(&name).cloned().unwrap_or_else(|| vec![name])).collect();
        }
        for pass in &self.passes {
            let known = self.groups.iter().any(|group| group.name == pass.to);
            if let Some(servers) = found.get(&pass.to).filter(|_| !known) {
                let (name, servers, place) = (pass.to.clone(), servers.clone(), pass.place.clone());
                self.groups.push(Group { name, servers, place, ..Group::default() });
            }
        }
    }

    /// All addresses that requests are passed to, each once.
    pub fn destinations(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for address in self.passes.iter().flat_map(|pass| self.addresses(&pass.to)) {
            if !all.iter().any(|known| known == address) {
                all.push(address.to_owned());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(text: &str) -> Config {
        let dump = format!("# configuration file /etc/nginx/nginx.conf:\n{text}");
        Config::of_dump(Path::new("dump"), &dump)
    }

    #[test]
    fn a_whole_file() {
        let text = "worker_processes auto; worker_rlimit_nofile 4096;\nevents { worker_connections 768; multi_accept on; }\n\
            http { log_format times '$msec ' '$request_time';\n access_log logs/a.log times; lua_shared_dict x 1m;\n\
            upstream app { server localhost:8000 max_conns=5; server unix:/run/b.sock; keepalive 16; }\n\
            server { listen 80 backlog=2048; listen [::]:80; listen 81;\n location = /status { stub_status; }\n\
            location / { proxy_pass http://app/x; } location /php { fastcgi_pass unix:/run/php.sock; }\n\
            location /s { proxy_pass https://10.0.0.7/; } location /v { proxy_pass http://$host; } } }";
        let config = config(text);
        assert_eq!(config.error, None);
        assert_eq!(config.connections.as_ref().map(|(n, place)| (*n, place.line)), Some((768, 2)));
        assert_eq!(config.rlimit_nofile.as_ref().map(|(n, _)| *n), Some(4096));
        assert!(config.multi_accept.is_some());
        let listens: Vec<_> = config.listens.iter().map(|l| (l.address.as_str(), l.backlog)).collect();
        assert_eq!(listens, [("0.0.0.0:80", Some(2048)), ("[::]:80", None), ("0.0.0.0:81", None)]);
        assert_eq!(
            config.destinations(),
            ["127.0.0.1:8000", "unix:/run/b.sock", "unix:/run/php.sock", "10.0.0.7:443"]
        );
        assert_eq!((config.groups[0].keepalive, config.groups[0].max_conns), (Some(16), true));
        assert_eq!(config.status, [Page::new("0.0.0.0:80", "/status")]);
        assert_eq!(config.access_logs, [("/etc/nginx/logs/a.log".into(), "times".into())]);
        assert_eq!(config.formats["times"], "$msec $request_time");
    }

    #[test]
    fn ways_that_do_not_come_back() {
        let text = "events { } http { upstream b { server 127.0.0.1; balancer_by_lua_block { } }\n\
                    server { listen 80; location /a/ { proxy_pass http://127.0.0.1/; }\n\
                    location / { proxy_pass http://b; } location /u { proxy_pass http://unix:/s:/u; } } }";
        let config = config(text);
        let passes: Vec<_> = config.passes.iter().map(|pass| (pass.to.as_str(), pass.elsewhere)).collect();
        assert_eq!(passes, [("127.0.0.1:80", true), ("b", false), ("unix:/s", true)]);
        assert_eq!(config.addresses("b"), Vec::<String>::new());
    }

    #[test]
    fn names_become_addresses() {
        let mut config = config(
            "http { upstream a { server one:81; server 10.0.0.1; } server { location / { proxy_pass http://two; } \
             location /a { proxy_pass http://a; } location /u { proxy_pass http://unix:/x; } } }",
        );
        assert_eq!(config.names(), ["two:80", "one:81"]);
        let addresses = |list: &[&str]| list.iter().map(|&address| address.to_owned()).collect();
        config.use_addresses(&HashMap::from([
            ("two:80".to_owned(), addresses(&["10.0.0.2:80", "10.0.0.3:80"])),
            ("one:81".to_owned(), addresses(&["10.0.0.4:81"])),
        ]));
        assert!(config.names().is_empty());
        assert_eq!(
            config.destinations(),
            ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:81", "10.0.0.1:80", "unix:/x"]
        );
    }

    #[test]
    fn pages_of_status() {
        let config = config(
            "http { server { listen 443 ssl; listen unix:/run/s.sock proxy_protocol; listen 8080; server_name _ *.a b.test;\
             location / { location /in { } stub_status; } location ~ ^/s\\.txt$ { stub_status; } location ~ /(a|b) { stub_status; } }\
             server { listen 444; ssl on; stub_status; } }",
        );
        let of = |address: &str, path: &str| Page { host: "b.test".to_owned(), ..Page::new(address, path) };
        let last = Page { tls: true, ..Page::new("0.0.0.0:444", "/") };
        assert_eq!(
            config.status,
            [of("0.0.0.0:8080", "/"), of("0.0.0.0:8080", "/s.txt"), of("0.0.0.0:8080", ""), last]
        );
    }
}
