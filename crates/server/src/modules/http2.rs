//! `http2`: which servers speak HTTP/2, and within which bounds. The protocol itself is in [`crate::http2`].

use conf::{Args, Error, HTTP, LOCATION, SERVER, Scope, Within, directive};

use super::Module;
use crate::http::variables::{Variable, variable};

const IN: Within = HTTP.or(SERVER);
const ANYWHERE: Within = IN.or(LOCATION);

/// The largest window HTTP/2 knows.
const MAX_WINDOW: u64 = (1 << 31) - 1;
/// The largest frame HTTP/2 knows.
const MAX_FRAME: u64 = (1 << 24) - 1;
/// nginx keeps so many bytes of an incomplete frame in its receive buffer.
const STATE_BUFFER: u64 = 16;

pub(crate) static MODULE: Module = Module {
    name: "http_v2",
    directives: &[
        directive("http2", IN, conf::flag(), |at, a| at.own::<Conf>().enabled.set(a.flag(0)?)),
        directive("http2_max_concurrent_streams", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().max_concurrent_streams.set(a.number(0)?)
        }),
        directive("http2_body_preread_size", IN, conf::exactly(1), preread),
        directive("http2_chunk_size", ANYWHERE, conf::exactly(1), chunk),
        // How nginx lays out its memory: checked, and of no consequence here.
        directive("http2_recv_buffer_size", HTTP, conf::exactly(1), |at, a| {
            let size = above(a, STATE_BUFFER)?;
            at.own::<Conf>().recv_buffer.set(size)
        }),
        directive("http2_pool_size", IN, conf::exactly(1), pool),
        directive("http2_streams_index_size", IN, conf::exactly(1), |at, a| {
            let size: u32 = a.number(0)?;
            if !size.is_power_of_two() {
                return Err(a.error(format!("\"{}\" directive must be a power of two", a.directive)));
            }
            at.own::<Conf>().streams_index.set(size)
        }),
        directive("http2_max_requests", IN, conf::exactly(1), |at, a| instead(at, a, "keepalive_requests")),
        directive("http2_max_field_size", IN, conf::exactly(1), |at, a| {
            instead(at, a, "large_client_header_buffers")
        }),
        directive("http2_max_header_size", IN, conf::exactly(1), |at, a| {
            instead(at, a, "large_client_header_buffers")
        }),
        directive("http2_recv_timeout", IN, conf::exactly(1), |at, a| {
            instead(at, a, "client_header_timeout")
        }),
        directive("http2_idle_timeout", IN, conf::exactly(1), |at, a| instead(at, a, "keepalive_timeout")),
        directive("http2_max_concurrent_pushes", IN, conf::exactly(1), ignored),
        directive("http2_push_preload", ANYWHERE, conf::flag(), ignored),
        directive("http2_push", ANYWHERE, conf::exactly(1), ignored),
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("http2", |request, out| {
    if request.client.is_stream() {
        out.extend_from_slice(if request.client.is_encrypted() { b"h2" } else { b"h2c" });
    }
    true
})];

settings! {
    /// As written.
    struct Conf {
        enabled: bool,
        max_concurrent_streams: u32,
        preread: u64,
        chunk: u64,
        recv_buffer: u64,
        pool: u64,
        streams_index: u32,
    }
}

fn above(a: &Args<'_>, least: u64) -> Result<u64, Error> {
    match a.size(0)? {
        size if size > least => Ok(size),
        _ => Err(a.error(format!("\"{}\" directive value is too small", a.directive))),
    }
}
fn preread(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let size = a.size(0)?;
    if size > MAX_WINDOW {
        return Err(a.error(format!("the maximum body preread buffer size is {MAX_WINDOW}")));
    }
    at.own::<Conf>().preread.set(size)
}
fn chunk(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let size = a.size(0)?;
    if size == 0 {
        return Err(a.error("the http2 chunk size cannot be zero"));
    }
    at.own::<Conf>().chunk.set(size.min(MAX_FRAME))
}
fn pool(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let size = a.size(0)?;
    if size < 128 {
        return Err(a.error("the pool size must be no less than 128"));
    }
    if size % 16 != 0 {
        return Err(a.error("the pool size must be a multiple of 16"));
    }
    at.own::<Conf>().pool.set(size)
}
fn instead(at: &mut Scope, a: &Args<'_>, new: &str) -> Result<(), Error> {
    let old = a.directive;
    let message = format!("the \"{old}\" directive is obsolete, use the \"{new}\" directive instead");
    at.warn(Error::warn(message).at(a.at()));
    Ok(())
}
fn ignored(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let message = format!("the \"{}\" directive is obsolete, ignored", a.directive);
    at.warn(Error::warn(message).at(a.at()));
    Ok(())
}

/// How a server speaks HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// `http2 on`.
    pub enabled: bool,
    /// Requests that a client may have under way on one connection.
    pub max_concurrent_streams: u32,
    /// Bytes of a request's body that a client may send before it is asked for.
    pub preread: u32,
}

/// What is in force in a server.
pub fn compile(at: &Scope) -> Http2 {
    let none = Conf::default();
    let conf = at.conf::<Conf>().unwrap_or(&none);
    Http2 {
        enabled: conf.enabled.or(false),
        max_concurrent_streams: conf.max_concurrent_streams.or(128),
        preread: conf.preread.or(64 << 10) as u32,
    }
}

/// The largest piece of a response's body that goes out in one frame, where a location says so.
pub fn chunk_size(at: &Scope) -> usize {
    at.conf::<Conf>().map_or(8 << 10, |conf| conf.chunk.or(8 << 10) as usize)
}
