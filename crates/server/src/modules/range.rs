//! `Range` (RFC 9110, 14): one part, or several as multipart/byteranges; `max_ranges`.

use std::collections::VecDeque;
use std::ops::Range;

use conf::{Error, HTTP, LOCATION, SERVER, Scope, directive};
use wire::Known;
use wire::range::Ranges;

use super::Module;
use crate::http::filters::{BodyFilter, Chunk, HeaderFilter};
use crate::http::open_files::SentFile;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "range",
    directives: &[directive("max_ranges", HTTP.or(SERVER).or(LOCATION), conf::exactly(1), |at, a| {
        at.own::<Conf>().max_ranges.set(a.number(0)?)
    })],
    variables: &[],
};

settings! {
    /// As written.
    struct Conf {
        max_ranges: u32,
    }
}

struct RangeFilter {
    most: usize,
}

pub(crate) fn filter(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn HeaderFilter>>, Error> {
    let most = at.conf::<Conf>().and_then(|c| c.max_ranges.written().copied());
    Ok(Some(Box::new(RangeFilter { most: most.map_or(usize::MAX, |n| n as usize) })))
}

impl HeaderFilter for RangeFilter {
    fn apply(&self, request: &mut Request) -> Result<(), u16> {
        let response = &request.response;
        if response.status != 200 || !response.allow_ranges || self.most == 0 {
            return Ok(());
        }
        let Some(length) = response.content_length else { return Ok(()) };
        if request.header(Known::Range).is_none() || !if_range_holds(request) {
            request.response.add(Known::AcceptRanges, b"Accept-Ranges", b"bytes");
            return Ok(());
        }
        let mut ranges = Vec::new();
        let value = request.header(Known::Range).unwrap_or_default();
        let most = if request.response.single_range { 1 } else { self.most };
        match wire::range::parse(value, length, most, &mut ranges) {
            Ranges::Whole => request.response.add(Known::AcceptRanges, b"Accept-Ranges", b"bytes"),
            Ranges::NotSatisfiable => {
                request.response.remove(b"Content-Range");
                let text = format!("bytes */{length}");
                request.response.add(Known::ContentRange, b"Content-Range", text.as_bytes());
                return Err(416);
            }
            Ranges::Partial => match &ranges[..] {
                [one] => single(request, one.clone(), length),
                several => multiple(request, several, length),
            },
        }
        Ok(())
    }
}

/// `If-Range`: the parts are wanted only if the whole is still the one the client knows.
fn if_range_holds(request: &Request) -> bool {
    let Some(condition) = request.header(Known::IfRange) else { return true };
    if condition.len() >= 2 && condition.ends_with(b"\"") {
        return request.response.header(b"ETag").is_some_and(|tag| tag == condition);
    }
    let date = wire::date::parse(condition);
    date.is_some() && date == request.response.last_modified
}

fn single(request: &mut Request, range: Range<u64>, length: u64) {
    request.response.status = 206;
    request.response.status_text = None;
    request.response.content_length = Some(range.end - range.start);
    request.response.remove(b"Content-Range");
    let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
    request.response.add(Known::ContentRange, b"Content-Range", text.as_bytes());
    cut(request, vec![Part { before: Vec::new(), range }], Vec::new());
}

/// A part, and the text before it.
struct Part {
    before: Vec<u8>,
    range: Range<u64>,
}

fn multiple(request: &mut Request, ranges: &[Range<u64>], length: u64) {
    let boundary = format!("{:020}", request.thread.process.next_boundary());
    let kind = request.response.content_type.of(&request.response.text).to_vec();
    let part = |(i, range): (usize, &Range<u64>)| {
        let mut before = if i == 0 { Vec::new() } else { b"\r\n".to_vec() };
        before.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        if !kind.is_empty() {
            before.extend_from_slice(b"Content-Type: ");
            before.extend_from_slice(&kind);
            before.extend_from_slice(b"\r\n");
        }
        let span = format!("Content-Range: bytes {}-{}/{length}\r\n\r\n", range.start, range.end - 1);
        before.extend_from_slice(span.as_bytes());
        Part { before, range: range.clone() }
    };
    let mut parts: Vec<Part> = ranges.iter().enumerate().map(part).collect();
    // nginx's first boundary is preceded by a line break too.
    parts[0].before.splice(0..0, *b"\r\n");
    let end = format!("\r\n--{boundary}--\r\n").into_bytes();
    let total = parts.iter().map(|p| p.before.len() as u64 + p.range.end - p.range.start).sum::<u64>()
        + end.len() as u64;
    request.response.status = 206;
    request.response.status_text = None;
    request.response.content_length = Some(total);
    request.response.remove(b"Content-Range");
    request.response.set_content_type(format!("multipart/byteranges; boundary={boundary}").as_bytes());
    cut(request, parts, end);
}

/// Takes the parts out of the body: of a file or text by place, of a stream by a filter that sees it pass.
fn cut(request: &mut Request, parts: Vec<Part>, end: Vec<u8>) {
    let body = std::mem::take(&mut request.response.body);
    request.response.body = match body {
        Body::File(whole) => {
            let (whole, file) = whole.share();
            pieces(parts, end, |range| {
                let (offset, end) = (whole.offset + range.start, whole.offset + range.end);
                Body::File(FileBody { file: SentFile::Shared(file.clone()), offset, end })
            })
        }
        Body::Memory(text) => {
            let take = |range: Range<u64>| text[range.start as usize..range.end as usize].to_vec();
            pieces(parts, end, |range| Body::Memory(take(range).into()))
        }
        mut other => {
            let mut at = 0;
            if let Body::Series(series) = &mut other {
                let first = parts.first().map_or(0, |part| part.range.start);
                series.narrow(first..parts.last().map_or(0, |part| part.range.end));
                at = series.offset;
            }
            request.response.filters.push(Box::new(Cut { parts: parts.into(), end: Some(end), at }));
            other
        }
    };
}

fn pieces(parts: Vec<Part>, end: Vec<u8>, take: impl Fn(Range<u64>) -> Body) -> Body {
    let mut all = VecDeque::new();
    for part in parts {
        if !part.before.is_empty() {
            all.push_back(Body::Memory(part.before.into()));
        }
        all.push_back(take(part.range));
    }
    if all.len() == 1 && end.is_empty() {
        return all.pop_front().unwrap_or_default();
    }
    all.push_back(Body::Memory(end.into()));
    Body::Parts(all)
}

/// Lets only the parts of a stream through. Parts that go backwards cannot be cut from a stream; they come out empty,
/// so the sender notices that the promised length is not reached.
struct Cut {
    parts: VecDeque<Part>,
    end: Option<Vec<u8>>,
    at: u64,
}
impl BodyFilter for Cut {
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> std::io::Result<()> {
        let text: &[u8] = match &chunk {
            Chunk::Memory(text) => text,
            Chunk::Static(text) => text,
            Chunk::File(_) | Chunk::Flush => {
                out.push_back(chunk);
                return Ok(());
            }
        };
        let here = self.at..self.at + text.len() as u64;
        self.at = here.end;
        while let Some(part) = self.parts.front_mut() {
            let from = part.range.start.max(here.start);
            let to = part.range.end.min(here.end);
            if from < to {
                if !part.before.is_empty() {
                    out.push_back(Chunk::Memory(std::mem::take(&mut part.before).into()));
                }
                let cut = &text[(from - here.start) as usize..(to - here.start) as usize];
                out.push_back(Chunk::Memory(cut.to_vec().into()));
            }
            if part.range.end > here.end {
                break;
            }
            self.parts.pop_front();
        }
        Ok(())
    }
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> std::io::Result<()> {
        if let Some(end) = self.end.take().filter(|end| !end.is_empty()) {
            out.push_back(Chunk::Memory(end.into()));
        }
        Ok(())
    }
}
