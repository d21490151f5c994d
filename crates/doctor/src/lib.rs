//! A doctor for nginx and for Plimsoll: which link of the capacity chain is full, and what to change.
//!
//! [`probe`] looks at a running server or at files of one and gives [`facts::Facts`]; [`diagnose`] makes findings of
//! them, without asking anybody anything; [`report`] writes them down.
#![forbid(unsafe_code)]

pub mod cli;
pub mod diagnose;
pub mod explain;
mod exporter;
pub mod facts;
pub mod fix;
mod flags;
mod input;
pub mod logs;
pub mod probe;
pub mod report;
pub mod size;
pub mod top;
