//! The group of servers that a host and port stand for.

use std::sync::Arc;

use crate::upstream::{Group, Peer, key, resolve};
use crate::worker::generation::Compiler;

/// A host with a port, as a URL or an address has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// A name, an address, or `unix:path`.
    pub host: &'a str,
    /// The port, if written.
    pub port: Option<u16>,
    /// The port of the protocol, if it has one.
    pub default: Option<u16>,
}

/// Finds the group of this name, or makes one of the host's addresses.
///
/// # Errors
/// nginx's words.
pub fn group(server: Server<'_>, with: &mut Compiler<'_>) -> Result<Arc<Group>, String> {
    let Server { host, port, default } = server;
    let is_path = host.starts_with("unix:");
    let wanted = port.or(default).or(is_path.then_some(0));
    let same_name = |group: &&Arc<Group>| group.name.eq_ignore_ascii_case(host);
    for group in with.upstreams.iter().filter(same_name) {
        match (group.port, port) {
            (None, Some(port)) => return Err(format!("upstream \"{host}\" may not have port {port}")),
            (None, None) => return Ok(group.clone()),
            (own, _) if own == wanted => return Ok(group.clone()),
            _ => {}
        }
    }
    let Some(wanted) = wanted else { return Err(format!("no port in upstream \"{host}\"")) };
    let server = if is_path { host.to_string() } else { format!("{host}:{wanted}") };
    let found =
        resolve(with.inputs, &server, wanted).map_err(|what| format!("{what} in upstream \"{host}\""))?;
    let peer = |address| {
        let key = key(&address);
        Peer::new(address, host, key)
    };
    let group = Arc::new(Group::implied(host, wanted, found.into_iter().map(peer).collect()));
    with.upstreams.push(group.clone());
    Ok(group)
}
