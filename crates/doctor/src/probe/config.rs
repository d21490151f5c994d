//! What a configuration says about capacity, from its tree: directives nobody here knows are no obstacle.

use std::collections::BTreeMap;
use std::path::Path;

use capacity::Place;
use conf::{Inputs, Mark, Source, Statement, Tree};
use serde::{Deserialize, Serialize};

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
    /// `upstream` groups.
    pub groups: Vec<Group>,
    /// Files of `error_log`.
    pub error_logs: Vec<String>,
    /// Files of `access_log`, with the name of their format.
    pub access_logs: Vec<(String, String)>,
    /// `log_format`: name and text.
    pub formats: BTreeMap<String, String>,
    /// Where `stub_status` is: the address of its server and its location.
    pub status: Option<(String, String)>,
    /// Where Plimsoll's `capacity_status` is; the operator's own way in, if there is one.
    pub capacity: Option<(String, String)>,
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
        let mut walk = Walk {
            tree,
            config: &mut config,
            blocks: Vec::new(),
            listens: Vec::new(),
            reserved: None,
            own_way: false,
            location: String::new(),
        };
        walk.statements(&tree.statements);
        config
    }

    /// The addresses of a group, or the address itself.
    pub fn addresses<'a>(&'a self, to: &'a str) -> Vec<&'a str> {
        match self.groups.iter().find(|group| group.name == to) {
            Some(group) => group.servers.iter().map(String::as_str).collect(),
            None => vec![to],
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

struct Walk<'a> {
    tree: &'a Tree,
    config: &'a mut Config,
    blocks: Vec<String>,
    /// Listening addresses of the server we are in.
    listens: Vec<String>,
    /// One of them with `capacity_reserve`.
    reserved: Option<String>,
    /// The page that was found is on such a one.
    own_way: bool,
    location: String,
}

impl Walk<'_> {
    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let words: Vec<String> = statement.args.iter().map(ToString::to_string).collect();
        let name = statement.name.to_string();
        self.directive(&name, &words, statement.at);
        if statement.body.is_none() {
            return;
        }
        match name.as_str() {
            "upstream" => self.group(&words, statement),
            "server" => {
                self.listens.clear();
                self.reserved = None;
                for listen in statement.statements().iter().filter(|inside| inside.name == *"listen") {
                    let address = listen.args.first().and_then(|word| listen_address(&word.to_string()));
                    if listen.args.iter().any(|word| *word == *"capacity_reserve") {
                        self.reserved = address.clone();
                    }
                    self.listens.extend(address);
                }
            }
            "location" => self.location = words.last().cloned().unwrap_or_default(),
            _ => {}
        }
        if name != "upstream" {
            self.blocks.push(name);
            self.statements(statement.statements());
            self.blocks.pop();
        }
    }

    fn place(&self, at: Mark) -> Place {
        let position = self.tree.position(at);
        let file = position.file.map(|file| file.display().to_string()).unwrap_or_default();
        Place { file, line: u64::from(position.line) }
    }

    fn full_name(&self, name: &str) -> String {
        self.tree.full_name(name, conf::Relative::Prefix).display().to_string()
    }

    fn directive(&mut self, name: &str, words: &[String], at: Mark) {
        let place = self.place(at);
        let first = words.first().map_or("", String::as_str);
        let number = || first.parse().ok().map(|number: u64| (number, place.clone()));
        match name {
            "worker_processes" => self.config.processes = Some(first.to_owned()),
            "worker_connections" => self.config.connections = number(),
            "worker_rlimit_nofile" => self.config.rlimit_nofile = number(),
            "multi_accept" if first.eq_ignore_ascii_case("on") => self.config.multi_accept = Some(place),
            "pid" => self.config.pid = Some(self.full_name(first)),
            "keepalive_timeout" if self.blocks.iter().any(|block| block == "http") => {
                let time = conf::msec(first.as_bytes());
                self.config.keepalive_timeout = self.config.keepalive_timeout.max(time);
            }
            "listen" => self.listen(words, place),
            "error_log" if !matches!(first, "stderr" | "off") && !first.contains(['$', ':']) => {
                let file = self.full_name(first);
                push_new(&mut self.config.error_logs, file);
            }
            "access_log" if first != "off" && !first.contains(['$', ':']) => self.access_log(words),
            "log_format" => self.log_format(words),
            "stub_status" => {
                let page = self.page();
                self.config.status.get_or_insert(page);
            }
            "capacity_status" => {
                let page = self.page();
                let own =
                    self.reserved.is_some() && !std::mem::replace(&mut self.own_way, self.reserved.is_some());
                match own {
                    true => self.config.capacity = Some(page),
                    false => _ = self.config.capacity.get_or_insert(page),
                }
            }
            "proxy_bind"
                if first
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|p| p > 0)) =>
            {
                self.config.fixed_port = Some(place);
            }
            _ if name.ends_with("_pass") && !first.contains('$') => self.pass(name, first, place),
            _ => {}
        }
    }

    /// The address and the path of where we are.
    fn page(&self) -> (String, String) {
        let address = self.reserved.as_ref().or(self.listens.first());
        (address.cloned().unwrap_or_else(|| "0.0.0.0:80".to_owned()), self.location.clone())
    }

    fn listen(&mut self, words: &[String], place: Place) {
        let Some(address) = words.first().and_then(|word| listen_address(word)) else { return };
        if words.iter().any(|word| matches!(word.as_str(), "udp" | "quic")) {
            return;
        }
        let backlog = words.iter().find_map(|word| word.strip_prefix("backlog=")?.parse().ok());
        let reuseport = words.iter().any(|word| word == "reuseport");
        match self.config.listens.iter_mut().find(|known| known.address == address) {
            Some(known) => {
                known.backlog = known.backlog.or(backlog);
                known.reuseport |= reuseport;
                known.servers += 1;
            }
            None => self.config.listens.push(Listen { address, backlog, reuseport, servers: 1, place }),
        }
    }

    fn access_log(&mut self, words: &[String]) {
        let file = self.full_name(words.first().map_or("", String::as_str));
        let format = words.get(1).filter(|word| !word.contains('=')).map_or("combined", String::as_str);
        push_new(&mut self.config.access_logs, (file, format.to_owned()));
    }

    fn log_format(&mut self, words: &[String]) {
        let [name, texts @ ..] = words else { return };
        let texts: String = texts.iter().filter(|text| !text.starts_with("escape=")).cloned().collect();
        self.config.formats.insert(name.clone(), texts);
    }

    fn pass(&mut self, name: &str, to: &str, place: Place) {
        const PASSES: [&str; 7] = [
            "proxy_pass",
            "fastcgi_pass",
            "uwsgi_pass",
            "scgi_pass",
            "grpc_pass",
            "memcached_pass",
            "tunnel_pass",
        ];
        if PASSES.contains(&name) {
            let known: Vec<&str> = self.tree.statements.iter().flat_map(groups).collect();
            let to = destination(to, name, &known);
            self.config.passes.push(Pass {
                directive: name.to_owned(),
                to,
                listens: self.listens.clone(),
                place,
            });
        }
    }

    fn group(&mut self, words: &[String], statement: &Statement) {
        let mut group = Group {
            name: words.first().cloned().unwrap_or_default(),
            place: self.place(statement.at),
            ..Group::default()
        };
        for inside in statement.statements() {
            let words: Vec<String> = inside.args.iter().map(ToString::to_string).collect();
            let Some(first) = words.first() else { continue };
            if inside.name == *"server" {
                group.servers.push(with_port(first, 80));
                group.max_conns |= words.iter().any(|word| word.starts_with("max_conns="));
            } else if inside.name == *"keepalive" {
                group.keepalive = first.parse().ok();
            }
        }
        self.config.groups.push(group);
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// Names of the groups in a block.
fn groups(block: &Statement) -> impl Iterator<Item = &str> {
    let inside = block.statements().iter().filter(|statement| statement.name == *"upstream");
    inside.filter_map(|group| group.args.first()?.text())
}

/// As the kernel lists it.
pub(crate) fn listen_address(word: &str) -> Option<String> {
    if word.starts_with("unix:") {
        return Some(word.to_owned());
    }
    if let Ok(port) = word.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}"));
    }
    let word = word.replace("localhost", "127.0.0.1").replacen('*', "0.0.0.0", 1);
    Some(with_port(&word, 80))
}

/// `http://host:8000/uri`, `unix:/path`, `host:9000`: without scheme and path, with a port. A group has none.
fn destination(to: &str, directive: &str, groups: &[&str]) -> String {
    let (scheme, rest) = to.split_once("://").unwrap_or(("", to));
    if let Some(path) = rest.strip_prefix("unix:") {
        // An URI follows a second colon.
        return format!("unix:{}", path.split(':').next().unwrap_or(path));
    }
    let host = rest.split('/').next().unwrap_or(rest);
    if groups.contains(&host) {
        return host.to_owned();
    }
    let default = match (scheme, directive) {
        ("https" | "grpcs", _) => 443,
        (_, "memcached_pass") => 11211,
        _ => 80,
    };
    with_port(host, default)
}

fn with_port(host: &str, default: u16) -> String {
    if host.starts_with("unix:") {
        return host.to_owned();
    }
    let after_bracket = host.rsplit(']').next().unwrap_or(host);
    let host = if host.starts_with("localhost") {
        host.replacen("localhost", "127.0.0.1", 1)
    } else {
        host.to_owned()
    };
    if after_bracket.contains(':') { host } else { format!("{host}:{default}") }
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
        assert_eq!(config.status, Some(("0.0.0.0:80".into(), "/status".into())));
        assert_eq!(config.access_logs, [("/etc/nginx/logs/a.log".into(), "times".into())]);
        assert_eq!(config.formats["times"], "$msec $request_time");
    }

    #[test]
    fn addresses() {
        assert_eq!(destination("http://[::1]:80/a", "proxy_pass", &[]), "[::1]:80");
        assert_eq!(destination("http://unix:/a.sock:/uri", "proxy_pass", &[]), "unix:/a.sock");
        assert_eq!(destination("127.0.0.1:9000", "fastcgi_pass", &[]), "127.0.0.1:9000");
        assert_eq!(listen_address("*:8080").unwrap(), "0.0.0.0:8080");
        assert_eq!(listen_address("127.0.0.1").unwrap(), "127.0.0.1:80");
    }
}
