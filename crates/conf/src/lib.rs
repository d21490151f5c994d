//! nginx.conf: text, then a tree, then typed scopes.
#![forbid(unsafe_code)]
mod args;
mod directive;
mod errors;
mod inputs;
mod interpret;
mod lexer;
mod scope;
mod setting;
mod text;
mod tree;
mod value;
mod word;
pub use args::Args;
pub use directive::*;
pub use errors::{Error, Level, Position, Result, os_error};
pub use inputs::{Inputs, SystemInputs};
pub use interpret::read;
pub use scope::{Inherit, Scope};
pub use setting::Setting;
pub use text::{Part, template};
pub use tree::{Statement, Tree};
pub use value::{msec, offset, sec, size};
pub use word::Word;
