//! Placeholder.
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::worker::generation::Compiler;
use conf::{Directive, Error, HTTP, Scope, directive, exactly};
/// Placeholder.
pub const ERROR_PAGE: Directive = directive("error_page", HTTP, exactly(2), |_, _| Ok(()));
/// Placeholder.
pub const RECURSIVE: Directive = directive("recursive_error_pages", HTTP, exactly(1), |_, _| Ok(()));
/// Placeholder.
pub struct ErrorPages;
pub(crate) fn compile(_: &Scope, _: &mut Compiler<'_>) -> Result<std::sync::Arc<ErrorPages>, Error> {
    Ok(std::sync::Arc::new(ErrorPages))
}
/// Placeholder.
pub fn answer(r: &mut Request, status: u16) -> Next {
    let text = format!("{status}\n");
    r.response.status = status;
    r.response.content_length = Some(text.len() as u64);
    r.response.body = Body::Memory(text.into_bytes());
    Next::Respond
}
