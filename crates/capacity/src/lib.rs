//! The capacity chain: what a request needs a free place in, how much of each there is, and which one runs out first.
//!
//! Pure arithmetic: no socket, no file, no clock. Whoever uses it says what the ceilings and the uses are: `-t` from a
//! configuration, the running server from its counters, the doctor from what it finds of another server.
//!
//! - [`Link`]: one place in the chain, with its ceiling, its use and the most that was ever used.
//! - [`Mix`]: what a request costs on average, so that all links can be compared in one unit, concurrent requests.
//! - [`Chain`]: the links together; which one binds, and how much room there is.
//! - [`Setup`]: a server as configured, on its machine: its chain, and the [`Finding`]s about it.
#![forbid(unsafe_code)]

mod advice;
mod chain;
pub mod draw;
pub mod exposition;
mod finding;
mod link;
mod mix;
mod rules;
mod seats;
mod setup;
mod table;

pub use advice::{ceiling_words, most_connections, not_this, raise};
pub use chain::{Binding, Chain, Why};
pub use finding::{Change, Confidence, Effect, Finding, Severity};
pub use link::{FULL, Kind, Link, NEARLY_FULL};
pub use mix::{Mix, Need};
pub use seats::{Seats, Ticket};
pub use setup::{DEFAULT_BACKLOG, Listening, OTHERS, Place, Server, Setup, slots_unasked};
