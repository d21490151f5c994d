//! Whether a request has a body and where it ends, and whether the connection outlives it.

use crate::bytes::find_ignore_case;
use crate::error::BadRequest;
use crate::field::Known;
use crate::fields::Headers;
use crate::head::{Method, RequestHead, Version};
use crate::number::parse_length;

/// Where a request's body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It is in chunks, for [`crate::chunked::Decoder`].
    Chunked,
}

/// Headers nginx refuses to see twice, apart from `Host`.
const ONCE: u64 = Known::ContentLength.bit()
    | Known::TransferEncoding.bit()
    | Known::ContentRange.bit()
    | Known::Authorization.bit()
    | Known::ProxyAuthorization.bit()
    | Known::Expect.bit()
    | Known::IfRange.bit()
    | Known::IfMatch.bit()
    | Known::IfNoneMatch.bit()
    | Known::IfModifiedSince.bit()
    | Known::IfUnmodifiedSince.bit();

impl RequestHead {
    /// The body's framing. This is the check of the head as a whole: a head that is refused here must not be
    /// served. Refusals come in nginx's order, if [`crate::uri::normalize`] of the path and then
    /// [`RequestHead::host_name`] have been checked before.
    #[inline]
    pub fn framing(&self, buf: &[u8]) -> Result<Framing, BadRequest> {
        let framing = self.body(buf)?;
        match self.method {
            Method::Trace => Err(BadRequest::Trace),
            Method::Connect => Err(BadRequest::Connect),
            _ => Ok(framing),
        }
    }

    /// The framing of a body, whatever the method: one that is refused may have a body, too, and whoever answers for it
    /// may want to see it.
    #[inline]
    pub fn body(&self, buf: &[u8]) -> Result<Framing, BadRequest> {
        if self.version == Version::Http09 {
            return Ok(Framing::None);
        }
        self.no_repetition()?;
        if self.version >= Version::Http11 && !self.headers.has(Known::Host) {
            return Err(BadRequest::NoHost);
        }
        let length = content_length(&self.headers, buf)?;
        self.transfer_coding(buf, length)
    }

    #[inline]
    fn no_repetition(&self) -> Result<(), BadRequest> {
        let Some((second, first)) = self.headers.repeated(ONCE | Known::Host.bit()) else { return Ok(()) };
        let (second, first, known) = (second.whole(), first.whole(), second.known);
        if known == Known::Host {
            return Err(BadRequest::DuplicateHost(second, first));
        }
        Err(BadRequest::DuplicateHeader(second, first))
    }

    #[inline]
    fn transfer_coding(&self, buf: &[u8], length: Option<u64>) -> Result<Framing, BadRequest> {
        let Some(coding) = self.headers.find(Known::TransferEncoding) else {
            return Ok(length.map_or(Framing::None, Framing::Length));
        };
        if self.version < Version::Http11 {
            return Err(BadRequest::TransferEncoding10);
        }
        if !coding.value.of(buf).eq_ignore_ascii_case(b"chunked") {
            return Err(BadRequest::UnknownTransferEncoding(coding.value));
        }
        if length.is_some() {
            return Err(BadRequest::LengthAndTransferEncoding);
        }
        Ok(Framing::Chunked)
    }

    /// Whether the client wants the connection kept after this request. As nginx, by the last `Connection`
    /// line in which `close` or `keep-alive` occurs; without one, by the version. (`keepalive_disable` and
    /// the limits of `keepalive_*` are the server's to add.)
    #[inline]
    #[must_use]
    pub fn keep_alive(&self, buf: &[u8]) -> bool {
        let default = self.version >= Version::Http11;
        if !self.headers.has(Known::Connection) {
            return default;
        }
        let wishes = self.headers.all(Known::Connection).map(|header| wish(header.value.of(buf)));
        wishes.flatten().last().unwrap_or(default)
    }

    /// Whether the client waits for `100 Continue` before it sends the body: HTTP/1.1 and `Expect` with
    /// exactly that value. nginx ignores any other expectation.
    #[must_use]
    pub fn expects_continue(&self, buf: &[u8]) -> bool {
        self.version == Version::Http11
            && self.headers.value(Known::Expect, buf).is_some_and(|e| e.eq_ignore_ascii_case(b"100-continue"))
    }
}

#[inline]
fn content_length(headers: &Headers, buf: &[u8]) -> Result<Option<u64>, BadRequest> {
    let Some(value) = headers.value(Known::ContentLength, buf) else { return Ok(None) };
    parse_length(value).map(Some).ok_or(BadRequest::InvalidContentLength)
}

/// What one `Connection` line asks for; nginx looks for the words anywhere in it.
#[inline]
fn wish(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"keep-alive") {
        return Some(true);
    }
    if find_ignore_case(value, b"close").is_some() {
        return Some(false);
    }
    find_ignore_case(value, b"keep-alive").map(|_| true)
}

#[cfg(test)]
mod tests;
