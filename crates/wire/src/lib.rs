//! HTTP/1 (and FastCGI's records): bytes to messages and messages to bytes.
//!
//! This crate owns no socket and reads no clock, and it allocates nothing for a message beyond vectors its
//! caller keeps for the next one. A message head stays in the caller's buffer; what is found there is told
//! as [`Span`]s. Where RFC 9112 leaves a choice, nginx's is taken, down to the status of each refusal and
//! the words of its log line.
#![forbid(unsafe_code)]

mod bytes;
pub mod cached;
pub mod chunked;
pub mod conditional;
mod cursor;
pub mod date;
pub mod encoding;
mod error;
pub mod fastcgi;
mod field;
mod fields;
mod framing;
mod head;
mod host;
mod limits;
pub mod number;
pub mod range;
mod request;
mod request_line;
mod response;
mod response_framing;
mod span;
pub mod status;
pub mod uri;

pub use error::{BadRequest, BadResponse};
pub use field::Known;
pub use fields::{Header, Headers, parse_fields};
pub use framing::Framing;
pub use head::{Method, RequestHead, Version};
pub use host::validate_host;
pub use limits::Limits;
pub use number::{parse_length, push_decimal, push_hex};
pub use request::{Progress, RequestParser};
pub use response::{ResponseHead, ResponseParser};
pub use response_framing::ResponseFraming;
pub use span::Span;
pub use status::status_line;
