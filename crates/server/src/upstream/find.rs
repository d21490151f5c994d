//! Who stands behind a host that is known only when a request's variables are: a group of the configuration, an address,
//! or a name that a resolver knows.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::group::Group;
use super::names::number;
use super::slot::Peer;
use crate::http::request::Request;
use crate::program::Address;
use crate::resolver::{Names, Wanted};

/// A group's number among the pools of connections.
pub fn group_number(group: &Group) -> u32 {
    number(&format!("group {} {:?}", group.name, group.port))
}

/// Finds the group behind `host`, which is a name, an address or `unix:path`; `port` is the one written, `default` the
/// protocol's, if it has one. A client that goes away meanwhile is waited for only where nobody minds it.
///
/// # Errors
/// The status to answer with; the cause is logged.
pub async fn find(
    request: &mut Request,
    names: &Names,
    host: &str,
    port: Option<u16>,
    default: Option<u16>,
    minds_client: bool,
) -> Result<Arc<Group>, u16> {
    if let Some(group) = configured(request, host, port, port.or(default)) {
        return Ok(group);
    }
    // Such groups keep no connections: their numbers and those of their peers are never used.
    let one = |address, port| Arc::new(Group::implied(host, port, vec![Peer::new(address, host, 0)]));
    if let Some(path) = host.strip_prefix("unix:") {
        return Ok(one(Address::Unix(path.into()), 0));
    }
    let Some(port) = port.or(default) else {
        log_error!(request, "no port in upstream \"{host}\"");
        return Err(500);
    };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => Ok(one(Address::Tcp((ip, port).into()), port)),
        // Boxed: what few requests do must not make every request's future larger.
        Err(_) => Box::pin(resolved(request, names, host, port, minds_client)).await,
    }
}

fn configured(request: &Request, host: &str, port: Option<u16>, wanted: Option<u16>) -> Option<Arc<Group>> {
    let groups = &request.generation.shared.upstreams;
    let same = |group: &&Arc<Group>| {
        let same_port = match group.port {
            None => port.is_none(),
            own => own == wanted,
        };
        same_port && group.name.eq_ignore_ascii_case(host)
    };
    groups.iter().find(same).cloned()
}

async fn resolved(
    request: &mut Request,
    names: &Names,
    host: &str,
    port: u16,
    minds_client: bool,
) -> Result<Arc<Group>, u16> {
    let Some(resolver) = &names.resolver else {
        log_error!(request, "no resolver defined to resolve {host}");
        return Err(502);
    };
    let thread = request.thread.clone();
    let mut found = pin!(resolver.look_up(&thread, host, Wanted::Addresses, names.timeout));
    let found = poll_fn(|cx| match found.as_mut().poll(cx) {
        Poll::Pending if minds_client => request.client.poll_closed(cx).map(|()| None),
        found => found.map(Some),
    });
    let known = match found.await {
        Some(Ok(known)) => known,
        Some(Err(why)) => {
            log_error!(request, "{host} could not be resolved ({why})");
            return Err(502);
        }
        None => {
            log_info!(request, "epoll_wait() reported that client prematurely closed connection");
            request.aborted = true;
            return Err(499);
        }
    };
    // Each request begins with another address.
    let first = crate::random::number() as usize % known.addresses.len().max(1);
    let (after, before) = known.addresses.split_at(first.min(known.addresses.len()));
    let peers = before.iter().chain(after).map(|ip| {
        let address = Address::Tcp(SocketAddr::new(*ip, port));
        Peer::new(address, host, 0)
    });
    Ok(Arc::new(Group::implied(host, port, peers.collect())))
}
