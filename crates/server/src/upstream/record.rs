//! What a request knows of its upstreams: each try for `$upstream_*`, the last response's head for `$upstream_http_*`,
//! and the URL for the error log. Lives in the pooled request, so that it costs no allocation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::{ResponseFraming, ResponseHead, Span};

use crate::http::filters::Piece;

/// One server that was asked, or a mark that the next ones were asked after an internal redirect.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Its address, in [`Record::text`].
    pub address: Span,
    /// The status it gave, or that its failure stands for; 0 while there is none.
    pub status: u16,
    /// How long it was waited for (`queue`).
    pub queued: Option<Duration>,
    /// When the connection stood.
    connect: Option<Instant>,
    /// When the response's head was there.
    header: Option<Instant>,
    /// When the response was there, or failed.
    response: Option<Instant>,
    /// Bytes of the response's body, framing included.
    pub length: u64,
    /// Bytes read from it.
    pub received: u64,
    /// Bytes written to it.
    pub sent: u64,
    /// It was the first one after an internal redirect: values are separated by colons.
    pub redirected: bool,
    started: Instant,
}

impl Try {
    /// Until the connection stood.
    pub fn connect_time(&self) -> Option<Duration> {
        self.until(self.connect)
    }
    /// Until the response's head was there.
    pub fn header_time(&self) -> Option<Duration> {
        self.until(self.header)
    }
    /// Until the response was there, or failed.
    pub fn response_time(&self) -> Option<Duration> {
        self.until(self.response)
    }
    fn until(&self, moment: Option<Instant>) -> Option<Duration> {
        moment.map(|moment| moment.saturating_duration_since(self.started))
    }
}

/// How the cache served a request (`$upstream_cache_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// There was no answer.
    Miss,
    /// It was not asked (`.._cache_bypass`).
    Bypass,
    /// The answer was too old.
    Expired,
    /// It was, and was served all the same.
    Stale,
    /// It was, and was served while somebody fetched a new one.
    Updating,
    /// It was, but the upstream said that it is still good.
    Revalidated,
    /// It was fresh.
    Hit,
}
impl CacheStatus {
    /// nginx's name for it.
    pub fn name(self) -> &'static str {
        match self {
            CacheStatus::Miss => "MISS",
            CacheStatus::Bypass => "BYPASS",
            CacheStatus::Expired => "EXPIRED",
            CacheStatus::Stale => "STALE",
            CacheStatus::Updating => "UPDATING",
            CacheStatus::Revalidated => "REVALIDATED",
            CacheStatus::Hit => "HIT",
        }
    }
}

/// What a request knows of the cache.
#[derive(Default)]
pub struct CacheRecord {
    /// How it was served.
    pub status: Option<CacheStatus>,
    /// `Last-Modified` and `ETag` of an answer that is to be revalidated.
    pub last_modified: Vec<u8>,
    /// See `last_modified`.
    pub etag: Vec<u8>,
    /// The answer may be kept: it is wanted whether the client stays or leaves.
    pub keeps: bool,
    /// Nobody waits for the answer: it is fetched for the cache, by right of this.
    pub background: bool,
    /// See `background`.
    pub fetch: Option<crate::cache::Fetch>,
}
impl CacheRecord {
    fn clear(&mut self) {
        self.status = None;
        self.keeps = false;
        self.last_modified.clear();
        self.etag.clear();
    }
}

/// See the module.
#[derive(Default)]
pub struct Record {
    /// The tries in order.
    pub tries: Vec<Try>,
    /// What `Try::address` points to.
    pub text: Vec<u8>,
    /// The URL asked, for the error log: `uri` is what follows scheme and server. Empty until one is known.
    pub uri: Vec<u8>,
    /// The URL's scheme with what separates it from the server.
    scheme: &'static str,
    /// Host and port of a `proxy_pass` with variables (`$proxy_host`, `$proxy_port`).
    pub host: Vec<u8>,
    /// See `host`.
    pub port: Vec<u8>,
    /// The last response's head.
    pub head: ResponseHead,
    /// How the body behind an HTTP head ends.
    pub framing: Option<ResponseFraming>,
    /// What `head` points to.
    pub buffer: Vec<u8>,
    /// What the cache has to do with it.
    pub cache: CacheRecord,
    /// Trailers of the last response.
    pub trailers: Vec<u8>,
    /// The server asked last as the configuration writes it, where that is not its address.
    server: Option<Arc<str>>,
    /// Who is being asked, for the error log; a place in `text`.
    asked: Span,
    /// An internal redirect began since the last try.
    redirected: bool,
    /// A location has begun to ask.
    begun: bool,
}

impl Record {
    /// Ready for the next request.
    pub fn reset(&mut self) {
        if !self.begun {
            return;
        }
        self.tries.clear();
        self.text.clear();
        self.uri.clear();
        self.host.clear();
        self.port.clear();
        self.forget_response();
        self.asked = Span::default();
        self.redirected = false;
        self.cache.clear();
        self.cache.background = false;
        self.cache.fetch = None;
        self.begun = false;
    }
    /// Another location begins to ask.
    pub fn begin(&mut self, scheme: &'static str) {
        self.begun = true;
        self.scheme = scheme;
        self.redirected = !self.tries.is_empty();
        self.cache.clear();
        self.uri.clear();
        self.host.clear();
        self.port.clear();
        self.forget_response();
    }
    /// The URL's scheme is known only now.
    pub fn set_scheme(&mut self, scheme: &'static str) {
        self.scheme = scheme;
    }
    /// The next response is read into an empty buffer.
    pub fn forget_response(&mut self) {
        self.head.clear();
        self.framing = None;
        self.buffer.clear();
        self.trailers.clear();
    }
    /// Takes away what was read behind the head, with the buffer it is in; the head moves to `other`, which is empty.
    pub fn part_from_head(&mut self, mut other: Vec<u8>) -> Piece {
        let length = self.head.length;
        other.extend_from_slice(&self.buffer[..length]);
        Piece::behind(std::mem::replace(&mut self.buffer, other), length)
    }
    /// Whether a location has begun to ask.
    pub fn is_begun(&self) -> bool {
        self.begun
    }
    /// A server is being asked.
    pub fn ask(&mut self, name: &str, now: Instant) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.asked = Span::new(start, self.text.len());
        self.tries.push(Try {
            address: self.asked,
            status: 0,
            queued: None,
            connect: None,
            header: None,
            response: None,
            length: 0,
            received: 0,
            sent: 0,
            redirected: std::mem::take(&mut self.redirected),
            started: now,
        });
        self.forget_response();
    }
    /// The server being asked, as the configuration writes it.
    pub fn asked_as(&mut self, server: &Arc<str>) {
        // An address, with its port or without.
        let same = self.asked.of(&self.text).starts_with(server.as_bytes());
        self.server = (!same).then(|| server.clone());
    }
    /// The name of the server asked last, without its port.
    pub fn last_server(&self) -> Option<&[u8]> {
        self.tries.last()?;
        let server = self.server.as_ref().map_or(self.asked.of(&self.text), |server| server.as_bytes());
        Some(without_port(server))
    }
    /// The address of the server asked last, without its port.
    pub fn last_address(&self) -> Option<&[u8]> {
        let last = self.tries.last()?;
        Some(without_port(last.address.of(&self.text)))
    }
    /// Nobody is left to ask: nginx shows the group's name as the address.
    pub fn nobody(&mut self, group: &str, now: Instant) {
        self.ask(group, now);
        self.end(now);
    }
    /// The try under way.
    pub fn last(&mut self) -> Option<&mut Try> {
        self.tries.last_mut()
    }
    /// The connection stands.
    pub fn connected(&mut self, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.connect = Some(now);
        }
    }
    /// The head was read.
    pub fn answered(&mut self, now: Instant) {
        let status = self.head.status;
        if let Some(last) = self.tries.last_mut() {
            last.header = Some(now);
            last.status = status;
        }
    }
    /// A tunnel was opened: as in nginx there is no answer, so no status.
    pub fn opened(&mut self, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.header = Some(now);
        }
    }
    /// The try is over.
    pub fn end(&mut self, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.response.get_or_insert(now);
        }
    }
    /// As [`Record::end`], while it goes on: the latest time counts.
    pub fn end_at(&mut self, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.response = Some(now);
        }
    }
    /// Whether there is somebody to name in the error log.
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }
    /// Appends the URL being asked, as nginx writes it: the path of a socket ends with a colon.
    pub fn put_url(&self, out: &mut Vec<u8>) {
        let asked = self.asked.of(&self.text);
        out.extend_from_slice(self.scheme.as_bytes());
        out.extend_from_slice(asked);
        if asked.starts_with(b"unix:") {
            out.push(b':');
        }
        out.extend_from_slice(&self.uri);
    }
}

/// `[::1]:80` is `::1`; the path of a socket stays.
fn without_port(address: &[u8]) -> &[u8] {
    if address.starts_with(b"unix:") {
        return address;
    }
    let colon = memchr::memrchr(b':', address).filter(|i| address[i + 1..].iter().all(u8::is_ascii_digit));
    let host = colon.map_or(address, |i| &address[..i]);
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn ports_are_taken_off() {
        for (address, host) in [
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("a.test", "a.test"),
            ("unix:/tmp/a:80", "unix:/tmp/a:80"),
        ] {
            assert_eq!(without_port(address.as_bytes()), host.as_bytes());
        }
    }
}
