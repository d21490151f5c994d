//! `empty_gif`: a transparent picture of one pixel, from memory.

use conf::{Error, LOCATION, Scope, directive};
use wire::Method;

use super::Module;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "empty_gif",
    directives: &[directive("empty_gif", LOCATION, conf::exactly(0), Here::set)],
    variables: &[],
};

mark!(Here);

/// One transparent pixel; byte for byte the picture that nginx sends.
static PIXEL: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x01\x00\
    \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b";
/// `Last-Modified` of the picture: Mon, 28 Sep 1970 06:00:00 GMT.
const MADE: u64 = 23_349_600;

struct EmptyGif;

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    Ok(Here::is_in(at).then(|| Box::new(EmptyGif) as _))
}
impl Handler for EmptyGif {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Next::Status(405).into();
        }
        request.response.status = 200;
        request.response.last_modified = Some(MADE);
        request.response.set_content_type(b"image/gif");
        request.response.content_length = Some(PIXEL.len() as u64);
        request.response.body = Body::Static(PIXEL);
        Next::Respond.into()
    }
}
