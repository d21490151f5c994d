//! An application's records become an answer: its standard output as a CGI script has it, its standard error for the log.

use std::sync::Arc;

use wire::fastcgi::{Records, Step};
use wire::{Method, Progress, ResponseHead};

use crate::http::filters::Piece;
use crate::http::relay::script::{Head, Rest};
use crate::http::relay::{self, BadHead, Part};
use crate::log::Level;

/// One answer.
pub(super) struct Answer {
    records: Records,
    head: Head,
    method: Method,
    rest: Option<Rest>,
    keep_conn: bool,
    /// Texts on the standard error that make an answer a bad one.
    catch: Arc<[Box<[u8]>]>,
    notes: Vec<(Level, String)>,
    caught: bool,
    /// The standard output is closed, whatever came since.
    closed: bool,
    /// Bytes at the buffer's beginning that have no framing any more.
    clean: usize,
    /// Bytes of framing behind the head that were read with it, not yet told.
    framing: u64,
    end: Option<End>,
}

/// Where a part of the standard output ends: without framing, and as it came.
type Place = (usize, usize);

/// How far the end has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The standard output is closed.
    Stdout,
    /// The last record has begun.
    Begun,
    /// The last record is whole; whether nothing came behind it.
    Whole { clean: bool },
    /// What came is no record.
    Broken(String),
}

const STDOUT_CLOSED: &str = "upstream prematurely closed FastCGI stdout";

impl Answer {
    pub fn new(method: Method, keep_conn: bool, catch: Arc<[Box<[u8]>]>) -> Answer {
        Answer {
            records: Records::default(),
            head: Head::lines(),
            method,
            rest: None,
            keep_conn,
            catch,
            notes: Vec::new(),
            caught: false,
            closed: false,
            clean: 0,
            framing: 0,
            end: None,
        }
    }

    /// Moves the standard output in `bytes` to its beginning and says how much there is; stops at the end. `part` is
    /// told the place of each part.
    fn unframe(&mut self, bytes: &mut [u8], mut part: impl FnMut(Place)) -> usize {
        let (mut from, mut to) = (0, 0);
        while !self.is_over() {
            let (step, used) = match self.records.read(&bytes[from..]) {
                Ok(found) => found,
                Err(bad) => {
                    self.end = Some(End::Broken(bad.message()));
                    break;
                }
            };
            match step {
                Step::Stdout(range) => {
                    let length = range.len();
                    bytes.copy_within(from + range.start..from + range.end, to);
                    to += length;
                    part((to, from + range.end));
                }
                Step::Stderr(range) => self.note(&bytes[from + range.start..from + range.end]),
                Step::StdoutEnd => (self.end, self.closed) = (Some(End::Stdout), true),
                Step::Ending => self.end = Some(End::Begun),
                Step::Ended => self.end = Some(End::Whole { clean: from + used == bytes.len() }),
                Step::More => break,
            }
            from += used;
        }
        to
    }
    /// Whether what comes does not matter any more. The last record is waited for only if its connection is kept.
    fn is_over(&self) -> bool {
        match self.end {
            None => false,
            Some(End::Stdout | End::Begun) => !self.keep_conn,
            Some(End::Whole { .. } | End::Broken(_)) => true,
        }
    }

    /// Line ends, dots and spaces at the end are nothing to log.
    fn note(&mut self, text: &[u8]) {
        let end = text.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | b'.' | b' ')).map_or(0, |at| at + 1);
        let text = &text[..end];
        self.caught |= self.catch.iter().any(|wanted| memchr::memmem::find(text, wanted).is_some());
        let note = format!("FastCGI sent in stderr: \"{}\"", crate::log::shown_lines(text));
        self.notes.push((Level::Error, note));
    }

    /// Why there is no head, if there will be none.
    fn lacks_head(&self) -> Result<(), BadHead> {
        let what = match &self.end {
            _ if self.caught => return Err(BadHead::Noted),
            None => return Ok(()),
            Some(End::Broken(what)) => what.clone(),
            Some(_) if self.closed => STDOUT_CLOSED.into(),
            Some(_) => "upstream sent unexpected FastCGI record: 3".into(),
        };
        Err(BadHead::Framing(what))
    }

    /// What the end means, where it has come.
    fn part(&self) -> Part {
        let short = self.rest.is_some_and(Rest::is_more);
        match &self.end {
            Some(End::Broken(what)) => Part::Failed(what.clone()),
            Some(_) if short && self.closed => Part::Failed(STDOUT_CLOSED.into()),
            Some(_) if short => Part::Failed("upstream prematurely closed FastCGI request".into()),
            Some(_) if self.is_over() => Part::End,
            _ => Part::More,
        }
    }
}

impl relay::Answer for Answer {
    fn head(
        &mut self,
        buffer: &mut Vec<u8>,
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadHead> {
        let (clean, came) = (self.clean, buffer.len());
        let mut parts: Vec<Place> = Vec::new();
        self.clean += self.unframe(&mut buffer[clean..], |place| parts.push(place));
        buffer.truncate(self.clean);
        if self.caught {
            return Err(BadHead::Noted);
        }
        let progress = match buffer.is_empty() {
            true => Progress::Partial,
            false => self.head.parse(buffer, head, limit)?,
        };
        match progress {
            Progress::Done => {
                self.rest = Some(Rest::of(head, buffer, self.method));
                // As in nginx: from the end of the part on in which the head ends.
                let last = parts.iter().find(|(to, _)| clean + to >= head.length);
                let framed =
                    |(to, from): &Place| (came - clean - from).saturating_sub(self.clean - clean - to);
                self.framing = last.map_or(0, framed) as u64;
            }
            _ => self.lacks_head()?,
        }
        Ok(progress)
    }

    fn framing(&mut self) -> u64 {
        std::mem::take(&mut self.framing)
    }
    fn body(&mut self, bytes: &mut Piece) -> Part {
        // What came with the head has no framing any more.
        if std::mem::take(&mut self.clean) == 0 {
            let length = self.unframe(bytes, |_| {});
            bytes.truncate(length);
        }
        if let Some(rest) = &mut self.rest {
            self.notes.extend(rest.take(bytes));
        }
        self.part()
    }

    fn at_close(&self) -> bool {
        !self.keep_conn && !self.rest.is_some_and(Rest::is_more)
    }
    fn is_reusable(&self) -> bool {
        self.keep_conn && self.end == Some(End::Whole { clean: true })
    }
    fn notes(&mut self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.notes)
    }
}
