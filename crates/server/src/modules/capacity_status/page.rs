//! The page: one document without outside parts, which begins with the state of its making and asks for newer ones.

use crate::chain::Reading;

const PAGE: &str = include_str!("page.html");
/// What stands where the state goes.
const STATE: &str = "\"STATE\"";

/// The page with this state.
pub fn page(reading: &Reading) -> String {
    let state = serde_json::to_string(reading).unwrap_or_else(|_| "null".to_owned());
    // Within a script nothing may look like markup.
    PAGE.replacen(STATE, &state.replace('<', "\\u003c"), 1)
}
