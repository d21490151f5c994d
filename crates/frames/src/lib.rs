//! HTTP/2's frames and the compressed heads in them: bytes in, meaning out, and back; and the side of a connection that
//! asks ([`Client`]). No socket, no clock.
#![forbid(unsafe_code)]

mod client;
mod decode;
mod encode;
mod frame;
pub mod huffman;
mod table;

pub use client::{Client, Fault};
pub use decode::{Decoder, Of, Stop};
pub use encode::{put_field, put_known, put_status, put_table_update, put_whole};
pub use frame::{FrameHead, HEAD, Kind, Misfit, code, flag, put_head, setting, unpadded, unprefixed};

#[cfg(test)]
mod tests;
