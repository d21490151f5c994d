//! Where an upstream's response ends, and whether its connection can be used again.

use crate::bytes::find_ignore_case;
use crate::error::BadResponse;
use crate::field::Known;
use crate::fields::Header;
use crate::head::{Method, Version};
use crate::number::parse_length;
use crate::response::ResponseHead;

/// Where a response's body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseFraming {
    /// There is no body, whatever the head says: the answer to HEAD, 1xx.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It is in chunks, for [`crate::chunked::Decoder`].
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// Headers a response must not have twice, since they say where it ends.
const ONCE: u64 = Known::ContentLength.bit() | Known::TransferEncoding.bit();

impl ResponseHead {
    /// The body's framing, in answer to a request with `method`. This is the check of the head as a whole:
    /// a response that is refused here must not be passed on.
    pub fn framing(&self, method: Method, buf: &[u8]) -> Result<ResponseFraming, BadResponse> {
        if let Some((second, first)) = self.headers.repeated(ONCE) {
            return Err(BadResponse::DuplicateHeader(second.whole(), first.whole()));
        }
        let length = self.content_length(buf)?;
        let (lengths, codings) =
            (self.headers.find(Known::ContentLength), self.headers.find(Known::TransferEncoding));
        if let (Some(length), Some(coding)) = (lengths, codings)
            && length.name.start < coding.name.start
        {
            return Err(BadResponse::LengthAndTransferEncoding);
        }
        let chunked = self.chunked(buf)?;
        if chunked && length.is_some() {
            return Err(BadResponse::LengthAndTransferEncoding);
        }
        if method == Method::Head || matches!(self.status, 100..=199) {
            return Ok(ResponseFraming::None);
        }
        if matches!(self.status, 204 | 304) {
            return Ok(ResponseFraming::Length(0));
        }
        if chunked {
            return Ok(ResponseFraming::Chunked);
        }
        Ok(length.map_or(ResponseFraming::UntilClose, ResponseFraming::Length))
    }

    /// `Content-Length`, also where there is no body because the request was HEAD.
    pub fn content_length(&self, buf: &[u8]) -> Result<Option<u64>, BadResponse> {
        let Some(header) = self.headers.find(Known::ContentLength) else { return Ok(None) };
        let length = parse_length(header.value.of(buf));
        length.map(Some).ok_or(BadResponse::InvalidContentLength(header.whole()))
    }

    fn chunked(&self, buf: &[u8]) -> Result<bool, BadResponse> {
        let Some(header) = self.headers.find(Known::TransferEncoding) else { return Ok(false) };
        if header.value.of(buf).eq_ignore_ascii_case(b"chunked") {
            return Ok(true);
        }
        Err(BadResponse::UnknownTransferEncoding(header.value))
    }

    /// Whether the connection can serve another request once this body, framed as `framing` says, has been
    /// read to its end. nginx keeps none that speaks HTTP/1.0.
    #[must_use]
    pub fn keep_alive(&self, framing: ResponseFraming, buf: &[u8]) -> bool {
        let close = |header: Header| find_ignore_case(header.value.of(buf), b"close").is_some();
        self.version >= Version::Http11
            && framing != ResponseFraming::UntilClose
            && self.status != 101
            && !self.headers.all(Known::Connection).any(close)
    }
}
