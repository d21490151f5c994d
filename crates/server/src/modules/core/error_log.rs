//! Placeholder.
use crate::log::{ErrorLog, Level};
use crate::worker::generation::Compiler;
use conf::{Directive, MAIN, Scope, between, directive};
/// Placeholder.
pub const ERROR_LOG: Directive = directive("error_log", MAIN.or(super::ANY), between(1, 2), |_, _| Ok(()));
pub(crate) fn compile(_: &Scope, _: &mut Compiler<'_>) -> ErrorLog {
    ErrorLog::stderr(Level::Info)
}
