//! Where scenarios play: servers, upstreams, loads, and somebody who looks at the status page meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use testkit::{Binary, Origin, Server};

use super::LONG;
use super::load::{Load, Outcome};
use crate::bench::process::cpu_nanoseconds;

/// How long clients wait for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where a machine has other things to do.
pub const A_BUSY_MACHINE: Duration = Duration::from_secs(20);

/// One server in one scenario.
pub struct Stage {
    pub binary: Binary,
    pub quick: bool,
}

/// What has to become of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// 200, all of them: there is room.
    Served,
    /// 200 or a real 503, and some 200.
    Some,
    /// An answer.
    Answers,
}

/// A line of the table.
pub struct Row {
    pub phase: &'static str,
    pub outcome: Outcome,
    pub time: Duration,
    /// The processor's time that the server took meanwhile, in microseconds.
    pub cpu: f64,
    pub wanted: Wanted,
    /// Its rate is at least this part of another phase's.
    pub at_least: Option<(f64, &'static str)>,
    /// An answer takes at most so many times the processor's time of one in another phase.
    pub at_most: Option<(f64, &'static str)>,
    /// What is shown below it.
    pub notes: Vec<String>,
    /// What else is wrong.
    pub fault: Option<String>,
}

impl Row {
    pub fn wanted(self, wanted: Wanted) -> Row {
        Row { wanted, ..self }
    }
    pub fn at_least(self, part: f64, of: &'static str) -> Row {
        Row { at_least: Some((part, of)), ..self }
    }
    pub fn at_most(self, times: f64, of: &'static str) -> Row {
        Row { at_most: Some((times, of)), ..self }
    }
    /// Microseconds of the processor for each 200.
    pub fn cost(&self) -> f64 {
        self.cpu / self.outcome.ok.max(1) as f64
    }
    /// Hundredths of a processor that the server took.
    pub fn processor(&self) -> f64 {
        self.cpu / 1e4 / self.time.as_secs_f64()
    }
    /// Requests answered with 200 a second.
    pub fn rate(&self) -> f64 {
        self.outcome.ok as f64 / self.time.as_secs_f64()
    }
}

impl Stage {
    /// The first where it has to be quick.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
    fn time(&self) -> Duration {
        self.pick(Duration::from_secs(1), LONG)
    }
    pub fn ours(&self) -> bool {
        self.binary == Binary::Plimsoll
    }
    /// A server with this in its main context, in its `http` and in its one server; the second port has a status page.
    pub fn serve(&self, connections: usize, main: &str, server: &str) -> Server {
        self.serve_with(connections, main, "access_log off;", "", server)
    }
    /// As [`Stage::serve`], with a log, or with parameters of `listen`.
    pub fn serve_with(
        &self,
        connections: usize,
        main: &str,
        http: &str,
        listen: &str,
        server: &str,
    ) -> Server {
        // What only one of the two knows.
        let (ours, reserve, status) = match self.ours() {
            true => ("overload_wait 1s;", "capacity_reserve", "capacity_status json"),
            false => ("", "", "stub_status"),
        };
        self.binary.serve(format!(
            "worker_processes 1; {main} events {{ worker_connections {connections}; }}
             http {{ {http} {ours} server {{ listen 127.0.0.1:%%PORT%% {listen}; {server} }}
                     server {{ listen 127.0.0.1:%%PORT_1%% {reserve}; location / {{ {status}; }} }} }}"
        ))
    }
    /// Clients that keep their connections.
    pub fn keeping<'a>(&self, server: &'a Server, clients: usize, target: &'a str) -> Load<'a> {
        let (time, patience) = (self.time(), self.pick(A_BUSY_MACHINE, PATIENCE));
        Load { server, port: server.port(), clients, target, time, patience, keep_alive: true }
    }
    /// Clients with a connection for each request.
    pub fn load<'a>(&self, server: &'a Server, clients: usize, target: &'a str) -> Load<'a> {
        Load { keep_alive: false, ..self.keeping(server, clients, target) }
    }
}

/// What becomes of a load.
pub fn measured(phase: &'static str, load: Load<'_>) -> Row {
    let (begun, before) = (Instant::now(), cpu(load.server));
    let outcome = load.run();
    let (time, cpu) = (begun.elapsed(), cpu(load.server) - before);
    Row { outcome, time, cpu, ..empty(phase) }
}

/// The same, and of somebody who looks at the status page meanwhile.
pub fn watched(server: &Server, phase: &'static str, load: Load<'_>) -> [Row; 2] {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = scope.spawn(|| look(server, &over));
        let row = measured(phase, load);
        over.store(true, Relaxed);
        let looked = look.join().unwrap_or_default();
        let page = Row { outcome: looked, time: row.time, ..empty("  the status page") };
        [row, page.wanted(Wanted::Served)]
    })
}

/// Nothing has happened yet.
fn empty(phase: &'static str) -> Row {
    Row {
        phase,
        outcome: Outcome::default(),
        time: Duration::ZERO,
        cpu: 0.0,
        wanted: Wanted::Some,
        at_least: None,
        at_most: None,
        notes: Vec::new(),
        fault: None,
    }
}

/// The processor's time that a server has taken so far, in microseconds.
fn cpu(server: &Server) -> f64 {
    cpu_nanoseconds(&server.processes()).unwrap_or(0) as f64 / 1000.0
}

fn look(server: &Server, over: &AtomicBool) -> Outcome {
    let port = server.port_n(1);
    let (time, patience) = (Duration::ZERO, A_BUSY_MACHINE);
    let once = Load { server, port, clients: 1, target: "/", time, patience, keep_alive: false };
    let mut all = Outcome::default();
    while !over.load(Relaxed) {
        all += once.run();
        std::thread::sleep(Duration::from_millis(50));
    }
    all
}

/// What the status page says, where it is ours.
pub fn status(server: &Server) -> serde_json::Value {
    let text = server.client_on(1).get("/").text();
    serde_json::from_str(&text).unwrap_or_default()
}

/// An upstream that takes so many milliseconds.
pub fn upstream(delay: Arc<AtomicU64>) -> Origin {
    Origin::new(move |exchange| {
        std::thread::sleep(Duration::from_millis(delay.load(Relaxed)));
        exchange.ok("x");
    })
}

/// One that always takes so many.
pub fn taking(milliseconds: u64) -> Origin {
    upstream(Arc::new(AtomicU64::new(milliseconds)))
}
