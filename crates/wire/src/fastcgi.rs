//! FastCGI's records, as a web server writes and reads them: one request on a connection at a time, whose number is 1.

use std::ops::Range;

/// The most a record may hold.
const LONGEST: usize = 65_535;
/// The size of a record's header.
const HEADER: usize = 8;

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// The largest part of a body that is put into one record; nginx's figure.
const PART: usize = 32 * 1024;

/// Appends the record that begins a request to a responder; `keep`: the connection stays open after it.
pub fn put_begin(keep: bool, out: &mut Vec<u8>) {
    put_header(BEGIN_REQUEST, 8, 0, out);
    out.extend_from_slice(&[0, 1, u8::from(keep), 0, 0, 0, 0, 0]);
}

/// Appends a parameter, as it stands in the records of parameters.
pub fn put_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put_length(name.len(), out);
    put_length(value.len(), out);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}
fn put_length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short) if short < 128 => out.push(short),
        _ => out.extend_from_slice(&(length as u32 | 1 << 31).to_be_bytes()),
    }
}

/// Appends the records of all parameters, which `pairs` are, and the end of them.
pub fn put_params(pairs: &[u8], out: &mut Vec<u8>) {
    pairs.chunks(LONGEST).for_each(|part| put_record(PARAMS, part, out));
    put_header(PARAMS, 0, 0, out);
}

/// Appends a part of a request's body, and its end behind the last.
pub fn put_stdin(part: &[u8], last: bool, out: &mut Vec<u8>) {
    part.chunks(PART).for_each(|part| put_record(STDIN, part, out));
    if last {
        put_header(STDIN, 0, 0, out);
    }
}

/// Records are filled up to a multiple of eight bytes.
fn put_record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    let padding = (HEADER - content.len() % HEADER) % HEADER;
    put_header(kind, content.len(), padding, out);
    out.extend_from_slice(content);
    out.resize(out.len() + padding, 0);
}
fn put_header(kind: u8, length: usize, padding: usize, out: &mut Vec<u8>) {
    let [high, low] = (length as u16).to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, 0, 1, high, low, padding as u8, 0]);
}

/// What a responder sends, found in bytes as they come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A part of the answer, at this place.
    Stdout(Range<usize>),
    /// Something for the error log.
    Stderr(Range<usize>),
    /// The answer is complete; more may be said of it.
    StdoutEnd,
    /// The request is over but for the rest of the last record.
    Ending,
    /// The last record was read whole.
    Ended,
    /// There are no more bytes.
    More,
}

/// What makes bytes no record, with the offending byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see `message`")]
pub enum BadRecord {
    Version(u8),
    Kind(u8),
    RequestHigh(u8),
    RequestLow(u8),
}
impl BadRecord {
    /// The text nginx logs.
    #[must_use]
    pub fn message(self) -> String {
        match self {
            BadRecord::Version(n) => format!("upstream sent unsupported FastCGI protocol version: {n}"),
            BadRecord::Kind(n) => format!("upstream sent invalid FastCGI record type: {n}"),
            BadRecord::RequestHigh(n) => {
                format!("upstream sent unexpected FastCGI request id high byte: {n}")
            }
            BadRecord::RequestLow(n) => format!("upstream sent unexpected FastCGI request id low byte: {n}"),
        }
    }
}

/// Reads a responder's records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records {
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// What is left of the record's content and padding.
    left: usize,
    padding: usize,
}

impl Records {
    /// Finds the next step in `bytes`; says how many it used. To be called until it says [`Step::More`].
    ///
    /// # Errors
    /// What is no record.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(Step, usize), BadRecord> {
        let mut at = 0;
        loop {
            if self.have < HEADER {
                let Some(&byte) = bytes.get(at) else { return Ok((Step::More, at)) };
                at += 1;
                self.put(byte)?;
                match (self.have == HEADER, self.header[1], self.left) {
                    (true, STDOUT, 0) => return Ok((Step::StdoutEnd, at)),
                    (true, END_REQUEST, _) => return Ok((Step::Ending, at)),
                    _ => {}
                }
                continue;
            }
            let rest = bytes.len() - at;
            if self.left > 0 {
                if rest == 0 {
                    return Ok((Step::More, at));
                }
                let part = at..at + self.left.min(rest);
                self.left -= part.len();
                let end = part.end;
                match self.header[1] {
                    STDOUT => return Ok((Step::Stdout(part), end)),
                    STDERR => return Ok((Step::Stderr(part), end)),
                    _ => at = end,
                }
                continue;
            }
            let skipped = self.padding.min(rest);
            self.padding -= skipped;
            at += skipped;
            if self.padding > 0 {
                return Ok((Step::More, at));
            }
            self.have = 0;
            if self.header[1] == END_REQUEST {
                return Ok((Step::Ended, at));
            }
        }
    }

    /// The next byte of a header.
    fn put(&mut self, byte: u8) -> Result<(), BadRecord> {
        match self.have {
            0 if byte != VERSION => return Err(BadRecord::Version(byte)),
            1 if !matches!(byte, STDOUT | STDERR | END_REQUEST) => return Err(BadRecord::Kind(byte)),
            2 if byte != 0 => return Err(BadRecord::RequestHigh(byte)),
            3 if byte != 1 => return Err(BadRecord::RequestLow(byte)),
            _ => {}
        }
        self.header[self.have] = byte;
        self.have += 1;
        if self.have == HEADER {
            self.left = usize::from(u16::from_be_bytes([self.header[4], self.header[5]]));
            self.padding = usize::from(self.header[6]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Read {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        steps: Vec<Step>,
        used: usize,
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Read, BadRecord> {
        let (mut records, mut read) = (Records::default(), Read::default());
        for part in bytes.chunks(piece) {
            let mut at = 0;
            loop {
                let (step, used) = records.read(&part[at..])?;
                match step {
                    Step::Stdout(range) => read.stdout.extend_from_slice(&part[at..][range]),
                    Step::Stderr(range) => read.stderr.extend_from_slice(&part[at..][range]),
                    Step::More => break,
                    step => read.steps.push(step),
                }
                at += used;
                read.used += used;
                if read.steps.last() == Some(&Step::Ended) {
                    return Ok(read);
                }
            }
            read.used += part.len() - at;
        }
        Ok(read)
    }

    fn answer(stdout: &[u8], stderr: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_record(STDERR, stderr, &mut out);
        put_record(STDOUT, stdout, &mut out);
        put_header(STDOUT, 0, 0, &mut out);
        put_record(END_REQUEST, &[0; 8], &mut out);
        out
    }

    #[test]
    fn a_request_is_written() {
        let mut out = Vec::new();
        put_begin(true, &mut out);
        put_pair(b"A", b"bc", &mut out);
        assert_eq!(out, b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x01\x02Abc");
        out.clear();
        put_pair(b"N", &[b'v'; 128], &mut out);
        assert_eq!(&out[..7], b"\x01\x80\x00\x00\x80Nv");
        out.clear();
        put_stdin(b"123", true, &mut out);
        assert_eq!(out, b"\x01\x05\x00\x01\x00\x03\x05\x00123\0\0\0\0\0\x01\x05\x00\x01\x00\x00\x00\x00");
        out.clear();
        put_stdin(&[0; 40_000], false, &mut out);
        assert_eq!((out.len(), &out[4..7]), (8 + 32_768 + 8 + 7_232, &b"\x80\x00\x00"[..]));
    }

    #[test]
    fn what_is_no_record() {
        assert_eq!(read(b"\x02", 1), Err(BadRecord::Version(2)));
        assert_eq!(read(b"\x01\x0b", 1), Err(BadRecord::Kind(11)));
        assert_eq!(read(b"\x01\x06\x01", 1), Err(BadRecord::RequestHigh(1)));
        assert_eq!(read(b"\x01\x06\x00\x00", 1), Err(BadRecord::RequestLow(0)));
    }

    proptest! {
        #[test]
        fn however_it_is_cut(stdout: Vec<u8>, stderr: Vec<u8>, piece in 1usize..40) {
            let bytes = answer(&stdout, &stderr);
            let got = read(&bytes, piece).expect("records");
            prop_assert_eq!(&got.stdout, &stdout);
            prop_assert_eq!(&got.stderr, &stderr);
            prop_assert_eq!(got.steps.last(), Some(&Step::Ended));
            prop_assert_eq!(got.used, bytes.len());
        }
        #[test]
        fn anything_is_read_the_same_however_it_is_cut(bytes: Vec<u8>, piece in 1usize..20) {
            prop_assert_eq!(read(&bytes, bytes.len().max(1)), read(&bytes, piece));
        }
    }
}
