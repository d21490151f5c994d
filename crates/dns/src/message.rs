//! A message, read from its first byte to the last record that counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Complaint, Found, Kind, Over, Question, Reply, Service};

pub const A: u16 = 1;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const DNAME: u16 = 39;
/// The only class there is.
pub const INTERNET: u16 = 1;

const HEAD: usize = 12;
/// What follows the name of a record: type, class, time to live, length.
const RECORD: usize = 10;
/// Flags: an answer to a plain question, and nothing that must not be.
const PLAIN: (u16, u16) = (0xf870, 0x8000);
const TRUNCATED: u16 = 0x0200;
const FORMAT_ERROR: u8 = 1;
/// The last code that is about the name rather than about the question.
const LAST_CODE: u8 = 5;
/// Enough pointers for the longest name; more can only go round in a circle.
const MOST_POINTERS: usize = 128;

type Result<T> = std::result::Result<T, Complaint>;

const NO_QUESTION: Complaint = Complaint::Other("invalid number of questions in DNS response");
const EARLY_POINTER: Complaint = Complaint::Other("unexpected compression pointer in DNS response");
const NO_NAME: Complaint = Complaint::Other("zero-length domain name in DNS response");
const OUTSIDE: Complaint = Complaint::Other("name is out of DNS response");
const LABEL_TYPE: Complaint = Complaint::Other("invalid label type in DNS response");
const CIRCLE: Complaint = Complaint::Other("compression pointers loop in DNS response");
const REVERSE: Complaint = Complaint::Other("invalid in-addr.arpa or ip6.arpa name in DNS response");

fn byte(bytes: &[u8], at: usize) -> Result<u8> {
    bytes.get(at).copied().ok_or(Complaint::Short)
}
fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(Complaint::Short)
}
fn word(bytes: &[u8], at: usize) -> Result<u16> {
    take(bytes, at).map(u16::from_be_bytes)
}

/// The answer to a question, if that is what the message is.
pub fn read(question: &Question, bytes: &[u8], over: Over, say: &mut dyn FnMut(&Complaint)) -> Result<Reply> {
    if bytes.len() < HEAD {
        return Err(Complaint::Short);
    }
    let (id, flags) = (word(bytes, 0)?, word(bytes, 2)?);
    let truncated = flags & TRUNCATED != 0;
    if flags & PLAIN.0 != PLAIN.1 || (truncated && over == Over::Tcp) {
        return Err(Complaint::Invalid(over, id, flags));
    }
    let code = (flags & 0xf) as u8;
    if code == FORMAT_ERROR || code > LAST_CODE {
        let ours = code == FORMAT_ERROR && id == question.id;
        return Err(Complaint::Refused(code, id, ours.then(|| question.name.clone())));
    }
    let records = word(bytes, 6)?;
    let answers = matches_question(question, bytes, id, records)?;
    match code {
        _ if truncated => Ok(Reply::Truncated),
        0 if records == 0 => Ok(Reply::Empty),
        0 => Records::new(question.kind, bytes).read(answers, records, say),
        code => Ok(Reply::Failed(code)),
    }
}

/// Compares the question that the message repeats; gives the place behind it.
fn matches_question(question: &Question, bytes: &[u8], id: u16, records: u16) -> Result<usize> {
    if word(bytes, 4)? != 1 {
        return Err(NO_QUESTION);
    }
    let mut at = HEAD;
    loop {
        match byte(bytes, at)? {
            0 => break,
            length if length & 0xc0 != 0 => return Err(EARLY_POINTER),
            length => at += 1 + usize::from(length),
        }
    }
    if at == HEAD {
        return Err(NO_NAME);
    }
    let answers = at + 5;
    if answers + usize::from(records) * (2 + RECORD) > bytes.len() {
        return Err(Complaint::Short);
    }
    let (kind, class) = (word(bytes, at + 1)?, word(bytes, at + 3)?);
    let asked = name(bytes, HEAD)?;
    match kind {
        _ if class != INTERNET => Err(Complaint::QueryClass(class)),
        PTR => Err(REVERSE),
        A | AAAA | SRV if kind != question.kind.number() || asked != question.name => {
            Err(Complaint::Unexpected(asked))
        }
        A | AAAA | SRV if id != question.id => Err(Complaint::WrongIdent(id, asked, question.id)),
        A | AAAA | SRV => Ok(answers),
        _ => Err(Complaint::QueryType(kind)),
    }
}

/// A name as text, in lower case; what a pointer points to is a part of it.
fn name(bytes: &[u8], mut at: usize) -> Result<String> {
    let mut text = String::new();
    // A name has as many labels at most.
    for _ in 0..MOST_POINTERS {
        let length = usize::from(*bytes.get(at).ok_or(OUTSIDE)?);
        at = match length {
            0 => return Ok(text),
            _ if length & 0xc0 == 0xc0 => {
                let low = *bytes.get(at + 1).ok_or(OUTSIDE)?;
                (length & 0x3f) << 8 | usize::from(low)
            }
            _ if length & 0xc0 != 0 => return Err(LABEL_TYPE),
            _ => {
                let label = bytes.get(at + 1..at + 1 + length).ok_or(OUTSIDE)?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                at + 1 + length
            }
        };
    }
    Err(CIRCLE)
}

/// The records of an answer, and what they have told so far.
struct Records<'a> {
    kind: Kind,
    bytes: &'a [u8],
    found: Found,
    /// Where the name is that the one asked for stands for.
    alias: Option<usize>,
}

impl<'a> Records<'a> {
    fn new(kind: Kind, bytes: &'a [u8]) -> Records<'a> {
        Records { kind, bytes, found: Found { ttl: u32::MAX, ..Found::default() }, alias: None }
    }

    /// Addresses count more than names; whose they are does not matter, as a server answers for all of an alias's way.
    fn read(mut self, mut at: usize, count: u16, say: &mut dyn FnMut(&Complaint)) -> Result<Reply> {
        for _ in 0..count {
            at = self.record(at, say)?;
        }
        if !self.found.addresses.is_empty() || !self.found.services.is_empty() {
            return Ok(Reply::Found(self.found));
        }
        if let Some(alias) = self.alias {
            return Ok(Reply::Alias { name: name(self.bytes, alias)?, ttl: self.found.ttl });
        }
        say(&Complaint::Other(match self.kind {
            Kind::Srv => "no SRV type in DNS response",
            Kind::A | Kind::Aaaa => "no A or CNAME types in DNS response",
        }));
        Ok(Reply::Useless)
    }

    /// Reads the record there; gives the place behind it.
    fn record(&mut self, at: usize, say: &mut dyn FnMut(&Complaint)) -> Result<usize> {
        let at = self.skip_name(at)?;
        if at + RECORD >= self.bytes.len() {
            return Err(Complaint::Short);
        }
        let (kind, class) = (word(self.bytes, at)?, word(self.bytes, at + 2)?);
        if class != INTERNET {
            return Err(Complaint::RecordClass(class));
        }
        // A time beyond all bounds is none.
        let ttl = i32::from_be_bytes(take(self.bytes, at + 4)?).max(0) as u32;
        self.found.ttl = self.found.ttl.min(ttl);
        let (length, data) = (usize::from(word(self.bytes, at + 8)?), at + RECORD);
        match kind {
            A if self.kind != Kind::Srv => self.address(Kind::A, data, length)?,
            AAAA if self.kind != Kind::Srv => self.address(Kind::Aaaa, data, length)?,
            SRV if self.kind == Kind::Srv => self.service(data)?,
            CNAME => self.alias = Some(data),
            DNAME => {}
            _ => say(&Complaint::RecordType(kind)),
        }
        Ok(data + length)
    }

    fn skip_name(&self, start: usize) -> Result<usize> {
        let mut at = start;
        loop {
            match byte(self.bytes, at)? {
                0 if at == start => {
                    return Err(Complaint::Other(match self.kind {
                        Kind::Srv => "invalid name DNS response",
                        Kind::A | Kind::Aaaa => "invalid name in DNS response",
                    }));
                }
                0 => return Ok(at + 1),
                length if length & 0xc0 != 0 => return Ok(at + 2),
                length => at += 1 + usize::from(length),
            }
        }
    }

    fn address(&mut self, kind: Kind, at: usize, length: usize) -> Result<()> {
        let (unexpected, invalid, expected) = match kind {
            Kind::A => ("unexpected A record in DNS response", "invalid A record in DNS response", 4),
            _ => ("unexpected AAAA record in DNS response", "invalid AAAA record in DNS response", 16),
        };
        if kind != self.kind {
            return Err(Complaint::Other(unexpected));
        }
        if length != expected {
            return Err(Complaint::Other(invalid));
        }
        self.found.addresses.push(match kind {
            Kind::A => IpAddr::V4(Ipv4Addr::from(take::<4>(self.bytes, at)?)),
            _ => IpAddr::V6(Ipv6Addr::from(take::<16>(self.bytes, at)?)),
        });
        Ok(())
    }

    fn service(&mut self, at: usize) -> Result<()> {
        let (priority, weight, port) =
            (word(self.bytes, at)?, word(self.bytes, at + 2)?, word(self.bytes, at + 4)?);
        let host = name(self.bytes, at + 6)?;
        self.found.services.push(Service { host, port, priority, weight });
        Ok(())
    }
}
