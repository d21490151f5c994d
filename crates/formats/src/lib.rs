//! What modules read that others wrote: films, pages with commands, passwords, cookies. Bytes in, meaning out: no files, no
//! clock, no sockets.
#![forbid(unsafe_code)]

pub mod base64;
pub mod mp4;
pub mod pairs;
pub mod password;
pub mod ssi;
