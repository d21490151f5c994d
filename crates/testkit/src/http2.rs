//! HTTP/2 frame by frame: nothing is hidden, so that a test can break any rule.

use std::io;

use crate::{Origin, Server, Wire};

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    #![allow(missing_docs, reason = "RFC 9113, section 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}
/// The last frame of a stream; on SETTINGS and PING: an acknowledgement.
pub const END_STREAM: u8 = 1;
/// The head is complete.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let from = if self.kind == kind::GOAWAY { 4 } else { 0 };
        let code = self.payload.get(from..).and_then(<[u8]>::first_chunk);
        code.map_or(u32::MAX, |code| u32::from_be_bytes(*code))
    }
}

/// A connection that has sent its preface.
pub struct Frames {
    wire: Wire,
}

impl Frames {
    /// Connects to the server's first port, with these settings (identifier and value).
    #[track_caller]
    pub fn connect(server: &Server, settings: &[(u16, u32)]) -> Frames {
        Frames::at(server, 0, settings)
    }
    /// As [`Frames::connect`], at the server's port `%%PORT_n%%`.
    #[track_caller]
    pub fn at(server: &Server, port: usize, settings: &[(u16, u32)]) -> Frames {
        let mut client = server.client_on(port);
        client.send(PREFACE);
        let wire = client.wire().twin().expect("a second handle");
        let mut frames = Frames { wire };
        frames.send(kind::SETTINGS, 0, 0, &payload(settings));
        frames
    }
    /// The other side of a connection, for an origin: reads the preface and sends these settings. `None` when nobody
    /// is there.
    pub fn accept(wire: &Wire, settings: &[(u16, u32)]) -> Option<Frames> {
        let mut frames = Frames { wire: wire.twin().ok()? };
        frames.wire.read_exact(PREFACE.len()).ok().filter(|preface| preface == PREFACE)?;
        frames.try_send(kind::SETTINGS, 0, 0, &payload(settings)).ok()?;
        Some(frames)
    }
    /// Another handle on the connection, for another thread.
    pub fn twin(&self) -> Frames {
        Frames { wire: self.wire.twin().expect("a second handle") }
    }
    /// Closes the connection for both.
    pub fn leave(&self) {
        let _ = self.wire.shutdown(std::net::Shutdown::Both);
    }
    /// The stream of the next request; the rest of what comes is passed over.
    pub fn next_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.receive()?;
            match frame.kind {
                kind::HEADERS => return Some(frame.stream),
                kind::SETTINGS if frame.flags & END_STREAM == 0 => {
                    self.try_send(kind::SETTINGS, END_STREAM, 0, &[]).ok()?;
                }
                _ => {}
            }
        }
    }
    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).expect("the server reads");
    }
    /// Sends a frame, if the server still reads.
    pub fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.wire.send(frame(kind, flags, stream, payload))
    }
    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(bytes)
    }
    /// Sends a request's head: method and path, then other fields.
    #[track_caller]
    pub fn request(&mut self, stream: u32, method: &str, path: &str, fields: &[(&str, &str)], end: bool) {
        let block = head(method, path, fields);
        self.send(kind::HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, &block);
    }
    /// The next frame; `None` when the server has closed.
    pub fn receive(&mut self) -> Option<Frame> {
        let head = self.wire.read_exact(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.read_exact(length).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
    /// The next frame of this kind and stream; others are passed over.
    #[track_caller]
    pub fn wait(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.receive().expect("a frame before the end");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }
    /// The answer on a stream: the first byte of its head (an index of HPACK's table) and its body.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> (u8, Vec<u8>) {
        let head = self.wait(kind::HEADERS, stream);
        let mut body = Vec::new();
        let mut end = head.flags & END_STREAM != 0;
        while !end {
            let data = self.wait(kind::DATA, stream);
            body.extend_from_slice(&data.payload);
            end = data.flags & END_STREAM != 0;
        }
        (head.payload[0], body)
    }
    /// All frames until the server closes.
    pub fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.receive()).collect()
    }
}

impl Origin {
    /// A server that gives its script each connection's frames, behind settings of its own.
    pub fn http2(
        settings: &'static [(u16, u32)],
        script: impl Fn(&mut Frames) -> Option<()> + Send + Sync + 'static,
    ) -> Origin {
        Origin::wires(move |wire| {
            if let Some(mut frames) = Frames::accept(wire, settings) {
                script(&mut frames);
            }
        })
    }
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A request's head as a block of HPACK without compression. A field named `:authority` replaces `localhost`.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![(":method", method), (":scheme", "http"), (":path", path)];
    if !fields.iter().any(|(name, _)| *name == ":authority") {
        all.push((":authority", "localhost"));
    }
    all.extend(fields.iter().filter(|(_, value)| *value != "-"));
    block(&all)
}

fn payload(settings: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    settings.iter().flat_map(bytes).collect()
}

/// Fields as a block of HPACK without compression.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn push_length(mut length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        return out.push(length as u8);
    }
    out.push(127);
    length -= 127;
    while length >= 128 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
}
