//! HTTP/1 messages as the test looks at them: everything in order, nothing interpreted that is not asked for.

use std::fmt;
use std::io::{self, ErrorKind};

/// Names and values, as sent and in the order sent.
pub type Fields = Vec<(String, String)>;

/// A request as an origin received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, ..
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// Names as sent, in the order sent.
    pub headers: Fields,
    /// The body, with chunked coding removed.
    pub body: Vec<u8>,
    /// Request line and headers as they came, with the empty line.
    pub head: String,
    /// Which connection of the origin it came on, counted from 0.
    pub connection: usize,
}

/// A response as a client received it.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1`
    pub version: String,
    /// 200, ..
    pub status: u16,
    /// What follows the status.
    pub reason: String,
    /// Names as sent, in the order sent.
    pub headers: Fields,
    /// The body, with chunked coding removed.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
    /// Status line and headers as they came, with the empty line.
    pub head: String,
}

impl Request {
    pub(crate) fn parse(head: &[u8]) -> io::Result<Request> {
        let head = String::from_utf8_lossy(head).into_owned();
        let line = head.split("\r\n").next().unwrap_or_default();
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed(line));
        };
        Ok(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers: fields(&head)?,
            body: Vec::new(),
            connection: 0,
            head,
        })
    }

    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    pub(crate) fn length(&self) -> usize {
        self.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0)
    }
}

impl Response {
    pub(crate) fn parse(head: &[u8]) -> io::Result<Response> {
        let head = String::from_utf8_lossy(head).into_owned();
        let line = head.split("\r\n").next().unwrap_or_default();
        let (version, rest) = line.split_once(' ').ok_or_else(|| malformed(line))?;
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        Ok(Response {
            version: version.to_owned(),
            status: status.parse().map_err(|_| malformed(line))?,
            reason: reason.to_owned(),
            headers: fields(&head)?,
            body: Vec::new(),
            trailers: Vec::new(),
            head,
        })
    }

    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// All fields of this name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the body came in chunks.
    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }

    /// RFC 9112 section 6.3: which responses have no body, whatever their headers say.
    pub(crate) fn has_body(&self, method: &str) -> bool {
        method != "HEAD" && self.status >= 200 && self.status != 204 && self.status != 304
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.body[..self.body.len().min(2000)];
        write!(f, "{}{}", self.head, String::from_utf8_lossy(body))
    }
}

fn fields(head: &str) -> io::Result<Fields> {
    let lines = head.split("\r\n").skip(1).take_while(|l| !l.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(line))?;
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

fn first<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed: {line:?}"))
}
