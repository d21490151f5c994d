//! Text with variables in it.

use conf::{Args, Error, HTTP, Part, Scope};

use super::request::Request;
use super::variables::{Index, Names};

/// Text with variables in it, as a directive's argument gives it (nginx: "complex value").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Piece]>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Variable(Index),
    /// `$1` .. `$9`: what the last regular expression captured.
    Capture(u8),
}

impl Template {
    /// Reads an argument of a directive.
    pub fn compile(at: &Scope, args: &Args<'_>, i: usize) -> Result<Template, Error> {
        Template::parse(at, args.str(i)).map_err(|e| args.error(e.message))
    }
    /// As [`Template::compile`], of what a server is compiled with: above the servers it may name what does not exist, as in
    /// nginx, as long as there is no server.
    pub fn compile_for_servers(at: &Scope, args: &Args<'_>, i: usize) -> Result<Template, Error> {
        let index = if at.kind == HTTP { Names::index_for_servers } else { Names::index };
        Template::parse_with(at, args.str(i), index).map_err(|e| args.error(e.message))
    }
    /// Reads any text.
    pub fn parse(at: &Scope, text: &str) -> Result<Template, Error> {
        Template::parse_with(at, text, Names::index)
    }
    fn parse_with(at: &Scope, text: &str, index: fn(&Names, &[u8]) -> Index) -> Result<Template, Error> {
        let names = at.shared::<Names>();
        let piece = |part| match part {
            Part::Text(text) => Piece::Text(text.into_bytes().into()),
            Part::Variable(name) => Piece::Variable(index(&names, name.as_bytes())),
            Part::Capture(n) => Piece::Capture(n),
        };
        Ok(Template { parts: conf::Template::parse(text)?.parts.into_iter().map(piece).collect() })
    }
    /// A template without variables.
    pub fn literal(text: &[u8]) -> Template {
        let parts = if text.is_empty() { Box::default() } else { Box::new([Piece::Text(text.into())]) as _ };
        Template { parts }
    }
    /// The text, if there is no variable in it.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
    /// Appends the text with the values of `request` filled in.
    pub fn render(&self, request: &mut Request, out: &mut Vec<u8>) {
        self.fill(request, out, Request::capture);
    }
    /// As [`Template::render`], with captures that are escaped again if the client's path was.
    pub fn render_escaped(&self, request: &mut Request, out: &mut Vec<u8>) {
        self.fill(request, out, Request::capture_escaped);
    }
    #[inline]
    fn fill(&self, request: &mut Request, out: &mut Vec<u8>, capture: impl Fn(&Request, u8, &mut Vec<u8>)) {
        for part in &self.parts {
            match part {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(index) => drop(request.variable(*index, out)),
                Piece::Capture(n) => capture(request, *n, out),
            }
        }
    }
}
