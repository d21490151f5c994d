//! What the running worker knows of its chain: peaks, refusals, the last minutes.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use capacity::{Kind, Setup};
use serde::Serialize;

use super::Kernel;
use super::looks::Looks;
use crate::program::Program;
use crate::worker::Process;
use crate::worker::thread::Thread;

/// How much of the past is kept: ten minutes.
const SAMPLES: usize = 600;
/// How far apart samples are.
const APART: Duration = Duration::from_secs(1);
/// What the kernel said is good for so long: a public status page must not become a load.
const FRESH: Duration = Duration::from_millis(250);

/// Why a connection or a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No slot for a client.
    SlotsOnAccept,
    /// No slot for an upstream's connection.
    SlotsForUpstream,
    /// No descriptor for a client.
    DescriptorsOnAccept,
    /// No descriptor for an upstream's connection.
    DescriptorsForUpstream,
    /// No descriptor for a file that a request needs.
    DescriptorsForFile,
    /// The upstream's accept queue was full.
    UpstreamQueue,
    /// No local port towards the upstream.
    Ports,
}

impl Cause {
    /// All.
    pub const ALL: [Cause; 7] = [
        Cause::SlotsOnAccept,
        Cause::SlotsForUpstream,
        Cause::DescriptorsOnAccept,
        Cause::DescriptorsForUpstream,
        Cause::DescriptorsForFile,
        Cause::UpstreamQueue,
        Cause::Ports,
    ];
    /// Why a connection to an upstream could not be begun, where a link was full.
    pub fn of(error: &std::io::Error) -> Option<Cause> {
        match rustix::io::Errno::from_io_error(error)? {
            rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => Some(Cause::DescriptorsForUpstream),
            rustix::io::Errno::AGAIN => Some(Cause::UpstreamQueue),
            rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::ADDRINUSE => Some(Cause::Ports),
            _ => None,
        }
    }
    /// The link that was full.
    pub fn link(self) -> Kind {
        match self {
            Cause::SlotsOnAccept | Cause::SlotsForUpstream => Kind::Slots,
            Cause::DescriptorsOnAccept | Cause::DescriptorsForUpstream | Cause::DescriptorsForFile => {
                Kind::Descriptors
            }
            Cause::UpstreamQueue => Kind::UpstreamQueue,
            Cause::Ports => Kind::Ports,
        }
    }
    /// What to change, for the error log; slots have their own words.
    pub fn advice(self) -> &'static str {
        match self {
            Cause::SlotsOnAccept | Cause::SlotsForUpstream => "",
            Cause::DescriptorsOnAccept | Cause::DescriptorsForUpstream | Cause::DescriptorsForFile => {
                "; descriptors bind: raise LimitNOFILE and worker_rlimit_nofile"
            }
            Cause::UpstreamQueue => {
                "; the upstream's queue binds: more workers there, or a longer backlog and net.core.somaxconn"
            }
            Cause::Ports => {
                "; ports bind: keep connections (keepalive), or raise net.ipv4.ip_local_port_range"
            }
        }
    }
    /// What programs call it.
    pub fn key(self) -> &'static str {
        match self {
            Cause::SlotsOnAccept => "slots_on_accept",
            Cause::SlotsForUpstream => "slots_for_upstream",
            Cause::DescriptorsOnAccept => "descriptors_on_accept",
            Cause::DescriptorsForUpstream => "descriptors_for_upstream",
            Cause::DescriptorsForFile => "descriptors_for_file",
            Cause::UpstreamQueue => "upstream_queue",
            Cause::Ports => "ports",
        }
    }
}

/// One moment of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Requests that began in that second.
    pub requests: u64,
    /// Slots taken.
    pub slots: u64,
    /// Clients among them.
    pub clients: u64,
    /// Refusals in that second.
    pub refused: u64,
    /// Thousandths of a processor that the loops were at work.
    pub busy: u64,
    /// The longest turn of any loop, in microseconds.
    pub lag: u64,
}

/// One thread in the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoopState {
    /// Thousandths of the time that it was at work.
    pub busy: u64,
    /// Its longest turn, in microseconds.
    pub lag: u64,
    /// Requests since the start.
    pub requests: u64,
}

/// What is known beyond the counters.
#[derive(Default)]
pub struct Meter {
    setup: Mutex<Arc<Setup>>,
    descriptors_peak: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
    /// Idle connections that gave way.
    reclaimed: AtomicU64,
    said: Mutex<Said>,
    spoken: [Mutex<Spoken>; Cause::ALL.len()],
    past: Mutex<Past>,
    kernel: Mutex<Option<(Instant, Arc<Kernel>)>>,
    looks: Mutex<Looks>,
}

/// When the shortage was last said, that it was met by idle connections and that it was not, and what was counted by then.
#[derive(Default)]
struct Said {
    at: [Option<Instant>; 2],
    reclaimed: u64,
    refused: u64,
}

/// When a line was last written for a cause, and how many were not since.
#[derive(Default)]
struct Spoken {
    at: Option<Instant>,
    held_back: u64,
}

/// What a line ends with: how many of its kind were not written, if any, and what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    cause: Cause,
    held_back: u64,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.held_back > 0 {
            write!(f, ", {} more of the kind since it was said last", self.held_back)?;
        }
        f.write_str(self.cause.advice())
    }
}

/// What happened since the shortage was said last.
pub struct Lately {
    /// Idle connections that gave way.
    pub reclaimed: u64,
    /// Clients and requests that were refused for want of slots.
    pub refused: u64,
    /// Idle connections gave way, and that was enough.
    pub met: bool,
    /// There are fewer slots than configured, for want of descriptors.
    pub by_descriptors: bool,
    /// What could be changed.
    pub advice: String,
}

/// The samples, and what the next one is measured against.
#[derive(Default)]
struct Past {
    samples: VecDeque<Sample>,
    loops: Vec<LoopState>,
    busy: Vec<u64>,
    requests: u64,
    refused: u64,
    at: Option<Instant>,
}

impl Meter {
    /// For a worker that begins with this configuration.
    pub fn new(program: &Program) -> Meter {
        let meter = Meter::default();
        meter.install(program);
        meter
    }
    /// Another configuration is in force.
    pub fn install(&self, program: &Program) {
        *lock(&self.setup) = Arc::new(super::setup_here(program));
    }
    /// What the capacity follows from.
    pub fn setup(&self) -> Arc<Setup> {
        lock(&self.setup).clone()
    }
    /// So many descriptors are open; the most that were seen.
    pub fn note_descriptors(&self, open: u64) -> u64 {
        self.descriptors_peak.fetch_max(open, Relaxed).max(open)
    }
    /// Somebody was refused.
    pub fn refused(&self, cause: Cause) {
        self.refused[cause as usize].fetch_add(1, Relaxed);
    }
    /// How often it came to that.
    pub fn refusals(&self, cause: Cause) -> u64 {
        self.refused[cause as usize].load(Relaxed)
    }
    /// So many idle connections gave way.
    pub fn reclaimed(&self, count: u64) {
        if count > 0 {
            self.reclaimed.fetch_add(count, Relaxed);
        }
    }
    /// Whether a line may be written for a cause, which it may once a second; then with this behind it.
    pub fn speak(&self, cause: Cause, now: Instant) -> Option<Behind> {
        let mut spoken = lock(&self.spoken[cause as usize]);
        if spoken.at.is_some_and(|at| now < at + APART) {
            spoken.held_back += 1;
            return None;
        }
        spoken.at = Some(now);
        Some(Behind { cause, held_back: std::mem::take(&mut spoken.held_back) })
    }
    /// What to say of the shortage, if a second passed since it was said.
    pub fn due(&self, now: Instant) -> Option<Lately> {
        let mut said = lock(&self.said);
        let for_want_of_slots = [Cause::SlotsOnAccept, Cause::SlotsForUpstream];
        let all_refused = for_want_of_slots.iter().map(|cause| self.refusals(*cause)).sum();
        let all_reclaimed = self.reclaimed.load(Relaxed);
        let (reclaimed, refused) = (all_reclaimed - said.reclaimed, all_refused - said.refused);
        let met = refused == 0 && reclaimed > 0;
        let at = &mut said.at[usize::from(met)];
        if at.is_some_and(|at| now < at + APART) {
            return None;
        }
        *at = Some(now);
        (said.reclaimed, said.refused) = (all_reclaimed, all_refused);
        drop(said);
        let (by_descriptors, advice) = self.more_slots();
        Some(Lately { reclaimed, refused, met, by_descriptors, advice })
    }
    /// Whether descriptors bound the slots, and what gives more of them.
    pub fn more_slots(&self) -> (bool, String) {
        let setup = self.setup();
        match capacity::most_connections(&setup).map(|each| each / 2) {
            Some(most) if most < setup.connections => (
                true,
                format!("; for all {} slots raise LimitNOFILE and worker_rlimit_nofile", setup.connections),
            ),
            Some(most) => (false, format!("; descriptors allow worker_connections {most}")),
            None => (false, String::new()),
        }
    }
    /// Says of each link how many found no place lately.
    pub fn compare(&self, links: &mut [capacity::Link]) {
        lock(&self.looks).compare(Instant::now(), links);
    }
    fn all_refusals(&self) -> u64 {
        Cause::ALL.iter().map(|cause| self.refusals(*cause)).sum()
    }
    /// What the kernel says, at most a moment old.
    pub fn kernel(&self, read: impl FnOnce() -> Kernel) -> Arc<Kernel> {
        let mut kept = lock(&self.kernel);
        match &*kept {
            Some((at, kernel)) if at.elapsed() < FRESH => kernel.clone(),
            _ => {
                let kernel = Arc::new(read());
                *kept = Some((Instant::now(), kernel.clone()));
                kernel
            }
        }
    }
    /// The threads in the last second.
    pub fn loops(&self) -> Vec<LoopState> {
        lock(&self.past).loops.clone()
    }
    /// The last ten minutes, the oldest first.
    pub fn past(&self) -> Vec<Sample> {
        lock(&self.past).samples.iter().copied().collect()
    }
    /// The last second.
    pub fn last(&self) -> Sample {
        lock(&self.past).samples.back().copied().unwrap_or_default()
    }

    fn sample(&self, process: &Process, now: Instant) {
        let counters = process.counters();
        let mut past = lock(&self.past);
        let apart = past.at.replace(now).map_or(APART, |at| now.saturating_duration_since(at));
        let micros = (apart.as_micros() as u64).max(1);
        past.busy.resize(counters.len(), 0);
        let mut loops = Vec::with_capacity(counters.len());
        for (c, before) in counters.iter().zip(&mut past.busy) {
            let busy = c.busy.load(Relaxed);
            let worked = busy.wrapping_sub(std::mem::replace(before, busy));
            loops.push(LoopState {
                busy: (worked * 1000 / micros).min(1000),
                lag: c.lag.swap(0, Relaxed),
                requests: c.requests.load(Relaxed),
            });
        }
        let (requests, refused) = (loops.iter().map(|l| l.requests).sum(), self.all_refusals());
        let sample = Sample {
            requests: per_second(requests, std::mem::replace(&mut past.requests, requests), micros),
            slots: process.seats_taken() as u64,
            clients: process.clients(),
            refused: per_second(refused, std::mem::replace(&mut past.refused, refused), micros),
            busy: loops.iter().map(|l| l.busy).sum(),
            lag: loops.iter().map(|l| l.lag).max().unwrap_or(0),
        };
        past.loops = loops;
        if past.samples.len() == SAMPLES {
            past.samples.pop_front();
        }
        past.samples.push_back(sample);
    }
}

fn per_second(now: u64, before: u64, micros: u64) -> u64 {
    now.saturating_sub(before).saturating_mul(1_000_000).div_ceil(micros)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks every second, for as long as the configuration shows the chain somewhere.
pub async fn sample(thread: Rc<Thread>) {
    while thread.generation().shared.watched && !thread.draining() {
        thread.process.meter.sample(&thread.process, thread.handle.now());
        thread.handle.sleep(APART).await;
    }
    thread.sampling.set(false);
}
