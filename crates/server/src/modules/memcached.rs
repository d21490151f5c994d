//! `memcached_pass`: what a memcached server has under `$memcached_key`.

use std::sync::Arc;

use conf::{Args, Error, IF_LOCATION, IN_HTTP, Inherit, LOCATION, Scope, at_least, directive};
use conf::{Setting, exactly};
use wire::{BadResponse, Method, Progress, ResponseHead};

use super::Module;
use crate::http::filters::Piece;
use crate::http::phases::Next;
use crate::http::relay::gateway::{self, Gateway, Speaks};
use crate::http::relay::script;
use crate::http::relay::written::{again, relay_directives};
use crate::http::relay::{Answer, BadHead, Frame, Message, Part, Payload, Protocol, Reader};
use crate::http::request::Request;
use crate::http::steps::{Handler, Outcome};
use crate::http::variables::Template;
use crate::log::Level;
use crate::modules::core::types;
use crate::upstream::Group;
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "memcached",
    directives: &[
        directive("memcached_pass", LOCATION.or(IF_LOCATION), exactly(1), pass),
        directive("memcached_gzip_flag", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().gzip_flag.set(a.number(0)?)
        }),
        relay_directives!(@bind "memcached", Passing),
        relay_directives!(@once "memcached", Passing, "_socket_keepalive", socket_keepalive, flag),
        relay_directives!(@once "memcached", Passing, "_connect_timeout", connect_timeout, msec),
        relay_directives!(@once "memcached", Passing, "_send_timeout", send_timeout, msec),
        relay_directives!(@once "memcached", Passing, "_read_timeout", read_timeout, msec),
        relay_directives!(@once "memcached", Passing, "_buffer_size", buffer_size, size),
        directive("memcached_next_upstream", IN_HTTP, at_least(1), |at, a| {
            a.bits(at, AGAIN, |at| &mut at.own::<Passing>().0.once.next_upstream)
        }),
        relay_directives!(@once "memcached", Passing, "_next_upstream_tries", next_upstream_tries, number),
        relay_directives!(@once "memcached", Passing, "_next_upstream_timeout", next_upstream_timeout, msec),
    ],
    variables: &[],
};

/// What `memcached_next_upstream` can name.
const AGAIN: &[(&str, u32)] = &[
    ("error", again::ERROR),
    ("timeout", again::TIMEOUT),
    ("invalid_response", again::INVALID_HEADER),
    ("not_found", again::HTTP_404),
    ("off", again::OFF),
];

/// What stands behind a value.
const TRAILER: &[u8] = b"\r\nEND\r\n";

/// What all modules have that pass requests on.
type Passing = gateway::Passing<Memcached>;

/// As written.
#[derive(Default)]
struct Conf {
    gzip_flag: Setting<u64>,
    key: Option<Template>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.gzip_flag.inherit(&outer.gzip_flag);
        if self.key.is_none() {
            self.key.clone_from(&outer.key);
        }
    }
}

fn pass(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    gateway::pass::<Memcached>(at, a)?;
    let key = Template::parse(at, "$memcached_key")?;
    at.own::<Conf>().key = Some(key);
    Ok(())
}

/// As run.
struct Memcached {
    gateway: Gateway,
    key: Template,
    gzip_flag: u64,
}
impl gateway::Module for Memcached {
    const PREFIX: &'static str = "memcached";
    const SHOWN: &'static str = "memcached://";
    const HIDDEN: &'static [&'static [u8]] = &[b"Server", b"Date"];
    const ONLY_ASKS: bool = true;
}

pub(crate) fn handler(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let Some(key) = conf.key.clone() else { return Ok(None) };
    let gateway = gateway::compile::<Memcached>(at, String::new(), with)?;
    let gzip_flag = conf.gzip_flag.or(0);
    Ok(gateway.map(|gateway| Box::new(Memcached { gateway, key, gzip_flag }) as _))
}

impl Handler for Memcached {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Next::Status(405).into();
        }
        types::set_type(request);
        Outcome::wait(self.gateway.answer(self, request))
    }
    fn passes_on(&self) -> bool {
        true
    }
    fn asks(&self) -> Option<&Arc<Group>> {
        self.gateway.fixed()
    }
}

impl Protocol for Memcached {
    fn reader(&self, message: &Message) -> Reader {
        let key = message.head.get(4..).and_then(|rest| rest.strip_suffix(b"\r\n")).unwrap_or_default();
        Reader::Other(Box::new(Value { key: key.into(), gzip_flag: self.gzip_flag, ..Value::default() }))
    }
}

impl Speaks for Memcached {
    fn gateway(&self) -> &Gateway {
        &self.gateway
    }
    fn message(&self, request: &mut Request, payload: Payload) -> Result<Message, u16> {
        let mut key = request.thread.buffer();
        self.key.render(request, &mut key);
        let mut head = request.thread.buffer();
        head.extend_from_slice(b"get ");
        key.iter().for_each(|byte| put_escaped(*byte, &mut head));
        head.extend_from_slice(b"\r\n");
        let is_set = !key.is_empty();
        request.thread.give_buffer(key);
        if !is_set {
            request.thread.give_buffer(head);
            log_error!(request, "the \"$memcached_key\" variable is not set");
            return Err(500);
        }
        Ok(Message { head, payload, frame: Frame::Raw, method: request.method })
    }
}

/// A key has no spaces and no control characters.
fn put_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0..=b' ' | b'%' => {
            let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
        _ => out.push(byte),
    }
}

/// Reads an answer to `get`.
#[derive(Default)]
struct Value {
    key: Box<[u8]>,
    gzip_flag: u64,
    /// Bytes of the value that are to come.
    left: u64,
    /// How many bytes of what stands behind it are to come.
    trailer: usize,
    broken: bool,
    notes: Vec<(Level, String)>,
}

/// What its first line says.
enum Line {
    Found { length: u64, gzip: bool },
    Missing,
}

impl Value {
    fn line(&self, line: &[u8]) -> Result<Line, String> {
        let shown = || crate::log::shown(line);
        let invalid = || format!("memcached sent invalid response: \"{}\"", shown());
        let key = || crate::log::shown(&self.key);
        let wrong = |what: &str| {
            format!("memcached sent invalid {what} in response \"{}\" for key \"{}\"", shown(), key())
        };
        if line == b"END" {
            return Ok(Line::Missing);
        }
        let rest = line.strip_prefix(b"VALUE ").ok_or_else(invalid)?;
        let rest = rest.strip_prefix(&*self.key).ok_or_else(|| wrong("key"))?;
        let rest = rest.strip_prefix(b" ").ok_or_else(invalid)?;
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(invalid)?;
        let (flags, length) = (&rest[..space], &rest[space + 1..]);
        let gzip = match self.gzip_flag {
            0 => false,
            bits => wire::parse_length(flags).ok_or_else(|| wrong("flags"))? & bits != 0,
        };
        let length = wire::parse_length(length).ok_or_else(|| wrong("length"))?;
        Ok(Line::Found { length, gzip })
    }
}

impl Answer for Value {
    fn head(
        &mut self,
        buffer: &mut Vec<u8>,
        head: &mut ResponseHead,
        limit: usize,
    ) -> Result<Progress, BadHead> {
        let Some(end) = memchr::memchr(b'\n', &buffer[..buffer.len().min(limit)]) else {
            return if buffer.len() < limit {
                Ok(Progress::Partial)
            } else {
                Err(BadResponse::TooBig.into())
            };
        };
        let line = &buffer[..end];
        let line = line.strip_suffix(b"\r").ok_or_else(|| {
            let line = crate::log::shown(line);
            BadHead::Framing(format!("memcached sent invalid response: \"{line}\""))
        })?;
        let line = self.line(line).map_err(BadHead::Framing)?;
        // What the line says is put as headers, of which the rest of the relay knows.
        let (lines, status) = match line {
            Line::Missing => ("Content-Length: 0\r\n\r\n".to_owned(), 404),
            Line::Found { length, gzip } => {
                (self.left, self.trailer) = (length, TRAILER.len());
                let coding = if gzip { "Content-Encoding: gzip\r\n" } else { "" };
                (format!("Content-Length: {length}\r\n{coding}\r\n"), 200)
            }
        };
        buffer.splice(..=end, lines.into_bytes());
        let progress = script::Head::lines().parse(buffer, head, usize::MAX)?;
        head.status = status;
        Ok(progress)
    }

    fn body(&mut self, bytes: &mut Piece) -> Part {
        let value = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= value as u64;
        let behind = &bytes[value..];
        let wanted = &TRAILER[TRAILER.len() - self.trailer..];
        let fits = wanted.get(..behind.len()) == Some(behind);
        self.trailer -= behind.len().min(self.trailer);
        bytes.truncate(value);
        if !fits {
            self.broken = true;
            self.notes.push((Level::Error, "memcached sent invalid trailer".into()));
            return Part::End;
        }
        if self.left == 0 && self.trailer == 0 { Part::End } else { Part::More }
    }
    fn at_close(&self) -> bool {
        self.left == 0 && self.trailer == 0
    }
    fn is_reusable(&self) -> bool {
        self.at_close() && !self.broken
    }
    fn notes(&mut self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.notes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Status, value and how it ends, of an answer that comes in parts of these sizes.
    fn read(answer: &[u8], sizes: &[usize]) -> (u16, Vec<u8>, bool) {
        let mut value = Value { key: b"k".as_slice().into(), gzip_flag: 2, ..Value::default() };
        let (mut buffer, mut head, mut out) = (Vec::new(), ResponseHead::default(), Vec::new());
        let (mut rest, mut sizes) = (answer, sizes.iter().cycle());
        let mut has_head = false;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
            rest = behind;
            let mut piece = Piece::from(part.to_vec());
            if !has_head {
                buffer.extend_from_slice(part);
                match value.head(&mut buffer, &mut head, 4096) {
                    Err(_) => return (502, out, false),
                    Ok(Progress::Done) => has_head = true,
                    Ok(_) => continue,
                }
                piece = Piece::behind(std::mem::take(&mut buffer), head.length);
            }
            let part = value.body(&mut piece);
            out.extend_from_slice(&piece);
            if part == Part::End {
                break;
            }
        }
        (head.status, out, value.is_reusable())
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_an_answer_comes(
            body in prop::collection::vec(any::<u8>(), 0..50),
            sizes in prop::collection::vec(1_usize..20, 1..5),
        ) {
            let answer = [format!("VALUE k 2 {}\r\n", body.len()).as_bytes(), &body, b"\r\nEND\r\n"].concat();
            prop_assert_eq!(read(&answer, &sizes), (200, body, true));
            prop_assert_eq!(read(b"END\r\n", &sizes), (404, Vec::new(), true));
        }

        #[test]
        fn no_answer_does_harm(
            start in "(VALUE k [0-9x]{0,20} [0-9-]{0,21}\r?\n)?",
            rest in prop::collection::vec(any::<u8>(), 0..50),
            sizes in prop::collection::vec(1_usize..20, 1..5),
        ) {
            read(&[start.as_bytes(), &rest].concat(), &sizes);
        }
    }
}
