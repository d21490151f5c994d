//! Sockets: accepting with the peer's address, connecting, options.
//!
//! The setters are rustix's under names that say what they do, with `std::io::Error`.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, sockopt,
};

use crate::unsafe_calls::{set_int, tcp_info};

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

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// accept4(2): the connection, nonblocking and closed on exec, and who it is.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Peer)> {
    let (fd, address) = acceptfrom_with(listener, FLAGS)?;
    Ok((fd, peer(address)))
}

/// How far a connect has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// The connection stands.
    Done,
    /// When the socket is writable, [`take_error`] says whether it stands.
    UnderWay,
}

/// Begins a TCP connection from a new socket, nonblocking and closed on exec.
pub fn connect(address: SocketAddr) -> io::Result<(OwnedFd, Connect)> {
    connect_prepared(address, |_| Ok(()))
}

/// Has a connection come from a local address (`proxy_bind`); port 0 lets the kernel choose when connecting.
pub fn bind(fd: &OwnedFd, local: SocketAddr) -> io::Result<()> {
    if local.port() == 0 {
        // The port is chosen when connecting: many connections to many servers can then share one.
        let _ = set_int(fd.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
    }
    Ok(rustix::net::bind(fd, &local)?)
}

/// As [`connect`], from a socket that is set up first.
pub fn connect_prepared(
    address: SocketAddr,
    prepare: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<(OwnedFd, Connect)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    prepare(&fd)?;
    let state = begun(rustix::net::connect(&fd, &address))?;
    Ok((fd, state))
}

/// Begins a connection to a unix socket. `WouldBlock` means that its accept queue is full; nothing will tell when it
/// is not.
pub fn connect_unix(path: &Path) -> io::Result<(OwnedFd, Connect)> {
    let address = SocketAddrUnix::new(path)?;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    let state = begun(rustix::net::connect(&fd, &address))?;
    Ok((fd, state))
}

fn begun(outcome: rustix::io::Result<()>) -> io::Result<Connect> {
    match outcome {
        Ok(()) => Ok(Connect::Done),
        // An interrupted connect goes on as if it had been nonblocking.
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Connect::UnderWay),
        Err(error) => Err(error.into()),
    }
}

/// The error the socket is in (SO_ERROR), which is cleared: the outcome of a connect that was under way.
pub fn take_error(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(fd)??)
}

/// sendfile(2) from `offset`, which moves on. 0: the end of the file.
pub fn sendfile(to: impl AsFd, file: BorrowedFd<'_>, offset: &mut u64, count: usize) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(to, file, Some(offset), count)?)
}

/// Whether bytes wait to be read, without taking them.
pub fn has_bytes(fd: impl AsFd) -> bool {
    use rustix::net::RecvFlags;
    let outcome = rustix::net::recv(fd, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(outcome, Ok((1.., _)))
}

/// Where the socket is bound; `None` for a unix socket.
pub fn local_address(fd: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(peer(Some(rustix::net::getsockname(fd)?)).address())
}

/// TCP_NODELAY: small writes are sent at once. Accepted sockets inherit it from the listener.
pub fn set_nodelay(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(fd, on)?)
}

/// TCP_CORK, nginx's `tcp_nopush`: only full packets are sent until it is switched off.
pub fn set_cork(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_cork(fd, on)?)
}

/// SO_REUSEADDR.
pub fn set_reuse_address(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(fd, on)?)
}

/// IP_TRANSPARENT: it may be bound to an address that is not this machine's (needs CAP_NET_ADMIN or CAP_NET_RAW).
pub fn set_transparent(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    let socket = socket2::SockRef::from(&fd);
    socket.set_ip_transparent_v4(true).or_else(|_| socket.set_ip_transparent_v6(true))
}

/// SO_REUSEPORT: `listen .. reuseport`.
pub fn set_reuse_port(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(fd, on)?)
}

/// IPV6_V6ONLY: `listen .. ipv6only`.
pub fn set_ipv6_only(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(fd, on)?)
}

/// SO_RCVBUF in bytes: `listen .. rcvbuf`.
pub fn set_receive_buffer(fd: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, bytes)?)
}

/// SO_SNDBUF in bytes: `listen .. sndbuf`.
pub fn set_send_buffer(fd: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, bytes)?)
}

/// SO_LINGER with zero: closing resets the connection, nothing more is sent (`reset_timedout_connection`).
pub fn set_reset_on_close(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
}

/// `so_keepalive=idle:interval:count`; what is `None` is left to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    /// TCP_KEEPIDLE: before the first probe; whole seconds.
    pub idle: Option<Duration>,
    /// TCP_KEEPINTVL: between probes; whole seconds.
    pub interval: Option<Duration>,
    /// TCP_KEEPCNT: probes that may stay unanswered.
    pub count: Option<u32>,
}

/// SO_KEEPALIVE on or off.
pub fn set_keepalive(fd: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_keepalive(fd, on)?)
}

/// SO_KEEPALIVE with its times.
pub fn set_keepalive_times(fd: impl AsFd, times: KeepAlive) -> io::Result<()> {
    let fd = fd.as_fd();
    set_keepalive(fd, true)?;
    times.idle.map_or(Ok(()), |t| sockopt::set_tcp_keepidle(fd, t))?;
    times.interval.map_or(Ok(()), |t| sockopt::set_tcp_keepintvl(fd, t))?;
    Ok(times.count.map_or(Ok(()), |n| sockopt::set_tcp_keepcnt(fd, n))?)
}

/// TCP_DEFER_ACCEPT: a connection is reported only when its first bytes are there, or after `seconds`; 0 switches it
/// off (`listen .. deferred`; nginx sets 1).
pub fn set_defer_accept(listener: impl AsFd, seconds: u32) -> io::Result<()> {
    set_int(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, int(seconds))
}

/// TCP_FASTOPEN: how many connections may wait that sent data in their SYN; 0 switches it off (`listen .. fastopen`).
pub fn set_fast_open(listener: impl AsFd, queue: u32) -> io::Result<()> {
    set_int(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, int(queue))
}

/// What the kernel knows of a TCP connection; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// The smoothed round-trip time.
    pub round_trip: u32,
    /// Its variance.
    pub variance: u32,
    /// The congestion window, in segments.
    pub congestion_window: u32,
    /// The room for what is received, in bytes.
    pub receive_space: u32,
    /// How long ago the peer acknowledged something, its part in the connection's beginning included.
    pub heard: Duration,
}

/// Reads what the kernel knows of a TCP connection.
///
/// # Errors
/// It is none.
pub fn tcp_information(fd: impl AsFd) -> io::Result<TcpInfo> {
    let info = tcp_info(fd.as_fd())?;
    Ok(TcpInfo {
        round_trip: info.tcpi_rtt,
        variance: info.tcpi_rttvar,
        congestion_window: info.tcpi_snd_cwnd,
        receive_space: info.tcpi_rcv_space,
        heard: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn wait_writable(fd: &OwnedFd) {
        let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::OUT)];
        rustix::event::poll(&mut fds, None).unwrap();
    }

    #[test]
    fn accept_tells_the_peer() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let (client, _) = connect(listener.local_addr().unwrap()).unwrap();
            let (_, peer) = accept(&listener).unwrap();
            assert_eq!(peer.address(), local_address(&client).unwrap());
            assert_eq!(matches!(peer, Peer::V6(_)), host.starts_with('['));
        }
    }

    #[test]
    fn a_unix_peer_has_no_address() {
        let path = std::env::temp_dir().join(format!("sys-net-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let (client, state) = connect_unix(&path).unwrap();
        assert_eq!(state, Connect::Done);
        let (server, peer) = accept(&listener).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((peer, peer.ip()), (Peer::Unix, None));
        drop(server);
        assert_eq!(std::os::unix::net::UnixStream::from(client).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_refused_connect_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = match connect(address) {
            Ok((fd, _)) => {
                wait_writable(&fd);
                take_error(&fd).unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_connect_may_have_a_local_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = "127.0.0.3:0".parse().unwrap();
        let (fd, _) = connect_prepared(listener.local_addr().unwrap(), |fd| bind(fd, local)).unwrap();
        wait_writable(&fd);
        take_error(&fd).unwrap();
        assert_eq!(accept(&listener).unwrap().1.ip(), Some(local.ip()));
    }

    #[test]
    fn a_deferred_listener_reports_only_those_who_spoke() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        set_defer_accept(&listener, 60).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"x").unwrap();
        let fd = accept(&listener).map(|(fd, _)| fd).unwrap();
        assert_eq!(rustix::io::read(&fd, &mut [0; 4]).unwrap(), 1);
    }

    #[test]
    fn options_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_fast_open(&listener, 5).unwrap();
        set_nodelay(&listener, true).unwrap();
        assert!(sockopt::tcp_nodelay(&listener).unwrap());
        let times = KeepAlive { idle: Some(Duration::from_secs(40)), interval: None, count: Some(3) };
        set_keepalive_times(&listener, times).unwrap();
        assert_eq!(sockopt::tcp_keepidle(&listener).unwrap(), Duration::from_secs(40));
        assert_eq!(sockopt::tcp_keepcnt(&listener).unwrap(), 3);
        set_reset_on_close(&listener).unwrap();
        assert_eq!(sockopt::socket_linger(&listener).unwrap(), Some(Duration::ZERO));
    }

    #[test]
    fn no_option_on_what_is_no_socket() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(set_defer_accept(&file, 1).is_err());
    }
}
