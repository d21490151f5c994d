//! Latency at a fixed rate. Requests are due at fixed times whether earlier ones have been answered or not, and a
//! latency counts from when its request was due: a server that stalls is charged for all that waited meanwhile
//! (no coordinated omission).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::cases::{CONNECTIONS, Case};

/// Latencies in microseconds that half, 99 % and 99.9 % of the requests stayed below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// How often a connection was found closed and the request had to be made on a new one.
    pub reopened: u64,
}

/// A connection and the request that is under way on it.
struct Channel {
    stream: TcpStream,
    due: Instant,
    missing: usize,
}

/// Requests at times that are known beforehand.
struct Schedule {
    begun: Instant,
    interval: Duration,
    next: u32,
    end: u32,
}

impl Schedule {
    fn new(rate: f64, time: Duration) -> Schedule {
        let interval = Duration::from_secs_f64(1.0 / rate);
        Schedule { begun: Instant::now(), interval, next: 0, end: (rate * time.as_secs_f64()) as u32 }
    }

    /// When the next request is due; `None` when all have been sent.
    fn due(&self) -> Option<Instant> {
        (self.next < self.end).then(|| self.begun + self.interval * self.next)
    }
}

/// Sends `rate` requests per second for this long.
pub fn open_loop(port: u16, case: &Case, rate: f64, time: Duration) -> Result<Percentiles> {
    let request = request(case);
    let length = length_of_answer(port, &request)?;
    let mut clients = Clients::open(port, request, length)?;
    let mut latencies = Vec::new();
    let mut schedule = Schedule::new(rate, time);
    let mut events = Vec::with_capacity(CONNECTIONS);
    while schedule.due().is_some() || clients.free.len() < CONNECTIONS {
        clients.send_what_is_due(&mut schedule)?;
        events.clear();
        let wait = schedule.due().filter(|_| !clients.free.is_empty());
        let wait = wait.map_or(PATIENCE, |due| due.saturating_duration_since(Instant::now()));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        epoll::wait(&clients.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        if events.is_empty() && wait == PATIENCE {
            bail!("{}: no answer in {PATIENCE:?}", case.name);
        }
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            latencies.extend(clients.take(index).with_context(|| format!("latency of {}", case.name))?);
        }
    }
    Ok(Percentiles { reopened: clients.reopened, ..percentiles(latencies) })
}

const PATIENCE: Duration = Duration::from_secs(5);

/// All connections, and which of them have no request under way.
struct Clients {
    port: u16,
    request: Vec<u8>,
    length: usize,
    epoll: OwnedFd,
    channels: Vec<Channel>,
    free: VecDeque<usize>,
    buffer: Vec<u8>,
    reopened: u64,
}

impl Clients {
    fn open(port: u16, request: Vec<u8>, length: usize) -> Result<Clients> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let (channels, free) = (Vec::new(), (0..CONNECTIONS).collect());
        let mut clients =
            Clients { port, request, length, epoll, channels, free, buffer: vec![0; 1 << 17], reopened: 0 };
        for index in 0..CONNECTIONS {
            let stream = clients.connect(index)?;
            clients.channels.push(Channel { stream, due: Instant::now(), missing: 0 });
        }
        Ok(clients)
    }

    fn connect(&self, index: usize) -> Result<TcpStream> {
        let stream = connect(self.port)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(stream)
    }

    fn send_what_is_due(&mut self, schedule: &mut Schedule) -> Result<()> {
        let now = Instant::now();
        while let Some(due) = schedule.due().filter(|due| *due <= now) {
            let Some(index) = self.free.pop_front() else { break };
            let channel = self.channels.get_mut(index).context("no such connection")?;
            (channel.due, channel.missing) = (due, self.length);
            // A failure shows as an event, and the request is made again then.
            let _ = channel.stream.write_all(&self.request);
            schedule.next += 1;
        }
        Ok(())
    }

    /// Reads what is there; when the answer is whole, how long it took.
    fn take(&mut self, index: usize) -> Result<Option<u64>> {
        let channel = self.channels.get_mut(index).context("an event of no connection")?;
        loop {
            match channel.stream.read(&mut self.buffer) {
                Ok(0) => return self.reopen(index),
                Ok(count) => {
                    channel.missing =
                        channel.missing.checked_sub(count).context("more than was asked for")?;
                    if channel.missing == 0 {
                        self.free.push_back(index);
                        return Ok(Some(channel.due.elapsed().as_nanos() as u64));
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return self.reopen(index),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Another connection in the place of one that was closed; the request that was under way is made again.
    fn reopen(&mut self, index: usize) -> Result<Option<u64>> {
        let mut stream = self.connect(index)?;
        let channel = self.channels.get_mut(index).context("no such connection")?;
        if channel.missing > 0 {
            stream.write_all(&self.request)?;
            channel.missing = self.length;
            self.reopened += 1;
        }
        channel.stream = stream;
        Ok(None)
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(case: &Case) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\n", case.path);
    if !case.fields.iter().any(|(name, _)| *name == "Host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in case.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// How long every answer is: head and body of the first one.
fn length_of_answer(port: u16, request: &[u8]) -> Result<usize> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(length) = whole_length(&bytes) {
            return Ok(length);
        }
        if count == 0 {
            bail!("no answer with a Content-Length");
        }
    }
}

fn whole_length(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    Some(head.len() + 4 + length.trim().parse::<usize>().ok()?)
}

fn percentiles(mut nanoseconds: Vec<u64>) -> Percentiles {
    nanoseconds.sort_unstable();
    let at = |part: f64| {
        let index = (nanoseconds.len() as f64 * part) as usize;
        let value = nanoseconds.get(index.min(nanoseconds.len().saturating_sub(1)));
        value.map_or(f64::NAN, |value| *value as f64 / 1000.0)
    };
    Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), reopened: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_thousand() {
        let all = percentiles((1..=1000).map(|n| n * 1000).collect());
        assert_eq!(all, Percentiles { p50: 501.0, p99: 991.0, p999: 1000.0, reopened: 0 });
    }

    #[test]
    fn the_length_of_an_answer_is_its_head_and_its_body() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(whole_length(head), Some(head.len() + 5));
        assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\n"), None);
    }

    #[test]
    fn a_schedule_ends() {
        let mut schedule = Schedule::new(10.0, Duration::from_secs(1));
        schedule.next = 9;
        assert_eq!(schedule.due(), Some(schedule.begun + Duration::from_millis(900)));
        schedule.next = 10;
        assert_eq!(schedule.due(), None);
    }
}
