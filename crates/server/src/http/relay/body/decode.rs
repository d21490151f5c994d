//! Framing that is taken off a body, and where what is left of it is kept.

use wire::chunked::{BadChunk, Step};

use super::inner::Inner;
use super::parts::{Coding, kept_badly};
use crate::http::filters::Piece;
use crate::http::relay::protocol::Part;
use crate::http::relay::script::TOO_MUCH;
use crate::http::response::{Field, Response};
use crate::log::Level;

impl Inner {
    /// Takes the framing off; ends the body where it ends.
    pub(super) fn decode(&mut self, mut bytes: Piece) -> Piece {
        if !matches!(self.coding, Coding::None) {
            self.length += bytes.len() as u64;
        }
        match &mut self.coding {
            Coding::UntilClose => {}
            Coding::None => self.take(&mut bytes, 0),
            Coding::Length(left) => {
                let left = *left;
                self.take(&mut bytes, left);
            }
            Coding::Chunked(_) => self.unchunk(&mut bytes),
            Coding::Other(answer) => {
                self.length += answer.framing();
                let part = answer.body(&mut bytes);
                for (level, note) in answer.notes() {
                    self.remark(level, note);
                }
                match part {
                    Part::More => {}
                    Part::End => self.end(),
                    Part::Failed(what) => self.fail(what),
                }
            }
        }
        self.keep(&bytes);
        bytes
    }
    /// Writes to where it is kept, and ends that with the body.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(keeper) = &mut self.keeper else { return };
        let mut kept = keeper.write(bytes).map_err(|error| kept_badly(&error));
        if self.failure.is_some() || kept.is_err() {
            self.keeper = None;
        } else if self.complete
            && let Some(keeper) = self.keeper.take()
        {
            kept = keeper.finish(self.thread.handle.unix_time().as_secs());
        }
        if let Err(what) = kept {
            self.remark(Level::Crit, what);
        }
    }
    fn take(&mut self, bytes: &mut Piece, left: u64) {
        let bodiless = matches!(self.coding, Coding::None);
        if bytes.len() as u64 > left {
            bytes.truncate(left as usize);
            self.rests = None;
            if !bodiless {
                self.remark(Level::Warn, TOO_MUCH.into());
            }
        }
        let left = left - bytes.len() as u64;
        if !bodiless {
            self.coding = Coding::Length(left);
        }
        if left == 0 {
            self.end();
        }
    }
    /// The first chunk's data stays where it is, what follows moves up to it.
    fn unchunk(&mut self, bytes: &mut Piece) {
        let (mut from, mut start, mut to) = (0, 0, 0);
        while from < bytes.len() {
            let Coding::Chunked(decoder) = &mut self.coding else { break };
            match decoder.decode(&bytes[from..]) {
                Ok(Step::Data(range)) => {
                    let data = from + range.start..from + range.end;
                    if start == to {
                        (start, to) = (data.start, data.start);
                    } else {
                        bytes.copy_within(data.clone(), to);
                    }
                    to += data.len();
                    from += range.end;
                }
                Ok(Step::More { consumed }) => from += consumed,
                Ok(Step::Done { consumed }) => {
                    if let Some(what) = bad_trailers(decoder.trailers()) {
                        self.fail(what);
                        break;
                    }
                    if from + consumed < bytes.len() {
                        self.rests = None;
                        self.remark(Level::Warn, "upstream sent data after final chunk".into());
                    }
                    self.end();
                    break;
                }
                Err(error) => {
                    let what = match error {
                        BadChunk::LongTrailers => "upstream sent too big trailers",
                        _ => "upstream sent invalid chunked response",
                    };
                    self.fail(what.into());
                    break;
                }
            }
        }
        bytes.truncate(to);
        bytes.advance(start);
    }

    /// `.._pass_trailers`
    pub(super) fn pass_trailers(&self, response: &mut Response) {
        let text = if self.settings.pass_trailers { self.trailers() } else { &[] };
        let mut fields = wire::Headers::default();
        // What is none was refused with the body.
        let _ = wire::parse_fields(text, &mut fields);
        for field in &fields {
            let (name, value) = (field.name.of(text), field.value.of(text));
            if !self.settings.hide.has(field.known, name) {
                let (name, value) = (response.store(name), response.store(value));
                response.trailers.push(Field { name, value, known: field.known });
            }
        }
    }
}

/// What is logged where the lines behind a body are none.
fn bad_trailers(text: &[u8]) -> Option<String> {
    let bad = wire::parse_fields(text, &mut wire::Headers::default()).err()?;
    let mut what = Vec::new();
    bad.log_text(text, &mut what);
    Some(crate::log::shown(&what).into_owned())
}
