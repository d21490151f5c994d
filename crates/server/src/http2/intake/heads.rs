//! Heads of requests, and whether their streams begin.

use std::borrow::Cow;
use std::rc::Rc;

use frames::{FrameHead, Misfit, Of, Stop, code, flag, unprefixed};
use wire::Limits;

use super::{Block, Intake, Opened, Taken, breach, misfits, number};
use crate::http2::conversation::{Conversation, FIRST_FRAME, FIRST_WINDOW};
use crate::http2::flow::Flow;
use crate::http2::gather::{Breach, Gather};

impl Intake {
    pub(super) fn headers(
        &mut self,
        with: &Conversation,
        head: FrameHead,
        payload: &[u8],
    ) -> Taken<Option<Opened>> {
        let (text, priority) = unprefixed(payload, head.flags).or_else(|misfit| match misfit {
            Misfit::Padding(_, rest) => misfits("HEADERS", rest, misfit),
            Misfit::Short => {
                let what = format!("client sent HEADERS frame with incorrect length {}", payload.len());
                breach(code::FRAME_SIZE_ERROR, what)
            }
        })?;
        if !priority.is_empty() && number(priority) & 0x7fff_ffff == head.stream {
            let stream = head.stream;
            let what = format!("client sent HEADERS frame for stream {stream} with incorrect dependency");
            return breach(code::PROTOCOL_ERROR, what);
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
    pub(super) fn continuation(
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
        let mut gather = Gather::new(&with.thread, text.len(), header_limit(&limits));
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
            (Err(Stop::TooLong(..)), _) => {
                breach(code::ENHANCE_YOUR_CALM, "client sent too large header field")
            }
            (Err(Stop::Enough), Some(Breach::Nameless)) => {
                breach(code::PROTOCOL_ERROR, "client sent zero header name length")
            }
            (Err(Stop::Enough), _) => breach(code::ENHANCE_YOUR_CALM, "client sent too large header"),
            (Err(stop), _) => breach(code::COMPRESSION_ERROR, unreadable(stop)),
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
        self.priorities = self.priorities.saturating_add(most);
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
}

/// Fields that always have a number; nginx counts those behind them.
const STATIC: usize = 61;

/// What is said of a head that cannot be read.
fn unreadable(stop: Stop) -> Cow<'static, str> {
    match stop {
        Stop::Number(0) => "client sent invalid hpack table index 0".into(),
        Stop::Number(number) => {
            let behind = number.saturating_sub(STATIC + 1);
            format!("client sent out of bound hpack table index: {behind}").into()
        }
        Stop::Size(size) => format!("client sent invalid table size update: {size}").into(),
        Stop::Endless(Of::Size) => "client sent header block with too long size update value".into(),
        Stop::Endless(Of::Table) => "client sent header block with too long header index value".into(),
        Stop::Endless(_) => "client sent header field with too long length value".into(),
        Stop::Short => "client sent header block with incorrect length".into(),
        Stop::Cut => "client sent header field with incorrect length".into(),
        _ => "client sent invalid encoded header field".into(),
    }
}

/// Those of the address's default server, as long as there is one.
fn limits(with: &Conversation) -> Option<Limits> {
    let generation = with.thread.generation_at(with.listener())?;
    Some(generation.shared.default_plan(with.listener()).core.client_header.limits)
}
/// What names and values may have together.
fn header_limit(limits: &Limits) -> usize {
    limits.large_buffers.0.saturating_mul(limits.large_buffers.1)
}
