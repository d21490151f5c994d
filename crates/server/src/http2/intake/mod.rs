//! What a client sends: frame by frame, until a stream begins.
//!
//! | file | does |
//! |---|---|
//! | `heads.rs` | heads of requests, and whether their streams begin |
//! | `control.rs` | settings, windows, what ends or orders streams |

mod control;
mod heads;

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use frames::{Decoder, FrameHead, HEAD, Kind, Misfit, code, flag, unpadded};

use self::control::ping;
use super::PREFACE;
use super::conversation::{Conversation, FIRST_FRAME, MOST_WINDOW};
use super::flow::Flow;
use super::gather::Head;
use crate::modules::http2::Http2;

/// See the module.
pub struct Intake {
    /// What came and is not understood yet.
    input: Vec<u8>,
    /// So much of it is.
    at: usize,
    greeted: bool,
    decoder: Decoder,
    /// A head whose end is still to come.
    block: Option<Block>,
    /// The bounds of the address's default server.
    bounds: Http2,
    /// The greatest number of a stream.
    pub last: u32,
    /// Streams that begin from here on are passed over.
    pub leaving: bool,
    /// The client knows what was set.
    acknowledged: bool,
    /// What the client may send on all streams together.
    credit: i64,
    /// Streams that began in this turn, and that were refused so far.
    fresh: u32,
    refused: u32,
    /// Frames of priorities that may still come.
    priorities: u32,
}
struct Block {
    stream: u32,
    flags: u8,
    text: Vec<u8>,
}

/// A stream that begins.
pub struct Opened {
    /// What is shared with it.
    pub flow: Rc<Flow>,
    /// Its request.
    pub head: Head,
}

/// Why nothing more comes.
pub enum Ended {
    /// The client closed the connection.
    Closed,
    /// Reading failed.
    Io(io::Error),
    /// The client broke a rule: the code it is told, and what the log says.
    Breach(u32, Cow<'static, str>),
}
type Taken<T> = Result<T, Ended>;

fn breach<T>(code: u32, what: impl Into<Cow<'static, str>>) -> Taken<T> {
    Err(Ended::Breach(code, what.into()))
}
/// A padded frame of this length cannot be taken apart.
fn misfits<T>(kind: &str, length: usize, misfit: Misfit) -> Taken<T> {
    let what = format!("client sent padded {kind} frame with incorrect length: {length}");
    match misfit {
        Misfit::Short => breach(code::FRAME_SIZE_ERROR, what),
        Misfit::Padding(padding, _) => breach(code::PROTOCOL_ERROR, format!("{what}, padding: {padding}")),
    }
}
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Intake {
    /// What was read already is `first`.
    pub fn new(first: Vec<u8>, bounds: Http2) -> Intake {
        Intake {
            input: first,
            at: 0,
            greeted: false,
            decoder: Decoder::default(),
            block: None,
            bounds,
            last: 0,
            leaving: false,
            acknowledged: false,
            credit: MOST_WINDOW,
            fresh: 0,
            refused: 0,
            priorities: bounds.max_concurrent_streams.max(100),
        }
    }
    /// What is counted by turns begins anew.
    pub fn begin_turn(&mut self) {
        self.fresh = 0;
    }
    /// Takes in what there is until a stream begins.
    pub fn poll(&mut self, cx: &mut Context<'_>, with: &Conversation) -> Poll<Taken<Opened>> {
        loop {
            if with.is_full() {
                return Poll::Pending; // whoever sends polls again
            }
            match self.frame(with)? {
                Some(Some(opened)) => return Poll::Ready(Ok(opened)),
                Some(None) => continue,
                None => self.forget(with),
            }
            match ready!(with.poll_read(cx, &mut self.input)) {
                Ok(0) => return Poll::Ready(Err(Ended::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(Ended::Io(error))),
            }
        }
    }
    /// What is understood needs no room any more.
    fn forget(&mut self, with: &Conversation) {
        self.input.drain(..self.at);
        self.at = 0;
        if self.input.is_empty() {
            with.thread.give_buffer(std::mem::take(&mut self.input));
        }
    }
    /// Takes the next frame, if it is all there.
    fn frame(&mut self, with: &Conversation) -> Taken<Option<Option<Opened>>> {
        let rest = &self.input[self.at..];
        if !self.greeted {
            let there = rest.len().min(PREFACE.len());
            if rest[..there] != PREFACE[..there] {
                return breach(code::PROTOCOL_ERROR, "invalid connection preface");
            }
            if there < PREFACE.len() {
                return Ok(None);
            }
            self.greeted = true;
            self.at += PREFACE.len();
            return Ok(Some(None));
        }
        let Some(head) = FrameHead::read(rest) else { return Ok(None) };
        if head.length > FIRST_FRAME {
            let what = format!("client sent too large frame: {} bytes", head.length);
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        let range = self.at + HEAD..self.at + HEAD + head.length;
        if self.input.len() < range.end {
            return Ok(None);
        }
        self.at = range.end;
        let input = std::mem::take(&mut self.input);
        let taken = self.take(with, head, &input[range]);
        self.input = input;
        taken.map(Some)
    }
    fn take(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<Option<Opened>> {
        if let Some(block) = &self.block {
            if head.kind != Kind::Continuation {
                let what = "client sent inappropriate frame while CONTINUATION was expected";
                return breach(code::PROTOCOL_ERROR, what);
            }
            if head.stream != block.stream {
                let what = "client sent CONTINUATION frame with incorrect identifier";
                return breach(code::PROTOCOL_ERROR, what);
            }
        }
        match head.kind {
            Kind::Headers => return self.headers(with, head, payload),
            Kind::Continuation => return self.continuation(with, head, payload),
            Kind::Data => self.data(with, head, payload)?,
            Kind::Priority => self.priority(head, payload)?,
            Kind::Reset => self.reset(with, head, payload)?,
            Kind::Settings => self.settings(with, head, payload)?,
            Kind::PushPromise => return breach(code::PROTOCOL_ERROR, "client sent PUSH_PROMISE frame"),
            Kind::Ping => ping(with, head, payload)?,
            Kind::GoAway if payload.len() < 8 => {
                let what = format!("client sent GOAWAY frame with incorrect length {}", payload.len());
                return breach(code::FRAME_SIZE_ERROR, what);
            }
            Kind::GoAway if head.stream != 0 => {
                return breach(code::PROTOCOL_ERROR, "client sent GOAWAY frame with incorrect identifier");
            }
            Kind::WindowUpdate => self.window_update(with, head, payload)?,
            Kind::GoAway => {}
            Kind::Unknown => with.note(
                crate::log::Level::Info,
                format_args!("client sent frame with unknown type {}", head.number),
            ),
        }
        Ok(None)
    }
    fn data(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        let size = head.length as i64;
        let data = unpadded(payload, head.flags).or_else(|misfit| misfits("DATA", size as usize, misfit))?;
        if head.stream == 0 || head.stream > self.last {
            return breach(code::PROTOCOL_ERROR, "client sent DATA frame with incorrect identifier");
        }
        if size > self.credit {
            let what = format!(
                "client violated connection flow control: received DATA frame length {size}, available window {}",
                self.credit
            );
            return breach(code::FLOW_CONTROL_ERROR, what);
        }
        self.credit -= size;
        if self.credit < MOST_WINDOW / 4 {
            let by = (MOST_WINDOW - self.credit) as u32;
            with.put_control(Kind::WindowUpdate, 0, 0, &by.to_be_bytes());
            self.credit = MOST_WINDOW;
        }
        let Some(flow) = with.find(head.stream) else { return Ok(()) };
        let credit = flow.credit.get();
        if size > credit {
            with.note(
                crate::log::Level::Info,
                format_args!(
                    "client violated flow control for stream {}: received DATA frame length {size}, \
                     available window {credit}",
                    flow.id
                ),
            );
            return self.terminate(with, &flow, code::FLOW_CONTROL_ERROR);
        }
        flow.credit.set(credit - size);
        if flow.in_closed.get() {
            let id = flow.id;
            let what = format_args!("client sent DATA frame for half-closed stream {id}");
            with.note(crate::log::Level::Info, what);
            return self.terminate(with, &flow, code::STREAM_CLOSED);
        }
        with.add_payload(data.len());
        let mut body = flow.body.borrow_mut();
        if body.capacity() == 0 && !data.is_empty() {
            *body = with.thread.buffer();
        }
        body.extend_from_slice(data);
        flow.in_closed.set(head.has(flag::END_STREAM));
        drop(body);
        if !data.is_empty() || flow.in_closed.get() {
            flow.wake();
        }
        Ok(())
    }
    /// Ends a stream for a rule that the client broke.
    fn terminate(&mut self, with: &Conversation, flow: &Flow, code: u32) -> Taken<()> {
        with.terminate(flow, code);
        self.count_refused()
    }
    fn count_refused(&mut self) -> Taken<()> {
        self.refused += 1;
        match self.refused > self.bounds.max_concurrent_streams.max(100) {
            true => breach(code::ENHANCE_YOUR_CALM, "client sent too many refused streams"),
            false => Ok(()),
        }
    }
}
