//! `mp4`: films from the second that `?start=` names to the second that `?end=` names.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;

use conf::{Error, IN_HTTP, LOCATION, Scope, directive, exactly, flag};
use formats::mp4::{Cut, Fault, Limits, Span, cut};
use rustix::fs::Stat;

use super::Module;
use crate::http::file;
use crate::http::open_files::SentFile;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::http::steps::{Handler, Outcome};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "mp4",
    directives: &[
        directive("mp4", LOCATION, exactly(0), Here::set),
        directive("mp4_buffer_size", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().buffer_size.set(a.size(0)?)
        }),
        directive("mp4_max_buffer_size", IN_HTTP, exactly(1), |at, a| {
            at.own::<Conf>().max_buffer_size.set(a.size(0)?)
        }),
        directive("mp4_start_key_frame", IN_HTTP, flag(), |at, a| {
            at.own::<Conf>().start_key_frame.set(a.flag(0)?)
        }),
    ],
    variables: &[],
};
mark!(Here);
settings! {
    /// As written.
    struct Conf {
        buffer_size: u64,
        max_buffer_size: u64,
        start_key_frame: bool,
    }
}

struct Mp4 {
    limits: Limits,
    key_frame: bool,
}

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    if !Here::is_in(at) {
        return Ok(None);
    }
    let none = Conf::default();
    let conf = at.conf::<Conf>().unwrap_or(&none);
    // A table that fits the first buffer needs no larger one, whatever the limit of that is.
    let moov = conf.max_buffer_size.or(10 << 20).max(conf.buffer_size.or(512 << 10));
    Ok(Some(Box::new(Mp4 { limits: Limits { moov }, key_frame: conf.start_key_frame.or(false) })))
}

impl Handler for Mp4 {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        file::answer_part(request, |request, path, file, stat| self.respond(request, path, file, stat)).into()
    }
}

impl Mp4 {
    fn respond(&self, request: &mut Request, path: &[u8], file: SentFile, stat: &Stat) -> Next {
        let size = stat.st_size as u64;
        let span = asked(&request.args, self.key_frame);
        let part = match span {
            None => Ok(Cut::Whole),
            Some(span) => {
                let read = |offset, into: &mut [u8]| file.read_exact_at(into, offset);
                cut(&read, size, span, &self.limits)
            }
        };
        match part {
            Ok(Cut::Whole) => {
                file::describe(request, stat, size);
                request.response.body = Body::File(FileBody { file, offset: 0, end: size });
            }
            Ok(Cut::Part { head, data }) => {
                file::describe(request, stat, head.len() as u64 + data.end - data.start);
                let film = Body::File(FileBody { file, offset: data.start, end: data.end });
                request.response.body = Body::Parts(VecDeque::from([Body::Memory(head.into()), film]));
            }
            Err(fault) => {
                log_fault(request, &fault, path);
                return Next::Status(500);
            }
        }
        request.response.single_range = span.is_some();
        Next::Respond
    }
}

fn log_fault(request: &Request, fault: &Fault, path: &[u8]) {
    let path = file::text(path);
    match fault {
        Fault::Of(what) => log_error!(request, "\"{path}\" mp4 {what}"),
        Fault::In(what) => log_error!(request, "{what} in \"{path}\""),
        Fault::Read(error) => {
            log_crit!(request, "read() \"{path}\" failed ({})", crate::log::Errno(error));
        }
    }
}

/// What part of a film the arguments ask for, if they do.
fn asked(args: &[u8], key_frame: bool) -> Option<Span> {
    let time = |name| wire::uri::arg(args, name).and_then(milliseconds);
    let start = time(b"start");
    match time(b"end") {
        Some(end) if end > 0 => {
            let start = start.unwrap_or(0);
            Some(Span { start, length: end.saturating_sub(start), key_frame })
        }
        _ => start.map(|start| Span { start, length: 0, key_frame }),
    }
}

/// Seconds with a fraction, of which three digits count; players send many more.
fn milliseconds(text: &[u8]) -> Option<u64> {
    let (mut value, mut places, mut dot) = (0_i64, 3, false);
    for byte in text {
        match byte {
            b'.' if dot => return None,
            b'.' => dot = true,
            b'0'..=b'9' if places == 0 => {}
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
                places -= u32::from(dot);
            }
            _ => return None,
        }
    }
    let value = value.checked_mul(10_i64.pow(places))?;
    (!text.is_empty()).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn seconds_with_a_fraction() {
        for (text, value) in
            [("1", Some(1000)), ("1.5", Some(1500)), ("0.12345", Some(123)), (".5", Some(500)), ("", None)]
        {
            assert_eq!(milliseconds(text.as_bytes()), value, "{text}");
        }
        for text in ["-1", "1.2.3", "x", "9223372036854775", "99999999999999999999"] {
            let fits = text == "9223372036854775";
            assert_eq!(milliseconds(text.as_bytes()).is_some(), fits, "{text}");
        }
    }
}
