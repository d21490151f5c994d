//! Placeholder.
use super::Module;
pub(crate) static MODULE: Module = Module { name: "map", directives: &[], variables: &[] };
