//! One way through a configuration's statements, from block to block.

use capacity::Place;
use conf::{Mark, Statement, Tree};

use super::address::{destination, has_uri, listen_address, with_port};
use super::config::{Config, Group, Listen, Pass};
use super::page::Page;

/// Goes over the statements, and remembers what is around them.
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    config: &'a mut Config,
    blocks: Vec<String>,
    server: Server,
    /// The page that was found has its own way in.
    own_way: bool,
    /// Arguments of the location we are in.
    location: Vec<String>,
}

/// The `server` we are in.
#[derive(Default)]
struct Server {
    /// Its listening addresses.
    listens: Vec<String>,
    /// How to ask for a page of it: the address that is the easiest to reach.
    page: Page,
    /// Whether that is one with `capacity_reserve`.
    reserved: bool,
}

/// What passes requests on.
const PASSES: [&str; 7] =
    ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "tunnel_pass"];

impl Server {
    fn of(block: &Statement) -> Server {
        let inside = |name: &'static str| {
            let all = block.statements().iter().filter(move |inside| inside.name == *name);
            all.map(|inside| inside.args.iter().map(ToString::to_string).collect::<Vec<String>>())
        };
        let tls = inside("ssl").any(|words| words.first().is_some_and(|word| word == "on"));
        let mut server = Server::default();
        let mut easiest = u8::MAX;
        for words in inside("listen") {
            let Some(address) = words.first().and_then(|word| listen_address(word)) else { continue };
            let has = |what: &str| words.iter().any(|word| word == what);
            server.listens.push(address.clone());
            let page = Page {
                address,
                tls: tls || has("ssl"),
                proxy_protocol: has("proxy_protocol"),
                ..Page::default()
            };
            let reserved = has("capacity_reserve");
            let effort = u8::from(!reserved) * 4 + u8::from(page.tls) * 2 + u8::from(page.proxy_protocol);
            if effort < easiest && !has("udp") && !has("quic") {
                (easiest, server.page, server.reserved) = (effort, page, reserved);
            }
        }
        if server.page.address.is_empty() {
            server.page = Page { address: "0.0.0.0:80".to_owned(), tls, ..Page::default() };
        }
        // What is no name of one host cannot be asked for.
        let name = inside("server_name")
            .flatten()
            .find(|name| !name.is_empty() && !name.contains(['*', '~', '_', '$']));
        server.page.host = name.unwrap_or_default();
        server
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree, config: &'a mut Config) -> Walk<'a> {
        Walk {
            tree,
            config,
            blocks: Vec::new(),
            server: Server::default(),
            own_way: false,
            location: Vec::new(),
        }
    }

    pub(super) fn statements(&mut self, statements: &[Statement]) {
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
        if name == "upstream" {
            self.group(&words, statement);
            return;
        }
        let around = self.location.clone();
        match name.as_str() {
            "server" => (self.server, self.location) = (Server::of(statement), Vec::new()),
            "location" => self.location = words,
            _ => {}
        }
        self.blocks.push(name);
        self.statements(statement.statements());
        self.blocks.pop();
        self.location = around;
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
            "error_log" if first == "stderr" || first.starts_with("syslog:") => {
                push_new(&mut self.config.other_logs, first.to_owned());
            }
            "error_log" if first != "off" && !first.contains(['$', ':']) => {
                let file = self.full_name(first);
                push_new(&mut self.config.error_logs, file);
            }
            "access_log" if first != "off" && !first.contains(['$', ':']) => self.access_log(words),
            "log_format" => self.log_format(words),
            "stub_status" => {
                let page = self.page();
                push_new(&mut self.config.status, page);
            }
            "capacity_status" => {
                let page = self.page();
                let own = self.server.reserved && !std::mem::replace(&mut self.own_way, self.server.reserved);
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
            _ if PASSES.contains(&name) && first.contains('$') => self.config.passes_anywhere = true,
            _ if PASSES.contains(&name) => self.pass(name, first, place),
            _ => {}
        }
    }

    /// The page of where we are.
    fn page(&self) -> Page {
        Page { path: path_of(&self.location), ..self.server.page.clone() }
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
        let known: Vec<&str> = self.tree.statements.iter().flat_map(groups).collect();
        let (to, elsewhere) = (destination(to, name, &known), has_uri(to));
        self.config.passes.push(Pass {
            directive: name.to_owned(),
            to,
            elsewhere,
            listens: self.server.listens.clone(),
            place,
        });
    }

    fn group(&mut self, words: &[String], statement: &Statement) {
        let mut group = Group {
            name: words.first().cloned().unwrap_or_default(),
            place: self.place(statement.at),
            ..Group::default()
        };
        let mut scripted = false;
        for inside in statement.statements() {
            let words: Vec<String> = inside.args.iter().map(ToString::to_string).collect();
            // Then the servers are whatever a script says.
            scripted |= inside.name.to_string().starts_with("balancer_by_lua");
            let Some(first) = words.first() else { continue };
            if inside.name == *"server" {
                group.servers.push(with_port(first, 80));
                group.max_conns |= words.iter().any(|word| word.starts_with("max_conns="));
            } else if inside.name == *"keepalive" {
                group.keepalive = first.parse().ok();
            }
        }
        if scripted {
            group.servers.clear();
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

/// A path that a location takes; empty where it is a pattern or only for the inside.
fn path_of(location: &[String]) -> String {
    let path = location.last().map_or("/", String::as_str);
    let pattern = location.first().is_some_and(|word| matches!(word.as_str(), "~" | "~*"));
    let path = match pattern {
        true => path.trim_start_matches('^').trim_end_matches('$').replace("\\.", "."),
        false => path.trim_start_matches(['=', '^', '~']).to_owned(),
    };
    let plain = !pattern || !path.contains(['(', '[', '*', '+', '?', '\\', '|']);
    if path.starts_with('/') && plain { path } else { String::new() }
}
