//! Placeholder.
use super::Module;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;
use conf::{Error, Inherit, LOCATION, SERVER, Scope, between, directive};
pub(crate) static MODULE: Module = Module {
    name: "rewrite",
    directives: &[directive("return", SERVER.or(LOCATION), between(1, 2), |at, a| {
        let t = if a.words.len() == 2 { Some(Template::compile(at, a, 1)?) } else { None };
        at.own::<Conf>().0 = Some((a.number(0)?, t));
        Ok(())
    })],
    variables: &[],
};
#[derive(Default)]
struct Conf(Option<(u16, Option<Template>)>);
impl Inherit for Conf {
    fn inherit(&mut self, _: &Conf) {}
    fn reaches(_: conf::Within) -> bool {
        false
    }
}
/// Placeholder.
pub struct Script(u16, Option<Template>);
impl Script {
    /// Placeholder.
    pub fn run(&self, r: &mut Request) -> Next {
        let Some(t) = &self.1 else { return Next::Status(self.0) };
        let mut b = r.thread.buffer();
        t.render(r, &mut b);
        r.response.status = self.0;
        let kind = r.plan().core.default_type.clone();
        r.response.set_content_type(&kind);
        r.response.content_length = Some(b.len() as u64);
        r.response.body = Body::Memory(b);
        Next::Respond
    }
}
pub(crate) fn compile(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Script>, Error> {
    Ok(at.conf::<Conf>().and_then(|c| c.0.clone()).map(|(s, t)| Script(s, t)))
}
