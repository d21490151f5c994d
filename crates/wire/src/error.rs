//! Why a message was refused, in nginx's status and words.

use crate::span::Span;

/// Why a client's request is refused. The spans point into the request's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRequest {
    /// The method has a byte other than capitals, `_` and `-`.
    InvalidMethod,
    /// The request line does not follow the grammar, or the path cannot be normalised.
    InvalidRequest,
    /// The version is not 1.x.
    InvalidVersion,
    /// HTTP/0.9 knows GET only.
    InvalidMethod09,
    /// The request line exceeds `large_client_header_buffers`.
    TooLongUri,
    /// The host of an absolute-form target is none.
    InvalidHostInLine,
    /// A line of the head that is no header: from its start to the offending byte, that byte included.
    InvalidHeader(Span),
    /// A header line exceeds `large_client_header_buffers`: as much of it as was read.
    TooLongHeader(Span),
    /// The head exceeds `large_client_header_buffers`.
    TooLarge,
    /// More header lines than `max_headers`.
    TooManyHeaders,
    /// A second `Host` line: it and the first, from name to end of value.
    DuplicateHost(Span, Span),
    /// A second line of a header that may occur once: it and the first.
    DuplicateHeader(Span, Span),
    /// The `Host` header's value is no host.
    InvalidHost,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// `Content-Length` is not a number below 2^63.
    InvalidContentLength,
    /// `Transfer-Encoding` in HTTP/1.0.
    TransferEncoding10,
    /// A transfer encoding other than `chunked`: the value.
    UnknownTransferEncoding(Span),
    /// `Content-Length` and `Transfer-Encoding`: nobody may guess which one counts.
    LengthAndTransferEncoding,
    /// TRACE.
    Trace,
    /// CONNECT.
    Connect,
    /// CONNECT with a body.
    ConnectWithBody,
    /// The body is not in the chunked coding its head promised.
    InvalidChunkedBody,
}

impl BadRequest {
    /// The status to answer with. 494 is nginx's own: the response says 400, with a page of its own.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidVersion => 505,
            Self::TooLongUri => 414,
            Self::TooLongHeader(_) | Self::TooLarge | Self::TooManyHeaders => 494,
            Self::UnknownTransferEncoding(_) => 501,
            Self::Trace | Self::Connect => 405,
            _ => 400,
        }
    }

    /// The text nginx logs at info, up to where it quotes the request; [`BadRequest::log_text`] has it whole.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::InvalidMethod => "client sent invalid method",
            Self::InvalidRequest => "client sent invalid request",
            Self::InvalidVersion => "client sent invalid version",
            Self::InvalidMethod09 => "client sent invalid method in HTTP/0.9 request",
            Self::TooLongUri => "client sent too long URI",
            Self::InvalidHostInLine => "client sent invalid host in request line",
            Self::InvalidHeader(_) => "client sent invalid header line",
            Self::TooLongHeader(_) => "client sent too long header line",
            Self::TooLarge => "client sent too large request",
            Self::TooManyHeaders => "client sent too many header lines",
            Self::DuplicateHost(..) => "client sent duplicate host header",
            Self::DuplicateHeader(..) => "client sent duplicate header line",
            Self::InvalidHost => "client sent invalid host header",
            Self::NoHost => "client sent HTTP/1.1 request without \"Host\" header",
            Self::InvalidContentLength => "client sent invalid \"Content-Length\" header",
            Self::TransferEncoding10 => "client sent HTTP/1.0 request with \"Transfer-Encoding\" header",
            Self::UnknownTransferEncoding(_) => "client sent unknown \"Transfer-Encoding\"",
            Self::LengthAndTransferEncoding => {
                "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
            }
            Self::Trace => "client sent TRACE method",
            Self::Connect => "client sent CONNECT method",
            Self::ConnectWithBody => "client sent CONNECT request with body",
            Self::InvalidChunkedBody => "client sent invalid chunked body",
        }
    }

    /// What nginx was doing, for the ` while ..` after the text. Where this is the request line and the
    /// request is not the connection's first, nginx says `reading client pipelined request line`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::InvalidMethod
            | Self::InvalidRequest
            | Self::InvalidVersion
            | Self::InvalidMethod09
            | Self::TooLongUri
            | Self::InvalidHostInLine => "reading client request line",
            Self::InvalidChunkedBody => "reading client request body",
            _ => "reading client request headers",
        }
    }

    /// Writes the whole text of the log line, quoting the request in `buf` as nginx does.
    pub fn log_text(&self, buf: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.message().as_bytes());
        match *self {
            Self::InvalidHeader(line) => quote_offence(line.of(buf), out),
            Self::TooLongHeader(line) => {
                let line = line.of(buf);
                quote(&[&line[..line.len().min(LONGEST_QUOTE)], b"..."], out);
            }
            Self::DuplicateHost(second, first) | Self::DuplicateHeader(second, first) => {
                quote(&[second.of(buf)], out);
                out.extend_from_slice(b", previous value");
                quote(&[first.of(buf)], out);
            }
            Self::UnknownTransferEncoding(value) => quote(&[value.of(buf)], out),
            _ => {}
        }
    }
}

/// nginx cuts a quoted header line here, so that its log line holds the rest of the context.
const LONGEST_QUOTE: usize = 2048 - 300;

/// Why an upstream's response is refused (502). The spans point into the response's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadResponse {
    /// Not a status line. nginx logs this, then passes all bytes on as the body of an HTTP/0.9 response.
    NoStatusLine,
    /// A line that is no header: from its start to the offending byte, that byte included.
    InvalidHeader(Span),
    /// A second line of a header that may occur once: it and the first.
    DuplicateHeader(Span, Span),
    /// `Content-Length` is not a number below 2^63.
    InvalidContentLength(Span),
    /// A transfer encoding other than `chunked`: the value.
    UnknownTransferEncoding(Span),
    /// `Content-Length` and `Transfer-Encoding`.
    LengthAndTransferEncoding,
    /// A line behind the body that is no header: as [`BadResponse::InvalidHeader`].
    InvalidTrailer(Span),
    /// The head exceeds `proxy_buffer_size`.
    TooBig,
    /// The body is not in the chunked coding its head promised.
    InvalidChunkedBody,
}

impl BadResponse {
    /// The text nginx logs at error, up to where it quotes the response; [`BadResponse::log_text`] has it
    /// whole. The log line goes on ` while reading response header from upstream`.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::NoStatusLine => "upstream sent no valid HTTP/1.0 header",
            Self::InvalidHeader(_) => "upstream sent invalid header",
            Self::DuplicateHeader(..) => "upstream sent duplicate header line",
            Self::InvalidContentLength(_) => "upstream sent invalid \"Content-Length\" header",
            Self::UnknownTransferEncoding(_) => "upstream sent unknown \"Transfer-Encoding\"",
            Self::LengthAndTransferEncoding => {
                "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
            }
            Self::InvalidTrailer(_) => "upstream sent invalid trailer",
            Self::TooBig => "upstream sent too big header",
            Self::InvalidChunkedBody => "upstream sent invalid chunked response",
        }
    }

    /// Writes the whole text of the log line, quoting the response in `buf` as nginx does.
    pub fn log_text(&self, buf: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.message().as_bytes());
        match *self {
            Self::InvalidHeader(line) | Self::InvalidTrailer(line) => quote_offence(line.of(buf), out),
            Self::DuplicateHeader(second, first) => {
                quote(&[second.of(buf)], out);
                out.extend_from_slice(b", previous value");
                quote(&[first.of(buf)], out);
            }
            Self::UnknownTransferEncoding(value) => quote(&[value.of(buf)], out),
            Self::InvalidContentLength(line) => quote(&[line.of(buf)], out),
            _ => {}
        }
    }
}

fn quote(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(b": \"");
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'"');
}

/// Quotes a line up to its last byte, which is the offending one and written as a number.
fn quote_offence(line: &[u8], out: &mut Vec<u8>) {
    let Some((&offence, good)) = line.split_last() else { return };
    let digit = |nibble: u8| b"0123456789abcdef"[nibble as usize];
    quote(&[good, b"\\x", &[digit(offence >> 4), digit(offence & 15)], b"..."], out);
}
