//! A scriptable upstream server: threads, no HTTP library, every byte as the script says.

use crate::gate::Gate;
use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use socket2::Socket;
use tempfile::TempDir;

use crate::gate::{eventually, within};
use crate::message::Request;
use crate::wire::Wire;

/// An upstream server on loopback or a unix socket. Dropping it closes everything it has open.
pub struct Origin {
    address: String,
    port: u16,
    door: Socket,
    shared: Arc<Shared>,
    /// Ends with the threads of all connections; false if one of them panicked.
    acceptor: Option<JoinHandle<bool>>,
    _dir: Option<TempDir>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stopping: AtomicBool,
    /// Second handles on the connections that are open, by number.
    wires: Mutex<HashMap<usize, Wire>>,
}

/// One request of one connection, for the script to answer.
pub struct Exchange<'a> {
    /// The request with its body.
    pub request: Request,
    /// How many requests this connection brought before.
    pub nth: usize,
    wire: &'a mut Wire,
    done: bool,
}

impl Exchange<'_> {
    /// Sends these bytes; a peer that has gone is no error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.wire.send(bytes).is_err() {
            self.done = true;
        }
    }

    /// Sends a 200 with this body and its length.
    pub fn ok(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes);
    }

    /// Closes the connection when the script returns.
    pub fn close(&mut self) {
        self.done = true;
    }

    /// The socket, for what has no word here.
    pub fn wire(&mut self) -> &mut Wire {
        self.wire
    }
}

impl Origin {
    /// Answers each request by the script. The connection is kept unless the script closes it or the request
    /// says `Connection: close` or is HTTP/1.0.
    pub fn new(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Origin {
        Origin::tcp(move |wire, shared, connection| exchanges(wire, shared, connection, &script))
    }

    /// Answers each request with this body, as soon as the gate is open.
    pub fn gated(body: &'static str) -> (Gate, Origin) {
        let gate = Gate::new();
        let opened = gate.clone();
        let origin = Origin::new(move |exchange| {
            opened.pass();
            exchange.ok(body);
        });
        (gate, origin)
    }

    /// As [`Origin::new`], on a unix socket in a folder of its own.
    pub fn unix(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Origin {
        let dir = tempfile::Builder::new().prefix("plimsoll-origin-").tempdir().expect("a temporary folder");
        // Workers of another user must get to the socket.
        let open = Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("permissions of a temporary folder");
        let path = dir.path().join("origin.sock");
        let listener = UnixListener::bind(&path).expect("a unix socket for an origin");
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("permissions of a socket");
        let door = listener.try_clone().expect("a second handle on a socket").into();
        let accept = move || listener.accept().map(|(stream, _)| Wire::from(stream));
        let mut origin = Origin::start(door, accept, move |w, s, c| exchanges(w, s, c, &script));
        origin.address = format!("unix:{}", path.display());
        origin._dir = Some(dir);
        origin
    }

    /// Answers every request with these bytes.
    pub fn answering(bytes: impl AsRef<[u8]>) -> Origin {
        let bytes = bytes.as_ref().to_vec();
        Origin::new(move |exchange| exchange.send(&bytes))
    }

    /// Answers every request with the request's head as body: what the proxy made of it.
    pub fn echo() -> Origin {
        Origin::new(|exchange| {
            let head = exchange.request.head.clone();
            exchange.ok(head);
        })
    }

    /// Gives the script whole connections instead of requests. Requests are recorded only if it does so with
    /// [`Wire::read_request`] and keeps them itself.
    pub fn wires(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Origin {
        Origin::tcp(move |wire, _, _| script(wire))
    }

    fn tcp(serve: impl Fn(&mut Wire, &Shared, usize) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for an origin");
        let port = listener.local_addr().expect("the origin's address").port();
        let door = listener.try_clone().expect("a second handle on a socket").into();
        let accept = move || listener.accept().map(|(stream, _)| Wire::from(stream));
        let mut origin = Origin::start(door, accept, serve);
        (origin.address, origin.port) = (format!("127.0.0.1:{port}"), port);
        origin
    }

    fn start(
        door: Socket,
        accept: impl Fn() -> io::Result<Wire> + Send + 'static,
        serve: impl Fn(&mut Wire, &Shared, usize) + Send + Sync + 'static,
    ) -> Origin {
        let shared = Arc::new(Shared::default());
        let acceptor = thread::spawn({
            let shared = shared.clone();
            let serve = Arc::new(serve);
            move || accept_all(&accept, &shared, &serve)
        });
        Origin { address: String::new(), port: 0, door, shared, acceptor: Some(acceptor), _dir: None }
    }

    /// What to write into `proxy_pass http://..` or `server ..;`: `127.0.0.1:port` or `unix:/path`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port, 0 for a unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests received so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The last request received.
    ///
    /// # Panics
    /// If there was none.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("the origin should have been asked")
    }

    /// Waits until so many requests have come.
    #[track_caller]
    pub fn wait_requests(&self, count: usize) -> Vec<Request> {
        within(|| Some(self.requests()).filter(|r| r.len() >= count)).expect("more requests should have come")
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open on both ends.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Waits until so many connections are open.
    #[track_caller]
    pub fn wait_open(&self, count: usize) {
        eventually("open connections at the origin", || self.open_connections() == count);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept.
        let _ = self.door.shutdown(Shutdown::Both);
        for wire in lock(&self.shared.wires).values() {
            let _ = wire.shutdown(Shutdown::Both);
        }
        let well = self.acceptor.take().is_none_or(|acceptor| acceptor.join().unwrap_or(false));
        if !well && !thread::panicking() {
            panic!("the script of an origin panicked");
        }
    }
}

type Serve = dyn Fn(&mut Wire, &Shared, usize) + Send + Sync;

fn accept_all<S>(accept: &impl Fn() -> io::Result<Wire>, shared: &Arc<Shared>, serve: &Arc<S>) -> bool
where
    S: Fn(&mut Wire, &Shared, usize) + Send + Sync + 'static,
{
    let (mut threads, mut well) = (Vec::new(), true);
    loop {
        let mut wire = match accept() {
            Ok(wire) => wire,
            Err(_) if shared.stopping.load(Ordering::SeqCst) => break,
            Err(error) => {
                eprintln!("an origin accepts no more: {error}");
                break;
            }
        };
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        shared.open.fetch_add(1, Ordering::SeqCst);
        let twin = wire.twin();
        if let Ok(twin) = twin {
            lock(&shared.wires).insert(connection, twin);
        }
        // Who stops this looks at the connections after it has said so: one of the two sees this one.
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let (mine, serve) = (shared.clone(), serve.clone());
        let run = move || {
            let serve: &Serve = &*serve;
            serve(&mut wire, &mine, connection);
            // The twin kept for stopping would keep the socket open.
            let _ = wire.shutdown(Shutdown::Both);
            lock(&mine.wires).remove(&connection);
            mine.open.fetch_sub(1, Ordering::SeqCst);
        };
        // A long test has many thousands of connections: none leaves anything behind.
        for ended in threads.extract_if(.., |thread: &mut JoinHandle<()>| thread.is_finished()) {
            well &= ended.join().is_ok();
        }
        threads.push(thread::spawn(run));
    }
    threads.into_iter().fold(well, |well, thread| thread.join().is_ok() && well)
}

fn exchanges(wire: &mut Wire, shared: &Shared, connection: usize, script: &dyn Fn(&mut Exchange)) {
    for nth in 0.. {
        // A connection waits for its next request as long as the test runs: its end is Drop's shutdown.
        let mut request = loop {
            match wire.read_request() {
                Ok(Some(request)) => break request,
                Err(e) if e.kind() == io::ErrorKind::TimedOut && !shared.stopping.load(Ordering::SeqCst) => {
                    continue;
                }
                Ok(None) | Err(_) => return,
            }
        };
        request.connection = connection;
        lock(&shared.requests).push(request.clone());
        let last = ends_connection(&request);
        let mut exchange = Exchange { request, nth, wire, done: last };
        script(&mut exchange);
        if exchange.done {
            return;
        }
    }
}

fn ends_connection(request: &Request) -> bool {
    let connection = request.header("connection").unwrap_or_default().to_ascii_lowercase();
    connection.contains("close") || (request.version == "HTTP/1.0" && !connection.contains("keep-alive"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
