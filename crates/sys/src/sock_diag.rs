//! The kernel's list of sockets (netlink's sock_diag): queues of listening sockets, states of connections.
//!
//! Read-only and open to every user, but for sockets of other network namespaces, which it does not list. Hundreds of
//! thousands of connections are nothing unusual, so nothing is collected: each is handed to the caller.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// What a TCP connection is doing; the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Open.
    Established = 1,
    /// Connecting.
    SynSent = 2,
    /// Being connected to.
    SynReceived = 3,
    /// Closed here, not yet heard of there.
    FinWait1 = 4,
    /// Closed here, not yet there.
    FinWait2 = 5,
    /// Over; its port rests.
    TimeWait = 6,
    /// No connection.
    Closed = 7,
    /// Closed there, not yet here.
    CloseWait = 8,
    /// Closed on both sides, the last acknowledgement missing.
    LastAck = 9,
    /// A listening socket.
    Listen = 10,
    /// Closed on both sides at once.
    Closing = 11,
}

impl State {
    const ALL: [State; 11] = [
        State::Established,
        State::SynSent,
        State::SynReceived,
        State::FinWait1,
        State::FinWait2,
        State::TimeWait,
        State::Closed,
        State::CloseWait,
        State::LastAck,
        State::Listen,
        State::Closing,
    ];

    fn of(number: u8) -> Option<State> {
        // The kernel tells a connection request apart (12) that to everybody else is SYN_RECV.
        let number = if number == 12 { State::SynReceived as u8 } else { number };
        State::ALL.into_iter().find(|state| *state as u8 == number)
    }
}

/// Which states are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every one.
    pub const ALL: States = States(0xfff << 1);
    /// Listening sockets.
    pub const LISTENING: States = States(1 << State::Listen as u32);
    /// All but listening sockets.
    pub const CONNECTIONS: States = States(States::ALL.0 & !States::LISTENING.0);
}

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// What it is doing.
    pub state: State,
    /// Our side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// Bytes not read yet; for a listening socket, connections waiting to be accepted.
    pub receive: u32,
    /// Bytes not acknowledged yet; for a listening socket, how many connections may wait.
    pub send: u32,
    /// As in /proc/PID/fd; 0 for what no process holds.
    pub inode: u32,
    /// For a listening socket, connections that the kernel dropped because there was no room.
    pub drops: u32,
}

/// A stream socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unix {
    /// The name it is bound to, or empty; `@` begins an abstract one.
    pub path: String,
    /// Whether it is a listening socket.
    pub listening: bool,
    /// For a listening socket, connections waiting to be accepted.
    pub receive: u32,
    /// For a listening socket, how many connections may wait.
    pub send: u32,
    /// As in /proc/PID/fd.
    pub inode: u32,
    /// The inode of the socket it is connected to; 0 if there is none, or if nobody has accepted it yet.
    pub peer: u32,
    /// For a listening socket, the inodes of those that wait to be accepted.
    pub waiting: Vec<u32>,
}

/// Lists the TCP sockets of this network namespace, of both families.
pub fn tcp(states: States, mut each: impl FnMut(Tcp)) -> io::Result<()> {
    for family in [AF_INET, AF_INET6] {
        let mut request = vec![family, IPPROTO_TCP, 1 << (MEMORY - 1), 0];
        request.extend(states.0.to_ne_bytes());
        request.resize(56, 0);
        dump(&request, &mut |datagram| tcp_in(datagram, &mut each))?;
    }
    Ok(())
}

/// The TCP sockets in one datagram of an answer. True: it was the last.
///
/// # Errors
/// What the kernel refuses, and what is no answer.
pub fn tcp_in(datagram: &[u8], mut each: impl FnMut(Tcp)) -> io::Result<bool> {
    messages(datagram, &mut |body| tcp_of(body).into_iter().for_each(&mut each))
}

/// Lists the stream sockets of this machine (in this network namespace).
pub fn unix(states: States, mut each: impl FnMut(Unix)) -> io::Result<()> {
    const NAME: u32 = 1;
    const PEER: u32 = 4;
    const WAITING: u32 = 8;
    const QUEUES: u32 = 16;
    let mut request = vec![AF_UNIX, 0, 0, 0];
    request.extend(states.0.to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    request.extend((NAME | PEER | WAITING | QUEUES).to_ne_bytes());
    request.resize(24, 0);
    dump(&request, &mut |datagram| unix_in(datagram, &mut each))
}

/// The stream sockets in one datagram of an answer. True: it was the last.
///
/// # Errors
/// What the kernel refuses, and what is no answer.
pub fn unix_in(datagram: &[u8], mut each: impl FnMut(Unix)) -> io::Result<bool> {
    messages(datagram, &mut |body| unix_of(body).into_iter().for_each(&mut each))
}

const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// The attribute with a socket's use of memory, and its drops.
const MEMORY: u16 = 7;
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;

/// Asks, and hands over each datagram of the answer until `read` says that it was the last.
fn dump(request: &[u8], read: &mut dyn FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
    let socket = ask(request)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (got, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        if read(&buffer[..got])? {
            return Ok(());
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn ask(request: &[u8]) -> io::Result<OwnedFd> {
    const REQUEST_DUMP: u16 = 0x301;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let mut message = ((HEADER + request.len()) as u32).to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend(request);
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(socket.as_fd(), &message, SendFlags::empty(), &kernel)?;
    Ok(socket)
}

/// Goes through the messages of one datagram. True at the end of the list.
fn messages(mut datagram: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let length = length as usize;
        let Some(body) = datagram.get(HEADER..length) else { return Err(io::ErrorKind::InvalidData.into()) };
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let number = u32_at(body, 0).map_or(0, |n| (n as i32).saturating_neg());
                return Err(io::Error::from_raw_os_error(number));
            }
            BY_FAMILY => each(body),
            _ => {}
        }
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn tcp_of(body: &[u8]) -> Option<Tcp> {
    let family = *body.first()?;
    let address = |ip: usize, port: usize| -> Option<SocketAddr> {
        let bytes: [u8; 16] = body.get(ip..ip + 16)?.try_into().ok()?;
        let ip = match family {
            AF_INET => IpAddr::from(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
            AF_INET6 => IpAddr::from(Ipv6Addr::from(bytes)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_be(u16_at(body, port)?)))
    };
    Some(Tcp {
        state: State::of(*body.get(1)?)?,
        local: address(8, 4)?,
        remote: address(24, 6)?,
        receive: u32_at(body, 56)?,
        send: u32_at(body, 60)?,
        inode: u32_at(body, 68)?,
        drops: drops(body.get(72..).unwrap_or_default()).unwrap_or(0),
    })
}

/// The ninth number of the memory attribute.
fn drops(body: &[u8]) -> Option<u32> {
    let (_, memory) = attributes(body).find(|(kind, _)| *kind == MEMORY)?;
    u32_at(memory, 8 * 4)
}

fn unix_of(body: &[u8]) -> Option<Unix> {
    const STREAM: u8 = 1;
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const WAITING: u16 = 3;
    const QUEUES: u16 = 4;
    if body.get(..2)? != [AF_UNIX, STREAM] {
        return None;
    }
    let listening = *body.get(2)? == State::Listen as u8;
    let inode = u32_at(body, 4)?;
    let mut socket =
        Unix { path: String::new(), listening, receive: 0, send: 0, inode, peer: 0, waiting: Vec::new() };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            NAME => socket.path = name(value),
            PEER => socket.peer = u32_at(value, 0)?,
            WAITING => socket.waiting = value.chunks_exact(4).filter_map(|inode| u32_at(inode, 0)).collect(),
            QUEUES => (socket.receive, socket.send) = (u32_at(value, 0)?, u32_at(value, 4)?),
            _ => {}
        }
    }
    Some(socket)
}

/// What follows a message's fixed part: kinds and values.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Names in the file system end with a zero byte, abstract ones begin with one.
fn name(bytes: &[u8]) -> String {
    match bytes {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        [name @ .., 0] | name => String::from_utf8_lossy(name).into_owned(),
    }
}

fn aligned(length: usize) -> usize {
    // A message shorter than its own header would never end.
    length.max(4).next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_listening_socket_shows_who_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 7).unwrap();
        let address = listener.local_addr().unwrap();
        let _waiting = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let mut found = Vec::new();
        tcp(States::LISTENING, |socket| found.extend((socket.local == address).then_some(socket))).unwrap();
        assert_eq!(
            found.iter().map(|s| (s.state, s.receive, s.send)).collect::<Vec<_>>(),
            [(State::Listen, 2, 7)]
        );
        assert_eq!(found[0].drops, 0);
        let mut connected = 0;
        tcp(States::CONNECTIONS, |s| {
            connected += usize::from(s.remote == address && s.state == State::Established)
        })
        .unwrap();
        assert_eq!(connected, 2);
    }

    #[test]
    fn a_full_queue_shows_what_was_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || crate::net::connect(address).unwrap();
        let dropped = || {
            let mut drops = 0;
            tcp(States::LISTENING, |socket| drops += if socket.local == address { socket.drops } else { 0 })
                .unwrap();
            drops
        };
        let mut all = Vec::new();
        for _ in 0..64 {
            all.push(connect());
        }
        assert!(dropped() > 0);
    }

    #[test]
    fn a_unix_socket_shows_who_waits() {
        let path = std::env::temp_dir().join(format!("sys-diag-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 5).unwrap();
        let _waiting = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        let (_accepted, _) = listener.accept().unwrap();
        let mut found = Vec::new();
        unix(States::LISTENING, |socket| {
            found.extend((socket.path == path.to_str().unwrap()).then_some(socket))
        })
        .unwrap();
        let mut named = Vec::new();
        unix(States::CONNECTIONS, |socket| {
            named.extend((socket.path == path.to_str().unwrap()).then_some(socket))
        })
        .unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(named.iter().filter(|socket| socket.inode != 0 && socket.peer != 0).count(), 1);
        assert!(found[0].waiting.len() == 1 && found[0].waiting[0] != 0);
        assert_eq!(
            found.iter().map(|s| (s.listening, s.receive, s.send)).collect::<Vec<_>>(),
            [(true, 1, 5)]
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u16..24) {
            let mut seen = 0;
            let _ = messages(&bytes, &mut |_| seen += 1);
            let mut message = ((bytes.len() + HEADER) as u32).to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.resize(HEADER, 0);
            message.extend(&bytes);
            let _ = messages(&message, &mut |body| { let _ = (tcp_of(body), unix_of(body)); });
            prop_assert!(seen <= bytes.len());
        }
    }
}
