//! How far a page was read: which of its text is shown, and what its commands say that ask nobody.

use super::command::{known, parameters, written};
use super::include::Include;
use super::text::{self, Result};
use super::{date, page};
use crate::http::request::Request;
use crate::log::shown;
use formats::ssi::Command;

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

/// See the module.
pub struct Reader {
    /// Text and commands are not left out (by `if`, or because they are a block's).
    pub shows: bool,
    /// What stands in place of a command with a mistake.
    pub complaint: Vec<u8>,
    /// One branch of the `if` was shown.
    chosen: bool,
    condition: Condition,
    /// Within `block`.
    block: bool,
    encoding: Encoding,
}

impl Reader {
    /// At the page's begin.
    pub fn new() -> Reader {
        Reader {
            shows: true,
            complaint: b"[an error occurred while processing the directive]".to_vec(),
            chosen: false,
            condition: Condition::None,
            block: false,
            encoding: Encoding::Entity,
        }
    }
    /// What is not shown is a block's, if there is one.
    pub fn keep(&self, request: &mut Request, text: &[u8]) {
        if self.block {
            page::of(request).borrow_mut().add_to_block(text);
        }
    }
    /// Carries out a command; what it writes is appended to `out`. One may have asked for an answer.
    ///
    /// # Errors
    /// What is wrong with it; empty if that is logged already.
    pub fn obey(
        &mut self,
        request: &mut Request,
        command: &Command,
        out: &mut Vec<u8>,
    ) -> Result<Option<Include>> {
        let name = &command.name[..];
        let Some((known, wanted)) = known(name) else {
            return match self.shows {
                true => Err(format!("invalid SSI command: \"{}\"", shown(name))),
                false => Ok(None),
            };
        };
        if !self.is_due(request, command)? {
            return Ok(None);
        }
        let given = parameters(command, known, wanted)?;
        let given = |name: &str| known.iter().position(|k| *k == name).and_then(|i| given[i]);
        let must = |name: &str| given(name).unwrap_or_default();
        match name {
            b"include" => return Include::ask(request, given).map(Some),
            b"echo" => self.echo(request, must("var"), given("default"), given("encoding"), out),
            b"config" => self.config(request, given("errmsg"), given("timefmt")),
            b"set" => {
                let value = text::evaluate(request, must("value"))?;
                page::of(request).borrow_mut().set(must("var"), value);
            }
            b"if" | b"elif" => self.condition(request, name == b"if", must("expr"))?,
            b"else" => {
                self.shows = !self.chosen;
                self.condition = Condition::Else;
            }
            b"endif" => (self.shows, self.chosen, self.condition) = (true, false, Condition::None),
            b"block" => {
                page::of(request).borrow_mut().begin_block(must("name"));
                (self.shows, self.block) = (false, true);
            }
            _ => (self.shows, self.block) = (true, false),
        }
        Ok(None)
    }
    /// Whether a command is to be carried out here, not left out or kept for a block.
    fn is_due(&self, request: &mut Request, command: &Command) -> Result<bool> {
        let name = &command.name[..];
        let conditional = matches!(name, b"elif" | b"else" | b"endif");
        if !self.shows && name != b"endblock" {
            if self.block {
                self.keep(request, &written(command));
                return Ok(false);
            }
            if !conditional {
                return Ok(false);
            }
        }
        let fits = match self.condition {
            Condition::None => !conditional,
            Condition::If => true,
            Condition::Else => !matches!(name, b"elif" | b"else"),
        };
        match fits {
            true => Ok(true),
            false => Err(format!("invalid context of SSI command: \"{}\"", shown(name))),
        }
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
            let format = date::Format(shown(format).into_owned());
            match request.kept_in_pass_mut::<date::Format>() {
                Some(old) => *old = format,
                None => request.keep_in_pass(format),
            }
        }
    }
    fn echo(
        &mut self,
        request: &mut Request,
        name: &[u8],
        default: Option<&[u8]>,
        encoding: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
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
                log_error!(request, "unknown encoding \"{}\" in the \"echo\" command", shown(other));
            }
        }
        match self.encoding {
            Encoding::None => out.extend_from_slice(&value),
            Encoding::Url => wire::uri::escape_html_uri(&value, out),
            Encoding::Entity => wire::uri::escape_html(&value, out),
        }
    }
}
