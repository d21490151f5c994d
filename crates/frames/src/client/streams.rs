//! What is sent of requests, and what came for them.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::{Client, FIRST_MOST, FRAME, Fault, LAST, MOST_WINDOW, STREAM_WINDOW, Taken, breach, misfits};
use crate::frame::{FrameHead, Kind, code, flag, put_head, unpadded};

/// So many heads before the answer's wait to be taken; others are passed over.
const MOST_HEADS: usize = 16;

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Stream {
    pub id: u32,
    /// Bytes that the server takes on it.
    pub window: i64,
    /// Bytes that it may send on it.
    pub credit: i64,
    /// How much the names and values of a head may be together.
    pub limit: usize,
    /// Heads, as lines; those before the answer's first.
    heads: VecDeque<Vec<u8>>,
    /// The answer's head is here.
    pub answered: bool,
    /// What came of the answer's body, and nobody took yet.
    body: Vec<u8>,
    /// What stands behind it, as lines.
    pub trailers: Vec<u8>,
    /// The server sent its last.
    pub in_closed: bool,
    /// Nothing more is to be sent.
    pub out_closed: bool,
    /// The server ended it, when its answer was complete.
    pub was_reset: bool,
    pub fault: Option<Fault>,
    waker: Option<Waker>,
}

impl Stream {
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
    /// Nothing goes in or out any more; an answer that is complete stays so.
    pub fn end(&mut self, fault: &Fault) {
        self.out_closed = true;
        if !self.in_closed {
            self.fault.get_or_insert_with(|| fault.clone());
        }
        self.wake();
    }
    pub fn add_head(&mut self, text: Vec<u8>, is_final: bool) {
        self.answered = is_final;
        if is_final || self.heads.len() < MOST_HEADS {
            self.heads.push_back(text);
        }
    }
}

impl Client {
    /// Streams whose requests are under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.streams.len()
    }
    /// Whether the server takes one stream more.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.can_begin() && (self.streams.len() as u32) < self.most.unwrap_or(FIRST_MOST)
    }
    /// Whether a stream can begin at all.
    #[must_use]
    pub fn can_begin(&self) -> bool {
        self.fault.is_none() && !self.worn && self.next <= LAST
    }
    /// The server is not to be asked for more.
    pub fn wear_out(&mut self) {
        self.worn = true;
    }
    /// Begins a stream with a request's head, which is all of it if it `ends` there. The names and values of each head that
    /// the server sends may have `limit` bytes. `None`: the connection takes no more.
    pub fn begin(&mut self, block: &[u8], ends: bool, limit: usize) -> Option<u32> {
        if !self.can_begin() {
            return None;
        }
        let id = self.next;
        self.next += 2;
        self.streams.push(Stream {
            id,
            window: self.initial,
            credit: STREAM_WINDOW,
            limit,
            heads: VecDeque::new(),
            answered: false,
            body: Vec::new(),
            trailers: Vec::new(),
            in_closed: false,
            out_closed: ends,
            was_reset: false,
            fault: None,
            waker: None,
        });
        self.put_block(id, block, ends);
        Some(id)
    }
    /// How many of the `wanted` bytes of a request's body may be sent now; 0: nobody wants them any more.
    pub fn poll_room(&mut self, id: u32, cx: &Context<'_>, wanted: usize) -> Poll<usize> {
        let (full, all) = (self.is_full(), self.window);
        let Some(stream) = self.find(id).filter(|stream| !stream.out_closed) else { return Poll::Ready(0) };
        let window = usize::try_from(stream.window.min(all)).unwrap_or(0);
        match wanted.min(FRAME).min(window) {
            0 if wanted > 0 => stream.wait(cx),
            _ if full => stream.wait(cx),
            room => Poll::Ready(room),
        }
    }
    /// Sends bytes of a request's body, for which there is room; they are the last if it `ends` with them.
    pub fn send(&mut self, id: u32, bytes: &[u8], ends: bool) {
        let Some(stream) = self.find(id).filter(|stream| !stream.out_closed) else { return };
        stream.window -= bytes.len() as i64;
        stream.out_closed = ends;
        self.window -= bytes.len() as i64;
        put_head(bytes.len(), Kind::Data, if ends { flag::END_STREAM } else { 0 }, id, &mut self.out);
        self.out.extend_from_slice(bytes);
    }
    /// Appends the head of an interim answer, or of the final one, which `true` says, as HTTP/1 has them.
    pub fn poll_head(&mut self, id: u32, cx: &Context<'_>, text: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        let Some(stream) = self.find(id) else { return Poll::Ready(Err(Fault::Gone)) };
        if let Some(head) = stream.heads.pop_front() {
            text.extend_from_slice(&head);
            return Poll::Ready(Ok(stream.answered && stream.heads.is_empty()));
        }
        match &stream.fault {
            Some(fault) => Poll::Ready(Err(fault.clone())),
            None if stream.answered => Poll::Ready(Ok(true)),
            None => stream.wait(cx),
        }
    }
    /// Gives what came of the answer's body in exchange for an empty buffer, which it stays at the body's end; then what
    /// follows it goes to `trailers`.
    pub fn poll_body(
        &mut self,
        id: u32,
        cx: &Context<'_>,
        into: &mut Vec<u8>,
        trailers: &mut Vec<u8>,
    ) -> Poll<Result<(), Fault>> {
        let Some(stream) = self.find(id) else { return Poll::Ready(Err(Fault::Gone)) };
        if !stream.body.is_empty() {
            std::mem::swap(&mut stream.body, into);
        }
        let outcome = match &stream.fault {
            _ if !into.is_empty() => Poll::Ready(Ok(())),
            Some(fault) => Poll::Ready(Err(fault.clone())),
            None if stream.in_closed => {
                trailers.append(&mut stream.trailers);
                Poll::Ready(Ok(()))
            }
            None => stream.wait(cx),
        };
        if stream.credit <= STREAM_WINDOW / 2 && !stream.in_closed && stream.fault.is_none() {
            let by = (STREAM_WINDOW - stream.credit) as u32;
            stream.credit = STREAM_WINDOW;
            self.put(Kind::WindowUpdate, 0, id, &by.to_be_bytes());
        }
        outcome
    }
    /// Whether the answer is complete and nothing of it is left to be taken.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.at(id).and_then(|at| self.streams.get(at)).is_some_and(|stream| {
            stream.in_closed && stream.body.is_empty() && stream.trailers.is_empty() && stream.fault.is_none()
        })
    }
    /// Nobody waits for the stream any more.
    pub fn forget(&mut self, id: u32) {
        let Some(at) = self.at(id) else { return };
        let stream = self.streams.remove(at);
        let is_whole = stream.in_closed && stream.out_closed || stream.was_reset;
        if !is_whole && stream.fault.is_none() && self.fault.is_none() {
            self.put(Kind::Reset, 0, id, &code::CANCEL.to_be_bytes());
        }
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }
    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.at(id)?;
        self.streams.get_mut(at)
    }
    /// A stream that goes on.
    pub(super) fn live(&mut self, id: u32) -> Option<&mut Stream> {
        self.find(id).filter(|stream| stream.fault.is_none())
    }
    /// Ends a stream for a rule that the server broke. It is not asked for more.
    pub(super) fn fail(&mut self, id: u32, code: u32, what: impl Into<String>) {
        self.worn = true;
        if let Some(stream) = self.live(id) {
            stream.fault = Some(Fault::Broken(what.into()));
            stream.out_closed = true;
            stream.wake();
            self.put(Kind::Reset, 0, id, &code.to_be_bytes());
        }
    }
    pub(super) fn fail_closed(&mut self, id: u32) {
        self.fail(id, code::STREAM_CLOSED, format!("upstream sent frame for closed stream {id}"));
    }

    pub(super) fn data(&mut self, head: FrameHead, payload: &[u8]) -> Taken {
        let id = head.stream;
        if !self.has_begun(id) {
            let what = format!("upstream sent data frame for unknown stream {id}");
            return breach(code::PROTOCOL_ERROR, what);
        }
        let (size, credit) = (head.length as i64, self.credit);
        if size > credit {
            let what = format!(
                "upstream violated connection flow control, received {size} data frame with window {credit}"
            );
            return breach(code::FLOW_CONTROL_ERROR, what);
        }
        self.credit -= size;
        if self.credit < MOST_WINDOW / 4 {
            let by = (MOST_WINDOW - self.credit) as u32;
            self.credit = MOST_WINDOW;
            self.put(Kind::WindowUpdate, 0, 0, &by.to_be_bytes());
        }
        let data = unpadded(payload, head.flags)
            .map_err(|misfit| misfits(misfit, "too short http2 frame".into()))?;
        // What was ended here may have had more to say.
        let Some(stream) = self.live(id) else { return Ok(()) };
        if !stream.answered {
            self.fail(id, code::PROTOCOL_ERROR, "upstream sent unexpected http2 frame: 0");
        } else if stream.in_closed {
            self.fail_closed(id);
        } else if size > stream.credit {
            let what = format!(
                "upstream violated stream flow control, received {size} data frame with window {}",
                stream.credit
            );
            self.fail(id, code::FLOW_CONTROL_ERROR, what);
        } else {
            stream.credit -= size;
            stream.body.extend_from_slice(data);
            stream.in_closed = head.has(flag::END_STREAM);
            stream.wake();
        }
        Ok(())
    }
}
