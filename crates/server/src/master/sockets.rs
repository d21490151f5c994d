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

/// Where the system does not say how long an accept queue may be: nginx's default.
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
            let beside = has(kept, &listen.address);
            match complete(listen, place, wish.threads, beside) {
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
    if old.listen.multipath != listen.multipath {
        return give_way(old, voice);
    }
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

/// A socket's protocol cannot be changed: another is made beside the old one, which lets it.
fn give_way(old: &Bound, voice: &Voice) -> Option<Bound> {
    for fd in &old.sockets {
        let shared = fd.try_clone().and_then(|fd| Socket::from(fd).set_reuse_port(true));
        if let Err(error) = shared {
            let address = &old.listen.address;
            voice.say(
                Level::Alert,
                format_args!("setsockopt(SO_REUSEPORT) {address} failed, ignored ({})", Errno(&error)),
            );
        }
    }
    None
}

/// Options that may change while a socket listens.
fn readjust(fd: &OwnedFd, listen: &Listen) -> io::Result<()> {
    let socket = Socket::from(fd.try_clone()?);
    if listen.reuseport {
        socket.set_reuse_port(true)?;
    }
    adjust(&socket, listen)?;
    // A queue may be made longer or shorter at any time.
    socket.listen(backlog(listen))
}

/// As written, else what the system allows: a longer queue costs nothing while it is empty.
fn backlog(listen: &Listen) -> i32 {
    let most = || sys::proc::somaxconn().and_then(|most| i32::try_from(most).ok());
    listen.backlog.or_else(most).unwrap_or(BACKLOG)
}

enum Failure {
    InUse(String),
    Other(String),
}

/// Opens the sockets that are still missing, `beside` others at their address or not.
fn complete(listen: &Listen, place: &mut Option<Bound>, threads: usize, beside: bool) -> Result<(), Failure> {
    let wanted = if listen.reuseport { threads.max(1) } else { 1 };
    let bound = place.get_or_insert_with(|| Bound { listen: listen.clone(), sockets: Vec::new() });
    while bound.sockets.len() < wanted {
        match make(listen, beside) {
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

fn make(listen: &Listen, beside: bool) -> Result<OwnedFd, Failure> {
    let address = &listen.address;
    let failed = |call: &str| {
        let call = call.to_owned();
        move |error: io::Error| Failure::Other(format!("{call} {address} failed ({})", Errno(&error)))
    };
    let (domain, target) = target(address).map_err(failed("bind() to"))?;
    let tcp = if listen.multipath { Protocol::MPTCP } else { Protocol::TCP };
    // A unix socket with several paths is refused by the kernel, as nginx lets it.
    let protocol = (domain != Domain::UNIX || listen.multipath).then_some(tcp);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, protocol).map_err(failed("socket()"))?;
    prepare(&socket, listen, beside).map_err(failed("setsockopt()"))?;
    socket.bind(&target).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::InUse(format!("bind() to {address} failed ({})", Errno(&error))),
        _ => failed("bind() to")(error),
    })?;
    if let Address::Unix(path) = address {
        open_to_all(path).map_err(failed("chmod()"))?;
    }
    adjust(&socket, listen).map_err(failed("setsockopt()"))?;
    let backlog = backlog(listen);
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
fn prepare(socket: &Socket, listen: &Listen, beside: bool) -> io::Result<()> {
    let Address::Tcp(address) = &listen.address else { return Ok(()) };
    socket.set_reuse_address(true)?;
    if listen.reuseport || beside {
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
    if !keepalive.on {
        // To set times would turn it on.
        return socket.set_keepalive(false);
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::{SocketAddr, TcpListener};
    use std::path::PathBuf;

    fn listen(address: SocketAddr) -> Listen {
        Listen::new(Address::Tcp(address))
    }
    /// An address that was free a moment ago.
    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }
    fn unix() -> (PathBuf, Listen) {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("plimsoll-sockets-{}-{number}", std::process::id()));
        (path.clone(), Listen::new(Address::Unix(path)))
    }
    fn opened(listens: &[Listen], threads: usize, kept: &[Bound]) -> Result<Vec<Bound>, String> {
        open(&Wish { listens, threads, check: false }, kept, &Voice::mute())
    }

    #[test]
    fn what_is_listed_again_is_the_same_socket() {
        let (first, second) = (listen(free()), listen(free()));
        let before = opened(&[first.clone(), second.clone()], 2, &[]).unwrap();
        let changed = Listen { backlog: Some(9), deferred: true, ..second };
        let after = opened(std::slice::from_ref(&changed), 2, &before).unwrap();
        assert!(Arc::ptr_eq(&after[0].sockets[0], &before[1].sockets[0]));
        assert_eq!((after.len(), &after[0].listen), (1, &changed));
        assert!(!has(&after, &first.address));
    }

    #[test]
    fn reuseport_is_one_socket_a_thread_and_none_is_given_up() {
        let plain = listen(free());
        let shared = Listen { reuseport: true, ..plain.clone() };
        let one = opened(std::slice::from_ref(&plain), 4, &[]).unwrap();
        let four = opened(std::slice::from_ref(&shared), 4, &one).unwrap();
        assert_eq!((one[0].sockets.len(), four[0].sockets.len()), (1, 4));
        assert!(Arc::ptr_eq(&one[0].sockets[0], &four[0].sockets[0]));
        assert_eq!(opened(&[shared], 2, &four).unwrap()[0].sockets.len(), 4);
        assert_eq!(opened(&[plain], 2, &four).unwrap()[0].sockets.len(), 4);
        let (listens, fds) = listed(&four);
        assert_eq!((listens.len(), fds.len()), (4, 4));
        let fds = fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
        assert_eq!(gathered(listens, fds)[0].sockets.len(), 4);
    }

    #[test]
    fn an_address_in_use_is_tried_again_then_given_up() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (path, unix) = unix();
        let wanted = [unix, listen(taken.local_addr().unwrap())];
        let began = std::time::Instant::now();
        assert_eq!(opened(&wanted, 1, &[]).unwrap_err(), "still could not bind()");
        assert!(began.elapsed() >= PAUSE * (TRIES - 1));
        assert!(!path.exists(), "nothing is left of an attempt");
        let check = Wish { listens: &wanted, threads: 1, check: true };
        let bound = open(&check, &[], &Voice::mute()).unwrap();
        assert_eq!(bound.len(), 1, "a check does not mind who is there");
        release(&bound);
        assert!(!path.exists());
    }

    #[test]
    fn an_address_that_is_not_here_is_refused_at_once() {
        let error = opened(&[listen("192.0.2.1:8080".parse().unwrap())], 1, &[]).unwrap_err();
        assert_eq!(error, "bind() to 192.0.2.1:8080 failed (99: Cannot assign requested address)");
    }

    #[test]
    fn everyone_may_connect_to_a_unix_socket() {
        let (path, unix) = unix();
        let bound = opened(&[unix], 1, &[]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        release(&bound);
        assert!(!path.exists());
    }

    #[test]
    fn both_families_share_a_port() {
        let port = free().port();
        let any = |address: &str| listen(SocketAddr::new(address.parse().unwrap(), port));
        if let Ok(bound) = opened(&[any("0.0.0.0"), any("::")], 1, &[]) {
            assert_eq!(bound.len(), 2);
        } else {
            eprintln!("SKIPPED: there is no IPv6 here");
        }
    }

    #[test]
    fn options_are_set() {
        let wanted = Listen {
            rcvbuf: Some(65536),
            sndbuf: Some(65536),
            fastopen: Some(5),
            deferred: true,
            keepalive: Some(KeepAlive { on: true, idle: Some(30), interval: Some(5), count: Some(4) }),
            ..listen(free())
        };
        let bound = opened(&[wanted], 1, &[]).unwrap();
        let socket = Socket::from(bound[0].sockets[0].try_clone().unwrap());
        assert!(
            socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap()
        );
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 65536, "the kernel doubles it");
    }
}
