//! What differs from one protocol to another.

use wire::{BadResponse, Known, Method, Progress, ResponseHead, ResponseParser};

use crate::http::filters::Piece;
use crate::http::request::Request;
use crate::log::Level;

/// A protocol that requests are passed on in.
pub trait Protocol: Send + Sync {
    /// How the answer to a request is read.
    fn reader(&self, message: &Message) -> Reader;
    /// Puts a header of the answer into the response in another form; `false`: it goes on as it is.
    fn header(&self, request: &mut Request, known: Known, name: &[u8], value: &[u8]) -> bool {
        let _ = (request, known, name, value);
        false
    }
    /// Whether answers are those of a server with a name and a clock of its own: where they are to go out and it tells
    /// none, none goes out.
    fn has_name_and_date(&self) -> bool {
        false
    }
}

/// A request to send.
pub struct Message {
    /// Head, and a body that the configuration gives.
    pub head: Vec<u8>,
    /// What is sent behind it.
    pub payload: Payload,
    /// How a body is written.
    pub frame: Frame,
    /// Decides whether the answer has a body.
    pub method: Method,
}

/// What is sent behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing, or it is in the head's buffer already.
    Nothing,
    /// The client's body, which was read.
    Whole,
    /// The client's body as it comes.
    Stream,
}

/// How a body is written.
#[derive(Clone, Copy)]
pub enum Frame {
    /// As it is.
    Raw,
    /// In chunks, where it is passed on as it comes.
    Chunked,
    /// In records: appends a part of the body, which may be empty, and the end behind the last.
    Records(fn(part: &[u8], last: bool, out: &mut Vec<u8>)),
}

/// Reads one answer.
pub enum Reader {
    /// HTTP/1.
    Http(ResponseParser),
    /// Another protocol.
    Other(Box<dyn Answer>),
    /// HTTP/2: request and answer are a stream of a connection that may have several.
    Stream,
    /// The connection itself is the answer: what comes of it goes to the client as it is.
    Opened,
}

/// Reads one answer of a protocol other than HTTP/1.
pub trait Answer {
    /// Looks at all that was read, in `buffer`, and puts it in the form of a head with whatever body is behind it
    /// (`head.length` says where): it takes off its protocol's framing. Bytes read later stand behind those it left.
    /// A head may have `limit` bytes.
    ///
    /// # Errors
    /// What makes this no answer.
    fn head(
        &mut self,
        buffer: &mut Vec<u8>,
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadHead>;
    /// Bytes of framing that were taken off behind the head; asked once.
    fn framing(&mut self) -> u64 {
        0
    }
    /// Takes its framing off bytes of the body. The first bytes are those behind the head, which have none any more.
    fn body(&mut self, bytes: &mut Piece) -> Part;
    /// The server closed the connection: whether the answer is complete.
    fn at_close(&self) -> bool;
    /// Whether the connection can serve another request; asked when the answer is complete.
    fn is_reusable(&self) -> bool {
        false
    }
    /// What is to be logged, since this was asked last.
    fn notes(&mut self) -> Vec<(Level, String)> {
        Vec::new()
    }
}

/// Where an answer's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// There is more to come.
    More,
    /// It is complete.
    End,
    /// It is broken: what is logged.
    Failed(String),
}

/// Why something is no answer.
#[derive(Clone, Debug)]
pub enum BadHead {
    /// What is wrong with the head's lines.
    Lines(BadResponse),
    /// What is wrong with the framing: what is logged.
    Framing(String),
    /// It is in the log already.
    Noted,
}
impl From<BadResponse> for BadHead {
    fn from(bad: BadResponse) -> BadHead {
        BadHead::Lines(bad)
    }
}
