//! Placeholder.
/// Placeholder.
pub struct Group;
/// Placeholder.
pub struct Current(pub String);
/// Placeholder.
#[derive(Default)]
pub struct ThreadState;
