//! What Plimsoll asks of the kernel, through rustix, nix and socket2, in small files.
#![deny(unsafe_code)]

pub mod net;
