//! A client's connection, plain or TLS, with just enough HTTP to tell a whole answer from a lost one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use doctor::probe::tls::{self, Tls};

/// Longer than any answer may take; what takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// A worker that leaves gives an idle connection so long for one more request.
const LAST_CHANCE: Duration = Duration::from_millis(500);

enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls<TcpStream>>),
}

/// A connection.
pub struct Talk {
    stream: Stream,
    buffer: Vec<u8>,
    /// When something was sent last.
    sent: Instant,
    /// The last answer is complete, and no request has begun since.
    rests: bool,
    /// The request came so late that the server may have closed before it, and nothing of its answer has come.
    late: bool,
}

/// What is in the head of an answer.
pub struct Head {
    pub status: u16,
    pub length: usize,
    /// The server closes after it.
    pub close: bool,
}

impl Talk {
    pub fn plain(port: u16) -> io::Result<Talk> {
        Ok(Talk::over(Stream::Plain(connect(port)?)))
    }

    pub fn tls(port: u16) -> io::Result<Talk> {
        let stream = tls::over(connect(port)?, "localhost")?;
        Ok(Talk::over(Stream::Tls(Box::new(stream))))
    }

    fn over(stream: Stream) -> Talk {
        Talk { stream, buffer: Vec::new(), sent: Instant::now(), rests: false, late: false }
    }

    /// Whether an error means that the server closed an idle connection while a client that was slow, as on a busy
    /// machine, sent its next request: nothing is lost, every client asks once more then (RFC 9112 9.3.1).
    pub fn overslept(&self, error: &io::Error) -> bool {
        let closed = [ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        self.late && closed.contains(&error.kind())
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.rests) {
            // The last answer came after the last request was sent, so the server has waited no longer than this.
            self.late = self.sent.elapsed() >= LAST_CHANCE;
        }
        self.sent = Instant::now();
        match &mut self.stream {
            Stream::Plain(s) => s.write_all(bytes),
            Stream::Tls(s) => s.write_all(bytes).and_then(|()| s.flush()),
        }
    }

    /// The head of an answer.
    pub fn head(&mut self) -> io::Result<Head> {
        let end = loop {
            match self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.fill(16 * 1024)?,
            };
        };
        let head = String::from_utf8_lossy(&self.take(end)).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad(&head))?;
        let length = field("content-length:").map_or(Ok(0), str::parse).map_err(bad)?;
        Ok(Head { status, length, close: field("connection:") == Some("close") })
    }

    /// Some bytes of what comes, as they come.
    pub fn some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill(most)?;
        }
        Ok(self.take(most.min(self.buffer.len())))
    }

    /// A body of this length.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill(64 * 1024)?;
        }
        Ok(self.take(length))
    }

    /// A whole answer with status 200: its body, and whether the server closes.
    pub fn answer(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let head = self.head()?;
        let body = self.exactly(head.length)?;
        self.rest();
        match head.status {
            200 => Ok((body, head.close)),
            status => Err(bad(format!("status {status}"))),
        }
    }

    /// What was asked for has come.
    pub fn rest(&mut self) {
        self.rests = true;
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    fn fill(&mut self, most: usize) -> io::Result<()> {
        let had = self.buffer.len();
        self.buffer.resize(had + most, 0);
        let read = match &mut self.stream {
            Stream::Plain(s) => s.read(&mut self.buffer[had..]),
            Stream::Tls(s) => s.read(&mut self.buffer[had..]),
        };
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        self.late &= !matches!(read, Ok(1..));
        match read? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {had} bytes"))),
            _ => Ok(()),
        }
    }
}

/// What was received is not what was awaited.
pub fn bad(what: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .map_err(|e| io::Error::new(e.kind(), format!("connecting: {e}")))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
