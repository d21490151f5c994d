//! Placeholder.
use super::Module;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::worker::generation::Compiler;
use conf::{Error, Scope};
pub(crate) static MODULE: Module = Module { name: "try_files", directives: &[], variables: &[] };
/// Placeholder.
pub struct TryFiles;
impl TryFiles {
    /// Placeholder.
    pub fn look(&self, _: &mut Request) -> Next {
        Next::Go
    }
}
pub(crate) fn compile(_: &Scope, _: &mut Compiler<'_>) -> Result<Option<TryFiles>, Error> {
    Ok(None)
}
