//! A line of the error log as text. A storm of errors writes many: putting one together allocates nothing, and asks the
//! system for nothing that stays as it is.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use reactor::Peer;

use super::{Context, Level, bytes};
use crate::http::request::Request;
use crate::{clock, network};

/// nginx keeps an error line below 2048 bytes.
pub(super) const LONGEST: usize = 2048;

thread_local! {
    /// What the last line was put together in.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The numbers of the process and of this thread, once they cannot change any more.
    static SETTLED: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Says that this thread belongs to a process that does not fork any more: its lines need not ask who they are from.
pub fn settle() {
    SETTLED.set(Some(numbers()));
}

fn numbers() -> (u64, u64) {
    (std::process::id().into(), u64::from(sys::process::thread_id().unsigned_abs()))
}

/// Text being put together; appending to it cannot fail.
struct Line(Vec<u8>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

impl Line {
    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.0.extend_from_slice(text.as_ref());
    }
    fn number(&mut self, number: u64) {
        wire::push_decimal(&mut self.0, number);
    }
    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.text(", ");
        self.text(name);
        self.text(": \"");
        self.text(value);
        self.text("\"");
    }
    fn client(&mut self, client: Peer) {
        self.text(", client: ");
        network::push_client(client, &mut self.0);
    }
    fn request(&mut self, request: &Request) {
        self.client(request.client.peer);
        self.text(", server: ");
        self.text(request.generation.shared.server(request.server).name.as_bytes());
        if !request.line().is_empty() {
            self.quoted("request", request.line());
        }
        if request.depth > 0 {
            self.quoted("subrequest", &request.uri);
        }
        if request.upstream.is_asked() {
            self.text(", upstream: \"");
            request.upstream.put_url(&mut self.0);
            self.text("\"");
        }
        if let Some(host) = request.header(wire::Known::Host) {
            self.quoted("host", host);
        }
        if let Some(referrer) = request.header(wire::Known::Referer) {
            self.quoted("referrer", referrer);
        }
    }
}

/// The line of a message; [`give_back`] it.
pub(super) fn line(level: Level, context: &Context<'_>, message: fmt::Arguments<'_>) -> Vec<u8> {
    let mut line = Line(SPARE.try_with(Cell::take).unwrap_or_default());
    line.0.clear();
    line.text(clock::error_log_time());
    let (pid, tid) = SETTLED.get().unwrap_or_else(numbers);
    line.text(" [");
    line.text(level.name());
    line.text("] ");
    line.number(pid);
    line.text("#");
    line.number(tid);
    line.text(": ");
    if let Some(id) = context.connection {
        line.text("*");
        line.number(id);
        line.text(" ");
    }
    let start = line.0.len();
    let _ = line.write_fmt(message);
    tame(&mut line.0[start..]);
    bytes::put_back(&mut line.0, start);
    let end = line.0.len();
    if let Some(request) = context.request {
        if let Some(action) = request.action.behind(&line.0[start..]) {
            line.text(" while ");
            line.text(action);
        }
        line.request(request);
    }
    if let Some((client, listener)) = context.waiting {
        line.client(client);
        let _ = write!(line, ", server: {listener}");
    }
    tame(&mut line.0[end..]);
    finish(line.0)
}

/// What clients sent may be anything, but one message is one line.
fn tame(text: &mut [u8]) {
    text.iter_mut().for_each(|byte| *byte = if byte.is_ascii_control() { b'?' } else { *byte });
}

fn finish(mut line: Vec<u8>) -> Vec<u8> {
    line.truncate(LONGEST - 1);
    line.push(b'\n');
    line
}

/// Keeps a line's memory for the next one.
pub(super) fn give_back(line: Vec<u8>) {
    if line.capacity() <= 2 * LONGEST {
        let _ = SPARE.try_with(|spare| spare.set(line));
    }
}

/// An operating system's error as nginx writes it: `11: Resource temporarily unavailable`.
pub struct Errno<'a>(pub &'a std::io::Error);
impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Linux has as many errors; each is asked for once.
        static TEXTS: [OnceLock<Box<str>>; 134] = [const { OnceLock::new() }; 134];
        let Some(code) = self.0.raw_os_error() else { return write!(f, "{}", self.0) };
        write!(f, "{code}: ")?;
        match usize::try_from(code).ok().and_then(|code| TEXTS.get(code)) {
            Some(known) => f.write_str(known.get_or_init(|| words(self.0))),
            None => f.write_str(&words(self.0)),
        }
    }
}

/// What the system says of its error.
fn words(error: &std::io::Error) -> Box<str> {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_as_nginx_has_them() {
        for (code, text) in [(2, "2: No such file or directory"), (98, "98: Address already in use")] {
            for _ in 0..2 {
                assert_eq!(Errno(&std::io::Error::from_raw_os_error(code)).to_string(), text);
            }
        }
        assert!(Errno(&std::io::Error::from_raw_os_error(4711)).to_string().starts_with("4711: "));
        assert_eq!(Errno(&std::io::Error::other("odd")).to_string(), "odd");
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length_whoever_writes_it() {
        let lines = || {
            let long = "x".repeat(3000);
            let short = line(Level::Error, &Context::connection(7), format_args!("a\r\n\x7f{}", "b"));
            let text = String::from_utf8_lossy(&short).into_owned();
            give_back(short);
            (text, line(Level::Info, &Context::none(), format_args!("{long}")).len())
        };
        let (before, length) = lines();
        settle();
        let (settled, _) = lines();
        // But for the time.
        assert_eq!(before[19..], settled[19..]);
        assert!(before.ends_with(": *7 a???b\n") && before[19..].starts_with(" [error] "), "{before}");
        assert_eq!(length, LONGEST);
    }
}
