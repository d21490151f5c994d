//! Servers whose addresses are looked up again and again: `server .. resolve`.
//!
//! One task for each such server, on the thread that first has the configuration, for as long as somebody uses it.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::group::Group;
use super::health::begin_checks;
use super::names::key;
use super::slot::Peer;
use crate::log::Level;
use crate::program::Address;
use crate::resolver::{Names, Resolver, Unresolved, Wanted};
use crate::worker::generation::Generation;
use crate::worker::thread::Thread;

/// A server that stands for whatever addresses its name has.
#[derive(Debug)]
pub struct Followed {
    /// The name.
    pub host: Box<str>,
    /// The port of every address; a service has ports of its own.
    pub port: u16,
    /// The service's name (`service=`).
    pub service: Option<Box<str>>,
    /// What its servers are like.
    pub model: Peer,
    /// They are backup servers.
    pub backup: bool,
    /// Who knows the name.
    pub resolver: Arc<Resolver>,
    /// For how long a question may take.
    pub timeout: Duration,
}

/// The servers found: primary ones, backup ones.
type Servers = (Vec<Peer>, Vec<Peer>);

/// After a failure the next question waits at least so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the names of a configuration that comes into force, and begins its checks. Until the first answer their addresses are those that the
/// configuration before knew.
pub fn follow(thread: &Rc<Thread>, generation: &Generation, before: &Generation) {
    for group in &generation.upstreams {
        group.follow_once.call_once(|| {
            let same = |old: &&Arc<Group>| old.port == group.port && old.name == group.name;
            let old = before.upstreams.iter().find(same).filter(|old| !Arc::ptr_eq(old, group));
            group.unknown.store(group.followed.len(), Relaxed);
            for (i, followed) in group.followed.iter().enumerate() {
                let servers = old.and_then(|old| known_before(old, followed));
                let heard = servers.is_some();
                if let Some(servers) = servers {
                    group.replace(i as u32, servers);
                    group.heard();
                }
                thread.handle.spawn(keep_up(thread.clone(), Arc::downgrade(group), i, heard));
            }
            begin_checks(thread, group, old);
        });
    }
}

/// The servers that another configuration found for the same name.
fn known_before(old: &Group, followed: &Followed) -> Option<Servers> {
    let same = |f: &Followed| {
        (&f.host, f.port, &f.service, f.backup)
            == (&followed.host, followed.port, &followed.service, followed.backup)
    };
    let i = old.followed.iter().position(same)? as u32;
    let like = |peers: Vec<Arc<Peer>>| {
        let server = |peer: &Arc<Peer>| Peer {
            address: peer.address.clone(),
            name: peer.name.clone(),
            server: peer.server.clone(),
            bond: peer.bond.clone(),
            weight: if followed.model.weight == 1 { peer.weight } else { followed.model.weight },
            ..followed.model.clone()
        };
        peers.iter().map(server).collect()
    };
    Some((like(old.primary.found_by(i)), like(old.backup.found_by(i))))
}

async fn keep_up(thread: Rc<Thread>, group: Weak<Group>, i: usize, mut heard: bool) {
    loop {
        let pause = {
            let Some(group) = group.upgrade() else { return };
            let Some(followed) = group.followed.get(i) else { return };
            let found = followed.servers(&thread).await;
            let pause = match found {
                Ok(((primary, backup), pause)) => {
                    group.replace(i as u32, (group.bind(primary), group.bind(backup)));
                    pause
                }
                Err(why) => {
                    followed.complain(&thread, why);
                    if why == Unresolved::NOT_FOUND {
                        group.replace(i as u32, Servers::default());
                        PAUSE
                    } else {
                        followed.timeout.max(PAUSE)
                    }
                }
            };
            if !std::mem::replace(&mut heard, true) {
                group.heard();
            }
            pause
        };
        thread.handle.sleep(pause).await;
    }
}

impl Followed {
    /// From a server as written, and what is in force around it.
    pub fn new(
        host: &str,
        port: u16,
        service: Option<&str>,
        model: Peer,
        backup: bool,
        names: Names,
    ) -> Option<Followed> {
        Some(Followed {
            host: host.into(),
            port,
            service: service.map(Into::into),
            model,
            backup,
            resolver: names.resolver?,
            timeout: names.timeout,
        })
    }
    /// The servers that the name stands for now, and for how long.
    async fn servers(&self, thread: &Rc<Thread>) -> Result<(Servers, Duration), Unresolved> {
        let Some(service) = &self.service else {
            let known = self.resolver.look_up(thread, &self.host, Wanted::Addresses, self.timeout).await?;
            let server = |ip: &std::net::IpAddr| self.server(Address::Tcp((*ip, self.port).into()));
            let found: Vec<Peer> = known.addresses.iter().map(server).collect();
            let servers = if self.backup { (Vec::new(), found) } else { (found, Vec::new()) };
            return Ok((servers, pause(thread, known.until)));
        };
        // A name with a dot is the whole of what stands before the host's.
        let name = match service.contains('.') {
            true => format!("{service}.{}", self.host),
            false => format!("_{service}._tcp.{}", self.host),
        };
        let known = self.resolver.look_up(thread, &name, Wanted::Services, self.timeout).await?;
        let (mut hosts, mut until, mut failed) = (Vec::new(), known.until, None);
        for one in &known.services {
            match self.resolver.look_up(thread, &one.host, Wanted::Addresses, self.timeout).await {
                Ok(host) => {
                    until = until.min(host.until);
                    hosts.push((one, host));
                }
                Err(why) => {
                    let what = format!("while resolving service {service} of {}", self.host);
                    note(thread, format_args!("{} could not be resolved ({why}) {what}", one.host));
                    failed = failed.filter(|failed| *failed == Unresolved::NOT_FOUND).or(Some(why));
                }
            }
        }
        if let (true, Some(why)) = (hosts.is_empty(), failed) {
            return Err(why);
        }
        // Those of the lowest number are the first ones, the others are there for when they fail.
        let best = hosts.iter().map(|(one, _)| one.priority).min();
        let mut servers = Servers::default();
        for (one, host) in hosts {
            let first = Some(one.priority) == best;
            if self.backup && !first {
                continue;
            }
            let found = host.addresses.iter().map(|ip| {
                let server = self.server(Address::Tcp((*ip, one.port).into()));
                let weight = if server.weight == 1 { u32::from(one.weight).max(1) } else { server.weight };
                Peer { server: one.host.as_str().into(), weight, ..server }
            });
            if self.backup || !first { &mut servers.1 } else { &mut servers.0 }.extend(found);
        }
        Ok((servers, pause(thread, until)))
    }
    fn server(&self, address: Address) -> Peer {
        Peer { name: address.to_string().into(), key: key(&address), address, ..self.model.clone() }
    }
    fn complain(&self, thread: &Rc<Thread>, why: Unresolved) {
        let host = &self.host;
        match &self.service {
            None => note(thread, format_args!("{host} could not be resolved ({why})")),
            Some(service) => {
                note(thread, format_args!("service {service} of {host} could not be resolved ({why})"))
            }
        }
    }
}

fn note(thread: &Rc<Thread>, message: std::fmt::Arguments<'_>) {
    thread.process.log(Level::Error, message);
}

fn pause(thread: &Rc<Thread>, until: std::time::Instant) -> Duration {
    until.saturating_duration_since(thread.handle.now()).max(PAUSE)
}
