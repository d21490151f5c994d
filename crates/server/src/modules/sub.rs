//! `sub_filter`: text replaced in responses on their way out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use conf::{
    Args, Error, HTTP, Inherit, LOCATION, SERVER, Scope, Setting, Within, at_least, directive, exactly, flag,
};

use super::Module;
use crate::http::filters::{BodyFilter, Chunk, HeaderFilter};
use crate::http::request::Request;
use crate::http::types::Types;
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "sub",
    directives: &[
        directive("sub_filter", IN, exactly(2), sub_filter),
        directive("sub_filter_types", IN, at_least(1), |at, a| {
            Types::read(at, a, |at| &mut at.own::<Conf>().types)
        }),
        directive("sub_filter_once", IN, flag(), |at, a| at.own::<Conf>().once.set(a.flag(0)?)),
        directive("sub_filter_last_modified", IN, flag(), |at, a| {
            at.own::<Conf>().last_modified.set(a.flag(0)?)
        }),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    pairs: Vec<Pair>,
    types: Option<Types>,
    once: Setting<bool>,
    last_modified: Setting<bool>,
}
/// What is looked for, and what takes its place.
#[derive(Clone)]
struct Pair {
    what: Template,
    with: Template,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.pairs.is_empty() {
            self.pairs.clone_from(&outer.pairs);
        }
        if self.types.is_none() {
            self.types.clone_from(&outer.types);
        }
        self.once.inherit(&outer.once);
        self.last_modified.inherit(&outer.last_modified);
    }
}

fn sub_filter(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if a.str(0).is_empty() {
        return Err(a.error("empty search pattern"));
    }
    let pair = Pair { what: Template::compile(at, a, 0)?, with: Template::compile(at, a, 1)? };
    at.own::<Conf>().pairs.push(pair);
    Ok(())
}

/// As run.
struct Sub {
    pairs: Vec<Pair>,
    /// The patterns, if no variable is in them.
    searcher: Option<Arc<Searcher>>,
    types: Types,
    once: bool,
    last_modified: bool,
}

/// Finds any of several texts, whatever their case.
struct Searcher {
    patterns: AhoCorasick,
    texts: Vec<Vec<u8>>,
    longest: usize,
}
impl Searcher {
    fn new(texts: &[Vec<u8>]) -> Option<Searcher> {
        let built = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .build(texts);
        let longest = texts.iter().map(Vec::len).max()?;
        Some(Searcher { patterns: built.ok()?, texts: texts.to_vec(), longest })
    }
    /// Where the first pattern begins of which `text` has only the beginning; its end, if there is none.
    fn begun(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.longest - 1);
        let begins = |at: &usize| self.texts.iter().any(|pattern| begins(pattern, &text[*at..]));
        (first..text.len()).find(begins).unwrap_or(text.len())
    }
}

/// Whether `text` is what `pattern` begins with, whatever the case, and not all of it.
fn begins(pattern: &[u8], text: &[u8]) -> bool {
    pattern.len() > text.len() && pattern[..text.len()].eq_ignore_ascii_case(text)
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|c| !c.pairs.is_empty()) else { return Ok(None) };
    let texts: Option<Vec<Vec<u8>>> =
        conf.pairs.iter().map(|p| p.what.as_literal().map(<[u8]>::to_vec)).collect();
    Ok(Some(Box::new(Sub {
        pairs: conf.pairs.clone(),
        searcher: texts.and_then(|texts| Searcher::new(&texts)).map(Arc::new),
        types: conf.types.clone().unwrap_or_default(),
        once: conf.once.or(true),
        last_modified: conf.last_modified.or(false),
    })))
}

impl HeaderFilter for Sub {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        if request.response.content_length == Some(0) || !self.fits(request) {
            return Ok(());
        }
        let Some((searcher, pairs)) = self.patterns(request) else { return Ok(()) };
        let with = pairs.iter().map(|pair| {
            let mut text = Vec::new();
            pair.with.render(request, &mut text);
            text
        });
        let with: Rc<[Vec<u8>]> = with.collect();
        request.response.rewritten();
        if !self.last_modified {
            request.response.forget_age();
            request.response.remove(b"ETag");
        }
        if !request.is_head() {
            let left = if self.once { vec![true; with.len()] } else { Vec::new() };
            request.response.filters.push(Box::new(Body { searcher, with, left, pending: Vec::new() }));
        }
        Ok(())
    }
    fn minds_parts(&self) -> bool {
        true
    }
}

impl Sub {
    fn fits(&self, request: &Request) -> bool {
        self.types.include(request.response.content_type.of(&request.response.text))
    }
    /// Patterns with variables in them are looked up for each request; an empty one finds nothing.
    fn patterns(&self, request: &mut Request) -> Option<(Arc<Searcher>, Cow<'_, [Pair]>)> {
        if let Some(searcher) = &self.searcher {
            return Some((searcher.clone(), Cow::Borrowed(&self.pairs)));
        }
        let mut pairs = Vec::new();
        let mut texts = Vec::new();
        for pair in &*self.pairs {
            let mut text = Vec::new();
            pair.what.render(request, &mut text);
            if !text.is_empty() {
                pairs.push(pair.clone());
                texts.push(text);
            }
        }
        let searcher = Searcher::new(&texts).filter(|_| !texts.is_empty())?;
        Some((Arc::new(searcher), Cow::Owned(pairs)))
    }
}

/// The replacing of one response.
struct Body {
    searcher: Arc<Searcher>,
    with: Rc<[Vec<u8>]>,
    /// With `sub_filter_once`: which may still be replaced.
    left: Vec<bool>,
    /// The end of what came so far, in which a pattern may begin.
    pending: Vec<u8>,
}
impl Body {
    /// Replaces in `pending` and hands on all of it but, unless it is the last, the end in which a pattern may begin.
    fn replace(&mut self, last: bool, out: &mut VecDeque<Chunk>) {
        let text = std::mem::take(&mut self.pending);
        // A match that begins before this place is seen whole, and so is any that might begin before it.
        let safe = if last { text.len() } else { self.searcher.begun(&text) };
        let mut made = Vec::with_capacity(text.len());
        let mut at = 0;
        let mut from = 0;
        while let Some(found) = self.searcher.patterns.find(Input::new(&text).range(from..)) {
            if found.start() >= safe {
                break;
            }
            let pattern = found.pattern().as_usize();
            if self.left.get(pattern) == Some(&false) {
                // Used up: another may begin inside it.
                from = found.start() + 1;
                continue;
            }
            if let Some(left) = self.left.get_mut(pattern) {
                *left = false;
            }
            made.extend_from_slice(&text[at..found.start()]);
            made.extend_from_slice(&self.with[pattern]);
            at = found.end();
            from = at;
        }
        let end = safe.max(at);
        made.extend_from_slice(&text[at..end]);
        self.pending = text[end..].to_vec();
        if !made.is_empty() {
            out.push_back(Chunk::Memory(made.into()));
        }
    }
}
impl BodyFilter for Body {
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        match chunk {
            Chunk::Memory(text) => self.pending.extend_from_slice(&text),
            Chunk::Static(text) => self.pending.extend_from_slice(text),
            Chunk::Flush => {
                out.push_back(Chunk::Flush);
                return Ok(());
            }
            Chunk::File(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        self.replace(false, out);
        Ok(())
    }
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        self.replace(true, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(pairs: &[(&str, &str)], once: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let texts: Vec<Vec<u8>> = pairs.iter().map(|p| p.0.as_bytes().to_vec()).collect();
        let with: Rc<[Vec<u8>]> = pairs.iter().map(|p| p.1.as_bytes().to_vec()).collect();
        let searcher = Arc::new(Searcher::new(&texts).expect("patterns"));
        let left = if once { vec![true; with.len()] } else { Vec::new() };
        let mut body = Body { searcher, with, left, pending: Vec::new() };
        let mut out = VecDeque::new();
        for piece in pieces {
            body.chunk(Chunk::Memory(piece.to_vec().into()), &mut out).expect("memory");
        }
        body.end(&mut out).expect("memory");
        let bytes = out.into_iter().flat_map(|chunk| match chunk {
            Chunk::Memory(text) => text.to_vec(),
            _ => Vec::new(),
        });
        bytes.collect()
    }

    #[test]
    fn replaces() {
        assert_eq!(run(&[("abc", "X")], false, &[b"abc ABC abd"]), b"X X abd");
        assert_eq!(run(&[("abc", "X")], true, &[b"abc abc"]), b"X abc");
        assert_eq!(run(&[("abcx", "1"), ("c", "2")], false, &[b"ab", b"c", b"x c"]), b"1 2");
        let text: &[u8] = b"bacaacaaaaaaaaaaabaaaaaaaaaaaaccabc";
        let pairs = [("abc", "-"), ("ca", "++"), ("b", "")];
        assert_eq!(run(&pairs, true, &[text]), run(&pairs, true, &[&text[..34], &text[34..]]));
        assert_eq!(run(&[("</head>", "<x></head>")], true, &[b"</HE", b"AD>"]), b"<x></head>");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[abc]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6), once: bool) {
            let pairs = [("abc", "-"), ("ca", "++"), ("b", "")];
            let whole = run(&pairs, once, &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&text.as_bytes()[at..cut]);
                at = cut;
            }
            pieces.push(&text.as_bytes()[at..]);
            prop_assert_eq!(run(&pairs, once, &pieces), whole);
        }
    }
}
