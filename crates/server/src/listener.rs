//! A listening socket, as requests meet it: which servers stand behind it, and how its connections begin.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use reactor::Peer;

use crate::connection::{Rest, Socket};
use crate::http::router::{Names, ServerId};
use crate::worker::thread::Thread;
use crate::worker::{Kind, Seat};

/// One listening socket of a generation.
pub struct Listener {
    /// Its address as configured.
    pub address: crate::program::Address,
    /// Its connections begin with a TLS handshake.
    pub ssl: bool,
    /// All its servers speak HTTP/2 (`listen .. http2`).
    pub http2: bool,
    /// Its connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The kernel reports a connection only with its first bytes (`deferred`).
    pub deferred: bool,
    /// Its connections have seats beside the pool (`capacity_reserve`).
    pub reserve: bool,
    /// Its servers differ in how heads are to be read: what follows the host's name goes by its server.
    pub heads_differ: bool,
    /// The most seats that a request behind it needs upstream.
    pub need: u8,
    /// The servers behind it, by number.
    pub servers: Vec<usize>,
    /// The server that answers where no name matches.
    pub default_server: ServerId,
    /// The servers by name. A wildcard socket also serves the configured addresses of its port: each has its own names.
    pub names: Vec<AddressNames>,
}

/// The servers at one of the addresses that a socket serves.
pub struct AddressNames {
    /// The address; `None` for the socket's own.
    pub ip: Option<IpAddr>,
    /// The server that answers where no name matches.
    pub default_server: ServerId,
    /// Servers by name.
    pub names: Names,
    /// Whether `names` need not be asked: there is one server.
    pub single: bool,
}

impl Listener {
    /// Whether every request is for the default server.
    pub fn only_one_server(&self) -> bool {
        matches!(&*self.names, [one] if one.single)
    }
    /// The servers at the address a connection came to.
    pub fn names_for(&self, local: Option<IpAddr>) -> &AddressNames {
        let own = || self.names.iter().find(|n| n.ip.is_none());
        let matching = self.names.iter().find(|n| n.ip.is_some() && n.ip == local);
        matching.or_else(own).unwrap_or(&self.names[0])
    }
    /// Whether connections have to be asked for their local address to find the server.
    pub fn needs_local_address(&self) -> bool {
        self.names.len() > 1
    }
}

/// A connection has its seat: it rests until its first byte, or is served at once if that is there.
pub fn enter(thread: &Rc<Thread>, tag: u32, fd: OwnedFd, peer: Peer, seat: Seat) {
    let process = &thread.process;
    let handle = &thread.handle;
    let id = process.next_connection();
    let refused = seat.kind() == Kind::Refused;
    let Some(generation) = thread.generation_at(tag) else { return };
    let Some(listener) = generation.shared.find_listener(tag) else { return };
    let core = &generation.shared.default_plan(tag).core;
    let socket = match Socket::new(handle, fd) {
        Ok(socket) => socket,
        Err(error) => {
            return thread
                .log_alert(format_args!("*{id} epoll_ctl() failed ({})", crate::log::Errno(&error)));
        }
    };
    if !refused {
        process.handled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    let now = handle.now();
    let seat = seat.through(thread, tag);
    let (requests, kept) = (0, 0);
    let rest = Rest { peer, listener: tag, id, requests, opened: now, kept, tls: None, proxied: None, seat };
    socket.set_deadline(Some(now + core.client_header.timeout));
    if listener.deferred || refused {
        handle.serve(socket, rest);
    } else {
        handle.rest(socket, rest);
    }
}
