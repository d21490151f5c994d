//! The answer being made: status, headers as places in one buffer, and where the body comes from.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use wire::{Known, Span};

use super::filters::{self, BodyFilter, Chunk, Piece};
use super::open_files::SentFile;
use super::relay::UpstreamBody;
use super::request::Request;
use crate::worker::ledger::OpenFile;

/// The answer to one request; pooled with it.
#[derive(Default)]
pub struct Response {
    /// The status; 0 until one is decided.
    pub status: u16,
    /// A status line's text other than the standard one (an upstream's reason phrase), e.g. `404 Nope`.
    pub status_text: Option<Span>,
    /// The headers that have no place of their own below, in order.
    pub headers: Vec<Field>,
    /// Where `headers` and `trailers` point to.
    pub text: Vec<u8>,
    /// `Content-Type`, charset included; empty for none.
    pub content_type: Span,
    /// The character set that an upstream wants the answer in (`X-Accel-Charset`).
    pub charset: Option<Span>,
    /// `Content-Length`; `None` makes the body chunked, or ended by closing.
    pub content_length: Option<u64>,
    /// `Last-Modified`, in seconds since 1970.
    pub last_modified: Option<u64>,
    /// `Last-Modified` as it was written by others; empty where it stands among `headers`.
    pub last_modified_text: Option<Span>,
    /// `Location`; a path is made absolute when it is written, where configured.
    pub location: Option<Span>,
    /// `Server` and `Date` as an upstream wrote them and `proxy_pass_header` lets pass; empty: not to go out.
    pub server: Option<Span>,
    /// See `server`.
    pub date: Option<Span>,
    /// Whether `Range` may be answered with parts (files, and upstream bodies where asked).
    pub allow_ranges: bool,
    /// Of several ranges the whole is sent: the body cannot be gone through twice.
    pub single_range: bool,
    /// The answer is an upstream's own: it is not made a 304 or 412 here.
    pub unconditional: bool,
    /// Bytes of a response that the sender queued and the client has not taken.
    pub queue: VecDeque<Chunk>,
    /// Room for chunks between the filters and `queue`.
    pub filtered: VecDeque<Chunk>,
    /// Whether `Vary: Accept-Encoding` goes out (`gzip_vary`).
    pub vary_encoding: bool,
    /// Where the body comes from.
    pub body: Body,
    /// What changes the body on its way, in order.
    pub filters: Vec<Box<dyn BodyFilter>>,
    /// What follows the body, in order.
    pub trailers: Vec<Field>,
    /// Trailers may come: the body's end is to be told by the coding, not by its length.
    pub expects_trailers: bool,
    /// The status is an upstream's, with what it says of the body.
    pub theirs: bool,
    /// Whether an upgraded connection follows (101).
    pub upgrade: bool,
    /// The body goes out in chunked coding.
    pub chunked: bool,
    /// `Location` was made here: a path in it is made absolute where configured.
    pub location_is_ours: bool,
    /// So many of `headers` stand before a `Location` that stays as it is.
    pub location_place: u16,
}

/// A header.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its name, in [`Response::text`].
    pub name: Span,
    /// Its value.
    pub value: Span,
    /// Its name, recognised.
    pub known: Known,
}

/// Where a response's body comes from.
#[derive(Default)]
pub enum Body {
    /// There is none.
    #[default]
    Empty,
    /// Text in memory, made for this response.
    Memory(Piece),
    /// Text that lives as long as the process (the status pages).
    Static(&'static [u8]),
    /// Parts of a file, in order.
    File(FileBody),
    /// An upstream's response.
    Upstream(UpstreamBody),
    /// Several sources in order: what `multipart/byteranges` needs.
    Parts(VecDeque<Body>),
    /// Sources of which each is asked for when the one before has gone out (`slice`, `ssi`, `addition`).
    Series(Box<Series>),
    /// A source that is changed before others are put around it, or its commands are looked for.
    Filtered(Box<Filtered>),
}
impl Body {
    /// The upstream that it comes from, whatever changes it on its way.
    pub fn upstream_mut(&mut self) -> Option<&mut UpstreamBody> {
        match self {
            Body::Upstream(upstream) => Some(upstream),
            Body::Filtered(filtered) => filtered.body.upstream_mut(),
            _ => None,
        }
    }
    /// The upstream whose turn it is, wherever in the body it stands.
    pub fn upstream_at_turn(&mut self) -> Option<&mut UpstreamBody> {
        match self {
            Body::Parts(parts) => parts.front_mut()?.upstream_at_turn(),
            Body::Series(series) => series.current.upstream_at_turn(),
            Body::Filtered(filtered) => filtered.body.upstream_at_turn(),
            body => body.upstream_mut(),
        }
    }
    /// Whether waiting for its next piece may take long.
    pub fn is_live(&mut self) -> bool {
        match self {
            Body::Parts(parts) => parts.iter_mut().any(Body::is_live),
            body => body.upstream_mut().is_some(),
        }
    }
    /// How many bytes of it are known to be there, in memory or in files; of what has yet to come, none.
    pub fn at_hand(&self) -> u64 {
        match self {
            Body::Memory(text) => text.len() as u64,
            Body::Static(text) => text.len() as u64,
            Body::File(part) => part.end.saturating_sub(part.offset),
            Body::Parts(parts) => parts.iter().map(Body::at_hand).sum(),
            Body::Empty | Body::Series(_) | Body::Upstream(_) | Body::Filtered(_) => 0,
        }
    }
    /// Whether nothing of it is left, nor can come.
    pub fn is_over(&self) -> bool {
        match self {
            Body::Series(_) | Body::Upstream(_) | Body::Filtered(_) => false,
            Body::Parts(parts) => parts.iter().all(Body::is_over),
            body => body.at_hand() == 0,
        }
    }
    /// While the client is busy: an upstream may still hand over what it has, and be free.
    pub fn fill(&mut self, cx: &mut Context<'_>) {
        match self {
            Body::Upstream(upstream) => upstream.poll_fill(cx),
            Body::Filtered(filtered) => filtered.body.fill(cx),
            Body::Series(series) => {
                series.current.fill(cx);
                series.more.iter_mut().for_each(|more| more.fill(cx));
            }
            Body::Parts(parts) => parts.iter_mut().for_each(|part| part.fill(cx)),
            Body::Empty | Body::Memory(_) | Body::Static(_) | Body::File(_) => {}
        }
    }
    /// One that asks for its parts, beginning with `current`.
    pub fn asking(current: Body, more: Box<dyn More>) -> Body {
        Body::Series(Box::new(Series { current, offset: 0, more: Some(more) }))
    }
}

/// See [`Body::Filtered`].
pub struct Filtered {
    /// What is changed.
    pub body: Body,
    /// What changes it, in order.
    pub filters: Vec<Box<dyn BodyFilter>>,
    /// What has become of it and was not taken yet.
    made: VecDeque<Chunk>,
    ended: bool,
}
impl Filtered {
    /// The next chunk that was made; `None` where the body has to be asked for more, if `is_over` does not say otherwise.
    ///
    /// # Errors
    /// When a filter cannot go on.
    pub fn next(&mut self) -> io::Result<Option<Chunk>> {
        if self.made.is_empty() && !self.ended {
            filters::more(&mut self.filters, &mut self.made)?;
        }
        Ok(self.made.pop_front())
    }
    /// Whether nothing follows what was made.
    pub fn is_over(&self) -> bool {
        self.ended
    }
    /// What the body gave; `None` at its end.
    ///
    /// # Errors
    /// When a filter cannot go on.
    pub fn give(&mut self, chunk: Option<Chunk>) -> io::Result<()> {
        match chunk {
            Some(chunk) => filters::through(&mut self.filters, chunk, &mut self.made),
            None => {
                self.ended = true;
                filters::finish(&mut self.filters, &mut self.made)
            }
        }
    }
}

/// See [`Body::Series`].
pub struct Series {
    /// What goes out now.
    pub current: Body,
    /// Where in the whole `current` begins.
    pub offset: u64,
    /// Who has more; `None` when all was asked for.
    pub more: Option<Box<dyn More>>,
}

/// Asks for a body piece by piece.
pub trait More {
    /// Only this part of the whole is wanted. Where the piece that is there has nothing of it: where the next begins.
    fn narrow(&mut self, wanted: std::ops::Range<u64>) -> Option<u64>;
    /// The next piece; `None` when there is none. An error is logged already.
    fn next<'a>(
        &'a mut self,
        request: &'a mut Request,
    ) -> Pin<Box<dyn Future<Output = io::Result<Option<Body>>> + 'a>>;
    /// While the client is busy: takes what upstreams have, as far as it is to be buffered.
    fn fill(&mut self, _: &mut Context<'_>) {}
}

impl Series {
    /// Only this part of the whole is wanted.
    pub fn narrow(&mut self, wanted: std::ops::Range<u64>) {
        if let Some(next) = self.more.as_mut().and_then(|more| more.narrow(wanted)) {
            self.current = Body::Empty;
            self.offset = next;
        }
    }
    /// Asks for the next piece of the response's body, which is such a series, or has one where it goes on.
    ///
    /// # Errors
    /// When there is no next piece where there should be one.
    pub async fn advance(request: &mut Request) -> io::Result<()> {
        match std::mem::take(&mut request.response.body) {
            Body::Series(mut series) => {
                let next = series.go_on(request).await;
                request.response.body = Body::Series(series);
                next
            }
            Body::Parts(mut parts) => {
                let next = match parts.front_mut() {
                    Some(Body::Series(series)) => series.go_on(request).await,
                    _ => Ok(()),
                };
                request.response.body = Body::Parts(parts);
                next
            }
            body => {
                request.response.body = body;
                Ok(())
            }
        }
    }
    async fn go_on(&mut self, request: &mut Request) -> io::Result<()> {
        if let Body::Upstream(upstream) = &mut self.current {
            upstream.account(&mut request.upstream);
            upstream.log(request);
        }
        self.current = Body::Empty;
        self.current = self.ask(request).await?.unwrap_or_default();
        Ok(())
    }
    async fn ask(&mut self, request: &mut Request) -> io::Result<Option<Body>> {
        let Some(mut more) = self.more.take() else { return Ok(None) };
        let next = more.next(request).await?;
        if next.is_some() {
            self.more = Some(more);
        }
        Ok(next)
    }
    /// What is there, and then the pieces behind it; `None` at the end.
    ///
    /// # Errors
    /// As [`Series::advance`].
    pub async fn next(&mut self, request: &mut Request) -> io::Result<Option<Body>> {
        match std::mem::take(&mut self.current) {
            Body::Empty => self.ask(request).await,
            current => Ok(Some(current)),
        }
    }
}

/// A part of an open file.
pub struct FileBody {
    /// The file.
    pub file: SentFile,
    /// Next byte to send.
    pub offset: u64,
    /// End of the part.
    pub end: u64,
}

impl FileBody {
    /// It, and its file for others.
    pub fn share(self) -> (FileBody, Rc<OpenFile>) {
        let file = self.file.share();
        (FileBody { file: SentFile::Shared(file.clone()), ..self }, file)
    }
}

impl Response {
    /// Ready for the next request. One field after the other: a response is large, and most of it is as it was.
    pub fn reset(&mut self) {
        let Response { headers, text, queue, filtered, body, filters, trailers, .. } = self;
        headers.clear();
        text.clear();
        filters.clear();
        trailers.clear();
        for chunks in [queue, filtered] {
            if !chunks.is_empty() {
                chunks.clear();
            }
        }
        if !matches!(body, Body::Empty) {
            *body = Body::Empty;
        }
        self.reset_head();
    }
    /// Names every field, so that none that is added is forgotten.
    fn reset_head(&mut self) {
        let Response { status, content_length, last_modified, content_type, .. } = self;
        (*status, *content_length, *last_modified, *content_type) = (0, None, None, Span::default());
        let Response { status_text, charset, last_modified_text, location, server, date, .. } = self;
        for span in [status_text, charset, last_modified_text, location, server, date] {
            *span = None;
        }
        #[rustfmt::skip]
        let Response {
            allow_ranges, single_range, unconditional, vary_encoding, expects_trailers, upgrade, chunked,
            location_is_ours, theirs, location_place,
            headers: _, text: _, queue: _, filtered: _, body: _, filters: _, trailers: _, status: _, content_length: _,
            last_modified: _, content_type: _, status_text: _, charset: _, last_modified_text: _, location: _, server: _,
            date: _,
        } = self;
        for flag in [
            allow_ranges,
            single_range,
            unconditional,
            vary_encoding,
            expects_trailers,
            upgrade,
            chunked,
            location_is_ours,
            theirs,
        ] {
            *flag = false;
        }
        *location_place = 0;
    }
    /// What changes the body becomes part of the body: what comes now sees the changed one.
    pub fn close_filters(&mut self) {
        if !self.filters.is_empty() {
            let (body, filters) = (std::mem::take(&mut self.body), std::mem::take(&mut self.filters));
            let filtered = Filtered { body, filters, made: VecDeque::new(), ended: false };
            self.body = Body::Filtered(Box::new(filtered));
        }
    }
    /// Stores text and says where.
    pub fn store(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, end: self.text.len() as u32 }
    }
    /// Adds a header.
    pub fn add(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.headers.push(Field { name, value, known });
    }
    /// Takes headers of this name away.
    pub fn remove(&mut self, name: &[u8]) {
        self.keep(|field, text| !field.name.of(text).eq_ignore_ascii_case(name));
    }
    /// Leaves the headers that are `wanted`, and `Location` between those that it stood between.
    pub fn keep(&mut self, mut wanted: impl FnMut(&Field, &[u8]) -> bool) {
        let Response { headers, text, location_place: place, .. } = self;
        let (mut at, before) = (0, *place);
        headers.retain(|field| {
            let kept = wanted(field, text);
            *place -= u16::from(!kept && at < before);
            at += 1;
            kept
        });
    }
    /// The first header of this name among `headers`.
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        let field = self.headers.iter().find(|f| f.name.of(&self.text).eq_ignore_ascii_case(name))?;
        Some(field.value.of(&self.text))
    }
    /// The words of a list, of all header lines with this name.
    pub fn words_of(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let lines = self.headers.iter().filter(move |f| f.name.of(&self.text).eq_ignore_ascii_case(name));
        lines.flat_map(|f| f.value.of(&self.text).split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }
    /// Sets the type of the body.
    pub fn set_content_type(&mut self, kind: &[u8]) {
        self.content_type = self.store(kind);
    }
    /// Sets `Location`.
    pub fn set_location(&mut self, to: &[u8]) {
        self.location = Some(self.store(to));
        self.location_is_ours = true;
    }
    /// Forgets what described another body: for status pages and `error_page`.
    pub fn clear_description(&mut self) {
        self.theirs = false;
        self.content_type = Span::default();
        self.content_length = None;
        self.forget_age();
        self.keep(|field, text| {
            field.known != Known::AcceptRanges && !field.name.of(text).eq_ignore_ascii_case(b"ETag")
        });
        self.allow_ranges = false;
    }
    /// Takes all headers away that came with the content.
    pub fn forget_headers(&mut self) {
        self.headers.clear();
        (self.location, self.server, self.date, self.status_text) = (None, None, None, None);
    }
    /// Takes `Last-Modified` away.
    pub fn forget_age(&mut self) {
        self.last_modified = None;
        if self.last_modified_text.take().is_some_and(Span::is_empty) {
            self.remove(b"Last-Modified");
        }
    }
    /// The body's length becomes unknown and its bytes others: what a transforming filter does to the head.
    pub fn transformed(&mut self) {
        self.rewritten();
        self.remove(b"Accept-Ranges");
    }
    /// The same, for one that leaves what an upstream says of ranges.
    pub fn rewritten(&mut self) {
        self.content_length = None;
        self.allow_ranges = false;
        self.weaken_etag();
    }
    fn weaken_etag(&mut self) {
        let Some(i) = self.headers.iter().position(|f| f.known == Known::ETag) else { return };
        let tag = self.headers[i].value;
        match tag.of(&self.text) {
            [b'W', b'/', _, ..] => return,
            [b'"', ..] => {}
            // No tag at all, and none can be made of it.
            _ => return self.remove(b"ETag"),
        }
        let start = self.text.len() as u32;
        self.text.extend_from_slice(b"W/");
        self.text.extend_from_within(tag.start as usize..tag.end as usize);
        self.headers[i].value = Span { start, end: self.text.len() as u32 };
    }
}
