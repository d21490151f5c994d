//! A diagnosis on paper.

pub mod html;
pub mod json;
pub mod markdown;
pub mod metrics;
mod plot;
pub mod text;
