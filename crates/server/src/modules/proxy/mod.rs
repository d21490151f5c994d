//! Placeholder.
use super::Module;
use crate::http::filters::Chunk;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::worker::generation::Compiler;
use conf::{Error, Scope};
use std::task::{Context, Poll};
pub(crate) static MODULE: Module = Module { name: "proxy", directives: &[], variables: &[] };
/// Placeholder.
pub struct Proxy;
/// Placeholder.
pub struct UpstreamBody;
impl UpstreamBody {
    /// Placeholder.
    pub fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<Option<Chunk>>> {
        Poll::Ready(Ok(None))
    }
    /// Placeholder.
    pub fn poll_fill(&mut self, _: &mut Context<'_>) {}
}
impl Proxy {
    /// Placeholder.
    pub async fn answer(&self, _: &mut Request) -> Next {
        Next::Status(502)
    }
}
pub(crate) fn content(_: &Scope, _: &mut Compiler<'_>) -> Result<Option<Proxy>, Error> {
    Ok(None)
}
