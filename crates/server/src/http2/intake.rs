//! What a client sends: frame by frame, until a stream begins.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use frames::{Decoder, FrameHead, HEAD, Kind, Stop, code, flag, setting, unpadded};
use wire::Limits;

use super::PREFACE;
use super::conversation::{Conversation, FIRST_FRAME, FIRST_WINDOW, MOST_WINDOW};
use super::flow::Flow;
use super::gather::{Breach, Gather, Head};
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
            Kind::Priority => priority(head, payload)?,
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
            Kind::GoAway | Kind::Unknown => {}
        }
        Ok(None)
    }

    fn data(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        let size = head.length as i64;
        let Some(data) = unpadded(payload, head.flags) else {
            return breach(
                code::PROTOCOL_ERROR,
                format!("client sent padded DATA frame with incorrect length: {size}"),
            );
        };
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

    fn headers(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<Option<Opened>> {
        let Some(mut text) = unpadded(payload, head.flags) else {
            let what = format!("client sent padded HEADERS frame with incorrect length: {}", payload.len());
            return breach(code::PROTOCOL_ERROR, what);
        };
        if head.has(flag::PRIORITY) {
            let Some((depends, rest)) = text.split_at_checked(5) else {
                let what = format!("client sent HEADERS frame with incorrect length {}", payload.len());
                return breach(code::FRAME_SIZE_ERROR, what);
            };
            if number(depends) & 0x7fff_ffff == head.stream {
                let stream = head.stream;
                let what = format!("client sent HEADERS frame for stream {stream} with incorrect dependency");
                return breach(code::PROTOCOL_ERROR, what);
            }
            text = rest;
        }
        if text.is_empty() {
            return breach(code::FRAME_SIZE_ERROR, "client sent HEADERS frame with empty header block");
        }
        if head.has(flag::END_HEADERS) {
            return self.complete(with, head.stream, head.flags, text);
        }
        self.block = Some(Block { stream: head.stream, flags: head.flags, text: text.into() });
        Ok(None)
    }
    fn continuation(
        &mut self,
        with: &Conversation,
        head: FrameHead,
        payload: &[u8],
    ) -> Taken<Option<Opened>> {
        let Some(mut block) = self.block.take() else {
            return breach(code::PROTOCOL_ERROR, "client sent unexpected CONTINUATION frame");
        };
        if block.text.len() + payload.len()
            > limits(with).map_or(0, |limits| header_limit(&limits)) + FIRST_FRAME
        {
            return breach(code::ENHANCE_YOUR_CALM, "client sent too large header");
        }
        block.text.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.complete(with, block.stream, block.flags, &block.text);
        }
        self.block = Some(block);
        Ok(None)
    }
    /// All of a head is there.
    fn complete(
        &mut self,
        with: &Conversation,
        stream: u32,
        flags: u8,
        text: &[u8],
    ) -> Taken<Option<Opened>> {
        let ends = flags & flag::END_STREAM != 0;
        let Some(limits) = limits(with) else {
            return breach(code::NO_ERROR, "nobody listens there any more");
        };
        let mut gather = Gather::new(&with.thread, header_limit(&limits));
        self.decode(with, text, &limits, &mut gather)?;
        let head = gather.finish(ends);
        let opened = if let Some(flow) = with.find(stream) {
            self.trailers(with, &flow, ends)?;
            false
        } else if stream.is_multiple_of(2) || (stream <= self.last && !with.was_ended(stream)) {
            let last = self.last;
            let what =
                format!("client sent HEADERS frame with incorrect identifier {stream}, the last was {last}");
            return breach(code::PROTOCOL_ERROR, what);
        } else {
            // What was ended here may have had more to say.
            stream > self.last && self.admits(with, stream, ends)?
        };
        if !opened {
            with.thread.give_buffer(head.text);
            return Ok(None);
        }
        let credit = if self.acknowledged { i64::from(self.bounds.preread) } else { FIRST_WINDOW };
        let flow = Rc::new(Flow::new(stream, with.initial.get(), credit, ends));
        with.add(flow.clone());
        Ok(Some(Opened { flow, head }))
    }
    fn decode(
        &mut self,
        with: &Conversation,
        text: &[u8],
        limits: &Limits,
        gather: &mut Gather<'_>,
    ) -> Taken<()> {
        let mut scratch = with.thread.buffer();
        let most = limits.large_buffers.1;
        let read = self.decoder.decode(text, most, &mut scratch, |name, value| gather.take(name, value));
        with.thread.give_buffer(scratch);
        match (read, gather.breach) {
            (Ok(()), _) => Ok(()),
            (Err(Stop::Broken), _) => {
                breach(code::COMPRESSION_ERROR, "client sent invalid encoded header field")
            }
            (Err(Stop::TooLong), _) => breach(code::ENHANCE_YOUR_CALM, "client sent too large header field"),
            (Err(Stop::Enough), Some(Breach::Nameless)) => {
                breach(code::PROTOCOL_ERROR, "client sent zero header name length")
            }
            (Err(Stop::Enough), _) => breach(code::ENHANCE_YOUR_CALM, "client sent too large header"),
        }
    }
    /// Fields behind a request's body: nobody asks for them.
    fn trailers(&mut self, with: &Conversation, flow: &Flow, ends: bool) -> Taken<()> {
        if flow.in_closed.get() {
            return self.terminate(with, flow, code::STREAM_CLOSED);
        }
        if !ends {
            return self.terminate(with, flow, code::PROTOCOL_ERROR);
        }
        flow.in_closed.set(true);
        flow.wake();
        Ok(())
    }
    /// Whether a new stream is served.
    fn admits(&mut self, with: &Conversation, stream: u32, ends: bool) -> Taken<bool> {
        if self.leaving {
            return Ok(false);
        }
        self.last = stream;
        let most = self.bounds.max_concurrent_streams;
        // Streams that were reset count no more for the protocol, but their requests may still be under way.
        let live = (with.open() as u32).max(with.live() / 2);
        self.fresh += 1;
        let what: Cow<'_, str> = if live >= most {
            format!("concurrent streams exceeded {live}").into()
        } else if self.fresh > most.saturating_mul(2) {
            "client sent too many streams at once".into()
        } else if !self.acknowledged && !ends && i64::from(self.bounds.preread) < FIRST_WINDOW {
            "client sent stream with data before settings were acknowledged".into()
        } else {
            return Ok(true);
        };
        with.note(crate::log::Level::Info, format_args!("{what}"));
        with.put_reset(stream, code::REFUSED_STREAM);
        self.count_refused()?;
        Ok(false)
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

    fn reset(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if payload.len() != 4 {
            let what = format!("client sent RST_STREAM frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        if head.stream == 0 || head.stream > self.last && !self.leaving {
            return breach(code::PROTOCOL_ERROR, "client sent RST_STREAM frame with incorrect identifier");
        }
        if let Some(flow) = with.find(head.stream) {
            with.reset(&flow, number(payload));
        }
        Ok(())
    }
    fn window_update(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if payload.len() != 4 {
            let what = format!("client sent WINDOW_UPDATE frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        let by = i64::from(number(payload) & 0x7fff_ffff);
        if by == 0 {
            let what = "client sent WINDOW_UPDATE frame with incorrect window increment 0";
            return breach(code::PROTOCOL_ERROR, what);
        }
        if head.stream == 0 {
            return match with.widen(None, by) {
                true => Ok(()),
                false => breach(
                    code::FLOW_CONTROL_ERROR,
                    format!(
                        "client violated connection flow control: received WINDOW_UPDATE frame with \
                         window increment {by}"
                    ),
                ),
            };
        }
        if head.stream > self.last && !self.leaving {
            return breach(code::PROTOCOL_ERROR, "client sent WINDOW_UPDATE frame with incorrect identifier");
        }
        let Some(flow) = with.find(head.stream) else { return Ok(()) };
        if with.widen(Some(&flow), by) {
            return Ok(());
        }
        let id = flow.id;
        with.note(
            crate::log::Level::Info,
            format_args!(
                "client violated flow control for stream {id}: received WINDOW_UPDATE frame with \
                 window increment {by}"
            ),
        );
        self.terminate(with, &flow, code::FLOW_CONTROL_ERROR)
    }
    fn settings(&mut self, with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
        if head.stream != 0 {
            return breach(code::PROTOCOL_ERROR, "client sent SETTINGS frame with incorrect identifier");
        }
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                let what = "client sent SETTINGS frame with the ACK flag and nonzero length";
                return breach(code::FRAME_SIZE_ERROR, what);
            }
            if !std::mem::replace(&mut self.acknowledged, true) {
                with.acknowledge(i64::from(self.bounds.preread) - FIRST_WINDOW);
            }
            return Ok(());
        }
        if !payload.len().is_multiple_of(6) {
            let what = format!("client sent SETTINGS frame with incorrect length {}", payload.len());
            return breach(code::FRAME_SIZE_ERROR, what);
        }
        for pair in payload.chunks_exact(6) {
            set(with, u16::from_be_bytes([pair[0], pair[1]]), number(&pair[2..]))?;
        }
        with.put_control(Kind::Settings, flag::ACK, 0, &[]);
        Ok(())
    }
}

fn set(with: &Conversation, id: u16, value: u32) -> Taken<()> {
    let wrong =
        |code, name| breach(code, format!("client sent SETTINGS frame with incorrect {name} value {value}"));
    match id {
        setting::HEADER_TABLE_SIZE => with.table_changed.set(true),
        setting::ENABLE_PUSH if value > 1 => return wrong(code::PROTOCOL_ERROR, "ENABLE_PUSH"),
        setting::INITIAL_WINDOW_SIZE => {
            let fits = i64::from(value) <= MOST_WINDOW && with.set_initial(value.into());
            if !fits {
                return wrong(code::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE");
            }
        }
        setting::MAX_FRAME_SIZE => {
            if !(FIRST_FRAME as u32..1 << 24).contains(&value) {
                return wrong(code::PROTOCOL_ERROR, "MAX_FRAME_SIZE");
            }
            with.longest.set(value as usize);
        }
        _ => {}
    }
    Ok(())
}

fn ping(with: &Conversation, head: FrameHead, payload: &[u8]) -> Taken<()> {
    if payload.len() != 8 {
        let what = format!("client sent PING frame with incorrect length {}", payload.len());
        return breach(code::FRAME_SIZE_ERROR, what);
    }
    if head.stream != 0 {
        return breach(code::PROTOCOL_ERROR, "client sent PING frame with incorrect identifier");
    }
    if !head.has(flag::ACK) {
        with.put_control(Kind::Ping, flag::ACK, 0, payload);
    }
    Ok(())
}

/// Priorities are read, and of no consequence.
fn priority(head: FrameHead, payload: &[u8]) -> Taken<()> {
    if payload.len() != 5 {
        let what = format!("client sent PRIORITY frame with incorrect length {}", payload.len());
        return breach(code::FRAME_SIZE_ERROR, what);
    }
    if head.stream == 0 {
        return breach(code::PROTOCOL_ERROR, "client sent PRIORITY frame with incorrect identifier");
    }
    if number(payload) & 0x7fff_ffff == head.stream {
        let stream = head.stream;
        let what = format!("client sent PRIORITY frame for stream {stream} with incorrect dependency");
        return breach(code::PROTOCOL_ERROR, what);
    }
    Ok(())
}

/// Those of the address's default server, as long as there is one.
fn limits(with: &Conversation) -> Option<Limits> {
    let generation = with.thread.generation_at(with.listener())?;
    Some(generation.shared.default_plan(with.listener()).core.limits)
}
/// What names and values may have together.
fn header_limit(limits: &Limits) -> usize {
    limits.large_buffers.0.saturating_mul(limits.large_buffers.1)
}
