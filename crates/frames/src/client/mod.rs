//! The side of a connection that asks: requests share it, each a stream of its own. The server's bytes go in, bytes for
//! it come out; whoever waits for something leaves a waker.
//!
//! No head depends on another: the server is told to remember nothing, and is sent nothing to remember.
//!
//! | file | does |
//! |---|---|
//! | `streams.rs` | what is sent of requests, and what came for them |
//! | `heads.rs` | heads of answers, and what follows their bodies |
//! | `control.rs` | settings, windows, what ends streams or all of them |

mod control;
mod heads;
mod streams;
#[cfg(test)]
mod tests;

use heads::Block;
use streams::Stream;

use crate::frame::{FrameHead, HEAD, Kind, Misfit, code, flag, put_head, setting};
use crate::put_table_update;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there is.
const MOST_WINDOW: i64 = (1 << 31) - 1;
/// Windows before anybody sets them.
const FIRST_WINDOW: i64 = 65_535;
/// No frame is longer, here or there.
const FRAME: usize = 16_384;
/// The greatest number of a stream.
const LAST: u32 = (1 << 31) - 1;
/// How much a server may send on one stream before somebody takes it. The streams' windows are the bound, not that of
/// their connection.
const STREAM_WINDOW: i64 = 256 * 1024;
/// So many streams a server is trusted to take before it has said how many.
const FIRST_MOST: u32 = 100;
/// When so much waits to be sent, nothing more of a body is set out.
const FULL: usize = 64 * 1024;
/// So many settings or pings may wait for their answers to be sent, as with nginx.
const MOST_ACKS: u32 = 1001;

/// A connection to a server, without the connection.
#[derive(Debug)]
pub struct Client {
    /// By their numbers.
    streams: Vec<Stream>,
    /// The number of the next one.
    next: u32,
    /// A head whose end is still to come.
    block: Option<Block>,
    /// A frame whose end is still to come.
    input: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// Bytes that the server takes on all streams together.
    window: i64,
    /// Bytes that it may send on all streams together.
    credit: i64,
    /// Bytes that it takes on a new stream.
    initial: i64,
    /// Streams that it takes at once, once it has said so.
    most: Option<u32>,
    /// It changed the room of its table, and is to be told that none is needed.
    table_changed: bool,
    /// It takes no new streams any more, or broke a rule in one.
    worn: bool,
    /// Settings and pings that were answered since the first answer that may not be sent yet.
    acks: [u32; 2],
    /// Where that stands in `out`.
    first_ack: usize,
    /// Why nothing goes in or out any more.
    fault: Option<Fault>,
}

/// Why a stream, or the connection, came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server broke a rule: what the log says.
    Broken(String),
    /// It ended the stream with this code.
    Reset(u32),
    /// The same, before it had done anything with the request.
    Refused(u32),
    /// It said goodbye with this code, and that it has not done anything with the request.
    Goodbye(u32),
    /// The connection is gone.
    Gone,
}

/// A rule that the server broke, for which the connection ends: the code it is told, and what the log says.
struct Breach(u32, String);
type Taken = Result<(), Breach>;

fn breach(code: u32, what: impl Into<String>) -> Taken {
    Err(Breach(code, what.into()))
}
fn unknown_stream(id: u32) -> Taken {
    breach(code::PROTOCOL_ERROR, format!("upstream sent frame for unknown stream {id}"))
}
/// What is said of a payload that cannot be taken apart; `short` of one that is too short.
fn misfits(misfit: Misfit, short: String) -> Breach {
    match misfit {
        Misfit::Short => Breach(code::FRAME_SIZE_ERROR, format!("upstream sent {short}")),
        Misfit::Padding(padding, rest) => {
            let what = format!("upstream sent http2 frame with too long padding: {padding} in frame {rest}");
            Breach(code::PROTOCOL_ERROR, what)
        }
    }
}
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Default for Client {
    fn default() -> Client {
        let mut client = Client {
            streams: Vec::new(),
            next: 1,
            block: None,
            input: Vec::new(),
            out: PREFACE.to_vec(),
            sent: 0,
            window: FIRST_WINDOW,
            credit: MOST_WINDOW,
            initial: FIRST_WINDOW,
            most: None,
            table_changed: false,
            worn: false,
            acks: [0; 2],
            first_ack: 0,
            fault: None,
        };
        let mut settings = Vec::with_capacity(18);
        for (id, value) in [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW as u32),
        ] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&u32::to_be_bytes(value));
        }
        client.put(Kind::Settings, 0, 0, &settings);
        client.put(Kind::WindowUpdate, 0, 0, &((MOST_WINDOW - FIRST_WINDOW) as u32).to_be_bytes());
        client
    }
}

impl Client {
    /// Takes in what the server sent.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.fault.is_none()
            && let Err(Breach(code, what)) = self.consume(bytes)
        {
            let goodbye = [0_u32.to_be_bytes(), code.to_be_bytes()].concat();
            self.put(Kind::GoAway, 0, 0, &goodbye);
            self.end(Fault::Broken(what));
        }
    }
    /// Nothing goes in or out any more. Answers that are complete stay so.
    pub fn end(&mut self, fault: Fault) {
        for stream in &mut self.streams {
            stream.end(&fault);
        }
        self.fault.get_or_insert(fault);
    }
    /// Whether that is so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.fault.is_some()
    }
    /// What is to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }
    /// So much of it was.
    pub fn note_sent(&mut self, bytes: usize) {
        let was_full = self.is_full();
        self.sent = (self.sent + bytes).min(self.out.len());
        if self.sent >= self.first_ack {
            self.acks = [0; 2];
        }
        // Where more is set out before all is sent, what is sent must not stay for ever.
        if self.sent == self.out.len() || self.sent >= FULL {
            self.out.drain(..self.sent);
            self.first_ack = self.first_ack.saturating_sub(self.sent);
            self.sent = 0;
        }
        if was_full && !self.is_full() {
            self.streams.iter_mut().for_each(Stream::wake);
        }
    }
    /// Whether so much is to be sent that nothing more should be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.out.len() - self.sent >= FULL
    }
    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.streams.shrink_to_fit();
        self.input.shrink_to_fit();
        self.out.shrink_to_fit();
    }

    fn consume(&mut self, mut bytes: &[u8]) -> Taken {
        while !bytes.is_empty() {
            if self.input.is_empty()
                && let Some(size) = size(bytes)?
                && let Some((frame, rest)) = bytes.split_at_checked(size)
            {
                self.frame(frame)?;
                bytes = rest;
                continue;
            }
            let wanted = size(&self.input)?.unwrap_or(HEAD) - self.input.len();
            let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.input.extend_from_slice(part);
            bytes = rest;
            if size(&self.input)? == Some(self.input.len()) {
                let mut frame = std::mem::take(&mut self.input);
                self.frame(&frame)?;
                frame.clear();
                self.input = frame;
            }
        }
        Ok(())
    }
    fn frame(&mut self, frame: &[u8]) -> Taken {
        let Some(head) = FrameHead::read(frame) else { return Ok(()) };
        let payload = &frame[HEAD..];
        if self.block.is_some() != (head.kind == Kind::Continuation) {
            let what = format!("upstream sent unexpected http2 frame: {}", head.number);
            return breach(code::PROTOCOL_ERROR, what);
        }
        match head.kind {
            Kind::Priority | Kind::Unknown => return Ok(()),
            Kind::Data => return self.data(head, payload),
            _ if head.stream != 0 && !self.has_begun(head.stream) => return unknown_stream(head.stream),
            _ => {}
        }
        match head.kind {
            Kind::Headers => self.headers(head, payload),
            Kind::Continuation => self.continuation(head, payload),
            Kind::Reset => self.reset(head, payload),
            Kind::Settings => self.settings(head, payload),
            Kind::Ping => self.ping(head, payload),
            Kind::GoAway => self.goaway(head, payload),
            Kind::WindowUpdate => self.window_update(head, payload),
            Kind::PushPromise => breach(code::PROTOCOL_ERROR, "upstream sent unexpected push promise frame"),
            Kind::Data | Kind::Priority | Kind::Unknown => Ok(()),
        }
    }
    /// Whether there is or was a stream of this number.
    fn has_begun(&self, id: u32) -> bool {
        !id.is_multiple_of(2) && id < self.next
    }
    /// Sets out a frame.
    fn put(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        put_head(payload.len(), kind, flags, stream, &mut self.out);
        self.out.extend_from_slice(payload);
    }
    /// Sets out a head: as many frames as it takes.
    fn put_block(&mut self, stream: u32, block: &[u8], end: bool) {
        let mut table = usize::from(std::mem::take(&mut self.table_changed));
        let (mut kind, mut flags) = (Kind::Headers, if end { flag::END_STREAM } else { 0 });
        let mut rest = block;
        loop {
            let (part, behind) = rest.split_at(rest.len().min(FRAME - table));
            let last = if behind.is_empty() { flag::END_HEADERS } else { 0 };
            put_head(part.len() + table, kind, flags | last, stream, &mut self.out);
            if table > 0 {
                put_table_update(&mut self.out);
            }
            self.out.extend_from_slice(part);
            if behind.is_empty() {
                return;
            }
            (kind, flags, table, rest) = (Kind::Continuation, 0, 0, behind);
        }
    }
}

/// How long the frame is that begins so, if its head is there.
fn size(bytes: &[u8]) -> Result<Option<usize>, Breach> {
    match FrameHead::read(bytes) {
        Some(head) if head.length > FRAME => Err(Breach(
            code::FRAME_SIZE_ERROR,
            format!("upstream sent too large http2 frame: {}", head.length),
        )),
        head => Ok(head.map(|head| HEAD + head.length)),
    }
}
