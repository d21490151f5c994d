//! What a body is made of: where it comes from, how it is delimited, where it is kept.

use std::io;
use std::sync::Arc;

use wire::ResponseFraming;
use wire::chunked::Decoder;

use crate::cache::Writer;
use crate::http::relay::http2::Stream;
use crate::http::relay::protocol::Answer;
use crate::http::relay::settings::Settings;
use crate::http::relay::store::Storing;
use crate::upstream::{Held, KeepAlive, Key, Link};

/// Where a connection goes to rest.
#[derive(Clone, Copy, Debug)]
pub struct Rests {
    pub(in crate::http::relay) number: u32,
    pub(in crate::http::relay) key: Key,
    pub(in crate::http::relay) keep: KeepAlive,
}

/// What a tunnel takes over: the connection, its place, its timeouts, and the bytes behind the head.
pub(in crate::http::relay) type TunnelParts = (Link, Option<Held>, Arc<Settings>, Vec<u8>);

/// Where an answer comes from.
pub enum UpstreamSource {
    /// A connection of its own.
    Link(Link),
    /// A stream of one that may have several.
    Stream(Box<Stream>),
}
impl UpstreamSource {
    /// Whether the connection served others before.
    pub(in crate::http::relay) fn is_reused(&self) -> bool {
        match self {
            UpstreamSource::Link(link) => link.reused,
            UpstreamSource::Stream(stream) => stream.reused,
        }
    }
    /// Whether the request was sent whole, so that others can follow.
    pub(in crate::http::relay) fn is_whole(&self) -> bool {
        matches!(self, UpstreamSource::Link(link) if link.requests != u32::MAX)
    }
    /// Whether nothing follows the head.
    pub(in crate::http::relay) fn is_end(&self) -> bool {
        matches!(self, UpstreamSource::Stream(stream) if stream.is_end())
    }
}

/// How a body is delimited.
pub(in crate::http::relay) enum Coding {
    /// There is none.
    None,
    /// So many bytes are left.
    Length(u64),
    /// HTTP's chunks.
    Chunked(Decoder),
    /// The connection's end is the body's.
    UntilClose,
    /// As another protocol has it.
    Other(Box<dyn Answer>),
}
impl Coding {
    /// As an HTTP response's head says.
    pub fn http(framing: ResponseFraming, settings: &Settings) -> Coding {
        match framing {
            ResponseFraming::None => Coding::None,
            ResponseFraming::Length(length) => Coding::Length(length),
            ResponseFraming::Chunked if settings.pass_trailers => {
                Coding::Chunked(Decoder::with_trailers(settings.buffer_size))
            }
            ResponseFraming::Chunked => Coding::Chunked(Decoder::new()),
            ResponseFraming::UntilClose => Coding::UntilClose,
        }
    }
    pub(super) fn ends_by_closing(&self) -> bool {
        match self {
            Coding::UntilClose => true,
            Coding::Other(answer) => answer.at_close(),
            _ => false,
        }
    }
}

/// What a response's body is read from.
pub struct Parts {
    pub(in crate::http::relay) source: Option<UpstreamSource>,
    pub(in crate::http::relay) held: Option<Held>,
    /// `None`: the connection closes.
    pub(in crate::http::relay) rests: Option<Rests>,
    pub(in crate::http::relay) coding: Coding,
    /// Where it is kept, if it is.
    pub(in crate::http::relay) keeper: Option<Box<Keeper>>,
}

/// Where a body is kept while it is passed on.
pub(in crate::http::relay) enum Keeper {
    /// In the cache.
    Cache(Writer),
    /// In a file of its own.
    File(Storing),
}
impl Keeper {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Keeper::Cache(writer) => writer.write(bytes),
            Keeper::File(storing) => storing.write(bytes),
        }
    }
    /// The body is complete. Says what went wrong.
    pub(super) fn finish(self, now: u64) -> Result<(), String> {
        match self {
            Keeper::Cache(writer) => writer.finish(now).map_err(|error| kept_badly(&error)),
            Keeper::File(storing) => storing.finish(),
        }
    }
}
pub(super) fn kept_badly(error: &io::Error) -> String {
    format!("keeping an answer failed ({})", crate::log::Errno(error))
}

impl Parts {
    /// Whether all there is came with the head, nothing behind it, and nobody keeps it.
    pub(super) fn is_whole(&self, first: &[u8]) -> bool {
        let length = match self.coding {
            Coding::None => 0,
            Coding::Length(length) => length,
            _ => return false,
        };
        first.len() as u64 == length && self.keeper.is_none()
    }
}
