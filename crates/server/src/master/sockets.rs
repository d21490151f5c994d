//! Listening sockets: made once, kept over reloads, restarts and upgrades for as long as their address is listed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::log::{Errno, Level};
use crate::program::{Address, KeepAlive, Listen};

use super::voice::Voice;

/// nginx's.
const BACKLOG: i32 = 511;
/// How often an address in use is tried, and how long is waited in between; as nginx.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds for which the kernel keeps a silent connection to itself (`deferred`).
const DEFERRED: u32 = 1;

/// The sockets of one `listen`.
#[derive(Clone, Debug)]
pub struct Bound {
    /// As configured.
    pub listen: Listen,
    /// One, or one for each thread.
    pub sockets: Vec<Arc<OwnedFd>>,
}

/// How it was asked for.
pub struct Wish<'a> {
    /// What to listen on.
    pub listens: &'a [Listen],
    /// `worker_processes`: with `reuseport`, one socket each.
    pub threads: usize,
    /// Only to see whether it could be done: somebody else may be there.
    pub check: bool,
}

/// Opens what is not open yet. What `kept` has for an address that is wanted is taken over, whatever its number: a
/// socket that is closed loses the connections that wait in its queue.
///
/// # Errors
/// When an address cannot be had; everything opened here is closed, everything kept stays with its owner.
pub fn open(wish: &Wish<'_>, kept: &[Bound], voice: &Voice) -> Result<Vec<Bound>, String> {
    let mut all: Vec<Option<Bound>> = wish.listens.iter().map(|listen| adopt(listen, kept, voice)).collect();
    for attempt in 1..=TRIES {
        let mut again = false;
        for (listen, place) in wish.listens.iter().zip(&mut all) {
            match complete(listen, place, wish.threads) {
                Ok(()) => {}
                Err(Failure::InUse(_)) if wish.check => {}
                Err(Failure::InUse(text)) => {
                    voice.say(Level::Emerg, format_args!("{text}"));
                    again = true;
                }
                Err(Failure::Other(text)) => {
                    release(&made(&all, kept));
                    return Err(text);
                }
            }
        }
        if !again {
            return Ok(all.into_iter().flatten().collect());
        }
        if attempt < TRIES {
            voice.notice(format_args!("try again to bind() after {}ms", PAUSE.as_millis()));
            std::thread::sleep(PAUSE);
        }
    }
    release(&made(&all, kept));
    Err("still could not bind()".into())
}

/// Those of `all` whose address is not in `kept`.
fn made(all: &[Option<Bound>], kept: &[Bound]) -> Vec<Bound> {
    let all = all.iter().flatten();
    all.filter(|bound| !has(kept, &bound.listen.address)).cloned().collect()
}

/// Whether an address is among them.
pub fn has(all: &[Bound], address: &Address) -> bool {
    all.iter().any(|bound| bound.listen.address == *address)
}

/// Removes the paths of unix sockets that are given up.
pub fn release(given_up: &[Bound]) {
    for bound in given_up {
        if let Address::Unix(path) = &bound.listen.address {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// All sockets with their `listen`, as a Snapshot lists them.
pub fn listed(all: &[Bound]) -> (Vec<Listen>, Vec<Arc<OwnedFd>>) {
    all.iter().flat_map(|bound| bound.sockets.iter().map(|fd| (bound.listen.clone(), fd.clone()))).unzip()
}

/// Puts sockets that came one by one together by their address.
pub fn gathered(listens: Vec<Listen>, fds: Vec<OwnedFd>) -> Vec<Bound> {
    let mut all: Vec<Bound> = Vec::new();
    for (listen, fd) in listens.into_iter().zip(fds) {
        let fd = Arc::new(fd);
        match all.iter_mut().find(|bound| bound.listen.address == listen.address) {
            Some(bound) => bound.sockets.push(fd),
            None => all.push(Bound { listen, sockets: vec![fd] }),
        }
    }
    all
}

fn adopt(listen: &Listen, kept: &[Bound], voice: &Voice) -> Option<Bound> {
    let old = kept.iter().find(|bound| bound.listen.address == listen.address)?;
    let changed = old.listen != *listen;
    for fd in old.sockets.iter().filter(|_| changed) {
        if let Err(error) = readjust(fd, listen) {
            let address = &listen.address;
            voice.say(
                Level::Alert,
                format_args!("setsockopt() {address} failed, ignored ({})", Errno(&error)),
            );
        }
    }
    Some(Bound { listen: listen.clone(), ..old.clone() })
}

/// Options that may change while a socket listens.
fn readjust(fd: &OwnedFd, listen: &Listen) -> io::Result<()> {
    let socket = Socket::from(fd.try_clone()?);
    if listen.reuseport {
        socket.set_reuse_port(true)?;
    }
    adjust(&socket, listen)?;
    // A queue may be made longer or shorter at any time.
    socket.listen(listen.backlog.unwrap_or(BACKLOG))
}

enum Failure {
    InUse(String),
    Other(String),
}

/// Opens the sockets that are still missing.
fn complete(listen: &Listen, place: &mut Option<Bound>, threads: usize) -> Result<(), Failure> {
    let wanted = if listen.reuseport { threads.max(1) } else { 1 };
    let bound = place.get_or_insert_with(|| Bound { listen: listen.clone(), sockets: Vec::new() });
    while bound.sockets.len() < wanted {
        match make(listen) {
            Ok(socket) => bound.sockets.push(Arc::new(socket)),
            Err(failure) => {
                if bound.sockets.is_empty() {
                    *place = None;
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

fn make(listen: &Listen) -> Result<OwnedFd, Failure> {
    let address = &listen.address;
    let failed = |call: &str| {
        let call = call.to_owned();
        move |error: io::Error| Failure::Other(format!("{call} {address} failed ({})", Errno(&error)))
    };
    let (domain, target) = target(address).map_err(failed("bind() to"))?;
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, protocol).map_err(failed("socket()"))?;
    prepare(&socket, listen).map_err(failed("setsockopt()"))?;
    socket.bind(&target).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::InUse(format!("bind() to {address} failed ({})", Errno(&error))),
        _ => failed("bind() to")(error),
    })?;
    if let Address::Unix(path) = address {
        open_to_all(path).map_err(failed("chmod()"))?;
    }
    adjust(&socket, listen).map_err(failed("setsockopt()"))?;
    let backlog = listen.backlog.unwrap_or(BACKLOG);
    socket.listen(backlog).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Failure::InUse(format!("listen() to {address}, backlog {backlog} failed ({})", Errno(&error)))
        }
        _ => Failure::Other(format!("listen() to {address}, backlog {backlog} failed ({})", Errno(&error))),
    })?;
    Ok(socket.into())
}

fn target(address: &Address) -> io::Result<(Domain, SockAddr)> {
    match address {
        Address::Tcp(address) => Ok((Domain::for_address(*address), (*address).into())),
        Address::Unix(path) => Ok((Domain::UNIX, SockAddr::unix(path)?)),
    }
}

/// Whoever can reach the folder may connect, as with nginx.
fn open_to_all(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))
}

/// Options that must be set before an address is bound.
fn prepare(socket: &Socket, listen: &Listen) -> io::Result<()> {
    let Address::Tcp(address) = &listen.address else { return Ok(()) };
    socket.set_reuse_address(true)?;
    if listen.reuseport {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(listen.ipv6only.unwrap_or(true))?;
    }
    Ok(())
}

/// Options that accepted connections inherit.
fn adjust(socket: &Socket, listen: &Listen) -> io::Result<()> {
    if let Some(size) = listen.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = listen.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if matches!(listen.address, Address::Unix(_)) {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    if let Some(queue) = listen.fastopen {
        sys::net::set_fast_open(socket.as_fd(), queue)?;
    }
    sys::net::set_defer_accept(socket.as_fd(), if listen.deferred { DEFERRED } else { 0 })?;
    match listen.keepalive {
        Some(keepalive) => keep_alive(socket, keepalive),
        None => Ok(()),
    }
}

fn keep_alive(socket: &Socket, keepalive: KeepAlive) -> io::Result<()> {
    socket.set_keepalive(keepalive.on)?;
    let mut times = TcpKeepalive::new();
    let seconds = |s: u32| Duration::from_secs(s.into());
    if let Some(idle) = keepalive.idle {
        times = times.with_time(seconds(idle));
    }
    if let Some(interval) = keepalive.interval {
        times = times.with_interval(seconds(interval));
    }
    if let Some(count) = keepalive.count {
        times = times.with_retries(count);
    }
    socket.set_tcp_keepalive(&times)
}
