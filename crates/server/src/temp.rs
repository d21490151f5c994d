//! Placeholder.
use crate::http::request::Request;
use conf::{Args, Error, Scope};
/// Placeholder.
pub enum Kind {
    /// Placeholder.
    ClientBody,
}
/// Placeholder.
#[derive(Clone)]
pub struct TempPath(String);
impl TempPath {
    /// Placeholder.
    pub fn read(_: &mut Scope, a: &Args<'_>) -> Result<TempPath, Error> {
        Ok(TempPath(a.str(0).into()))
    }
    /// Placeholder.
    pub fn flat(path: String) -> TempPath {
        TempPath(path)
    }
}
/// Placeholder.
pub fn create(_: &Request, _: Kind) -> Result<std::fs::File, u16> {
    Err(500)
}
