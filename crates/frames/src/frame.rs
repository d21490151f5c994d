//! Frames (RFC 9113, 4 and 6).

/// How long the head of a frame is.
pub const HEAD: usize = 9;
/// How long priorities are within HEADERS: a stream and a weight.
const PRIORITY: usize = 5;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 9113, 6")]
pub enum Kind {
    Data = 0,
    Headers = 1,
    Priority = 2,
    Reset = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
    /// None that is known here: to be passed over.
    Unknown = 255,
}

/// What frames say about themselves.
#[allow(missing_docs, reason = "RFC 9113, 6")]
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// Why a stream or a connection ends (RFC 9113, 7).
#[allow(missing_docs, reason = "RFC 9113, 7")]
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// What is set (RFC 9113, 6.5.2).
#[allow(missing_docs, reason = "RFC 9113, 6.5.2")]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload.
    pub length: usize,
    /// What it is about.
    pub kind: Kind,
    /// The same, as it came.
    pub number: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head, if it is all there.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<FrameHead> {
        let [a, b, c, number, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        let kind = match number {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Unknown,
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(FrameHead { length, kind, number, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }
    /// Whether it says so.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends the head of a frame.
pub fn put_head(length: usize, kind: Kind, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind as u8, flags, d, e, f, g]);
}

/// Why a payload cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is shorter than what it says is in it.
    Short,
    /// There is so much padding, in a rest of so many bytes.
    Padding(usize, usize),
}

/// The payload without its padding.
///
/// # Errors
/// See [`Misfit`].
pub fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], Misfit> {
    if flags & flag::PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Misfit::Short)?;
    without(usize::from(*padding), rest)
}

/// What a payload of HEADERS has of a head, and of priorities before it.
///
/// # Errors
/// See [`Misfit`].
pub fn unprefixed(payload: &[u8], flags: u8) -> Result<(&[u8], &[u8]), Misfit> {
    let padded = usize::from(flags & flag::PADDED != 0);
    let priority = if flags & flag::PRIORITY == 0 { 0 } else { PRIORITY };
    let (before, rest) = payload.split_at_checked(padded + priority).ok_or(Misfit::Short)?;
    let (padding, priority) = before.split_at(padded);
    let text = without(padding.first().map_or(0, |padding| usize::from(*padding)), rest)?;
    Ok((text, priority))
}

fn without(padding: usize, rest: &[u8]) -> Result<&[u8], Misfit> {
    let data = rest.len().checked_sub(padding).and_then(|end| rest.get(..end));
    data.ok_or(Misfit::Padding(padding, rest.len()))
}
