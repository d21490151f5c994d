//! A page on its way: it is read as far as its commands need not wait, and goes out piece by piece, its text and the
//! answers of others in order.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::Context;

use super::include::Include;
use super::reader::Reader;
use super::{Manner, page};
use crate::http::included::note_upstream;
use crate::http::open_files::SentFile;
use crate::http::pieces::{self, Piece};
use crate::http::request::Request;
use crate::http::response::{Body, FileBody, More};
use formats::ssi::{Found, OPENING, Parser};

/// As long as no more than this is ready, it waits for what follows (nginx's `postpone_output`).
const LITTLE: u64 = 1460;
/// So much is made before it is sent.
const ENOUGH: usize = 64 * 1024;
/// So many answers are on their way at once.
const AHEAD: usize = 16;

/// See the module.
pub struct Weave {
    manner: Manner,
    parser: Parser,
    reader: Reader,
    /// The page, and the piece of it that is being read: from `at` on.
    body: Body,
    piece: Option<Piece>,
    at: usize,
    over: bool,
    /// What the page becomes, but for `made` behind it.
    parts: VecDeque<Part>,
    made: Vec<u8>,
    /// How many of the parts were asked for.
    ahead: usize,
    /// What follows waits for the last of them.
    waits: bool,
    /// What can go out, and how much that is.
    ready: VecDeque<Body>,
    size: u64,
}

enum Part {
    Text(Body, u64),
    Answer(Box<Include>),
}

impl More for Weave {
    fn narrow(&mut self, _: Range<u64>) -> Option<u64> {
        None
    }
    fn next<'a>(
        &'a mut self,
        request: &'a mut Request,
    ) -> Pin<Box<dyn Future<Output = io::Result<Option<Body>>> + 'a>> {
        Box::pin(self.weave(request))
    }
    fn fill(&mut self, cx: &mut Context<'_>) {
        self.body.fill(cx);
        if let Some(Part::Answer(include)) = self.parts.front_mut() {
            include.fill(cx);
        }
    }
}

impl Weave {
    /// Nothing is read yet.
    pub fn new(manner: Manner, body: Body) -> Weave {
        Weave {
            manner,
            parser: Parser::new(manner.value_length),
            reader: Reader::new(),
            body,
            piece: None,
            at: 0,
            over: false,
            parts: VecDeque::new(),
            made: Vec::new(),
            ahead: 0,
            waits: false,
            ready: VecDeque::new(),
            size: 0,
        }
    }

    /// What goes out next; `None` at the page's end.
    async fn weave(&mut self, request: &mut Request) -> io::Result<Option<Body>> {
        loop {
            if self.size >= LITTLE {
                return Ok(self.hand_over());
            }
            let goes_on = match self.parts.front() {
                Some(_) => self.take_up(request).await?,
                None if self.body.is_live() && self.piece.is_none() && self.size > 0 => false,
                None => self.read(request).await?,
            };
            if !goes_on {
                return Ok(self.hand_over());
            }
        }
    }
    /// Whether nothing follows.
    pub fn is_over(&self) -> bool {
        self.over
    }
    /// What was not read of the page.
    pub fn into_body(self) -> Body {
        self.body
    }
    fn hand_over(&mut self) -> Option<Body> {
        self.size = 0;
        match self.ready.len() {
            0 | 1 => self.ready.pop_front(),
            _ => Some(Body::Parts(std::mem::take(&mut self.ready))),
        }
    }
    fn is_ready(&mut self, body: Body, size: u64) {
        self.size += size;
        match body {
            Body::Parts(several) => self.ready.extend(several),
            body => self.ready.push_back(body),
        }
    }

    /// It is the next part's turn; `false` if what is ready is not to wait for more.
    async fn take_up(&mut self, request: &mut Request) -> io::Result<bool> {
        match self.parts.pop_front() {
            None => {}
            Some(Part::Text(body, size)) => self.is_ready(body, size),
            Some(Part::Answer(mut include)) => match include.next(request).await? {
                Some(body) => {
                    let flows = include.flows();
                    let size = body.at_hand();
                    self.parts.push_front(Part::Answer(include));
                    self.is_ready(body, size);
                    return Ok(!flows);
                }
                None => {
                    self.waits &= !include.waited;
                    self.ahead -= 1;
                    include.end(request);
                }
            },
        }
        Ok(true)
    }

    /// Reads on in the page, until others are to be waited for or enough is made; `false` at its end.
    async fn read(&mut self, request: &mut Request) -> io::Result<bool> {
        if self.piece.is_none() {
            let next = pieces::next(request, &mut self.body).await;
            if next.is_err() {
                self.note_upstream(request);
            }
            self.piece = next?;
            self.at = 0;
        }
        let Some(piece) = self.piece.take() else {
            // As in nginx, an opening that the page ends in is left out.
            self.note_upstream(request);
            self.over = true;
            return Ok(false);
        };
        let mut goes_on = true;
        while goes_on && !self.waits && self.ahead < AHEAD && self.made.len() < ENOUGH {
            goes_on = self.step(request, &piece);
            if page::of(request).borrow().is_full() {
                log_error!(request, "a page with SSI commands keeps too much");
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        self.piece = goes_on.then_some(piece);
        self.close_text();
        Ok(true)
    }
    /// What is to be said of the upstream that the page comes from.
    fn note_upstream(&mut self, request: &mut Request) {
        std::mem::swap(&mut self.body, &mut request.response.body);
        note_upstream(request);
        std::mem::swap(&mut self.body, &mut request.response.body);
    }
    /// Text up to the next command, and the command; `false` at the end of the piece.
    fn step(&mut self, request: &mut Request, piece: &Piece) -> bool {
        let from = self.at;
        let found = loop {
            match self.parser.next(&piece.text[self.at..]) {
                Found::Text(n) => self.at += n,
                found => break found,
            }
        };
        self.text(request, piece, from);
        match found {
            Found::Opening(n) => match self.reader.shows {
                true => self.made.extend_from_slice(&OPENING[..n]),
                false => self.reader.keep(request, &OPENING[..n]),
            },
            Found::Command(n, command) => {
                self.at += n;
                match self.reader.obey(request, &command, &mut self.made) {
                    Ok(None) => {}
                    Ok(Some(include)) => self.answer(include),
                    Err(complaint) => self.complain(request, &complaint),
                }
            }
            Found::Broken(n, complaint) => {
                self.at += n;
                self.complain(request, &complaint);
            }
            Found::More | Found::Text(_) => return false,
        }
        true
    }
    /// Text of the page from some place on.
    fn text(&mut self, request: &mut Request, piece: &Piece, from: usize) {
        let text = &piece.text[from..self.at];
        if !self.reader.shows {
            return self.reader.keep(request, text);
        }
        match &piece.origin {
            Some((file, offset)) if text.len() as u64 > self.manner.min_file_chunk => {
                let (offset, end) = (offset + from as u64, offset + self.at as u64);
                let part = FileBody { file: SentFile::Shared(file.clone()), offset, end };
                self.close_text();
                self.parts.push_back(Part::Text(Body::File(part), end - offset));
            }
            _ => self.made.extend_from_slice(text),
        }
    }
    fn answer(&mut self, include: Include) {
        self.close_text();
        self.waits = include.waited;
        self.ahead += 1;
        self.parts.push_back(Part::Answer(Box::new(include)));
    }
    /// What was made is a part.
    fn close_text(&mut self) {
        if !self.made.is_empty() {
            let made = std::mem::take(&mut self.made);
            let size = made.len() as u64;
            self.parts.push_back(Part::Text(Body::Memory(made.into()), size));
        }
    }
    fn complain(&mut self, request: &Request, complaint: &str) {
        if !complaint.is_empty() {
            log_error!(request, "{complaint}");
        }
        if !self.manner.silent_errors {
            self.made.extend_from_slice(&self.reader.complaint);
        }
    }
}
