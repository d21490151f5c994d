//! `overload`: more load than there is room for, on nginx and Plimsoll with the same file, and who got what.
//!
//! Plimsoll must not break a connection, answer 500 or leave anybody without an answer, and must be itself again when
//! the load has gone. What nginx does stands beside it.

mod load;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testkit::{Binary, Origin, Server};

use self::load::{Load, Outcome};

/// A story: what is configured, and what happens then.
struct Scenario {
    name: &'static str,
    /// What is short.
    about: &'static str,
    play: fn(&Stage) -> Result<Vec<Row>>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "tiny", about: "4 slots, 100 clients through a proxy", play: tiny },
    Scenario { name: "slots", about: "64 slots, a proxied request takes 20 ms: 1x, 10x, 1x", play: slots },
    Scenario { name: "static", about: "64 slots, answers from memory, 10x", play: memory },
    Scenario { name: "descriptors", about: "a hard limit of 256 descriptors, files", play: descriptors },
    Scenario { name: "slow", about: "the upstream takes 10 ms, then 2 s, then 10 ms", play: slow },
    Scenario { name: "idle", about: "idle clients hold every slot, others ask", play: idle },
];

/// One server in one scenario.
struct Stage {
    binary: Binary,
    time: Duration,
}

/// A line of the table.
struct Row {
    phase: &'static str,
    outcome: Outcome,
    time: Duration,
}

/// Plays all scenarios, or those named; `--quick`: shorter, and with a build without optimisation.
pub fn overload(arguments: &[String]) -> Result<()> {
    let quick = arguments.iter().any(|a| a == "--quick");
    let names: Vec<&String> = arguments.iter().filter(|a| *a != "--quick").collect();
    if std::env::var_os("PLIMSOLL").is_none() && !quick {
        bail!(
            "PLIMSOLL names the program to test: cargo build --release, then PLIMSOLL=target/release/plimsoll"
        );
    }
    let time = Duration::from_secs(if quick { 1 } else { 5 });
    println!(
        "{:<34} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>7}",
        "", "200", "503", "500", "50x", "reset", "silent", "200/s"
    );
    let mut faults = Vec::new();
    for scenario in SCENARIOS.iter().filter(|s| names.is_empty() || names.iter().any(|n| *n == s.name)) {
        println!("{}: {}", scenario.name, scenario.about);
        for binary in Binary::wanted() {
            let rows = (scenario.play)(&Stage { binary, time })?;
            rows.iter().for_each(|row| show(binary, row));
            if binary == Binary::Plimsoll {
                faults.extend(rows.iter().filter_map(fault).map(|f| format!("{}: {f}", scenario.name)));
            }
        }
    }
    match faults.len() {
        0 => Ok(()),
        _ => bail!("{}", faults.join("\n")),
    }
}

fn show(binary: Binary, row: &Row) {
    let o = &row.outcome;
    let rate = o.ok as f64 / row.time.as_secs_f64();
    println!(
        "  {:<9} {:<22} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>7.0}",
        binary.name(),
        row.phase,
        o.ok,
        o.refused,
        o.failed,
        o.gateway,
        o.broken,
        o.silent,
        rate
    );
}

/// What Plimsoll must not do.
fn fault(row: &Row) -> Option<String> {
    let Outcome { ok, failed, gateway, broken, silent, .. } = row.outcome;
    let wrong = failed + gateway + broken + silent;
    (wrong > 0 || ok == 0).then(|| format!("{}: {:?}", row.phase, row.outcome))
}

impl Stage {
    fn serve(&self, connections: u32, main: &str, server: &str) -> Server {
        // What only one of the two knows.
        let ours = if self.binary == Binary::Plimsoll { "overload_wait 1s;" } else { "" };
        self.binary.serve(format!(
            "worker_processes 1; {main} events {{ worker_connections {connections}; }}
             http {{ access_log off; {ours} server {{ listen 127.0.0.1:%%PORT%%; {server} }} }}"
        ))
    }
    fn load<'a>(&self, server: &Server, clients: usize, target: &'a str) -> Load<'a> {
        let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
        Load { address, clients, target, time: self.time, keep_alive: true }
    }
}

fn measured(phase: &'static str, load: Load<'_>) -> Row {
    let begun = Instant::now();
    let outcome = load.run();
    Row { phase, outcome, time: begun.elapsed() }
}

/// An upstream that takes so many milliseconds.
fn upstream(delay: Arc<AtomicU64>) -> Origin {
    Origin::new(move |exchange| {
        std::thread::sleep(Duration::from_millis(delay.load(Relaxed)));
        exchange.ok("x");
    })
}

fn tiny(stage: &Stage) -> Result<Vec<Row>> {
    let origin = upstream(Arc::default());
    let server = stage.serve(4, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    let load = stage.load(&server, 100, "/");
    Ok(vec![measured("100 clients", Load { keep_alive: false, ..load })])
}

fn slots(stage: &Stage) -> Result<Vec<Row>> {
    let origin = upstream(Arc::new(AtomicU64::new(20)));
    let server = stage.serve(64, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    let load = |clients| Load { keep_alive: false, ..stage.load(&server, clients, "/") };
    Ok(vec![
        measured("1x (30 clients)", load(30)),
        measured("10x (300 clients)", load(300)),
        measured("1x again", load(30)),
    ])
}

fn memory(stage: &Stage) -> Result<Vec<Row>> {
    let server = stage.serve(64, "", "location / { return 200 x; }");
    Ok(vec![
        measured("1x (60 clients)", stage.load(&server, 60, "/")),
        measured("10x (600 clients)", stage.load(&server, 600, "/")),
    ])
}

fn descriptors(stage: &Stage) -> Result<Vec<Row>> {
    let server = stage.serve(1024, "worker_rlimit_nofile 256;", "root .; location / { }");
    server.write("x", "x".repeat(100_000));
    let load = stage.load(&server, 600, "/x");
    Ok(vec![measured("600 clients", load)])
}

fn slow(stage: &Stage) -> Result<Vec<Row>> {
    let delay = Arc::new(AtomicU64::new(10));
    let origin = upstream(delay.clone());
    let server = stage.serve(64, "", &format!("location / {{ proxy_pass http://{}; }}", origin.address()));
    let load = |clients| Load { keep_alive: false, ..stage.load(&server, clients, "/") };
    let before = measured("10 ms", load(30));
    delay.store(2000, Relaxed);
    let during = measured("2 s, 100 clients", load(100));
    delay.store(10, Relaxed);
    Ok(vec![before, during, measured("10 ms again", load(30))])
}

fn idle(stage: &Stage) -> Result<Vec<Row>> {
    let server = stage.serve(200, "", "location / { return 200 x; }");
    let keep: Vec<_> = (0..198)
        .filter_map(|_| {
            let mut client = server.client();
            client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
            client.try_response("GET").ok()?;
            Some(client)
        })
        .collect();
    let row = measured("20 clients ask", Load { keep_alive: false, ..stage.load(&server, 20, "/") });
    drop(keep);
    Ok(vec![row])
}
