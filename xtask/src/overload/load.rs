//! Clients that come whether there is room or not, and what becomes of them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use testkit::Server;

/// How long it waits after a refusal before it comes again.
const AGAIN: Duration = Duration::from_millis(100);
/// Enough for what a client does here.
const STACK: usize = 128 * 1024;

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 200
    pub ok: u64,
    /// 503 with `Retry-After`, as it should be.
    pub refused: u64,
    /// 500, and 503 without `Retry-After`
    pub failed: u64,
    /// 502 and 504
    pub gateway: u64,
    /// The connection broke before the answer was whole.
    pub broken: u64,
    /// Nothing came for as long as a client waits.
    pub silent: u64,
    /// Connections made for all of them.
    pub connections: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.ok += other.ok;
        self.refused += other.refused;
        self.failed += other.failed;
        self.gateway += other.gateway;
        self.broken += other.broken;
        self.silent += other.silent;
        self.connections += other.connections;
    }
}

impl Outcome {
    /// Counts an answer (its status, and whether it has `Retry-After`), or what came instead.
    pub fn note(&mut self, answer: Result<(u16, bool), ErrorKind>) {
        let place = match answer {
            Ok((200, _)) => &mut self.ok,
            Ok((503, true)) => &mut self.refused,
            Ok((502 | 504, _)) => &mut self.gateway,
            Ok(_) => &mut self.failed,
            Err(kind) if is_late(kind) => &mut self.silent,
            Err(_) => &mut self.broken,
        };
        *place += 1;
    }
}

struct Answer {
    status: u16,
    retry: bool,
    lasts: bool,
}

/// What so many clients do.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Whom they ask.
    pub server: &'a Server,
    /// At which of its ports.
    pub port: u16,
    /// How many at once.
    pub clients: usize,
    /// For what.
    pub target: &'a str,
    /// For how long; every client asks at least once.
    pub time: Duration,
    /// How long each waits for anything.
    pub patience: Duration,
    /// Whether they keep their connection where they may.
    pub keep_alive: bool,
}

impl Load<'_> {
    /// Lets them come.
    pub fn run(&self) -> Outcome {
        let until = Instant::now() + self.time;
        let mut all = Outcome::default();
        std::thread::scope(|scope| {
            let client = || self.client(until);
            let spawn = |_| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, client).ok();
            let threads: Vec<_> = (0..self.clients).filter_map(spawn).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).for_each(|outcome| all += outcome);
        });
        all
    }
    fn client(&self, until: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let mut connection = None;
        loop {
            let answer = self.ask(&mut connection, &mut outcome.connections);
            outcome.note(answer.as_ref().map(|a| (a.status, a.retry)).map_err(io::Error::kind));
            if !answer.as_ref().is_ok_and(|answer| answer.lasts) {
                connection = None;
            }
            if Instant::now() >= until {
                return outcome;
            }
            if !answer.is_ok_and(|answer| answer.status == 200) {
                std::thread::sleep(AGAIN);
            }
        }
    }
    /// Asks. That a connection at rest was closed when the request came is no answer to it: as every client, it tries again
    /// over a new one.
    fn ask(&self, connection: &mut Option<TcpStream>, connections: &mut u64) -> io::Result<Answer> {
        let kept = connection.is_some();
        match self.ask_over(connection, connections) {
            Err(error) if kept && !is_late(error.kind()) => {
                *connection = None;
                self.ask_over(connection, connections)
            }
            answer => answer,
        }
    }
    fn ask_over(&self, connection: &mut Option<TcpStream>, connections: &mut u64) -> io::Result<Answer> {
        let stream = match connection {
            Some(stream) => stream,
            None => {
                *connections += 1;
                connection.insert(self.connect()?)
            }
        };
        let close = if self.keep_alive { "" } else { "Connection: close\r\n" };
        write!(stream, "GET {} HTTP/1.1\r\nHost: a\r\n{close}\r\n", self.target)?;
        read(stream)
    }
    fn connect(&self) -> io::Result<TcpStream> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let stream = TcpStream::connect_timeout(&address, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One answer with its body, which has a length.
fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut part = [0; 8192];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut bytes, &mut part)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = field("content-length:").and_then(|n| n.parse().ok()).unwrap_or(0);
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let answer = Answer {
        status,
        retry: field("retry-after:").is_some(),
        lasts: field("connection:") != Some("close"),
    };
    while bytes.len() < end + length {
        more(stream, &mut bytes, &mut part)?;
    }
    Ok(answer)
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, part: &mut [u8]) -> io::Result<()> {
    match stream.read(part)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        n => {
            bytes.extend_from_slice(&part[..n]);
            Ok(())
        }
    }
}
