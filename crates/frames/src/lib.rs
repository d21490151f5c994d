//! HTTP/2's frames and the compressed heads in them: bytes in, meaning out, and back. No socket, no clock.
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod frame;
pub mod huffman;
mod table;

pub use decode::{Decoder, Stop};
pub use encode::{put_field, put_known, put_status, put_table_update};
pub use frame::{FrameHead, HEAD, Kind, code, flag, put_head, setting, unpadded};

#[cfg(test)]
mod tests;
