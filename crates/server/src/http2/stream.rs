//! One stream, as a request sees its client: a body to read, an answer to write.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use frames::code;

use super::conversation::{Conversation, ending};
use super::deadline::Deadline;
use super::flow::Flow;

/// One stream of a connection.
pub struct Stream {
    conversation: Rc<Conversation>,
    flow: Rc<Flow>,
    /// Somebody else reads the request's body.
    inlet_taken: bool,
    /// The answer's head is sent.
    head_sent: bool,
    /// Bytes of the answer's body still to come, where its head says how many.
    left: Option<u64>,
    /// The most that goes out in one frame.
    chunk: usize,
    deadline: Deadline,
    timed_out: Cell<bool>,
}

fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Stream {
    /// A stream whose head was read.
    pub fn new(conversation: Rc<Conversation>, flow: Rc<Flow>) -> Stream {
        Stream {
            deadline: Deadline::new(conversation.thread.handle.clone()),
            conversation,
            flow,
            inlet_taken: false,
            head_sent: false,
            left: None,
            chunk: usize::MAX,
            timed_out: Cell::new(false),
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
    /// Whether more than the head was to come, also if it turns out to be nothing.
    pub fn has_body(&self) -> bool {
        self.flow.has_body
    }
    /// The request's body, for somebody who reads it while the answer goes out.
    pub fn take_inlet(&mut self) -> Option<Inlet> {
        let taken = std::mem::replace(&mut self.inlet_taken, true);
        (!taken).then(|| Inlet { conversation: self.conversation.clone(), flow: self.flow.clone() })
    }
    /// Bytes of a head that are not the frames around it.
    pub fn add_payload(&self, bytes: usize) {
        self.conversation.add_payload(bytes);
    }
    /// Appends what came of the request's body; 0 at its end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if self.inlet_taken {
            return Poll::Ready(Ok(0));
        }
        let before = into.len();
        match poll_body(&self.conversation, &self.flow, cx, |body| into.extend_from_slice(body)) {
            Poll::Pending => self.late(cx).map(Err),
            Poll::Ready(Ok(())) => {
                self.deadline.stop_waiting();
                Poll::Ready(Ok(into.len() - before))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
    fn late(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let late = self.deadline.poll(cx);
        self.timed_out.set(late.is_ready());
        late
    }
    /// Sends a head before the answer's: 103 Early Hints.
    pub fn send_hints(&mut self, block: &[u8]) -> io::Result<usize> {
        match self.head_sent || self.flow.over.get() {
            true => Err(aborted()),
            false => Ok(self.conversation.put_block(&self.flow, block, false)),
        }
    }
    /// Sends the head; `length` is the body's, where it is known and nothing follows it. Frames hold `chunk` bytes at
    /// most. Says how many bytes the head took.
    pub fn send_head(
        &mut self,
        block: &[u8],
        end: bool,
        length: Option<u64>,
        chunk: usize,
    ) -> io::Result<usize> {
        (self.left, self.chunk) = (length, chunk);
        if std::mem::replace(&mut self.head_sent, true) || self.flow.over.get() {
            return Err(aborted());
        }
        Ok(self.conversation.put_block(&self.flow, block, end))
    }
    /// Hands over what the client's window allows, waiting until it allows something.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.chunk);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let flow = &*self.flow;
        if flow.over.get() || flow.out_closed.get() || !self.head_sent {
            return Poll::Ready(Err(aborted()));
        }
        let room = self.conversation.room(flow, wanted);
        if room == 0 {
            flow.wait(cx);
            return self.late(cx).map(Err);
        }
        self.deadline.stop_waiting();
        let end = self.left == Some(room as u64);
        self.conversation.put_data(flow, slices, room, end);
        self.left = self.left.map(|left| left.saturating_sub(room as u64));
        Poll::Ready(Ok(room))
    }
    /// The answer is complete, but for these fields behind its body.
    pub fn finish(&mut self, trailers: Option<&[u8]>) -> io::Result<()> {
        let flow = &*self.flow;
        if flow.out_closed.get() {
            return Ok(());
        }
        if flow.over.get() || !self.head_sent {
            return Err(aborted());
        }
        match trailers {
            Some(block) => drop(self.conversation.put_block(flow, block, true)),
            None => self.conversation.put_data(flow, &[], 0, true),
        }
        Ok(())
    }
    /// Ready when the client cancelled the stream, or is gone.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.flow.over.get() {
            return Poll::Ready(());
        }
        self.flow.wait(cx);
        Poll::Pending
    }
    /// Who serves it wants to say nothing: the client is told so by the code of who let time pass, as by nginx.
    pub fn end_hard(&self) {
        self.timed_out.set(true);
    }
    /// What the log says of a client that ended the stream.
    pub fn cancellation(&self) -> Option<String> {
        let id = self.flow.id;
        self.flow.reset.get().map(|reason| match reason {
            code::CANCEL => format!("client canceled stream {id}"),
            code::INTERNAL_ERROR => format!("client terminated stream {id} due to internal error"),
            reason => format!("client terminated stream {id} with status {reason}"),
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(code) = ending(&self.flow, self.timed_out.get()) {
            self.conversation.put_reset(self.flow.id, code);
        }
        self.flow.over.set(true);
        self.conversation.thread.give_buffer(self.flow.body.take());
        self.conversation.stream_ended(&self.flow);
    }
}

/// What came of a body: given to `take`, nothing at its end.
fn poll_body(
    conversation: &Conversation,
    flow: &Flow,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<()>> {
    let mut body = flow.body.borrow_mut();
    if !body.is_empty() {
        take(&body);
        conversation.thread.give_buffer(std::mem::take(&mut body));
        conversation.grant(flow);
        return Poll::Ready(Ok(()));
    }
    if flow.in_closed.get() {
        return Poll::Ready(Ok(()));
    }
    if flow.over.get() {
        return Poll::Ready(Err(aborted()));
    }
    conversation.grant(flow);
    flow.wait(cx);
    Poll::Pending
}

/// The body of one stream's request.
pub struct Inlet {
    conversation: Rc<Conversation>,
    flow: Rc<Flow>,
}
impl Inlet {
    /// What came; nothing at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut bytes = Bytes::new();
        let came = poll_body(&self.conversation, &self.flow, cx, |body| bytes = Bytes::copy_from_slice(body));
        came.map_ok(|()| bytes)
    }
}
