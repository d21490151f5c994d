//! A constant load of every kind of client. It counts what was served and writes down what was lost.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testkit::{Server, eventually};

use crate::parts::{Download, Fresh, KeepAlive, Part, Tunnel, Upload};

/// The kinds, with how often each is stepped.
const KINDS: [(&str, Duration); 6] = [
    ("keep-alive", Duration::from_millis(50)),
    ("new connections", Duration::from_millis(10)),
    ("uploads", Duration::from_millis(30)),
    ("slow downloads", Duration::from_millis(50)),
    ("websockets", Duration::from_millis(50)),
    ("TLS", Duration::from_millis(50)),
];
/// The kind that a server without a certificate has not.
pub const TLS: usize = 5;
/// The only kind with a connection for each request.
pub const FRESH: usize = 1;

/// How many clients of each kind there are.
pub const CLIENTS: [usize; KINDS.len()] = [64, 2, 4, 4, 4, 4];

/// Where to connect.
pub struct Doors {
    pub main: u16,
    pub reuseport: u16,
    pub tls: u16,
    connected: Cell<u64>,
}

impl Doors {
    /// A client has a new connection.
    pub fn connected(&self) {
        self.connected.set(self.connected.get() + 1);
    }
}

/// The load, until it is dropped or finished.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    served: [AtomicU64; KINDS.len()],
    connected: [AtomicU64; KINDS.len()],
    lost: Mutex<Vec<Lost>>,
}

/// A request or a connection that got no proper answer.
#[derive(Clone)]
pub struct Lost {
    /// Whose; see [`CLIENTS`].
    pub kind: usize,
    error: String,
    /// Nobody listened.
    pub refused: bool,
}

/// What came of a load.
pub struct Tally {
    pub seconds: f64,
    pub served: [u64; KINDS.len()],
    pub connected: [u64; KINDS.len()],
    pub lost: Vec<Lost>,
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", KINDS[self.kind].0, self.error)
    }
}

impl Load {
    /// Starts all clients of a server with the stage's configuration.
    pub fn start(server: &Server, tls: bool) -> Load {
        let shared = Arc::new(Shared::default());
        let kinds = (0..KINDS.len()).filter(|kind| tls || *kind != TLS);
        let ports = [0, 2, 3].map(|n| server.port_n(n));
        let threads = kinds
            .map(|kind| {
                let shared = shared.clone();
                std::thread::spawn(move || play(kind, ports, &shared))
            })
            .collect();
        Load { shared, threads }
    }

    /// Whether every kind has been served since `before`.
    fn moved_since(&self, before: &[u64]) -> bool {
        self.counts().iter().zip(before).take(self.threads.len()).all(|(now, before)| now > before)
    }

    /// Waits until every kind has been served again.
    #[track_caller]
    pub fn go_on(&self) {
        let before = self.counts();
        eventually("every kind of client to be served", || self.moved_since(&before));
    }

    /// What each kind has been served.
    fn counts(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.shared.served[kind].load(Relaxed))
    }

    /// What was lost until now; the list begins anew.
    pub fn take_lost(&self) -> Vec<Lost> {
        std::mem::take(&mut *self.shared.lost())
    }

    /// Lets all clients finish what they are at.
    pub fn finish(mut self, begun: Instant) -> Tally {
        let seconds = begun.elapsed().as_secs_f64();
        let served = self.counts();
        self.end();
        let connected = std::array::from_fn(|kind| self.shared.connected[kind].load(Relaxed));
        Tally { seconds, served, connected, lost: self.take_lost() }
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A client that panicked is a fault of the test.
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("a client of the load panicked");
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lost(&self) -> MutexGuard<'_, Vec<Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn play(kind: usize, [main, reuseport, tls]: [u16; 3], shared: &Shared) {
    let (count, pause) = (CLIENTS[kind], KINDS[kind].1);
    let doors = Doors { main, reuseport, tls, connected: Cell::new(0) };
    let mut parts: Vec<Box<dyn Part>> = (0..count).map(|i| part(kind, i)).collect();
    let mut next = Instant::now();
    loop {
        let stopping = shared.stop.load(Relaxed);
        for part in &mut parts {
            if stopping && part.is_at_rest() {
                continue;
            }
            match part.step(&doors) {
                Ok(served) => drop(shared.served[kind].fetch_add(served, Relaxed)),
                Err(error) => {
                    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                    if !part.kept().is_some_and(|talk| talk.overslept(&error)) {
                        shared.lost().push(Lost { kind, error: error.to_string(), refused });
                    }
                    part.reset();
                }
            }
        }
        shared.connected[kind].store(doors.connected.get(), Relaxed);
        if stopping && parts.iter().all(|part| part.is_at_rest()) {
            return;
        }
        // The rate is kept where a step takes longer than usual; a long stop is not made up for.
        next = (next + pause).max(Instant::now() - Duration::from_millis(200));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn part(kind: usize, i: usize) -> Box<dyn Part> {
    let keep_alive = |tls| KeepAlive { tls, proxied: i % 2 == 1, talk: None, asked: false };
    match kind {
        0 => Box::new(keep_alive(false)),
        1 => Box::new(Fresh { reuseport: i % 2 == 1 }),
        2 => Box::new(Upload::default()),
        3 => Box::new(Download::of(if i % 2 == 1 { "/down" } else { "/file" })),
        4 => Box::new(Tunnel::default()),
        _ => Box::new(keep_alive(true)),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            let (count, served, connected) = (CLIENTS[kind], self.served[kind], self.connected[kind]);
            writeln!(f, "{name} ({count}): {served} served on {connected} connections")?;
        }
        let (fresh, all) = (self.served[FRESH], self.served.iter().sum::<u64>());
        writeln!(
            f,
            "{:.1} new connections/s, {:.0} requests/s",
            fresh as f64 / self.seconds,
            all as f64 / self.seconds
        )?;
        write!(f, "lost: {}", self.lost.len())
    }
}
