//! Logs, read as a stream: any size, rotated, compressed, in bounded memory.
//!
//! [`Source`] opens a log and gives blocks of whole lines; [`error::Scanner`] and [`access::Reader`] take them.

pub mod access;
pub mod cause;
pub mod error;
mod follow;
pub mod format;
pub mod journal;
mod json;
mod line;
mod lines;
pub mod moment;
mod near;
mod overlap;
mod quantiles;
mod request;
mod source;
pub mod timeline;

pub use follow::Follower;
pub use lines::Blocks;
pub use overlap::{Concurrency, Overlap};
pub use quantiles::Quantiles;
pub use source::{Source, rotated};
