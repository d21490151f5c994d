//! A request's body on its way to the server, while the answer may be coming already.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::super::failure::{During, Failure};
use super::super::protocol::{Message, Payload};
use crate::http::request::Request;
use crate::http2::deadline::Deadline;
use crate::http2::stream::Inlet;
use crate::upstream::Place;
use crate::worker::thread::Thread;

/// What a file is read in.
const PART: u64 = 32 * 1024;
/// So much of a body is kept until the answer begins, in case that the server has not begun with the request.
const KEPT: u64 = 64 * 1024;

/// Where a body comes from.
pub enum Source {
    /// All of it is in the part.
    Memory,
    /// A file, from here to there.
    File(File, u64, u64),
    /// A client of HTTP/2, as it comes.
    Client(Client),
    /// A client of HTTP/1: whoever waits for the answer's head feeds it, until it is `ended`.
    Fed { ended: bool },
}

/// A client that sends a body.
pub struct Client {
    inlet: Inlet,
    deadline: Deadline,
    timeout: Duration,
    /// How long it says it is.
    length: Option<u64>,
    /// `client_max_body_size`; 0 for none.
    limit: u64,
}

/// See the module.
pub struct Upload {
    /// Everything is handed over.
    done: bool,
    part: Bytes,
    source: Source,
    /// What was handed over, while that is not much.
    kept: Option<Vec<Bytes>>,
    deadline: Deadline,
    timeout: Duration,
    /// Bytes handed over.
    pub sent: u64,
}

impl Source {
    /// The body of a request; `given` is one that the configuration gives. And what is there of it.
    ///
    /// # Errors
    /// When a file cannot be held open a second time.
    pub fn of(request: &mut Request, message: &Message, given: &[u8]) -> io::Result<(Source, Bytes)> {
        match message.payload {
            Payload::Nothing => Ok((Source::Memory, Bytes::copy_from_slice(given))),
            Payload::Whole => {
                let memory = Bytes::copy_from_slice(&request.body.memory);
                match &request.body.file {
                    Some(file) => Ok((Source::File(file.try_clone()?, 0, request.body.read), memory)),
                    None => Ok((Source::Memory, memory)),
                }
            }
            Payload::Stream if !request.client.is_stream() => {
                Ok((Source::Fed { ended: false }, Bytes::new()))
            }
            Payload::Stream => {
                let timeout = request.plan().core.client_body.timeout;
                let deadline = Deadline::new(request.thread.handle.clone());
                let limit = request.body.limit;
                let length = match request.body.framing {
                    wire::Framing::Length(length) => Some(length),
                    _ => None,
                };
                let inlet = request.client.stream()?.take_inlet();
                request.body.complete = true;
                let client = |inlet| Source::Client(Client { inlet, deadline, timeout, length, limit });
                Ok((inlet.map_or(Source::Memory, client), Bytes::new()))
            }
        }
    }
    /// Whether nothing follows what is there already.
    pub fn is_empty(&self) -> bool {
        match self {
            Source::Memory => true,
            Source::File(_, from, to) => from == to,
            Source::Client(_) => false,
            Source::Fed { ended } => *ended,
        }
    }
    /// More of it; nothing at its end.
    fn poll_next(&mut self, cx: &mut Context<'_>, before: u64) -> Poll<Result<Bytes, Failure>> {
        match self {
            Source::Memory => Poll::Ready(Ok(Bytes::new())),
            Source::File(file, from, to) => {
                let mut part = vec![0; (*to - *from).min(PART) as usize];
                let read = file.read_exact_at(&mut part, *from);
                *from += part.len() as u64;
                Poll::Ready(read.map(|()| part.into()).map_err(Failure::Send))
            }
            Source::Client(client) => client.poll_next(cx, before),
            Source::Fed { ended: true } => Poll::Ready(Ok(Bytes::new())),
            Source::Fed { ended: false } => Poll::Pending,
        }
    }
}

impl Client {
    fn poll_next(&mut self, cx: &mut Context<'_>, before: u64) -> Poll<Result<Bytes, Failure>> {
        let came = match self.inlet.poll_next(cx) {
            Poll::Ready(came) => came,
            Poll::Pending => {
                ready!(self.deadline.poll_within(cx, self.timeout));
                let what = "client timed out (110: Connection timed out)".into();
                return Poll::Ready(Err(Failure::ClientBody(what, 408)));
            }
        };
        self.deadline.stop_waiting();
        let so_far = before + came.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let ended = came.as_ref().is_ok_and(Bytes::is_empty);
        if let Some(length) = self.length.filter(|length| so_far > *length || (ended && so_far < *length)) {
            let what = match ended {
                true => format!(
                    "client prematurely closed stream: only {so_far} out of {length} bytes of request body received"
                ),
                false => "client intended to send body data larger than declared".into(),
            };
            return Poll::Ready(Err(Failure::ClientBody(what, 400)));
        }
        Poll::Ready(match came {
            Ok(bytes) if self.limit != 0 && before + bytes.len() as u64 > self.limit => {
                let what = format!(
                    "client intended to send too large chunked body: {} bytes",
                    before + bytes.len() as u64
                );
                Err(Failure::ClientBody(what, 413))
            }
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(Failure::ClientGone(During::Sending)),
        })
    }
}

impl Upload {
    /// Begins with what is there; with nothing where the request is `done` with its head.
    pub fn new(thread: &Thread, done: bool, (source, part): (Source, Bytes), timeout: Duration) -> Upload {
        let deadline = Deadline::new(thread.handle.clone());
        Upload { done, part, source, kept: Some(Vec::new()), deadline, timeout, sent: 0 }
    }
    /// The answer begins: nothing is sent a second time.
    pub fn forget(&mut self) {
        self.kept = None;
    }
    /// The whole body, for another try; `None`: there was too much of it.
    pub fn rewind(self) -> Option<(Source, Bytes)> {
        let mut parts = self.kept?;
        parts.push(self.part);
        Some((self.source, parts.concat().into()))
    }
    /// Whether everything is handed over.
    pub fn is_done(&self) -> bool {
        self.done
    }
    /// Whether more of the body is to be fed to it.
    pub fn is_hungry(&self) -> bool {
        self.is_fed() && self.part.is_empty()
    }
    /// The rest of the body, which was gathered.
    pub fn feed_rest(&mut self, request: &Request) -> io::Result<()> {
        self.part = [&self.part[..], &request.body.memory].concat().into();
        self.source = match &request.body.file {
            Some(file) => Source::File(file.try_clone()?, 0, file.metadata()?.len()),
            None => Source::Fed { ended: true },
        };
        Ok(())
    }
    /// Whether a client of HTTP/1 has more of it.
    pub fn is_fed(&self) -> bool {
        !self.done && matches!(self.source, Source::Fed { ended: false })
    }
    /// More of the body, or its last.
    pub fn feed(&mut self, part: Vec<u8>, ended: bool) {
        self.part = part.into();
        self.source = Source::Fed { ended };
    }
    /// Hands over what there is and what the server's window allows; ready when that was all.
    pub fn poll(&mut self, cx: &mut Context<'_>, to: &Place) -> Poll<Result<(), Failure>> {
        while !self.done {
            if self.part.is_empty() && !self.source.is_empty() {
                self.part = match ready!(self.source.poll_next(cx, self.sent)) {
                    // Whoever answers the client finds that, too.
                    Err(Failure::ClientGone(_)) => {
                        self.done = true;
                        break;
                    }
                    part => part?,
                };
            }
            let wanted = self.part.len();
            if wanted == 0 {
                to.send(&[], true);
                self.done = true;
                break;
            }
            let room = match to.poll_room(cx, wanted) {
                // What became of the stream tells who reads the answer.
                Poll::Ready(0) => {
                    self.done = true;
                    break;
                }
                Poll::Ready(room) => room,
                Poll::Pending => {
                    ready!(self.deadline.poll_within(cx, self.timeout));
                    return Poll::Ready(Err(Failure::SendTimeout));
                }
            };
            self.deadline.stop_waiting();
            let last = room == wanted && self.source.is_empty();
            self.sent += room as u64;
            let part = self.part.split_to(room);
            to.send(&part, last);
            self.done = last;
            match &mut self.kept {
                Some(kept) if self.sent <= KEPT => kept.push(part),
                kept => *kept = None,
            }
        }
        Poll::Ready(Ok(()))
    }
}
