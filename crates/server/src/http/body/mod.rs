//! The request's body: read by whoever needs it, in memory or a temporary file, or thrown away.

mod read;
mod unwanted;
mod whole;

use std::io;

use wire::Framing;
use wire::chunked::Decoder;

pub use read::{is_here, read_some, send_continue};
pub use unwanted::{discard, disregard, drop_buffered};
pub use whole::read_whole;

use crate::worker::ledger::OpenFile;

/// What is known of the body of the request in service.
pub struct RequestBody {
    /// How the head says that it is delimited.
    pub framing: Framing,
    /// The location's `client_max_body_size`; 0 for no limit.
    pub limit: u64,
    /// Bytes of the body read, decoded.
    pub read: u64,
    /// Bytes of the body read, as the client sent them.
    pub consumed: u64,
    /// It was too large for some location: nobody gets it any more, and what comes of it is thrown away.
    pub refused: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The whole body, if it was read and fits `client_body_buffer_size`.
    pub memory: Vec<u8>,
    /// The whole body, if it was read and did not fit.
    pub file: Option<OpenFile>,
    /// The name of that file, if it has one.
    pub name: Option<crate::temp::Name>,
    /// Everything was read.
    pub complete: bool,
    /// Its chunks are none: it was refused, and how long it is nobody knows.
    pub broken: bool,
    decoder: Decoder,
}

impl Default for RequestBody {
    fn default() -> RequestBody {
        RequestBody {
            framing: Framing::None,
            limit: 0,
            read: 0,
            consumed: 0,
            refused: false,
            expects_continue: false,
            memory: Vec::new(),
            file: None,
            name: None,
            complete: true,
            broken: false,
            decoder: Decoder::default(),
        }
    }
}

impl RequestBody {
    /// Ready for the next request. Names every field, so that none that is added is forgotten.
    pub fn reset(&mut self) {
        #[rustfmt::skip]
        let RequestBody {
            framing, limit, read, consumed, refused, expects_continue, memory, file, name, complete, broken, decoder,
        } = self;
        (*framing, *limit, *read, *consumed) = (Framing::None, 0, 0, 0);
        (*refused, *expects_continue, *complete, *broken) = (false, false, true, false);
        memory.clear();
        (*file, *name) = (None, None);
        *decoder = Decoder::default();
    }
    /// The same body for another request, as far as it was read.
    ///
    /// # Errors
    /// When the file it is in cannot be held open a second time.
    pub fn twin(&self) -> io::Result<RequestBody> {
        Ok(RequestBody {
            framing: self.framing,
            read: self.read,
            consumed: self.consumed,
            memory: self.memory.clone(),
            file: self.file.as_ref().map(OpenFile::twin).transpose()?,
            ..RequestBody::default()
        })
    }
    /// What the head says of the body.
    pub fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.complete = matches!(framing, Framing::None | Framing::Length(0));
    }
    /// `Content-Length`; of a body in chunks its size, once it was read. 0 where neither is known.
    pub fn declared(&self) -> u64 {
        match self.framing {
            Framing::Length(length) => length,
            Framing::Chunked if self.complete => self.read,
            _ => 0,
        }
    }
    /// It is too large (413): for the page that says so, and whoever makes it, there is none.
    pub fn refuse(&mut self) {
        (self.framing, self.read) = (Framing::Length(0), 0);
        (self.refused, self.complete, self.expects_continue) = (true, true, false);
        self.memory.clear();
        (self.file, self.name) = (None, None);
    }
    /// A body of which nothing is left.
    pub fn none() -> RequestBody {
        let mut body = RequestBody::default();
        body.refuse();
        body
    }
    /// Whether all of it is here, to be passed on.
    pub fn is_kept(&self) -> bool {
        let held = self.file.is_some() || self.memory.len() as u64 == self.read;
        !self.is_expected() || self.complete && held
    }
    /// Whether there is any body to read.
    pub fn is_expected(&self) -> bool {
        !matches!(self.framing, Framing::None)
    }
}
