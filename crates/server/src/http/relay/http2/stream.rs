//! One request and its answer on a connection that may have others.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use frames::Fault;

use super::super::failure::Failure;
use super::super::protocol::BadHead;
use super::Body;
use super::upload::Upload;
use crate::http2::deadline::Deadline;
use crate::upstream::Place;

/// What nginx says of an answer that is shorter than its head.
const SHORT: &str = "upstream prematurely closed stream";

/// See the module.
pub struct Stream {
    upload: Upload,
    /// The head of the final answer is here.
    has_head: bool,
    /// Bytes of the body still to come, where the head says how many.
    left: Option<u64>,
    /// How long the server may take for each piece.
    timeout: Duration,
    deadline: Deadline,
    /// The connection served others before.
    pub reused: bool,
    /// Dropped last: with it the connection may go to rest.
    place: Place,
}

impl Stream {
    /// A request whose head is sent.
    pub fn new(upload: Upload, deadline: (Deadline, Duration), place: Place) -> Stream {
        let (deadline, timeout) = deadline;
        Stream { upload, has_head: false, left: None, timeout, deadline, reused: false, place }
    }
    /// Bytes of the request's body that were sent.
    pub fn sent(&self) -> u64 {
        self.upload.sent
    }
    /// Whether the head of the final answer is here.
    pub fn has_head(&self) -> bool {
        self.has_head
    }
    /// The request's body on its way.
    pub fn upload(&mut self) -> &mut Upload {
        &mut self.upload
    }
    /// The request's body, to be sent to another server; `None`: that cannot be.
    pub fn rewind(self) -> Option<Body> {
        self.upload.rewind()
    }
    /// How long the body has to be.
    pub fn expect(&mut self, length: Option<u64>) {
        self.left = length;
    }
    /// Whether the answer ended with its head.
    pub fn is_end(&self) -> bool {
        self.has_head && self.place.is_end()
    }
    /// What is wrong with an answer that ends here.
    pub fn wrong_at_end(&self) -> Option<&'static str> {
        self.left.is_some_and(|left| left > 0).then_some(SHORT)
    }
    /// Appends the head of an interim answer, or of the final one, which `true` says.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, text: &mut Vec<u8>) -> Poll<Result<bool, Failure>> {
        self.send(cx)?;
        match self.place.poll_head(cx, text) {
            Poll::Ready(Ok(is_final)) => {
                self.deadline.stop_waiting();
                self.upload.forget();
                self.has_head = is_final;
                Poll::Ready(Ok(is_final))
            }
            Poll::Ready(Err(fault)) => Poll::Ready(Err(self.failure(fault))),
            // The server has to answer only when it has the question.
            Poll::Pending if !self.upload.is_done() => Poll::Pending,
            Poll::Pending => self.late(cx),
        }
    }
    /// Gives what came of the body in exchange for an empty buffer, which it stays at the body's end; then what stands
    /// behind it is in `trailers`.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        trailers: &mut Vec<u8>,
    ) -> Poll<Result<(), Failure>> {
        self.send(cx)?;
        let Poll::Ready(came) = self.place.poll_body(cx, into, trailers) else { return self.late(cx) };
        self.deadline.stop_waiting();
        came.map_err(|fault| self.failure(fault))?;
        let wrong = match &mut self.left {
            Some(left) if (into.len() as u64) > *left => {
                self.place.wear_out();
                Some("upstream sent response body larger than indicated content length")
            }
            Some(left) => {
                *left -= into.len() as u64;
                self.wrong_at_end().filter(|_| into.is_empty())
            }
            None => None,
        };
        Poll::Ready(wrong.map_or(Ok(()), |what| Err(framing(what))))
    }
    /// Sends more of the request, whatever else goes on.
    pub fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.upload.poll(cx, &self.place) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }
    fn late<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        ready!(self.deadline.poll_within(cx, self.timeout));
        // The connection may be dead: others are not to wait for the same.
        self.place.wear_out();
        Poll::Ready(Err(Failure::ReceiveTimeout))
    }
    /// What becomes of a stream that broke.
    fn failure(&self, fault: Fault) -> Failure {
        let rejected = |code| format!("upstream rejected request with error {code}");
        match fault {
            Fault::Broken(what) => framing(what),
            Fault::Reset(code) => framing(rejected(code)),
            Fault::Refused(code) => Failure::Unprocessed(rejected(code)),
            Fault::Goodbye(code) => Failure::Unprocessed(format!("upstream sent goaway with error {code}")),
            Fault::Gone => match self.place.error() {
                Some(error) if !is_closed(&error) => Failure::Receive(error),
                _ => Failure::Closed,
            },
        }
    }
}

fn framing(what: impl Into<String>) -> Failure {
    Failure::Invalid(BadHead::Framing(what.into()))
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected
    )
}
