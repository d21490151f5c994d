//! Placeholder.
use super::Module;
use crate::http::request::Request;
use crate::worker::generation::Compiler;
use conf::{Error, Scope};
pub(crate) static MODULE: Module = Module { name: "log", directives: &[], variables: &[] };
/// Placeholder.
pub struct AccessLogs;
impl AccessLogs {
    /// Placeholder.
    pub fn write(&self, _: &mut Request) {}
}
pub(crate) fn compile(_: &Scope, _: &mut Compiler<'_>) -> Result<Option<AccessLogs>, Error> {
    Ok(None)
}
