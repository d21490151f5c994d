//! Answers as CGI scripts give them: header lines, the status among them, and a body that ends with its length or the
//! connection.

use wire::{BadResponse, Method, Progress, ResponseHead, ResponseParser};

use super::protocol::{Answer, BadHead, Part};
use crate::http::filters::Piece;
use crate::log::Level;

/// Reads a script's head.
pub struct Head {
    parser: ResponseParser,
    /// It may begin with a status line, as an HTTP answer does.
    may_be_http: bool,
}
impl Head {
    /// Of header lines alone.
    pub fn lines() -> Head {
        Head { parser: ResponseParser::of_script(), may_be_http: false }
    }
    /// Of header lines, behind a status line perhaps.
    pub fn lines_or_http() -> Head {
        Head { parser: ResponseParser::new(), may_be_http: true }
    }
    /// Reads on; see [`Answer::head`].
    ///
    /// # Errors
    /// See there.
    pub fn parse(
        &mut self,
        buffer: &[u8],
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadHead> {
        let progress = match self.parser.parse(buffer, head, limit) {
            Err(BadResponse::NoStatusLine) if self.may_be_http => {
                *self = Head::lines();
                return self.parse(buffer, head, limit);
            }
            other => other?,
        };
        if progress == Progress::Done {
            if !self.may_be_http
                && let Err(value) = head.take_status(buffer)
            {
                let value = crate::log::shown(value.of(buffer));
                return Err(BadHead::Framing(format!("upstream sent invalid status \"{value}\"")));
            }
            head.framing(Method::Get, buffer)?;
        }
        Ok(progress)
    }
}

/// How much of a body is still to come, if that is known.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    left: Option<u64>,
    /// Nothing is to be said of what is too much.
    told: bool,
}
impl Rest {
    /// As the head says.
    pub fn of(head: &ResponseHead, buffer: &[u8], method: Method) -> Rest {
        let is_head = method == Method::Head;
        let left = match head.status {
            204 | 304 => Some(0),
            _ if is_head => Some(0),
            _ => head.content_length(buffer).ok().flatten(),
        };
        Rest { left, told: is_head }
    }
    /// Whether more must come.
    pub fn is_more(self) -> bool {
        self.left.is_some_and(|left| left > 0)
    }
    /// Whether all of a known length has come.
    pub fn is_none(self) -> bool {
        self.left == Some(0)
    }
    /// Counts bytes that came, and drops what is too much, of which it says so once.
    pub fn take(&mut self, bytes: &mut Piece) -> Option<(Level, String)> {
        let left = self.left.as_mut()?;
        let came = bytes.len();
        bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(came));
        *left -= bytes.len() as u64;
        let new = bytes.len() < came && !std::mem::replace(&mut self.told, true);
        new.then(|| (Level::Warn, TOO_MUCH.into()))
    }
}
/// What is logged where more comes than a head announced.
pub const TOO_MUCH: &str = "upstream sent more data than specified in \"Content-Length\" header";

/// An answer without any framing around it.
pub struct Script {
    head: Head,
    method: Method,
    rest: Rest,
    notes: Vec<(Level, String)>,
}
impl Script {
    /// The answer to a request of this method.
    pub fn answer_to(method: Method) -> Script {
        Script {
            head: Head::lines_or_http(),
            method,
            rest: Rest { left: None, told: false },
            notes: Vec::new(),
        }
    }
}
impl Answer for Script {
    fn head(
        &mut self,
        buffer: &mut Vec<u8>,
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadHead> {
        let progress = self.head.parse(buffer, head, limit)?;
        if progress == Progress::Done {
            self.rest = Rest::of(head, buffer, self.method);
        }
        Ok(progress)
    }
    fn body(&mut self, bytes: &mut Piece) -> Part {
        self.notes.extend(self.rest.take(bytes));
        if self.rest.is_none() { Part::End } else { Part::More }
    }
    fn at_close(&self) -> bool {
        !self.rest.is_more()
    }
    fn notes(&mut self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.notes)
    }
}
