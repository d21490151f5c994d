//! A configuration as it runs: servers, plans, listeners. Built whole, swapped in whole, never changed.

mod residue;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conf::{Error, HTTP, Inputs, SERVER, Scope};

use crate::hosts::Added;
use crate::http::plan::{Plan, PlanId};
use crate::http::router::{Names, Server, ServerId};
use crate::http::variables::{self, Table};
use crate::listener::{AddressNames, Listener};
use crate::log::ErrorLog;
use crate::modules;
use crate::modules::core::listen::{self, Entry, Listens, Number};
use crate::modules::core::server_name::{Name, Names as ServerNames};
use crate::modules::core::types::Types;
use crate::modules::core::{error_log, location, process};
use crate::modules::ssl;
use crate::program::{Address, Call, Listen};

/// One compiled configuration.
pub struct Generation {
    /// The sockets it listens on.
    pub listens: Vec<Listen>,
    /// What stands behind each socket, in the order of `listens`.
    pub listeners: Vec<Listener>,
    /// What each variable's index means.
    pub variables: Arc<Table>,
    /// Whether what TLS clients offer is to be remembered.
    pub wants_offers: bool,
    /// The main error log.
    pub error_log: ErrorLog,
    /// Directories for temporary files.
    pub temp_paths: Vec<PathBuf>,
    /// Folders of answers.
    pub caches: Vec<Arc<crate::cache::Zone>>,
    /// The upstream groups.
    pub upstreams: Vec<Arc<crate::upstream::Group>>,
    /// Some location shows the capacity chain (`capacity_status`), so it is looked at every second.
    pub watched: bool,
    /// What was begun with it may last so long when another is in force (`worker_shutdown_timeout`).
    pub shutdown_timeout: Option<Duration>,
    servers: Vec<Server>,
    /// The plans of each server's blocks.
    server_plans: Vec<std::ops::Range<usize>>,
    plans: Vec<Arc<Plan>>,
    /// Index in `listeners` by lasting number, see [`Generation::number_listeners`].
    numbers: OnceLock<Vec<Option<u32>>>,
}

impl Generation {
    /// A plan by its number.
    pub fn plan(&self, id: PlanId) -> &Plan {
        &self.plans[id.0 as usize]
    }
    /// A server by its number.
    pub fn server(&self, id: ServerId) -> &Server {
        &self.servers[id.0 as usize]
    }
    /// Every plan, with the server whose block it is in.
    pub fn plans(&self) -> impl Iterator<Item = (ServerId, &Plan)> {
        let server = move |(i, plans): (usize, &std::ops::Range<usize>)| {
            plans.clone().filter_map(move |p| Some((ServerId(i as u32), &**self.plans.get(p)?)))
        };
        self.server_plans.iter().enumerate().flat_map(server)
    }
    /// Gives the listeners the numbers that their addresses have in the process: they outlive the generation.
    pub fn number_listeners(&self, ids: impl Iterator<Item = u32>) {
        self.numbers.get_or_init(|| {
            let mut numbers = Vec::new();
            for (i, id) in ids.enumerate() {
                numbers.resize(numbers.len().max(id as usize + 1), None);
                numbers[id as usize] = Some(i as u32);
            }
            numbers
        });
    }
    /// The lasting numbers of all listeners.
    pub fn listener_numbers(&self) -> impl Iterator<Item = u32> {
        let numbers = self.numbers.get().map_or(&[][..], Vec::as_slice);
        numbers.iter().zip(0..).filter_map(|(listener, number)| listener.map(|_| number))
    }
    /// A listener by its lasting number; `None` if this configuration does not listen there.
    pub fn find_listener(&self, id: u32) -> Option<&Listener> {
        let i = (*self.numbers.get()?.get(id as usize)?)?;
        self.listeners.get(i as usize)
    }
    /// The listener of a connection that this generation serves.
    pub fn listener(&self, id: u32) -> &Listener {
        self.find_listener(id)
            .expect("a connection is served only by a generation that listens where it came in")
    }
    /// The plan of the server that answers at a listener where no name matches.
    pub fn default_plan(&self, listener: u32) -> &Plan {
        self.plan(self.server(self.listener(listener).default_server).plan)
    }
}

/// What modules need while they compile.
pub struct Compiler<'a> {
    /// Files and names that were read.
    pub inputs: &'a dyn Inputs,
    /// nginx's three types, made once.
    pub default_types: Option<Arc<Types>>,
    /// The error log where none is configured, made once.
    pub default_error_log: Option<ErrorLog>,
    /// Upstream groups, by index.
    pub upstreams: Vec<Arc<crate::upstream::Group>>,
    /// Directories for temporary files.
    pub temp_paths: Vec<PathBuf>,
    /// See [`Generation::watched`].
    pub watched: bool,
    /// The names of the server being compiled.
    pub server_names: Vec<Name>,
    prefix: &'a Path,
    error_log: Option<&'a Path>,
    plans: Vec<Option<Plan>>,
}

impl<'a> Compiler<'a> {
    fn new(inputs: &'a dyn Inputs, call: &'a Call) -> Compiler<'a> {
        Compiler {
            inputs,
            default_types: None,
            default_error_log: None,
            upstreams: Vec::new(),
            temp_paths: Vec::new(),
            watched: false,
            server_names: Vec::new(),
            prefix: &call.prefix,
            error_log: call.error_log.as_deref(),
            plans: Vec::new(),
        }
    }
    /// Compiles a block of its own: a location, an `if`.
    pub fn plan(&mut self, scope: &Scope) -> Result<PlanId, Error> {
        let id = PlanId(self.plans.len() as u32);
        self.plans.push(None);
        let plan = Plan::compile(scope, self)?;
        self.plans[id.0 as usize] = Some(plan);
        Ok(id)
    }
    /// Whether a location's handler wants `/path` redirected to `/path/`.
    pub fn redirects_to_slash(&self, plan: PlanId) -> bool {
        let plan = self.plans[plan.0 as usize].as_ref();
        plan.is_some_and(|p| p.content.passes_on())
    }
    /// Whether a block that was compiled as this one, or later, takes CONNECT.
    fn tunnels(&self, first: usize) -> bool {
        self.plans[first..].iter().flatten().any(|plan| plan.content.tunnels())
    }
    /// A path below the prefix.
    pub fn prefix_path(&self, path: &str) -> String {
        self.prefix.join(path).to_string_lossy().into_owned()
    }
    /// The error log where none is configured: `-e`, or logs/error.log below the prefix.
    pub fn error_log_path(&self) -> PathBuf {
        self.error_log.map_or_else(|| self.prefix.join("logs/error.log"), Path::to_path_buf)
    }
    /// Notes a directory for temporary files, for the master to make.
    pub fn temp_path(&mut self, path: &Path) {
        if !self.temp_paths.iter().any(|p| p == path) {
            self.temp_paths.push(path.into());
        }
    }
}

/// Compiles a configuration that was read and inherited.
///
/// # Errors
/// What can be seen only when everything is known: unknown variables, duplicate locations.
pub fn compile(root: &Scope, inputs: &dyn Inputs, call: &Call) -> Result<Generation, Error> {
    let mut with = Compiler::new(inputs, call);
    let http = root.children.iter().find(|c| c.kind == HTTP);
    let mut servers = Vec::new();
    let mut server_plans = Vec::new();
    let mut listens = (Vec::new(), Vec::new());
    if let Some(http) = http {
        modules::upstream::compile(http, &mut with)?;
        let blocks: Vec<&Scope> = http.children.iter().filter(|c| c.kind == SERVER).collect();
        implicit_listens(root, &blocks);
        encrypted_servers(root, &blocks)?;
        for block in &blocks {
            let first = with.plans.len();
            servers.push(server(block, &mut with)?);
            server_plans.push(first..with.plans.len());
        }
        listens = listeners(root, &blocks)?;
        certificates(root, &blocks, &servers)?;
    }
    let plans: Vec<Plan> = std::mem::take(&mut with.plans).into_iter().flatten().collect();
    for listener in &mut listens.1 {
        listener.heads_differ = heads_differ(listener, &servers, &plans);
        let behind =
            listener.servers.iter().filter_map(|server| server_plans.get(*server)).flat_map(Clone::clone);
        listener.need = behind.filter_map(|plan| Some(plans.get(plan)?.need)).max().unwrap_or(0);
    }
    let variables = root.shared::<variables::Names>().resolve(modules::variables(), !servers.is_empty())?;
    let wants_offers = ssl::OFFERS.iter().any(|name| variables.has(name.as_bytes()));
    let error_log = error_log::compile(root, &mut with);
    let caches = root.shared::<crate::cache::Declared>().all();
    caches.iter().for_each(|zone| with.temp_path(&zone.place.path));
    Ok(Generation {
        listens: listens.0,
        listeners: listens.1,
        variables: Arc::new(variables),
        wants_offers,
        error_log,
        temp_paths: with.temp_paths,
        caches,
        upstreams: with.upstreams,
        watched: with.watched,
        shutdown_timeout: process::shutdown_timeout(root),
        servers,
        server_plans,
        plans: plans.into_iter().map(Arc::new).collect(),
        numbers: OnceLock::new(),
    })
}

fn server(block: &Scope, with: &mut Compiler<'_>) -> Result<Server, Error> {
    with.server_names = block.conf::<ServerNames>().map(|names| names.all.clone()).unwrap_or_default();
    let first = with.plans.len();
    let plan = with.plan(block)?;
    let mut named = Vec::new();
    let locations = location::compile(block, &mut named, with)?;
    let name = block.conf::<ServerNames>().and_then(|n| n.all.first());
    let name = match name {
        Some(Name::Text(text)) => text.strip_prefix('.').unwrap_or(text).into(),
        Some(Name::Regex(regex)) => format!("~{}", regex.pattern()).into(),
        None => "".into(),
    };
    let tls = modules::ssl::compile(block, with)?;
    let http2 = modules::http2::compile(block);
    let named = named.into_iter().collect::<HashMap<_, _>>();
    Ok(Server { name, plan, tunnels: with.tunnels(first), tls, http2, locations, named })
}

/// A server without `listen` is at port 80, or 8000 where that needs rights it has not.
fn implicit_listens(root: &Scope, blocks: &[&Scope]) {
    let listens = root.shared::<Listens>();
    let mut all = listens.lock();
    for block in blocks {
        let number = block.conf::<Number>().map_or(0, |n| n.0);
        if all.iter().any(|entry| entry.servers.contains(&number)) {
            continue;
        }
        let port = if sys::privileges::is_root() { 80 } else { 8000 };
        let address = Address::Tcp(([0, 0, 0, 0], port).into());
        match all.iter_mut().find(|entry| entry.listen.address == address) {
            Some(entry) => entry.servers.push(number),
            None => all.push(Entry::implicit(address, number)),
        }
    }
}

/// `ssl on` in the default server of an address encrypts the address.
fn encrypted_servers(root: &Scope, blocks: &[&Scope]) -> Result<(), Error> {
    let on = blocks.iter().map(|block| modules::ssl::is_on(block)).collect::<Result<Vec<_>, _>>()?;
    for entry in root.shared::<Listens>().lock().iter_mut() {
        entry.ssl |= on[default_server(entry).0 as usize];
    }
    Ok(())
}

/// An encrypted address needs a certificate at least in its default server.
fn certificates(root: &Scope, blocks: &[&Scope], servers: &[Server]) -> Result<(), Error> {
    let listens = root.shared::<Listens>();
    for entry in listens.lock().iter().filter(|entry| entry.ssl) {
        let default = default_server(entry).0 as usize;
        if servers[default].tls.is_none() {
            let message = "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive";
            return Err(Error::emerg(message).at(blocks[default].at.clone()));
        }
    }
    Ok(())
}

/// The sockets, and the servers behind each.
fn listeners(root: &Scope, blocks: &[&Scope]) -> Result<(Vec<Listen>, Vec<Listener>), Error> {
    let listens = root.shared::<Listens>();
    let entries = listens.lock();
    let mut sockets = Vec::new();
    let mut listeners: Vec<Listener> = Vec::new();
    let mut place = HashMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if listen::socket_of(&entries, i) == i {
            place.insert(i, listeners.len());
            sockets.push(entry.listen.clone());
            listeners.push(listener(entry));
        }
    }
    for (i, entry) in entries.iter().enumerate() {
        let own = listen::socket_of(&entries, i);
        let names = address_names(root, entry, own != i, blocks)?;
        if let Some(socket) = place.get(&own) {
            let listener = &mut listeners[*socket];
            listener.servers.extend(&entry.servers);
            if own == i {
                listener.names.insert(0, names);
            } else {
                listener.names.push(names);
            }
        }
    }
    Ok((sockets, listeners))
}

fn listener(entry: &Entry) -> Listener {
    Listener {
        address: entry.listen.address.clone(),
        ssl: entry.ssl,
        http2: entry.http2,
        proxy_protocol: entry.proxy_protocol,
        deferred: entry.listen.deferred,
        reserve: entry.reserve,
        heads_differ: false,
        need: 0,
        servers: Vec::new(),
        default_server: default_server(entry),
        names: Vec::new(),
    }
}
/// Whether the servers behind a listener have different limits for the heads of requests.
fn heads_differ(listener: &Listener, servers: &[Server], plans: &[Plan]) -> bool {
    let limits =
        |server: &usize| Some(plans.get(servers.get(*server)?.plan.0 as usize)?.core.client_header.limits);
    let mut all = listener.servers.iter().filter_map(limits);
    let first = all.next();
    all.any(|other| Some(other) != first)
}
fn default_server(entry: &Entry) -> ServerId {
    ServerId(entry.default_server.unwrap_or(entry.servers[0]) as u32)
}

fn address_names(
    root: &Scope,
    entry: &Entry,
    shares: bool,
    blocks: &[&Scope],
) -> Result<AddressNames, Error> {
    let mut names = Names::default();
    let mut regexes = false;
    // A server that is alone at its address answers whatever its names are.
    let alone = entry.servers.len() == 1;
    let add = |names: &mut Names, text: &str, id| match names.add(text.as_bytes(), id) {
        Added::Invalid if !alone => {
            let at = &entry.listen.address;
            Err(Error::emerg(format!("invalid server name or wildcard \"{text}\" on {at}")))
        }
        Added::Conflict if !alone => {
            conflict(root, text, entry);
            Ok(())
        }
        _ => Ok(()),
    };
    for number in &entry.servers {
        let id = ServerId(*number as u32);
        let Some(all) = blocks.get(*number).and_then(|b| b.conf::<ServerNames>()) else {
            add(&mut names, "", id)?;
            continue;
        };
        for name in &all.all {
            match name {
                Name::Regex(regex) => {
                    regexes |= regex.groups() > 0;
                    names.add_regex(regex.clone(), id);
                }
                Name::Text(text) => add(&mut names, text, id)?,
            }
        }
    }
    let ip = match &entry.listen.address {
        Address::Tcp(address) if shares => Some(address.ip()),
        _ => None,
    };
    let single = alone && !regexes;
    Ok(AddressNames { ip, default_server: default_server(entry), names, single })
}

fn conflict(root: &Scope, name: &str, entry: &Entry) {
    root.warn(Error::warn(format!(
        "conflicting server name \"{name}\" on {}, ignored",
        entry.listen.address
    )));
}
