//! A request's fields, one by one, into the text of an HTTP/1 head; and the rules that only HTTP/2 has.

use std::ops::Range;

use super::head::PARSED;
use crate::log::shown;
use crate::worker::thread::Thread;

/// A request's head as text.
pub struct Head {
    /// The text; as much as was understood where something is wrong.
    pub text: Vec<u8>,
    /// How many bytes it was, compressed.
    pub length: usize,
    /// Where its version stands.
    pub version: usize,
    /// What is wrong with it, in nginx's words.
    pub wrong: Option<String>,
}

/// What stands before all other fields.
#[derive(Clone, Copy)]
enum Pseudo {
    Method,
    Scheme,
    Path,
    Authority,
}

/// A head that is being put together.
pub struct Gather<'a> {
    thread: &'a Thread,
    head: Head,
    /// What the request line is made of, and where each part of it is.
    line: Vec<u8>,
    parts: [Option<Range<usize>>; 4],
    begun: bool,
    cookies: Vec<u8>,
    /// Bytes that names and values may still have.
    left: usize,
    /// A body is promised.
    has_length: bool,
    /// Why the connection has to end.
    pub breach: Option<Breach>,
}

/// What no connection survives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// A field without a name.
    Nameless,
    /// More than `large_client_header_buffers` takes.
    TooLarge,
}

impl<'a> Gather<'a> {
    /// A head whose names and values may have so many bytes together.
    pub fn new(thread: &'a Thread, length: usize, most: usize) -> Gather<'a> {
        Gather {
            thread,
            head: Head { text: thread.buffer(), length, version: 0, wrong: None },
            line: thread.buffer(),
            parts: [const { None }; 4],
            begun: false,
            cookies: thread.buffer(),
            left: most,
            has_length: false,
            breach: None,
        }
    }
    /// Takes a field; `false`: the connection is to end.
    pub fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        let length = name.len() + value.len();
        if name.is_empty() || length > self.left {
            self.breach = Some(if name.is_empty() { Breach::Nameless } else { Breach::TooLarge });
            return false;
        }
        self.left -= length;
        if self.head.wrong.is_none()
            && let Err(what) = self.field(name, value)
        {
            self.head.wrong = Some(what);
        }
        true
    }
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        check(name, value)?;
        if let Some(pseudo) = name.strip_prefix(b":") {
            return self.pseudo(pseudo, value);
        }
        self.begin()?;
        match name {
            b"cookie" => {
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
                return Ok(());
            }
            b"host" => {
                if let Some(authority) = &self.parts[Pseudo::Authority as usize] {
                    return match self.line[authority.clone()] == *value {
                        true => Ok(()),
                        false => {
                            Err("client sent \":authority\" and \"Host\" headers with different values"
                                .into())
                        }
                    };
                }
            }
            b"connection" => return Err("client sent \"Connection\" header".into()),
            b"keep-alive" => return Err("client sent \"Keep-Alive\" header".into()),
            b"transfer-encoding" => return Err("client sent \"Transfer-Encoding\" header".into()),
            b"upgrade" => return Err("client sent \"Upgrade\" header".into()),
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => {
                return Err("client sent invalid \"TE\" header".into());
            }
            b"content-length" => self.has_length = value.iter().any(|digit| *digit != b'0'),
            _ => {}
        }
        put(name, value, &mut self.head.text);
        Ok(())
    }
    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        if self.begun {
            return Err("client sent out of order pseudo-headers".into());
        }
        let (which, what) = match name {
            b"method" => (Pseudo::Method, ":method"),
            b"scheme" => (Pseudo::Scheme, ":scheme"),
            b"path" => (Pseudo::Path, ":path"),
            b"authority" => (Pseudo::Authority, "\":authority\""),
            _ => return Err(format!("client sent unknown pseudo-header \":{}\"", shown(name))),
        };
        if self.parts[which as usize].is_some() {
            return Err(format!("client sent duplicate {what} header"));
        }
        if value.is_empty() && !matches!(which, Pseudo::Authority) {
            return Err(format!("client sent empty {what} header"));
        }
        let fits = match which {
            Pseudo::Method => value.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'_' | b'-')),
            Pseudo::Scheme => {
                value[0].is_ascii_alphabetic()
                    && value.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
            }
            Pseudo::Path => value[0] == b'/' && value.iter().all(|byte| *byte > b' ' && *byte != 0x7f),
            Pseudo::Authority => !value.is_empty(),
        };
        if !fits {
            return Err(match which {
                Pseudo::Method => format!("client sent invalid method: \"{}\"", shown(value)),
                Pseudo::Authority => "client sent invalid \":authority\" header".into(),
                _ => format!("client sent invalid {what} header: \"{}\"", shown(value)),
            });
        }
        let from = self.line.len();
        self.line.extend_from_slice(value);
        self.parts[which as usize] = Some(from..self.line.len());
        Ok(())
    }
    /// All that belongs to the request line is there: it is written, and the host behind it.
    fn begin(&mut self) -> Result<(), String> {
        if self.begun {
            return Ok(());
        }
        let part = |which: Pseudo| Some(&self.line[self.parts[which as usize].clone()?]);
        let method = part(Pseudo::Method).ok_or("client sent no :method header")?;
        part(Pseudo::Scheme).ok_or("client sent no :scheme header")?;
        let path = part(Pseudo::Path).ok_or("client sent no :path header")?;
        let text = &mut self.head.text;
        text.extend_from_slice(method);
        text.push(b' ');
        text.extend_from_slice(path);
        text.push(b' ');
        self.head.version = text.len();
        text.extend_from_slice(PARSED);
        text.extend_from_slice(b"\r\n");
        if let Some(authority) = part(Pseudo::Authority) {
            put(b"host", authority, text);
        }
        self.begun = true;
        Ok(())
    }
    /// The head, of a stream that has no body if it `ends` with it.
    pub fn finish(mut self, ends: bool) -> Head {
        if self.head.wrong.is_none() {
            self.head.wrong = self.begin().err();
        }
        if self.begun {
            if !self.cookies.is_empty() {
                put(b"cookie", &self.cookies, &mut self.head.text);
            }
            self.head.text.extend_from_slice(b"\r\n");
        }
        if ends && self.has_length && self.head.wrong.is_none() {
            self.head.wrong = Some("client prematurely closed stream".into());
        }
        self.thread.give_buffer(self.line);
        self.thread.give_buffer(self.cookies);
        self.head
    }
}

/// What no field of HTTP/2 may have.
fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    let bare = name.strip_prefix(b":").unwrap_or(name);
    if bare.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b':' || byte.is_ascii_uppercase()) {
        return Err(format!("client sent invalid header name: \"{}\"", shown(name)));
    }
    if value.iter().any(|byte| matches!(byte, b'\0' | b'\n' | b'\r')) {
        let (name, value) = (shown(name), shown(value));
        return Err(format!("client sent header \"{name}\" with invalid value: \"{value}\""));
    }
    Ok(())
}
fn put(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
