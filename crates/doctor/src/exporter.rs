//! `--listen`: metrics for Prometheus of a server that has none of its own. Each scrape is a look.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::diagnose::diagnose;
use crate::logs::Follower;
use crate::logs::cause::Cause;
use crate::logs::error::Event;
use crate::probe::{self, Wanted};
use crate::report::metrics::metrics;

/// Whoever asks has so long to say what.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than Prometheus sends.
const HEAD: usize = 16 << 10;
/// Connections at a time; more are closed.
const MOST: usize = 16;
/// What a log said longer ago is no finding any more.
const RECENT: Duration = Duration::from_secs(300);
/// How long counters are watched for one scrape, where nothing else is said.
const WATCH: Duration = Duration::from_millis(200);

/// Serves until it is interrupted.
pub(crate) fn serve(address: &str, wanted: &Wanted) -> Result<u8, String> {
    let failed = |error: io::Error| format!("--listen {address}: {error}");
    let listener = TcpListener::bind(full(address)?).map_err(failed)?;
    eprintln!("metrics at http://{}/metrics", listener.local_addr().map_err(failed)?);
    let wanted = Wanted { watch: wanted.watch.min(WATCH), ..wanted.clone() };
    let mut looker = Looker { wanted, follower: Follower::from_now(), counts: HashMap::new() };
    // From here on lines are counted.
    looker.metrics();
    let looker = Arc::new(Mutex::new(looker));
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept() else {
            // Without descriptors there is nobody to hear of it.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (looker, open) = (looker.clone(), open.clone());
        std::thread::spawn(move || {
            // Whoever does not listen any more has seen enough.
            let _ = answer(client, &looker);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// What one scrape has from those before it.
struct Looker {
    wanted: Wanted,
    follower: Follower,
    /// How often each cause was seen, and when that last grew.
    counts: HashMap<Cause, (u64, Instant)>,
}

impl Looker {
    fn metrics(&mut self) -> String {
        let facts = probe::look_again(&self.wanted, &mut self.follower);
        let mut recent = facts.clone();
        recent.events.events.retain(|event| self.is_recent(event));
        metrics(&facts, &diagnose(&recent))
    }

    /// By our own clock: that of the log may be another's.
    fn is_recent(&mut self, event: &Event) -> bool {
        let now = Instant::now();
        let known = self.counts.entry(event.cause).or_insert((0, now));
        if event.count > known.0 {
            *known = (event.count, now);
        }
        now.saturating_duration_since(known.1) < RECENT
    }
}

/// `9113` and `:9113` are ports of this machine alone.
fn full(address: &str) -> Result<SocketAddr, String> {
    let port = address.strip_prefix(':').unwrap_or(address);
    let text = if port.parse::<u16>().is_ok() { format!("127.0.0.1:{port}") } else { address.to_owned() };
    text.parse().map_err(|_| format!("--listen needs an address such as 127.0.0.1:9113, not \"{address}\""))
}

fn answer(mut client: TcpStream, looker: &Mutex<Looker>) -> io::Result<()> {
    let head = head(&mut client)?;
    let (status, text) = match target(&head) {
        Some("/metrics") => {
            let mut looker = looker.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", looker.metrics())
        }
        Some(_) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        None => ("400 Bad Request", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    client.set_write_timeout(Some(PATIENCE))?;
    client.write_all(&[head.as_bytes(), text.as_bytes()].concat())
}

/// Up to the empty line.
fn head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let (mut head, mut part) = (Vec::new(), [0; 2048]);
    while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > HEAD {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => head.extend_from_slice(&part[..n]),
        }
    }
    Ok(head)
}

/// The path of a GET, without arguments.
fn target(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?;
    rest.split([' ', '?']).next().filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Blocks;
    use crate::logs::error::{Scanner, Window};

    #[test]
    fn what_happened_long_ago_is_no_finding() {
        let mut scanner = Scanner::new(Window::default());
        let line = b"2026/06/27 18:05:51 [alert] 7#7: 1024 worker_connections are not enough\n";
        assert!(scanner.read("log", &mut Blocks::new(line.as_slice())).is_ok());
        let event = scanner.finish().events.remove(0);
        let counts = HashMap::new();
        let mut looker = Looker { wanted: Wanted::default(), follower: Follower::from_now(), counts };
        assert!(looker.is_recent(&event));
        let Some(long_ago) = Instant::now().checked_sub(RECENT) else { return };
        looker.counts.insert(event.cause, (1, long_ago));
        assert!(!looker.is_recent(&event));
        assert!(looker.is_recent(&Event { count: 2, ..event }));
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(target(b"GET /metrics?x HTTP/1.1\r\nHost: a\r\n\r\n"), Some("/metrics"));
        assert_eq!(
            (target(b"POST / HTTP/1.1\r\n\r\n"), target(b"\xff\r\n"), target(b"GET x\r\n")),
            (None, None, None)
        );
        assert_eq!(full("9113").map(|address| address.to_string()).as_deref(), Ok("127.0.0.1:9113"));
        assert!(full("[::1]:1").is_ok() && full("somewhere").is_err());
    }
}
