//! The measurements of one case, round by round.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::{Binary, Server};

use super::cases::{self, CASES, Case};
use super::count;
use super::haproxy::Haproxy;
use super::latency::{self, Percentiles};
use super::load;
use super::process;
use super::report::{Figure, Report};
use super::start;
use super::tls;
use crate::run::{has, spinner};

/// Where the servers run, and where the load and the origin do.
const SERVER_PROCESSOR: usize = 0;
const LOAD_PROCESSOR: usize = 1;
/// The part of nginx's greatest rate at which latencies are taken.
const RATE: f64 = 0.7;

/// Measurements that are no [`Case`].
pub const SPECIAL: &[(&str, &str)] = &[
    ("idle-10000", "memory for each of 10,000 connections at rest"),
    (
        "idle-100000",
        "memory for each of 100,000 connections at rest, or as many as the machine's limits allow",
    ),
    ("reload", "latency at a fixed rate while the configuration is loaded again and again"),
    ("start", "processor time to start and to reload with 10,000 servers"),
];

/// What to measure, and how thoroughly.
#[derive(Debug)]
pub struct Plan {
    /// Cases, or none for all.
    pub names: Vec<String>,
    rounds: usize,
    seconds: u64,
    what: Vec<&'static str>,
}

const KINDS: [&str; 3] = ["--cpu", "--latency", "--counts"];

impl Plan {
    /// Reads `[--cpu] [--latency] [--counts] [--rounds=N] [--seconds=N] [NAME..]`.
    pub fn from_arguments(arguments: &[String]) -> Result<Plan> {
        let mut plan = Plan { names: Vec::new(), rounds: 5, seconds: 1, what: Vec::new() };
        for argument in arguments {
            if let Some(kind) = KINDS.iter().find(|kind| *kind == argument) {
                plan.what.push(kind);
            } else if let Some(rounds) = argument.strip_prefix("--rounds=") {
                plan.rounds = rounds.parse().with_context(|| format!("{argument}: not a number"))?;
            } else if let Some(seconds) = argument.strip_prefix("--seconds=") {
                plan.seconds = seconds.parse().with_context(|| format!("{argument}: not a number"))?;
            } else if known(argument) {
                plan.names.push(argument.clone());
            } else {
                bail!("no case {argument:?}: cargo xtask bench list");
            }
        }
        if plan.rounds == 0 || plan.seconds == 0 {
            bail!("nothing to measure in no rounds or no seconds");
        }
        Ok(plan)
    }

    /// The same for every case.
    pub fn of_every_case(self) -> Plan {
        Plan { names: Vec::new(), ..self }
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == name)
    }

    fn measures(&self, kind: &str) -> bool {
        self.what.is_empty() || self.what.contains(&kind)
    }
}

fn known(name: &str) -> bool {
    cases::named(name).is_some()
        || SPECIAL.iter().any(|(special, _)| *special == name)
        || ["all", "growth", "worst"].contains(&name)
        || super::growth::known(name)
}

/// Measures what the plan names; each case is saved when it is done.
pub fn measure(plan: &Plan) -> Result<()> {
    let mut report = Report::load().unwrap_or_default();
    let mut failed = Vec::new();
    Report::print_head();
    for case in CASES.iter().filter(|case| plan.wants(case.name)) {
        if case.tls() && !has("h2load") {
            eprintln!("SKIPPED: {}: h2load is not installed (cargo xtask setup)", case.name);
            continue;
        }
        if let (true, Some(why)) = (case.tls(), tls::missing()) {
            eprintln!("SKIPPED: {}: {why}", case.name);
            continue;
        }
        // What fails is told, and told again at the end, but takes nothing from the others.
        if let Err(error) = one_case(case, plan, &mut report) {
            eprintln!("FAILED: {}: {error:#}", case.name);
            failed.push(case.name);
        }
        report.save()?;
    }
    for (name, _) in SPECIAL.iter().filter(|(name, _)| plan.wants(name)) {
        if let Err(error) = special(name, plan, &mut report) {
            eprintln!("FAILED: {name}: {error:#}");
            failed.push(name);
        }
        report.save()?;
    }
    println!("\nall rounds: {}", Report::path().display());
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(())
}

/// What the case needs behind the servers, kept away from them.
fn origin() -> Result<(Server, String)> {
    let origin = Binary::Nginx.serve(cases::origin());
    process::pin(&origin.processes(), LOAD_PROCESSOR)?;
    let address = format!("127.0.0.1:{}", origin.port());
    Ok((origin, address))
}

/// One of [`SPECIAL`].
fn special(name: &str, plan: &Plan, report: &mut Report) -> Result<()> {
    match name {
        "idle-10000" | "idle-100000" if plan.measures("--cpu") => {
            let wanted = if name == "idle-10000" { 10_000 } else { 100_000 };
            let count = load::room_for_connections(wanted)?;
            report.add(name, "connections", Figure::single(count as f64, count as f64));
            report.add(name, "bytes/connection", idle(count, plan.rounds.min(3))?);
        }
        "start" if plan.measures("--cpu") => {
            let spin = spinner("start and reload with 10,000 servers");
            let (start, reload) = start::times(plan.rounds)?;
            spin.finish_and_clear();
            report.add(name, "start ms", start);
            report.add(name, "reload ms", reload);
        }
        "reload" if plan.measures("--latency") => reload(plan, report)?,
        _ => {}
    }
    Ok(())
}

fn one_case(case: &Case, plan: &Plan, report: &mut Report) -> Result<()> {
    let (_origin, address) = origin()?;
    if plan.measures("--cpu") || plan.measures("--latency") {
        let stage = Stage::new(case, &address)?;
        if plan.measures("--cpu") {
            stage.cpu(plan, report)?;
        }
        if plan.measures("--latency") && case.latency {
            stage.latency(plan, report)?;
        }
    }
    if plan.measures("--counts") && case.workers == 1 {
        counts(case, &address, report)?;
    }
    Ok(())
}

/// The servers of a case, warmed up.
struct Stage<'a> {
    case: &'a Case,
    nginx: Server,
    plimsoll: Server,
    haproxy: Option<Haproxy>,
}

impl Stage<'_> {
    fn new<'a>(case: &'a Case, origin: &str) -> Result<Stage<'a>> {
        let start = |binary: Binary| binary.serve(case.site(origin, false));
        let haproxy = case.haproxy.filter(|_| has("haproxy"));
        let haproxy = haproxy.map(|rule| Haproxy::start(rule, origin)).transpose()?;
        let stage = Stage { case, nginx: start(Binary::Nginx), plimsoll: start(Binary::Plimsoll), haproxy };
        for (port, processes) in stage.all() {
            if case.workers == 1 {
                process::pin(&processes, SERVER_PROCESSOR)?;
            }
            stage.load(port, 1)?;
        }
        Ok(stage)
    }

    fn all(&self) -> Vec<(u16, Vec<i32>)> {
        let servers = [&self.nginx, &self.plimsoll].map(|server| (server.port(), server.processes()));
        let haproxy = self.haproxy.as_ref().map(|haproxy| (haproxy.port(), haproxy.processes()));
        servers.into_iter().chain(haproxy).collect()
    }

    fn load(&self, port: u16, seconds: u64) -> Result<u64> {
        load::run(port, self.case, (self.case.workers == 1).then_some(LOAD_PROCESSOR), seconds)
    }

    fn cpu(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        let spin = spinner(&format!("{}: CPU", self.case.name));
        let (mut time, mut rate) = (Figure::default(), Figure::default());
        for _ in 0..plan.rounds {
            let round: Vec<(f64, f64)> = self
                .all()
                .into_iter()
                .map(|(port, processes)| self.cpu_round(port, &processes, plan.seconds))
                .collect::<Result<_>>()?;
            time.push(&round.iter().map(|(time, _)| *time).collect::<Vec<_>>());
            rate.push(&round.iter().map(|(_, rate)| *rate).collect::<Vec<_>>());
        }
        spin.finish_and_clear();
        report.add(self.case.name, "CPU us/request", time);
        report.add(self.case.name, "requests/s", rate);
        Ok(())
    }

    /// Microseconds per request, and requests per second.
    fn cpu_round(&self, port: u16, processes: &[i32], seconds: u64) -> Result<(f64, f64)> {
        let before = process::cpu_nanoseconds(processes)?;
        let requests = self.load(port, seconds)? as f64;
        if requests == 0.0 {
            bail!(
                "{}: not one request was answered in {seconds} s: give it more with --seconds",
                self.case.name
            );
        }
        let after = process::cpu_nanoseconds(processes)?;
        Ok(((after - before) as f64 / 1000.0 / requests, requests / seconds as f64))
    }

    fn latency(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        let most = self.load(self.nginx.port(), plan.seconds)? as f64 / plan.seconds as f64;
        let spin = spinner(&format!("{}: latency at {:.0}/s", self.case.name, RATE * most));
        let mut rounds = Vec::new();
        for _ in 0..plan.rounds {
            let take = |server: &Server| steadily(server, self.case, RATE * most, plan.seconds);
            rounds.push((take(&self.nginx)?, take(&self.plimsoll)?));
        }
        spin.finish_and_clear();
        add_latencies(self.case.name, &rounds, report);
        Ok(())
    }
}

fn add_latencies(name: &str, rounds: &[(Percentiles, Percentiles)], report: &mut Report) {
    let mut add = |unit: &str, value: fn(&Percentiles) -> f64| {
        let mut figure = Figure::default();
        rounds.iter().for_each(|(nginx, plimsoll)| figure.push(&[value(nginx), value(plimsoll)]));
        report.add(name, unit, figure);
    };
    add("p50 us", |p| p.p50);
    add("p99 us", |p| p.p99);
    add("p99.9 us", |p| p.p999);
    let reopened =
        rounds.iter().map(|(n, p)| (n.reopened, p.reopened)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    if reopened != (0, 0) {
        report.add(name, "closed under a request", Figure::single(reopened.0 as f64, reopened.1 as f64));
    }
}

/// Latencies at this rate, taken by a thread that has the load's processor.
fn steadily(server: &Server, case: &Case, rate: f64, seconds: u64) -> Result<Percentiles> {
    let (port, time) = (server.port(), Duration::from_secs(seconds));
    let taken = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::affinity::bind(&[LOAD_PROCESSOR])?;
            latency::open_loop(port, case, rate, time)
        });
        thread.join()
    });
    taken.map_err(|_| anyhow::anyhow!("the load thread panicked"))?
}

fn counts(case: &Case, origin: &str, report: &mut Report) -> Result<()> {
    if has("strace") && !case.heavy() {
        let calls = |binary| count::system_calls(binary, case, origin);
        let figure = Figure::single(calls(Binary::Nginx)?, calls(Binary::Plimsoll)?);
        report.add(case.name, "system calls", figure);
    }
    if has("valgrind") {
        let spin = spinner(&format!("{}: instructions", case.name));
        let (nginx, plimsoll) = count::on_both(|binary| count::work(binary, case, origin))?;
        spin.finish_and_clear();
        report.add(case.name, "instructions", Figure::single(nginx.instructions, plimsoll.instructions));
        report.add(case.name, "allocations", Figure::single(nginx.allocations, plimsoll.allocations));
    }
    Ok(())
}

/// Bytes of server memory per connection that waits for its next request.
fn idle(count: usize, rounds: usize) -> Result<Figure> {
    let spin = spinner(&format!("{count} connections at rest"));
    let site = format!(
        "worker_processes 1; worker_rlimit_nofile {files}; error_log logs/error.log error;\n\
         events {{ worker_connections {files}; }}\n\
         http {{ access_log off; keepalive_timeout 600s; server {{ listen 127.0.0.1:%%PORT%% backlog=4096;\n\
         location / {{ return 200 hello; }} }} }}\n",
        files = count + 1000
    );
    let grown = |binary: Binary| -> Result<f64> {
        let server = binary.serve(site.as_str());
        drop(load::idle(&server, 50)?);
        let before = process::memory(&server.processes())?;
        let clients = load::idle(&server, count)?;
        let after = process::memory(&server.processes())?;
        drop(clients);
        Ok(after.saturating_sub(before) as f64 / count as f64)
    };
    let mut figure = Figure::default();
    for _ in 0..rounds {
        figure.push(&[grown(Binary::Nginx)?, grown(Binary::Plimsoll)?]);
    }
    spin.finish_and_clear();
    Ok(figure)
}

/// Latencies at half of nginx's greatest rate while the configuration is loaded five times a second.
fn reload(plan: &Plan, report: &mut Report) -> Result<()> {
    let case = cases::named("return").context("the case `return`")?;
    let (_origin, address) = origin()?;
    let stage = Stage::new(case, &address)?;
    let most = stage.load(stage.nginx.port(), 1)? as f64;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let take = |server: &Server| -> Result<Percentiles> {
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        server.signal(rustix::process::Signal::HUP);
                        std::thread::sleep(Duration::from_millis(200));
                    }
                });
                let taken = steadily(server, case, 0.5 * most, plan.seconds);
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                taken
            })
        };
        rounds.push((take(&stage.nginx)?, take(&stage.plimsoll)?));
    }
    add_latencies("reload", &rounds, report);
    Ok(())
}
