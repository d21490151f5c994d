//! `upstream` blocks: servers, their weights and limits, how one is chosen, and which connections are kept.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conf::{
    Args, Error, HTTP, IN_HTTP, Inherit, LOCATION, Scope, Setting, UPSTREAM, Within, block, directive, free,
};

use super::Module;
use crate::http::variables::Template;
use crate::program::Address;
use crate::resolver::Names;
use crate::upstream::{
    Balancer, Followed, Group, KeepAlive, Measure, Mode, OverloadWait, Patience, Peer, Sticky, key, resolve,
    split,
};
use crate::worker::generation::Compiler;
use crate::worker::zones;

mod health;
mod state;
mod sticky;
mod variables;

pub use health::checks;

pub(crate) static MODULE: Module =
    Module { name: "upstream", directives: DIRECTIVES, variables: variables::VARIABLES };

static DIRECTIVES: &[conf::Directive] = &[
    block("upstream", HTTP, conf::exactly(1), UPSTREAM, open).on_close(|at, a| {
        let block = at.own::<Block>();
        match block.servers.is_empty() && !block.state.is_written() {
            true => Err(Error::emerg("no servers are inside upstream").at(a.end())),
            false => Ok(()),
        }
    }),
    directive("server", UPSTREAM, conf::at_least(1), server),
    directive("state", UPSTREAM, conf::exactly(1), state::state),
    directive("zone", UPSTREAM, conf::between(1, 2), zone),
    directive("ip_hash", UPSTREAM, conf::exactly(0), |at, a| balancer(at, a, Balancer::IpHash)),
    directive("least_conn", UPSTREAM, conf::exactly(0), |at, a| {
        balancer(at, a, Balancer::Least(Measure::Connections))
    }),
    directive("least_time", UPSTREAM, conf::between(1, 2), least_time),
    directive("queue", UPSTREAM, conf::between(1, 2), queue),
    directive("health_check", LOCATION, conf::at_least(0), health::health_check),
    free("match", HTTP, conf::exactly(1), health::block),
    directive("overload_wait", IN_HTTP, conf::exactly(1), OverloadWait::read),
    directive("sticky", UPSTREAM, conf::at_least(2), sticky::sticky),
    directive("hash", UPSTREAM, conf::between(1, 2), hash),
    directive("random", UPSTREAM, conf::between(0, 2), random),
    directive("keepalive", UPSTREAM, conf::between(1, 2), keepalive),
    directive("keepalive_requests", UPSTREAM, conf::exactly(1), |at, a| {
        at.own::<Block>().keepalive_requests.set(a.number(0)?)
    }),
    directive("keepalive_time", UPSTREAM, conf::exactly(1), |at, a| {
        at.own::<Block>().keepalive_time.set(a.msec(0)?)
    }),
    directive("keepalive_timeout", UPSTREAM, conf::exactly(1), |at, a| {
        at.own::<Block>().keepalive_timeout.set(a.msec(0)?)
    }),
];

/// As written.
#[derive(Default)]
struct Block {
    name: String,
    servers: Vec<Server>,
    /// The file that keeps the servers.
    state: Setting<PathBuf>,
    zone: Setting<Zone>,
    balancer: Option<Balancer>,
    sticky: Setting<Sticky>,
    queue: Setting<Patience>,
    keepalive: Setting<(usize, bool)>,
    keepalive_requests: Setting<u32>,
    keepalive_time: Setting<u64>,
    keepalive_timeout: Setting<u64>,
}
impl Inherit for Block {
    fn inherit(&mut self, _: &Block) {}
    fn reaches(_: Within) -> bool {
        false
    }
}
struct Server {
    peers: Vec<Peer>,
    backup: bool,
    /// Its name is looked up at run time instead.
    followed: Option<Name>,
}
/// What a server with `resolve` writes: what its servers are like, name, port, service.
type Name = (Peer, String, u16, Option<String>);

/// The parameters of a `server`.
struct Parameters {
    peer: Peer,
    backup: bool,
    resolve: bool,
    service: Option<String>,
}

/// The names of all blocks, to find one written twice.
#[derive(Default)]
struct BlockNames(Mutex<HashSet<String>>);

fn open(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = a.str(0).to_ascii_lowercase();
    let names = at.shared::<BlockNames>();
    if !names.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        return Err(a.error(format!("duplicate upstream \"{}\"", a.str(0))));
    }
    at.own::<Block>().name = a.str(0).into();
    Ok(())
}

/// The longest `route=`.
const ROUTE: usize = 32;

fn server(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if at.own::<Block>().state.is_written() {
        return Err(a.error(state::EITHER));
    }
    let words: Vec<&str> = a.iter().collect();
    add_server(at, a, &words)
}

/// Adds the server that the words are about: `address [parameters]`.
fn add_server(at: &mut Scope, a: &Args<'_>, words: &[&str]) -> Result<(), Error> {
    let Some((url, parameters)) = words.split_first() else { return Err(a.invalid()) };
    let peer = Peer::new(Address::Unix("".into()), url, 0);
    let mut given = Parameters { peer, backup: false, resolve: false, service: None };
    for what in parameters {
        parameter(a, what, &mut given)?;
        let odd = given.backup || !given.peer.slow_start.is_zero();
        if odd && at.own::<Block>().balancer.as_ref().is_some_and(|how| !how.has_backups()) {
            return Err(a.error(format!("balancing method does not support parameter \"{what}\"")));
        }
    }
    let Parameters { peer: model, backup, .. } = &given;
    let backup = *backup;
    if let Some(followed) = followed(a, url, &given)? {
        at.own::<Block>().servers.push(Server { peers: Vec::new(), backup, followed: Some(followed) });
        return Ok(());
    }
    let found =
        resolve(a.inputs(), url, 80).map_err(|what| a.error(format!("{what} in upstream \"{url}\"")))?;
    let peers = found.into_iter().map(|address| Peer {
        name: address.to_string().into(),
        key: key(&address),
        address,
        ..model.clone()
    });
    let peers = peers.collect();
    at.own::<Block>().servers.push(Server { peers, backup, followed: None });
    Ok(())
}

/// A server with `resolve`, unless it is an address anyway.
fn followed(a: &Args<'_>, url: &str, given: &Parameters) -> Result<Option<Name>, Error> {
    let refuse = |what: &str| a.error(format!("service upstream \"{url}\" {what}"));
    if given.service.is_some() && !given.resolve {
        return Err(refuse("requires \"resolve\" parameter"));
    }
    if !given.resolve {
        return Ok(None);
    }
    let invalid = |what: &str| a.error(format!("{what} in upstream \"{url}\""));
    let is_unix = url.starts_with("unix:");
    let (host, port) = if is_unix { (url, None) } else { split(url).map_err(invalid)? };
    if given.service.is_some() && port.is_some() {
        return Err(refuse("may not have port"));
    }
    let is_address = is_unix || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    if given.service.is_some() && is_address {
        return Err(refuse("requires domain name"));
    }
    let name = (given.peer.clone(), host.to_owned(), port.unwrap_or(80), given.service.clone());
    Ok((!is_address).then_some(name))
}

fn parameter(a: &Args<'_>, text: &str, given: &mut Parameters) -> Result<(), Error> {
    let peer = &mut given.peer;
    let invalid = || a.error(format!("invalid parameter \"{text}\""));
    let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<u32>().map_err(|_| invalid()),
        false => Err(invalid()),
    };
    match text.split_once('=') {
        None if text == "backup" => given.backup = true,
        None if text == "down" => peer.mode = Mode::Down,
        None if text == "drain" => peer.mode = Mode::Drain,
        None if text == "resolve" => given.resolve = true,
        Some(("service", "")) => return Err(a.error("service is empty")),
        Some(("service", name)) => given.service = Some(name.into()),
        Some(("route", "")) => return Err(a.error("route is empty")),
        Some(("route", name)) if name.len() > ROUTE => {
            return Err(a.error(format!("route is longer than {ROUTE}")));
        }
        Some(("route", name)) => peer.bond = name.into(),
        Some(("weight", value)) => {
            peer.weight = number(value)?;
            if peer.weight == 0 {
                return Err(invalid());
            }
        }
        Some(("max_conns", value)) => peer.max_conns = number(value)?,
        Some(("max_fails", value)) => peer.max_fails = number(value)?,
        Some(("fail_timeout", value)) => {
            let seconds = conf::sec(value.as_bytes()).ok_or_else(invalid)?;
            peer.fail_timeout = Duration::from_secs(seconds);
        }
        Some(("slow_start", value)) => {
            let seconds = conf::sec(value.as_bytes()).ok_or_else(invalid)?;
            peer.slow_start = Duration::from_secs(seconds);
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

/// `zone name [size]`: without a size it is another group's.
#[derive(Clone)]
struct Zone {
    name: String,
    has_size: bool,
}

/// The threads share every group's state anyway; a zone is only named.
fn zone(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if a.str(0).is_empty() {
        return Err(a.error("invalid zone name \"\""));
    }
    // As in nginx: eight pages.
    const LEAST: u64 = 8 * 4096;
    let has_size = a.words.len() == 2;
    if has_size {
        let invalid = || a.error(format!("invalid zone size \"{}\"", a.str(1)));
        let size = conf::size(a.bytes(1)).ok_or_else(invalid)?;
        if size < LEAST {
            return Err(a.error(format!("zone \"{}\" is too small", a.str(0))));
        }
        zones::declare(at, a, "upstream", a.str(0), size)?;
    }
    at.own::<Block>().zone.put(Zone { name: a.str(0).into(), has_size });
    Ok(())
}

fn balancer(at: &mut Scope, a: &Args<'_>, how: Balancer) -> Result<(), Error> {
    if at.own::<Block>().balancer.replace(how).is_some() {
        at.warn(a.warning("load balancing method redefined"));
    }
    Ok(())
}

fn hash(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let key = Template::compile(at, a, 0)?;
    let consistent = match a.opt(1) {
        None => false,
        Some("consistent") => true,
        Some(_) => return Err(a.invalid_parameter(1)),
    };
    balancer(at, a, Balancer::Hash { key, consistent })
}

fn least_time(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let inflight = match a.opt(1) {
        None => false,
        Some("inflight") => true,
        Some(_) => return Err(a.invalid_parameter(1)),
    };
    let last_byte = a.one_of(0, &[("header", false), ("last_byte", true)])?;
    balancer(at, a, Balancer::Least(Measure::Time { last_byte, inflight }))
}

/// `queue number [timeout=time]`
fn queue(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let most = a.number(0)?;
    let mut timeout = 60_000;
    if let Some(text) = a.opt(1) {
        let time = text.strip_prefix("timeout=").and_then(|time| conf::msec(time.as_bytes()));
        timeout = time.ok_or_else(|| a.invalid_parameter(1))?;
    }
    at.own::<Block>().queue.set(Patience { most, timeout: Duration::from_millis(timeout) })
}

fn random(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let two = match (a.opt(0), a.opt(1)) {
        (None, _) => None,
        (Some("two"), None | Some("least_conn")) => Some(Measure::Connections),
        (Some("two"), Some("least_time=header")) => Some(Measure::Time { last_byte: false, inflight: false }),
        (Some("two"), Some("least_time=last_byte")) => {
            Some(Measure::Time { last_byte: true, inflight: false })
        }
        (Some("two"), Some(_)) => return Err(a.invalid_parameter(1)),
        (Some(_), _) => return Err(a.invalid_parameter(0)),
    };
    balancer(at, a, Balancer::Random { two })
}

fn keepalive(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let invalid = || a.error(format!("invalid value \"{}\" in \"keepalive\" directive", a.str(0)));
    let connections = a.number(0).map_err(|_| invalid())?;
    let local = match a.words.len() {
        2 if a.str(1) == "local" => true,
        2 => return Err(a.invalid_parameter(1)),
        _ => false,
    };
    at.own::<Block>().keepalive.set((connections, local))
}

/// Compiles all `upstream` blocks.
///
/// # Errors
/// `no servers are inside upstream`
pub fn compile(http: &Scope, with: &mut Compiler<'_>) -> Result<(), Error> {
    check_zones(http)?;
    for scope in http.children.iter().filter(|c| c.kind == UPSTREAM) {
        if let Some(block) = scope.conf::<Block>() {
            with.upstreams.push(Arc::new(group(block, scope)?));
        }
    }
    Ok(())
}

/// Every zone has a size somewhere.
fn check_zones(http: &Scope) -> Result<(), Error> {
    let blocks =
        http.children.iter().filter(|c| c.kind == UPSTREAM).filter_map(|scope| scope.conf::<Block>());
    let all: Vec<&Zone> = blocks.filter_map(|block| block.zone.written()).collect();
    let sized: HashSet<&str> = all.iter().filter(|zone| zone.has_size).map(|zone| &*zone.name).collect();
    match all.iter().find(|zone| !sized.contains(&*zone.name)) {
        None => Ok(()),
        Some(zone) => {
            let text = format!("zero size shared memory zone \"{}\"", zone.name);
            Err(Error::emerg(text).nowhere())
        }
    }
}

fn group(block: &Block, scope: &Scope) -> Result<Group, Error> {
    let set = |backup| {
        let servers = block.servers.iter().filter(|s| s.backup == backup);
        servers.flat_map(|s| s.peers.iter().cloned()).collect::<Vec<_>>()
    };
    let sticky = block.sticky.written().cloned();
    let bound = |peers: Vec<Peer>| match sticky {
        Some(_) => peers.into_iter().map(Peer::bound).collect(),
        None => peers,
    };
    let (primary, backup) = (bound(set(false)), bound(set(true)));
    let followed = names(block, scope)?;
    let has = |backup| block.servers.iter().any(|server| server.backup == backup);
    if !has(false) && has(true) {
        return Err(Error::emerg(format!("no servers in upstream \"{}\"", block.name)).at(scope.at.clone()));
    }
    let mut group = Group::new(&block.name, None, primary, backup);
    group.balancer = block.balancer.clone().unwrap_or_default();
    group.keepalive = kept(block);
    group.followed = followed;
    group.patience = block.queue.written().copied();
    group.sticky = sticky;
    group.state = block.state.written().cloned();
    Ok(group)
}

/// The servers whose names are looked up at run time.
fn names(block: &Block, scope: &Scope) -> Result<Vec<Followed>, Error> {
    let mut all = Vec::new();
    for server in &block.servers {
        let Some((model, host, port, service)) = &server.followed else { continue };
        let name = &block.name;
        if block.zone.written().is_none() {
            let at = &scope.at;
            let requires = format!("resolving names at run time requires upstream \"{name}\" in {at}");
            return Err(Error::emerg(format!("{requires} to be in shared memory")));
        }
        if block.balancer == Some(Balancer::IpHash) {
            let what = "load balancing method does not support resolving names at run time in upstream";
            return Err(Error::emerg(format!("{what} \"{name}\"")).at(scope.at.clone()));
        }
        let names = Names::of(scope);
        let (model, service) = (model.clone(), service.as_deref());
        all.push(Followed::new(host, *port, service, model, server.backup, names).ok_or_else(|| {
            let what = "no resolver defined to resolve names at run time in upstream";
            Error::emerg(format!("{what} \"{name}\"")).at(scope.at.clone())
        })?);
    }
    Ok(all)
}

fn kept(block: &Block) -> Option<KeepAlive> {
    let (connections, local) = block.keepalive.or((32, true));
    (connections > 0).then(|| KeepAlive {
        connections,
        local,
        requests: block.keepalive_requests.or(1000),
        time: Duration::from_millis(block.keepalive_time.or(3_600_000)),
        timeout: Duration::from_millis(block.keepalive_timeout.or(60_000)),
    })
}
