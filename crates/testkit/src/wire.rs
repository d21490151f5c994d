//! A socket with a buffer: what client and origin have in common.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::gate::PATIENCE;
use crate::message::{Fields, Request, Response};

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One end of a connection, read and written by hand. Reads fail with `TimedOut` after the timeout
/// ([`PATIENCE`] unless set).
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).ok();
        Wire::new(Socket::Tcp(stream))
    }
}

impl From<UnixStream> for Wire {
    fn from(stream: UnixStream) -> Wire {
        Wire::new(Socket::Unix(stream))
    }
}

impl Wire {
    fn new(socket: Socket) -> Wire {
        let wire = Wire { socket, buffer: Vec::new() };
        wire.set_timeout(PATIENCE);
        wire
    }

    /// How long a read may take.
    pub fn set_timeout(&self, timeout: Duration) {
        match &self.socket {
            Socket::Tcp(s) => {
                s.set_read_timeout(Some(timeout)).and_then(|()| s.set_write_timeout(Some(timeout)))
            }
            Socket::Unix(s) => {
                s.set_read_timeout(Some(timeout)).and_then(|()| s.set_write_timeout(Some(timeout)))
            }
        }
        .expect("a timeout on a socket");
    }

    /// A second handle on the same socket, without what this one has buffered.
    pub fn twin(&self) -> io::Result<Wire> {
        Ok(Wire::new(match &self.socket {
            Socket::Tcp(s) => Socket::Tcp(s.try_clone()?),
            Socket::Unix(s) => Socket::Unix(s.try_clone()?),
        }))
    }

    /// Writes all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(s) => s.write_all(bytes.as_ref()),
            Socket::Unix(s) => s.write_all(bytes.as_ref()),
        }
    }

    /// Ends one or both directions.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(s) => s.shutdown(how),
            Socket::Unix(s) => s.shutdown(how),
        }
    }

    /// Closes with a reset instead of an orderly end (TCP only).
    pub fn reset(self) -> io::Result<()> {
        match self.socket {
            Socket::Tcp(s) => socket2::SockRef::from(&s).set_linger(Some(Duration::ZERO)),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// This end's port, if the socket has one.
    pub fn local_port(&self) -> Option<u16> {
        match &self.socket {
            Socket::Tcp(s) => s.local_addr().ok().map(|a| a.port()),
            Socket::Unix(_) => None,
        }
    }

    /// The other end's address without its port; empty for a unix socket.
    pub fn peer_ip(&self) -> String {
        match &self.socket {
            Socket::Tcp(s) => s.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default(),
            Socket::Unix(_) => String::new(),
        }
    }

    /// Reads once, at most `most` bytes; none at the end of the stream.
    pub fn read_some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill(most.max(1))?;
        }
        Ok(self.take(most.min(self.buffer.len())))
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill_more()?;
        }
        Ok(self.take(count))
    }

    /// Reads up to and including this sequence.
    pub fn read_through(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.buffer[from..], end) {
                return Ok(self.take(from + at + end.len()));
            }
            from = self.buffer.len().saturating_sub(end.len() - 1);
            self.fill_more()?;
        }
    }

    /// Reads to the end of the stream. A reset is an error; what came before it is lost.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill(64 * 1024)? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads to the end of the stream, however it ends: what came, and the error if there was one.
    pub fn read_what_comes(&mut self) -> (Vec<u8>, Option<io::Error>) {
        loop {
            match self.fill(64 * 1024) {
                Ok(0) => return (std::mem::take(&mut self.buffer), None),
                Ok(_) => {}
                Err(e) => return (std::mem::take(&mut self.buffer), Some(e)),
            }
        }
    }

    /// Reads one request with its body; `None` if the peer has closed instead of sending one.
    pub fn read_request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.read_head()? else { return Ok(None) };
        let mut request = Request::parse(&head)?;
        request.body = match request.header("transfer-encoding") {
            Some(_) => self.read_chunked()?.0,
            None => self.read_exact(request.length())?,
        };
        Ok(Some(request))
    }

    /// Reads a request's head only; its body is still to be read.
    pub fn read_request_head(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.read_head()? else { return Ok(None) };
        Request::parse(&head).map(Some)
    }

    /// Reads one response to a request with this method. An interim (1xx) response counts as one.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let Some(head) = self.read_head()? else { return Err(closed()) };
        let mut response = Response::parse(&head)?;
        if response.has_body(method) {
            if response.is_chunked() {
                (response.body, response.trailers) = self.read_chunked()?;
            } else if let Some(length) = response.header("content-length") {
                let length = length.parse().map_err(|_| bad("Content-Length"))?;
                response.body = self.read_exact(length)?;
            } else {
                response.body = self.read_to_end()?;
            }
        }
        Ok(response)
    }

    /// Reads a chunked body: the data and the trailer section.
    pub fn read_chunked(&mut self) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let line = self.read_through(b"\r\n")?;
            let size = chunk_size(&line)?;
            if size == 0 {
                break;
            }
            body.extend(self.read_exact(size)?);
            if self.read_exact(2)? != b"\r\n" {
                return Err(bad("chunk without line end"));
            }
        }
        Ok((body, self.read_trailers()?))
    }

    fn read_trailers(&mut self) -> io::Result<Fields> {
        let mut trailers = Vec::new();
        loop {
            let line = self.read_through(b"\r\n")?;
            if line == b"\r\n" {
                return Ok(trailers);
            }
            let line = String::from_utf8_lossy(&line);
            let (name, value) = line.split_once(':').ok_or_else(|| bad("trailer"))?;
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_head(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.buffer.is_empty() && self.fill(64 * 1024)? == 0 {
            return Ok(None);
        }
        self.read_through(b"\r\n\r\n").map(Some)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    fn fill_more(&mut self) -> io::Result<()> {
        match self.fill(64 * 1024)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {}", self.so_far()))),
            _ => Ok(()),
        }
    }

    fn so_far(&self) -> String {
        let shown = &self.buffer[..self.buffer.len().min(2000)];
        format!("{:?}", String::from_utf8_lossy(shown))
    }

    fn fill(&mut self, most: usize) -> io::Result<usize> {
        let had = self.buffer.len();
        self.buffer.resize(had + most, 0);
        let read = match &mut self.socket {
            Socket::Tcp(s) => s.read(&mut self.buffer[had..]),
            Socket::Unix(s) => s.read(&mut self.buffer[had..]),
        };
        self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
        read.map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => {
                io::Error::new(ErrorKind::TimedOut, format!("timed out after {}", self.so_far()))
            }
            _ => e,
        })
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let line = String::from_utf8_lossy(line);
    let digits = line.split([';', '\r']).next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16).map_err(|_| bad("chunk size"))
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed: {what}"))
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "closed before a response")
}
