//! Placeholder.
use super::Module;
use crate::worker::generation::Compiler;
use conf::{Error, Scope};
pub(crate) static MODULE: Module = Module { name: "upstream", directives: &[], variables: &[] };
pub(crate) fn compile(_: &Scope, _: &mut Compiler<'_>) -> Result<(), Error> {
    Ok(())
}
