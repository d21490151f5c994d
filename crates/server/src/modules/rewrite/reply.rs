//! `return`: a status, a text or a redirect at once.

use conf::{Args, Error, Scope};

use crate::http::body;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::variables::Template;
use crate::modules::core::types;

/// What `return` answers with.
#[derive(Clone)]
pub(super) enum Return {
    /// A status of 400 or above without text: `error_page` may answer it.
    Status(u16),
    /// 301, 302, 303, 307, 308: to this URL.
    Redirect(u16, Template),
    /// Any other, with this text.
    Text(u16, Template),
}

impl Return {
    /// `return code;`, `return code text;`, `return code URL;` or `return URL;`
    pub(super) fn read(at: &Scope, a: &Args<'_>) -> Result<Return, Error> {
        let first = a.str(0);
        let invalid = || a.error(format!("invalid return code \"{first}\""));
        let Some(status) = number(first) else {
            return match a.words.len() == 1 && is_url(first) {
                true => Ok(Return::Redirect(302, Template::compile(at, a, 0)?)),
                false => Err(invalid()),
            };
        };
        if status > 999 {
            return Err(invalid());
        }
        let text = match a.words.len() {
            1 if status >= 400 => return Ok(Return::Status(status)),
            1 => Template::literal(b""),
            _ => Template::compile(at, a, 1)?,
        };
        Ok(match is_redirect(status) {
            true => Return::Redirect(status, text),
            // An empty text is none: the status goes through `error_page`.
            false if status >= 400 && text.as_literal().is_some_and(<[u8]>::is_empty) => {
                Return::Status(status)
            }
            false => Return::Text(status, text),
        })
    }

    /// Makes the answer.
    pub(super) fn run(&self, request: &mut Request) -> Next {
        // As in nginx: what came of a broken body is found out first.
        if !matches!(self, Return::Status(_)) && body::drop_buffered(request).is_err() {
            return Next::Status(400);
        }
        match self {
            Return::Status(status) => Next::Status(*status),
            // nginx closes the connection: a response cannot have this status.
            Return::Text(0, _) => Next::Close,
            Return::Redirect(status, url) => {
                request.response.status = *status;
                let mut location = request.thread.buffer();
                url.render(request, &mut location);
                request.response.set_location(&location);
                request.response.location_is_ours = true;
                request.thread.give_buffer(location);
                Next::Status(*status)
            }
            Return::Text(status, text) => {
                // First: the text may ask for `$status`.
                request.response.status = *status;
                let mut body = request.thread.buffer();
                text.render(request, &mut body);
                request.response.content_length = Some(body.len() as u64);
                types::set_type(request);
                request.response.body = Body::Memory(body.into());
                Next::Respond
            }
        }
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u16::MAX))
}
/// What is taken for a URL of its own: it begins with a scheme.
pub(super) fn is_url(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|scheme| text.starts_with(scheme))
}
fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}
