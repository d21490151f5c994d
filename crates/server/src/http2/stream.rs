//! One stream, as a request sees its client: a body to read, an answer to write.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::conversation::Conversation;
use super::deadline::Deadline;

/// One stream of a connection.
pub struct Stream {
    conversation: Rc<Conversation>,
    id: u32,
    /// The request's body, unless somebody else reads it.
    inlet: Option<Inlet>,
    out: RefCell<Out>,
    /// Bytes of the answer's body still to come, where its head says how many.
    left: Option<u64>,
    /// The most that goes out in one frame.
    chunk: usize,
    deadline: Deadline,
    /// The client cancelled the stream.
    canceled: Cell<Option<Reason>>,
}

/// How far the answer is.
enum Out {
    /// Nothing is sent.
    Head(SendResponse<Bytes>),
    /// The head is sent.
    Body(SendStream<Bytes>),
    /// All is sent.
    Ended,
}

impl Stream {
    /// A stream whose head was read.
    pub fn new(conversation: Rc<Conversation>, body: RecvStream, answer: SendResponse<Bytes>) -> Stream {
        Stream {
            id: answer.stream_id().into(),
            deadline: Deadline::new(conversation.thread.handle.clone()),
            inlet: Some(Inlet { conversation: conversation.clone(), body }),
            conversation,
            out: RefCell::new(Out::Head(answer)),
            left: None,
            chunk: usize::MAX,
            canceled: Cell::new(None),
        }
    }
    /// What the kernel knows of the connection.
    pub fn tcp_information(&self) -> Option<sys::net::TcpInfo> {
        self.conversation.tcp_information()
    }
    /// Until when reads and writes may wait.
    pub fn set_deadline(&self, until: Option<Instant>) {
        self.deadline.set(until);
    }
    /// Whether the client sent all of its request.
    pub fn is_body_complete(&self) -> bool {
        self.inlet.as_ref().is_none_or(|inlet| inlet.body.is_end_stream())
    }
    /// The request's body, for somebody who reads it while the answer goes out.
    pub fn take_inlet(&mut self) -> Option<Inlet> {
        self.inlet.take()
    }
    /// Bytes of a head that are not the frames around it.
    pub fn add_payload(&self, bytes: usize) {
        self.conversation.add_payload(bytes);
    }
    /// Appends what came of the request's body; 0 at its end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let Some(inlet) = &mut self.inlet else { return Poll::Ready(Ok(0)) };
        match inlet.poll_next(cx) {
            Poll::Pending => self.deadline.poll(cx).map(Err),
            Poll::Ready(Ok(data)) => {
                self.deadline.stop_waiting();
                into.extend_from_slice(&data);
                Poll::Ready(Ok(data.len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fault(error))),
        }
    }
    /// Sends a head before the answer's: 103 Early Hints.
    pub fn send_hints(&mut self, head: http::Response<()>) -> io::Result<()> {
        let Out::Head(answer) = self.out.get_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        answer.send_informational(head).map_err(|error| self.fault(error))
    }
    /// Sends the head; `length` is the body's, where it is known and nothing follows it. Frames hold `chunk` bytes at
    /// most.
    pub fn send_head(
        &mut self,
        head: http::Response<()>,
        end: bool,
        length: Option<u64>,
        chunk: usize,
    ) -> io::Result<()> {
        (self.left, self.chunk) = (length, chunk);
        let out = self.out.get_mut();
        let Out::Head(answer) = out else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = answer.send_response(head, end);
        match sent {
            Ok(_) if end => *out = Out::Ended,
            Ok(body) => *out = Out::Body(body),
            Err(error) => return Err(self.fault(error)),
        }
        Ok(())
    }
    /// Hands over what the client's window allows, waiting until it allows something.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.chunk);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let Out::Body(body) = self.out.get_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let room = match poll_room(body, cx, wanted) {
            Poll::Pending => return self.deadline.poll(cx).map(Err),
            Poll::Ready(Ok(room)) => room.min(wanted),
            Poll::Ready(Err(error)) => {
                // Why there is no room any more.
                let _ = self.poll_closed(cx);
                return Poll::Ready(Err(self.fault(error)));
            }
        };
        self.deadline.stop_waiting();
        let end = self.left == Some(room as u64);
        let sent = body.send_data(gather(slices, room), end);
        if let Err(error) = sent {
            return Poll::Ready(Err(self.fault(error)));
        }
        self.left = self.left.map(|left| left.saturating_sub(room as u64));
        if end {
            *self.out.get_mut() = Out::Ended;
        }
        Poll::Ready(Ok(room))
    }
    /// The answer is complete, but for these fields behind its body.
    pub fn finish(&mut self, trailers: Option<http::HeaderMap>) -> io::Result<()> {
        match std::mem::replace(self.out.get_mut(), Out::Ended) {
            Out::Body(mut body) => {
                let sent = match trailers {
                    Some(trailers) => body.send_trailers(trailers),
                    None => body.send_data(Bytes::new(), true),
                };
                sent.map_err(|error| self.fault(error))
            }
            Out::Ended => Ok(()),
            head @ Out::Head(_) => {
                *self.out.get_mut() = head;
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
    /// Ready when the client cancelled the stream, or is gone.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let gone = match &mut *self.out.borrow_mut() {
            Out::Head(answer) => ready!(answer.poll_reset(cx)),
            Out::Body(body) => ready!(body.poll_reset(cx)),
            Out::Ended => return Poll::Pending,
        };
        if let Ok(reason) = gone {
            self.canceled.set(Some(reason));
        }
        Poll::Ready(())
    }
    /// What the log says of a client that ended the stream.
    pub fn cancellation(&self) -> Option<String> {
        let id = self.id;
        self.canceled.get().map(|reason| match reason {
            Reason::CANCEL => format!("client canceled stream {id}"),
            Reason::INTERNAL_ERROR => format!("client terminated stream {id} due to internal error"),
            reason => format!("client terminated stream {id} with status {}", u32::from(reason)),
        })
    }
    fn fault(&self, error: h2::Error) -> io::Error {
        if error.is_remote()
            && let Some(reason) = error.reason()
        {
            self.canceled.set(Some(reason));
        }
        match error.is_io() {
            true => error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()),
            false => io::Error::new(io::ErrorKind::ConnectionAborted, error),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self.out.get_mut() {
            Out::Head(answer) => answer.send_reset(Reason::INTERNAL_ERROR),
            Out::Body(body) => body.send_reset(Reason::INTERNAL_ERROR),
            Out::Ended => {}
        }
        self.conversation.stream_ended(self.canceled.get().is_some());
    }
}

/// The body of one stream's request.
pub struct Inlet {
    conversation: Rc<Conversation>,
    body: RecvStream,
}
impl Inlet {
    /// What came; nothing at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, h2::Error>> {
        loop {
            let Some(data) = ready!(self.body.poll_data(cx)).transpose()? else {
                return Poll::Ready(Ok(Bytes::new()));
            };
            // Fails only where the stream is over; then there is nothing to be released.
            let _ = self.body.flow_control().release_capacity(data.len());
            if !data.is_empty() {
                self.conversation.add_payload(data.len());
                return Poll::Ready(Ok(data));
            }
        }
    }
}

/// How many bytes the windows allow, `wanted` at most.
pub fn poll_room(
    body: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<Result<usize, h2::Error>> {
    body.reserve_capacity(wanted);
    while body.capacity() == 0 {
        match ready!(body.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(error)),
            // The stream ended meanwhile; why, says the next call.
            None => return Poll::Ready(Err(Reason::CANCEL.into())),
        }
    }
    Poll::Ready(Ok(body.capacity()))
}

fn gather(slices: &[IoSlice<'_>], most: usize) -> Bytes {
    let mut data = Vec::with_capacity(most);
    for slice in slices {
        let left = most - data.len();
        data.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    data.into()
}
