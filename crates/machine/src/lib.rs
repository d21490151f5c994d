//! What a Linux machine tells about itself and about the servers that run on it.
//!
//! Everything is read, nothing is changed. What cannot be read is an error of its own, so that a report can say what was
//! missing and whose right it would take.
//!
//! - [`process`]: the processes, what they were started with, what they use.
//! - [`servers`]: masters and their workers among them.
//! - [`descriptors`]: what a process has open, by kind.
//! - [`kernel`]: settings and counters of the network and of the file table.
//! - [`sockets`]: whose sockets are whose, and towards whom.
//! - [`mod@unit`]: what the files of a systemd service ask for.
//! - [`namespace`]: looking from inside a container's network.
#![forbid(unsafe_code)]

pub mod descriptors;
pub mod kernel;
pub mod namespace;
pub mod process;
pub mod servers;
pub mod sockets;
pub mod unit;
