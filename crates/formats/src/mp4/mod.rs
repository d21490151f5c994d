//! Films (ISO 14496-12): a part of one, with boxes that say so.

mod boxes;
mod edit;
mod tables;
mod track;

pub use edit::{Cut, Limits, Read, cut};
pub use tables::{Fault, Span};
