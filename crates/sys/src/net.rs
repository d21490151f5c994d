//! Sockets: accepting with the peer's address.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, acceptfrom_with};

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Over IPv4.
    V4(SocketAddrV4),
    /// Over IPv6. An IPv4 client of a dual-stack socket is here, as `::ffff:a.b.c.d`.
    V6(SocketAddrV6),
    /// Over a unix socket; nginx prints such clients as `unix:`.
    Unix,
}

impl Peer {
    /// The address, if the peer has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address().map(|a| a.ip())
    }

    /// Address and port, if the peer has them.
    pub fn address(&self) -> Option<SocketAddr> {
        match *self {
            Peer::V4(address) => Some(address.into()),
            Peer::V6(address) => Some(address.into()),
            Peer::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Peer::V4(address),
            SocketAddr::V6(address) => Peer::V6(address),
        }
    }
}

fn peer(address: Option<SocketAddrAny>) -> Peer {
    let inet = address.filter(|a| matches!(a.address_family(), AddressFamily::INET | AddressFamily::INET6));
    // What has no internet address is a unix socket, usually unnamed.
    inet.and_then(|a| SocketAddr::try_from(a).ok()).map_or(Peer::Unix, Peer::from)
}

/// accept4(2): the connection, nonblocking and closed on exec, and who it is.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Peer)> {
    let (fd, address) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    Ok((fd, peer(address)))
}
