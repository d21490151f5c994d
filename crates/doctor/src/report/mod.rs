//! A diagnosis on paper.

pub mod json;
pub mod markdown;
pub mod text;
