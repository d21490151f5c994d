//! `error_log .. json`: an object for each message, with the names of nginx's commercial edition.

use std::fmt;

use reactor::Peer;

use super::bytes::stands_for;
use super::line::LONGEST;
use super::{Context, Level};
use crate::http::request::Request;
use crate::network::push_client;

/// A message as one line.
pub(super) fn line(level: Level, context: &Context<'_>, message: fmt::Arguments<'_>) -> Vec<u8> {
    let mut message = message.to_string();
    if let Some(action) = context.request.and_then(|request| request.action.behind(message.as_bytes())) {
        message.push_str(" while ");
        message.push_str(action);
    }
    // How much of a text there is room for depends on the others, and on what has to be escaped.
    let tries = [usize::MAX, 512, 256, 128].into_iter().map(|most| object(level, context, &message, most));
    let fits = tries.into_iter().find(|line| line.len() < LONGEST);
    fits.unwrap_or_else(|| object(level, context, &message, (LONGEST - 300) / 6 / 6))
}

/// Texts are cut off at `most` bytes.
fn object(level: Level, context: &Context<'_>, message: &str, most: usize) -> Vec<u8> {
    let mut object = Object { line: Vec::with_capacity(512), most, cut: false };
    let (message, errno) = apart(message);
    object.text("level", level.name().as_bytes());
    let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string();
    object.text("timestamp", now.as_bytes());
    object.number("pid", std::process::id().into());
    object.number("tid", u64::try_from(sys::process::thread_id()).unwrap_or(0));
    if let Some(id) = context.connection {
        object.number("cnum", id);
    }
    object.text("msg", message.as_bytes());
    if let Some(request) = context.request {
        object.request(request);
    }
    if let Some((client, listener)) = context.waiting {
        object.client(client);
        object.text("server", listener.to_string().as_bytes());
    }
    if let Some((number, text)) = errno {
        object.number("errno", number);
        object.text("errtext", text.as_bytes());
    }
    object.finish()
}

/// A message without the system's error in it, `(111: Connection refused)`, and that.
fn apart(message: &str) -> (String, Option<(u64, &str)>) {
    let found = message.match_indices(" (").find_map(|(start, _)| {
        let (inside, rest) = message[start + 2..].split_once(')')?;
        let (number, text) = inside.split_once(": ")?;
        Some((start, number.parse().ok()?, text, rest))
    });
    match found {
        Some((start, number, text, rest)) => (format!("{}{rest}", &message[..start]), Some((number, text))),
        None => (message.to_owned(), None),
    }
}

struct Object {
    line: Vec<u8>,
    most: usize,
    cut: bool,
}

impl Object {
    fn name(&mut self, name: &str) {
        self.line.extend_from_slice(if self.line.is_empty() { b"{\"" } else { b",\"" });
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
    }
    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        wire::push_decimal(&mut self.line, number);
    }
    fn text(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        let shown = &text[..text.len().min(self.most)];
        self.cut |= shown.len() < text.len();
        self.line.push(b'"');
        for character in String::from_utf8_lossy(shown).chars() {
            self.character(character);
        }
        self.line.push(b'"');
    }
    fn character(&mut self, character: char) {
        match character {
            '"' | '\\' => self.line.extend_from_slice(&[b'\\', character as u8]),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                self.line.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ if let Some(byte) = stands_for(character) => self.character(match byte.is_ascii() {
                true => byte.into(),
                false => char::REPLACEMENT_CHARACTER,
            }),
            _ => self.line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    fn client(&mut self, client: Peer) {
        let mut text = Vec::new();
        push_client(client, &mut text);
        self.text("client", &text);
    }
    fn request(&mut self, request: &Request) {
        self.client(request.client.peer);
        let server = request.generation.shared.server(request.server);
        self.text("server", server.name.as_bytes());
        if !request.line().is_empty() {
            self.text("request", request.line());
        }
        if request.upstream.is_asked() {
            let mut url = Vec::new();
            request.upstream.put_url(&mut url);
            self.text("upstream", &url);
        }
        for (name, known) in [("host", wire::Known::Host), ("referrer", wire::Known::Referer)] {
            if let Some(value) = request.header(known) {
                self.text(name, value);
            }
        }
    }
    fn finish(mut self) -> Vec<u8> {
        if self.cut {
            self.number("truncated", 1);
        }
        self.line.extend_from_slice(b"}\n");
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_of_the_system_stand_apart() {
        let (message, errno) =
            apart("connect() failed (111: Connection refused) while connecting to upstream");
        assert_eq!(message, "connect() failed while connecting to upstream");
        assert_eq!(errno, Some((111, "Connection refused")));
        assert_eq!(apart("a (b) c"), ("a (b) c".to_owned(), None));
        assert_eq!(apart("open() \"a (1: b\" failed (2: x)").1, Some((1, "b\" failed (2: x")));
    }

    proptest! {
        #[test]
        fn a_line_is_one_object_and_short(message in "\\PC{0,3000}|[\\x00-\\x1f\"\\\\]{0,3000}") {
            let line = line(Level::Error, &Context::none(), format_args!("{message}"));
            prop_assert!(line.len() <= LONGEST);
            let one = line.ends_with(b"}\n") && !line[..line.len() - 1].contains(&b'\n');
            prop_assert!(one);
            let text = String::from_utf8(line);
            let says = text.is_ok_and(|text| text.contains("\"msg\":"));
            prop_assert!(says);
        }
    }
}
