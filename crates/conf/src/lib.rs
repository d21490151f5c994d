//! nginx.conf: text, then a tree, then typed scopes.
//!
//! Three steps, each usable on its own:
//!
//! 1. [`Tree::read`] turns text into statements: nginx's grammar whole, includes expanded, any directive name
//!    accepted (the doctor reads files made for modules we do not have).
//! 2. [`load`] reads with the modules' directive [`Tables`] and fills a [`Scope`] for each block, statement by
//!    statement, so that a file costs nothing after its first mistake; [`read()`] does the same from a tree. Errors have
//!    nginx's words and place, and come in nginx's order: whichever mistake stands first in the text.
//! 3. [`Scope::inherit_down`] completes every block from the one around it.
//!
//! Nothing here touches the system except through [`Inputs`]: what a [`Recording`] heard, a [`Recorded`] can replay in
//! another process, so what was checked is what runs.
#![forbid(unsafe_code)]

mod advice;
mod args;
mod directive;
mod errors;
mod inputs;
mod interpret;
mod lexer;
mod nginx;
mod print;
mod reader;
mod record;
mod scope;
mod setting;
mod text;
mod tree;
mod value;
mod word;

pub use args::{Args, Entries, Relative};
pub use directive::{
    ANYWHERE, EVENTS, HTTP, IF_LOCATION, IF_SERVER, IN_HTTP, LIMIT_EXCEPT, LOCATION, MAIN, SERVER, STREAM,
    STREAM_SERVER, STREAM_UPSTREAM, UPSTREAM,
};
pub use directive::{
    Arity, Body, Directive, Set, Tables, Within, at_least, between, block, directive, exactly, flag, free,
};
pub use errors::{Error, Level, Position, Result, os_error};
pub use inputs::{Inputs, SystemInputs};
pub use interpret::{load, read};
pub use nginx::Known;
pub use record::{Recorded, Recording};
pub use scope::{Inherit, Scope, Warnings};
pub use setting::{List, Setting};
pub use text::{Part, Template};
pub use tree::{Block, File, Mark, Source, Statement, Tree};
pub use value::{msec, offset, sec, size};
pub use word::{Word, Words};
