//! What Plimsoll asks of the kernel beyond the standard library, through rustix, nix and socket2, in small files.
#![deny(unsafe_code)]

pub mod affinity;
pub mod cgroup;
pub mod fdpass;
pub mod file;
pub mod limits;
pub mod memfd;
pub mod net;
pub mod priority;
pub mod privileges;
pub mod proc;
pub mod process;
pub mod service;
pub mod signal;
pub mod sock_diag;
mod unsafe_calls;
