//! Placeholder.
use crate::http::variables::Variable;
pub(super) static VARIABLES: &[Variable] = &[];
