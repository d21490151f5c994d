//! Carries out the commands of one page, in order: from its body and the answers of others a new body is made.

use std::collections::VecDeque;

use super::command::{included, known, parameters, written};
use super::source::{self, Piece};
use super::text::{self, Result};
use super::{Ssi, date, page};
use crate::http::filters::Unfit;
use crate::http::open_files::SentFile;
use crate::http::paths;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::http::subrequest::{self, Answer};
use formats::ssi::{Command, Found, OPENING, Parser};

/// A page may hold this much in memory: its text, where it does not come from a file, and what is included in it.
const MOST: usize = 16 * 1024 * 1024;
/// What an included upstream says up to here is taken at once, so that its connection is free.
const TAKEN: usize = 64 * 1024;
/// How many answers the pages of one request may include; beyond it they include each other.
const INCLUDES: u32 = 10_000;
/// How deep pages, and blocks in place of answers, may be within one another.
/// Each takes of the stack; nginx has room for 50.
const DEEPEST: u8 = 25;

/// What `if` does: whether one was begun, and which of its ends may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    None,
    If,
    Else,
}

/// How `echo` writes values; it holds until another is chosen.
#[derive(Clone, Copy)]
enum Encoding {
    None,
    Url,
    Entity,
}

/// What becomes of a page.
pub struct Weave<'a> {
    ssi: &'a Ssi,
    parser: Parser,
    /// Done, but for `made` behind it.
    parts: VecDeque<Body>,
    made: Vec<u8>,
    held: usize,
    /// Text and commands are not left out (by `if`, or because they are a block's).
    shows: bool,
    /// One branch of the `if` was shown.
    chosen: bool,
    condition: Condition,
    /// Within `block`.
    block: bool,
    encoding: Encoding,
    complaint: Vec<u8>,
    /// How many blocks are within one another, each in place of an answer.
    nested: u8,
}

impl<'a> Weave<'a> {
    /// Nothing yet.
    pub fn new(ssi: &'a Ssi) -> Weave<'a> {
        Weave {
            ssi,
            parser: Parser::new(ssi.value_length),
            parts: VecDeque::new(),
            made: Vec::new(),
            held: 0,
            shows: true,
            chosen: false,
            condition: Condition::None,
            block: false,
            encoding: Encoding::Entity,
            complaint: b"[an error occurred while processing the directive]".to_vec(),
            nested: 0,
        }
    }
    /// Replaces the response's body.
    pub async fn run(mut self, request: &mut Request) -> std::result::Result<(), u16> {
        let mut body = std::mem::take(&mut request.response.body);
        loop {
            match source::next(request, &mut body).await {
                Ok(None) => break,
                Ok(Some(piece)) => self.feed(request, piece).await,
                Err(error) => return Err(failed(request, &mut body, &error)),
            }
            if self.held > MOST {
                log_error!(request, "a page with SSI commands takes more than {MOST} bytes");
                return Err(500);
            }
        }
        if let Some(upstream) = body.upstream_mut() {
            upstream.account(&mut request.upstream);
            upstream.log(request);
        }
        // As in nginx, an opening that the page ends in is left out.
        self.part(Body::Empty);
        request.response.body = Body::Parts(self.parts);
        Ok(())
    }

    async fn feed(&mut self, request: &mut Request, piece: Piece) {
        let Piece { text, origin } = piece;
        // Text from `from` to `at` is to be written.
        let (mut from, mut at) = (0, 0);
        loop {
            let found = self.parser.next(&text[at..]);
            if let Found::Text(n) = found {
                at += n;
                continue;
            }
            let place = origin.as_ref().map(|(file, offset)| FileBody {
                file: SentFile::Shared(file.clone()),
                offset: offset + from as u64,
                end: offset + at as u64,
            });
            self.text(request, &text[from..at], place);
            match found {
                Found::Opening(n) => self.text(request, &OPENING[..n], None),
                Found::Command(n, command) => {
                    at += n;
                    self.obey(request, command).await;
                }
                Found::Broken(n, complaint) => {
                    at += n;
                    self.complain(request, &complaint);
                }
                Found::More | Found::Text(_) => return,
            }
            if self.held > MOST {
                return;
            }
            from = at;
        }
    }

    /// Text of the page, and the file it stands in.
    fn text(&mut self, request: &mut Request, text: &[u8], place: Option<FileBody>) {
        match place {
            _ if !self.shows => self.keep(request, text),
            Some(part) if part.end - part.offset > self.ssi.min_file_chunk => self.part(Body::File(part)),
            _ => self.write(text),
        }
    }
    fn write(&mut self, text: &[u8]) {
        self.held += text.len();
        self.made.extend_from_slice(text);
    }
    /// Another's body, behind all that was written.
    fn part(&mut self, part: Body) {
        if !self.made.is_empty() {
            self.parts.push_back(Body::Memory(std::mem::take(&mut self.made).into()));
        }
        match part {
            Body::Empty => {}
            Body::Parts(several) => self.parts.extend(several),
            part => self.parts.push_back(part),
        }
    }
    /// What is not shown is a block's, if there is one.
    fn keep(&mut self, request: &mut Request, text: &[u8]) {
        if self.block
            && let Some((_, block)) = page(request).blocks.last_mut()
        {
            self.held += text.len();
            block.extend_from_slice(text);
        }
    }
    fn complain(&mut self, request: &Request, complaint: &str) {
        if !complaint.is_empty() {
            log_error!(request, "{complaint}");
        }
        if !self.ssi.silent_errors {
            self.held += self.complaint.len();
            self.made.extend_from_slice(&self.complaint);
        }
    }

    async fn obey(&mut self, request: &mut Request, command: Command) {
        if let Err(complaint) = self.carry_out(request, &command).await {
            self.complain(request, &complaint);
        }
    }
    async fn carry_out(&mut self, request: &mut Request, command: &Command) -> Result<()> {
        let name = &command.name[..];
        let Some((known, wanted)) = known(name) else {
            return match self.shows {
                true => Err(format!("invalid SSI command: \"{}\"", lossy(name))),
                false => Ok(()),
            };
        };
        let conditional = matches!(name, b"elif" | b"else" | b"endif");
        if !self.shows && name != b"endblock" {
            if self.block {
                self.keep(request, &written(command));
                return Ok(());
            }
            if !conditional {
                return Ok(());
            }
        }
        let fits = match self.condition {
            Condition::None => !conditional,
            Condition::If => true,
            Condition::Else => !matches!(name, b"elif" | b"else"),
        };
        if !fits {
            return Err(format!("invalid context of SSI command: \"{}\"", lossy(name)));
        }
        let given = parameters(command, known, wanted)?;
        let given = |name: &str| known.iter().position(|k| *k == name).and_then(|i| given[i]);
        let must = |name: &str| given(name).unwrap_or_default();
        match name {
            b"include" => return self.include(request, given).await,
            b"echo" => self.echo(request, must("var"), given("default"), given("encoding")),
            b"config" => self.config(request, given("errmsg"), given("timefmt")),
            b"set" => {
                let value = text::evaluate(request, must("value"))?;
                page(request).set(must("var"), value);
            }
            b"if" | b"elif" => return self.condition(request, name == b"if", must("expr")),
            b"else" => {
                self.shows = !self.chosen;
                self.condition = Condition::Else;
            }
            b"endif" => (self.shows, self.chosen, self.condition) = (true, false, Condition::None),
            b"block" => {
                page(request).blocks.push((must("name").to_vec(), Vec::new()));
                (self.shows, self.block) = (false, true);
            }
            _ => (self.shows, self.block) = (true, false),
        }
        Ok(())
    }

    fn condition(&mut self, request: &mut Request, first: bool, expression: &[u8]) -> Result<()> {
        if first && self.condition != Condition::None {
            return Err("the \"if\" command inside the \"if\" command".into());
        }
        self.shows = !self.chosen && text::holds(request, expression)?;
        self.chosen |= self.shows;
        self.condition = Condition::If;
        Ok(())
    }
    fn config(&mut self, request: &mut Request, complaint: Option<&[u8]>, format: Option<&[u8]>) {
        if let Some(text) = complaint {
            self.complaint = text.to_vec();
        }
        if let Some(format) = format {
            let format = date::Format(lossy(format).into_owned());
            match request.kept_in_pass_mut::<date::Format>() {
                Some(old) => *old = format,
                None => request.keep_in_pass(format),
            }
        }
    }
    fn echo(&mut self, request: &mut Request, name: &[u8], default: Option<&[u8]>, encoding: Option<&[u8]>) {
        let mut value = Vec::new();
        if !text::value(request, name, &mut value) {
            value = default.unwrap_or(b"(none)").to_vec();
        }
        if value.is_empty() {
            return;
        }
        match encoding {
            None => {}
            Some(b"none") => self.encoding = Encoding::None,
            Some(b"url") => self.encoding = Encoding::Url,
            Some(b"entity") => self.encoding = Encoding::Entity,
            Some(other) => {
                log_error!(request, "unknown encoding \"{}\" in the \"echo\" command", lossy(other));
            }
        }
        let before = self.made.len();
        match self.encoding {
            Encoding::None => self.made.extend_from_slice(&value),
            Encoding::Url => wire::uri::escape_html_uri(&value, &mut self.made),
            Encoding::Entity => wire::uri::escape_html(&value, &mut self.made),
        }
        self.held += self.made.len() - before;
    }

    async fn include<'b>(
        &mut self,
        request: &mut Request,
        given: impl Fn(&str) -> Option<&'b [u8]>,
    ) -> Result<()> {
        let uri = included(&given)?;
        let (set, stub) = (given("set"), given("stub"));
        let target = target(request, uri)?;
        let (path, args) = wire::uri::split_args(&target);
        let mut uri = Vec::with_capacity(path.len());
        wire::uri::unescape(path, &mut uri);
        if !paths::is_safe(&uri) {
            return Err(format!("unsafe URI \"{}\" was detected", lossy(&target)));
        }
        let block = match stub {
            Some(name) => Some(block(request, name)?),
            None => None,
        };
        if request.aborted {
            return Ok(());
        }
        page(request).includes += 1;
        if page(request).includes > INCLUDES || self.nested + request.depth > DEEPEST {
            return Err(format!("subrequests cycle while processing \"{}\"", lossy(&uri)));
        }
        let (mut held, mut whole, mut failed) = (Vec::new(), true, false);
        let see = async |request: &mut Request| {
            failed = request.error_status != 0;
            if set.is_some() {
                (held, whole) = self.hold(request).await;
            }
        };
        let Answer { status, response } =
            subrequest::ask_apart(request, &uri, args.unwrap_or_default(), see).await;
        if response.status == 0 && status == 500 {
            // It was too deep, and is logged.
            return Err(String::new());
        }
        if let Some(name) = set {
            // As in nginx, nothing can be answered then.
            request.aborted |= !whole;
            page(request).set(name, held);
            return Ok(());
        }
        // nginx looks for commands in the block as it would have in the answer.
        let is_text = status < 300 && (status == 204 || response.content_length == Some(0));
        self.show(request, failed, response.body, block, is_text).await;
        Ok(())
    }
    /// Takes an answer into memory, while it is the request's; and whether there is room for it
    /// (`subrequest_output_buffer_size`).
    async fn hold(&mut self, request: &mut Request) -> (Vec<u8>, bool) {
        let most = request.core().subrequest_output_buffer_size;
        let mut body = std::mem::take(&mut request.response.body);
        if let Some(length) = request.response.content_length.filter(|length| *length > most) {
            log_error!(request, "too big subrequest response: {length}");
            return (Vec::new(), false);
        }
        let room = usize::try_from(most).unwrap_or(usize::MAX);
        let mut held = self.take(request, &mut body, room.saturating_add(1).min(MOST)).await;
        let whole = held.len() <= room;
        if !whole {
            log_error!(request, "too big subrequest response");
        }
        if request.response.status >= 300 {
            held.clear();
        }
        (held, whole)
    }
    /// Puts an answer into the page, or the block in place of none: one that is empty, or `failed` and has a page that
    /// says no more than that.
    async fn show(
        &mut self,
        request: &mut Request,
        failed: bool,
        mut body: Body,
        block: Option<Vec<u8>>,
        is_text: bool,
    ) {
        let is_unknown = matches!(body, Body::Upstream(_) | Body::Filtered(_));
        let taken = match is_unknown {
            true => self.take(request, &mut body, TAKEN).await,
            false => Vec::new(),
        };
        match block.filter(|_| failed || taken.is_empty() && is_empty(&body)) {
            Some(block) if is_text => self.write(&block),
            Some(block) => self.again(request, block).await,
            None => {
                self.made.extend_from_slice(&taken);
                self.part(body);
            }
        }
    }
    /// A block in place of what had nothing to say: its commands are carried out here.
    async fn again(&mut self, request: &mut Request, block: Vec<u8>) {
        let parser = std::mem::replace(&mut self.parser, Parser::new(self.ssi.value_length));
        self.nested += 1;
        Box::pin(self.feed(request, Piece { text: block, origin: None })).await;
        self.nested -= 1;
        self.parser = parser;
    }
    /// Takes from a body until it has given so much; the rest stays.
    async fn take(&mut self, request: &Request, body: &mut Body, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < most {
            match source::next(request, body).await {
                Ok(Some(piece)) => taken.extend_from_slice(&piece.text),
                Ok(None) => {
                    end(request, body);
                    break;
                }
                Err(error) => {
                    failed(request, body, &error);
                    *body = Body::Empty;
                    break;
                }
            }
        }
        self.held += taken.len();
        taken
    }
}

fn is_empty(body: &Body) -> bool {
    match body {
        Body::Empty => true,
        Body::Memory(text) => text.is_empty(),
        Body::Static(text) => text.is_empty(),
        Body::File(part) => part.offset >= part.end,
        Body::Series(_) => false,
        Body::Parts(parts) => parts.iter().all(is_empty),
        Body::Upstream(_) | Body::Filtered(_) => false,
    }
}

fn end(request: &Request, body: &mut Body) {
    if let Some(upstream) = body.upstream_mut() {
        upstream.log(request);
    }
    *body = Body::Empty;
}

/// A body broke off: the status for it.
fn failed(request: &Request, body: &mut Body, error: &std::io::Error) -> u16 {
    if let Some(why) = Unfit::of(error) {
        log_error!(request, "{why}");
        return 500;
    }
    if let Some(upstream) = body.upstream_mut() {
        upstream.log(request);
        return 502;
    }
    log_error!(request, "a page with SSI commands cannot be read ({})", crate::log::Errno(error));
    500
}

/// The path to include, below that of the page if it is relative.
fn target(request: &mut Request, uri: &[u8]) -> Result<Vec<u8>> {
    let target = text::evaluate(request, uri)?;
    if target.starts_with(b"/") {
        return Ok(target);
    }
    let folder = request.uri.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    Ok([&request.uri[..folder], &target].concat())
}

fn block(request: &mut Request, name: &[u8]) -> Result<Vec<u8>> {
    let found = page(request).blocks.iter().find(|(known, _)| known == name);
    let found = found.map(|(_, text)| text.clone());
    found.ok_or_else(|| format!("\"stub\"=\"{}\" for \"include\" not found", lossy(name)))
}

fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
