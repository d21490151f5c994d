//! A diagnosis on paper.

pub mod json;
pub mod text;
