//! `test`: every test of the workspace, with what they need installed first.

use anyhow::Result;

use crate::run::{cargo, step};
use crate::setup::setup;

/// Installs, then runs all tests; further arguments go to `cargo test`.
pub fn test(arguments: &[String]) -> Result<()> {
    setup()?;
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    step("tests", command.args(arguments))
}
