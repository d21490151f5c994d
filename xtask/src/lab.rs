//! `lab`: incidents made with a real nginx and real applications; the doctor must name the right link.

use anyhow::Result;

use crate::run::{cargo, step};
use crate::setup::setup;

/// Installs what the incidents need, then makes them; arguments choose by name.
pub fn lab(arguments: &[String]) -> Result<()> {
    setup()?;
    let mut command = cargo(&["test", "--locked", "-p", "plimsoll", "--test", "lab", "--no-fail-fast"]);
    step("incidents", command.args(arguments))
}
