//! New connections to upstream servers.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use sys::net::Connect;

use super::overload::AcceptQueue;
use super::pool::Link;
use super::slot::Peer;
use crate::connection::Socket;
use crate::program::Address;
use crate::worker::Seat;
use crate::worker::ledger::{Class, Line};
use crate::worker::thread::Thread;

/// Why there is no connection.
#[derive(Debug)]
pub enum NoLink {
    /// The process has no place left for one more connection (`worker_connections`).
    Full,
    /// No descriptor is left for a socket.
    NoDescriptor(io::Error),
    /// The address that it was to come from cannot be taken.
    Unbound(Box<(std::net::SocketAddr, io::Error)>),
    /// `connect()` failed at once.
    Refused(io::Error),
    /// The server's accept queue is full; how full, if the kernel told.
    Overloaded(io::Error, Option<AcceptQueue>),
    /// It failed later, or timed out.
    Failed(io::Error),
}

/// How a socket is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `proxy_socket_keepalive`
    pub keepalive: bool,
    /// Whether the connection will serve more than one request.
    pub lasting: bool,
    /// `proxy_socket_rcvbuf`
    pub receive_buffer: Option<usize>,
    /// `proxy_socket_sndbuf`
    pub send_buffer: Option<usize>,
    /// `proxy_bind`
    pub local: Option<std::net::SocketAddr>,
    /// That address need not be this machine's own.
    pub transparent: bool,
}

/// Begins a connection, which takes the seat; it stands when [`finish`] says so.
///
/// # Errors
/// Where no socket could be made, or `connect()` failed at once.
pub fn begin(
    thread: &Rc<Thread>,
    peer: &Peer,
    options: Options,
    seat: &mut Option<Seat>,
) -> Result<(Link, bool), NoLink> {
    let tcp = matches!(peer.address, Address::Tcp(_));
    let mut unbound = None;
    let (fd, state) = match &peer.address {
        Address::Tcp(address) => {
            let local = options.local.filter(|local| local.is_ipv4() == address.is_ipv4());
            let prepare = |fd: &OwnedFd| {
                options.receive_buffer.map_or(Ok(()), |bytes| sys::net::set_receive_buffer(fd, bytes))?;
                options.send_buffer.map_or(Ok(()), |bytes| sys::net::set_send_buffer(fd, bytes))?;
                let Some(local) = local else { return Ok(()) };
                if options.transparent {
                    sys::net::set_transparent(fd)?;
                }
                sys::net::bind(fd, local).inspect_err(|_| unbound = Some(local))
            };
            sys::net::connect_prepared(*address, prepare)
        }
        Address::Unix(path) => sys::net::connect_unix(path),
    }
    .map_err(|error| match unbound {
        Some(local) => NoLink::Unbound(Box::new((local, error))),
        None => NoLink::Refused(error),
    })?;
    if options.keepalive && tcp {
        // Without probes the connection works as well.
        let _ = sys::net::set_keepalive(&fd, true);
    }
    let nodelay = !tcp || (options.lasting && sys::net::set_nodelay(&fd, true).is_ok());
    let stands = state == Connect::Done;
    let socket = match stands {
        true => Socket::new(&thread.handle, fd),
        false => Socket::connecting(&thread.handle, fd),
    }
    .map_err(NoLink::Refused)?;
    let (seat, opened) = (seat.take(), thread.handle.now());
    let line = Line::new(Class::Upstream);
    Ok((Link { socket, seat, requests: 0, opened, reused: false, nodelay, line, tls: None }, stands))
}

/// Once the socket is writable: whether the connection stands.
///
/// # Errors
/// What the kernel says, e.g. connection refused.
pub fn finish(link: &Link) -> Result<(), NoLink> {
    sys::net::take_error(link.socket.fd()).map_err(NoLink::Failed)
}

/// A connection beside all requests, such as a health check's: it stands, or fails, within the time that all that is done
/// with it may take.
///
/// # Errors
/// See [`NoLink`].
pub async fn open(thread: &Rc<Thread>, peer: &Peer, timeout: Duration) -> Result<Link, NoLink> {
    let mut place = Some(seat(thread).ok_or(NoLink::Full)?);
    let (link, stands) = begin(thread, peer, Options::default(), &mut place)?;
    link.socket.set_deadline(Some(thread.handle.now() + timeout));
    if !stands {
        link.socket.writable().await.map_err(NoLink::Failed)?;
        finish(&link)?;
    }
    Ok(link)
}

/// A place for one more connection; those at rest give way.
pub fn seat(thread: &Rc<Thread>) -> Option<Seat> {
    loop {
        if let Some(seat) = thread.bank.upstream() {
            return Some(seat);
        }
        if !thread.upstreams.evict() {
            return None;
        }
    }
}
