//! Finds the commands in a page that comes in pieces: `<!--#name parameter="value" .. -->`.

/// How long names of commands and parameters may be.
const NAME: usize = 32;
/// How a command begins, up to the `#`.
pub const OPENING: &[u8] = b"<!--";

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This many bytes of [`OPENING`], from pieces before, are text after all; nothing of this piece was taken.
    Opening(usize),
    /// Text: the first so many bytes of the piece.
    Text(usize),
    /// A command; so many bytes of the piece end with it or what came before.
    Command(usize, Command),
    /// A command that is none: what is wrong with it.
    Broken(usize, String),
    /// All was taken, and the next piece is needed.
    More,
}

/// A command with its parameters, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub name: Vec<u8>,
    /// Names and values. A value's backslashes are still in it.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    BeforeName,
    Name,
    BeforeParameter,
    Parameter,
    BeforeEqual,
    BeforeValue,
    Value(u8),
    Escaped(u8),
    AfterValue,
    /// Behind the first `-` of the end.
    End,
    /// Behind the second.
    LastEnd,
    /// Something is wrong; the end is looked for.
    Broken,
    BrokenEnd,
    BrokenLastEnd,
}

/// Where in a page its reader is.
pub struct Parser {
    state: State,
    /// How much of [`OPENING`] stands before this place.
    opening: usize,
    command: Command,
    complaint: String,
    /// How long a value may be (`ssi_value_length`).
    value_length: usize,
}

impl Parser {
    /// At the begin of a page.
    pub fn new(value_length: usize) -> Parser {
        let (command, complaint) = (Command::default(), String::new());
        Parser { state: State::Text, opening: 0, command, complaint, value_length }
    }
    /// Reads on; what it took of `piece` is not to be given again.
    pub fn next(&mut self, piece: &[u8]) -> Found {
        match self.state {
            State::Text => self.text(piece),
            _ => self.inside(piece),
        }
    }
    /// The page ends here: this much of [`OPENING`] is text.
    pub fn end(&mut self) -> usize {
        std::mem::take(&mut self.opening)
    }

    fn text(&mut self, piece: &[u8]) -> Found {
        if self.opening > 0 {
            return self.opened(piece, 0);
        }
        let end = memchr::memchr(b'<', piece).unwrap_or(piece.len());
        if end > 0 {
            return Found::Text(end);
        }
        match piece.is_empty() {
            true => Found::More,
            false => {
                self.opening = 1;
                self.opened(piece, 1)
            }
        }
    }
    /// Behind a part of the opening, of which the piece's first `taken` bytes are known to be.
    fn opened(&mut self, piece: &[u8], taken: usize) -> Found {
        for (at, &byte) in piece.iter().enumerate().skip(taken) {
            if self.opening == OPENING.len() && byte == b'#' {
                self.opening = 0;
                self.state = State::BeforeName;
                self.command = Command::default();
                return self.inside_from(piece, at + 1);
            }
            if OPENING.get(self.opening) != Some(&byte) {
                let before = std::mem::take(&mut self.opening);
                // What of it stands in this piece is text of this piece.
                return match before.saturating_sub(at) {
                    0 => Found::Text(at),
                    earlier => Found::Opening(earlier),
                };
            }
            self.opening += 1;
        }
        Found::More
    }
    fn inside(&mut self, piece: &[u8]) -> Found {
        self.inside_from(piece, 0)
    }
    fn inside_from(&mut self, piece: &[u8], from: usize) -> Found {
        for (at, &byte) in piece.iter().enumerate().skip(from) {
            self.state = self.step(byte);
            if self.state == State::Text {
                let command = std::mem::take(&mut self.command);
                return match std::mem::take(&mut self.complaint) {
                    none if none.is_empty() => Found::Command(at + 1, command),
                    complaint => Found::Broken(at + 1, complaint),
                };
            }
        }
        Found::More
    }

    /// One byte inside a command; [`State::Text`] behind its end.
    fn step(&mut self, byte: u8) -> State {
        let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match (self.state, byte) {
            (State::BeforeName | State::BeforeParameter | State::BeforeEqual | State::BeforeValue, _)
                if space =>
            {
                self.state
            }
            (State::BeforeName, _) => {
                self.command.name.push(byte);
                State::Name
            }
            (State::Name | State::AfterValue, _) if space => State::BeforeParameter,
            (State::Name | State::BeforeParameter | State::AfterValue, b'-') => State::End,
            (State::Name, _) => self.name(byte),
            (State::BeforeParameter, _) => {
                self.command.parameters.push((vec![byte], Vec::new()));
                State::Parameter
            }
            (State::Parameter, _) if space => State::BeforeEqual,
            (State::Parameter | State::BeforeEqual, b'=') => State::BeforeValue,
            (State::Parameter, b'-') | (State::BeforeEqual, _) => {
                self.unexpected(byte, |name, _| format!("after \"{name}\" parameter"))
            }
            (State::Parameter, _) => self.parameter(byte),
            (State::BeforeValue, b'"' | b'\'') => State::Value(byte),
            (State::BeforeValue, _) => {
                self.unexpected(byte, |name, _| format!("before value of \"{name}\" parameter"))
            }
            (State::Value(quote), _) if byte == quote => State::AfterValue,
            (State::Value(quote), b'\\') => self.value(byte, State::Escaped(quote)),
            (State::Value(quote) | State::Escaped(quote), _) => self.value(byte, State::Value(quote)),
            (State::AfterValue, _) => {
                self.unexpected(byte, |name, value| {
                    format!("after \"{value}\" value of \"{name}\" parameter")
                });
                State::Broken
            }
            (State::End, b'-') => State::LastEnd,
            (State::LastEnd | State::BrokenLastEnd, b'>') => State::Text,
            (State::End | State::LastEnd, _) => {
                let (byte, name) = (char::from(byte), lossy(&self.command.name));
                self.broken(format!("unexpected \"{byte}\" symbol in \"{name}\" SSI command"))
            }
            (State::Broken, b'-') => State::BrokenEnd,
            (State::BrokenEnd, b'-') => State::BrokenLastEnd,
            (State::Text | State::Broken | State::BrokenEnd | State::BrokenLastEnd, _) => State::Broken,
        }
    }
    fn name(&mut self, byte: u8) -> State {
        if self.command.name.len() == NAME {
            let (name, byte) = (lossy(&self.command.name), char::from(byte));
            return self.broken(format!("the \"{name}{byte}...\" SSI command is too long"));
        }
        self.command.name.push(byte);
        State::Name
    }
    fn parameter(&mut self, byte: u8) -> State {
        let Some((name, _)) = self.command.parameters.last_mut() else { return State::Broken };
        if name.len() == NAME {
            let (name, byte, command) = (lossy(name), char::from(byte), lossy(&self.command.name));
            let complaint = format!("too long \"{name}{byte}...\" parameter in \"{command}\" SSI command");
            return self.broken(complaint);
        }
        name.push(byte);
        State::Parameter
    }
    fn value(&mut self, byte: u8, next: State) -> State {
        let Some((name, value)) = self.command.parameters.last_mut() else { return State::Broken };
        if value.len() == self.value_length {
            let (name, value, byte) = (lossy(name), lossy(value), char::from(byte));
            let command = lossy(&self.command.name);
            let complaint = format!(
                "too long \"{value}{byte}...\" value of \"{name}\" parameter in \"{command}\" SSI command"
            );
            return self.broken(complaint);
        }
        value.push(byte);
        next
    }
    fn unexpected(&mut self, byte: u8, place: impl FnOnce(&str, &str) -> String) -> State {
        let (name, value) = self.command.parameters.last().map_or((&[][..], &[][..]), |(n, v)| (n, v));
        let (place, command) = (place(&lossy(name), &lossy(value)), lossy(&self.command.name));
        let symbol = char::from(byte);
        self.broken(format!("unexpected \"{symbol}\" symbol {place} in \"{command}\" SSI command"));
        if byte == b'-' { State::BrokenEnd } else { State::Broken }
    }
    fn broken(&mut self, complaint: String) -> State {
        self.complaint = complaint;
        State::Broken
    }
}

fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The page with its commands as `{name k=v}`, and broken ones as `{!}`.
    fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let mut parser = Parser::new(20);
        let mut out = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match parser.next(rest) {
                    Found::Opening(n) => out.extend_from_slice(&OPENING[..n]),
                    Found::Text(n) => {
                        out.extend_from_slice(&rest[..n]);
                        rest = &rest[n..];
                    }
                    Found::Command(n, command) => {
                        out.push(b'{');
                        out.extend_from_slice(&command.name);
                        for (name, value) in command.parameters {
                            out.extend([b" ", &name[..], b"=", &value].concat());
                        }
                        out.push(b'}');
                        rest = &rest[n..];
                    }
                    Found::Broken(n, _) => {
                        out.extend_from_slice(b"{!}");
                        rest = &rest[n..];
                    }
                    Found::More => break,
                }
            }
        }
        out.extend_from_slice(&OPENING[..parser.end()]);
        out
    }

    #[test]
    fn finds_commands() {
        assert_eq!(
            read(&[b"a<!-- b --><!--# echo var=\"x\" --> <<!--#x-->"]),
            b"a<!-- b -->{echo var=x} <{x}"
        );
        assert_eq!(read(&[b"<!-<!--", b"#a b='\\'\"' -->z<!"]), b"<!-{a b=\\'\"}z<!");
        assert_eq!(read(&[b"<!--#a b=c --->-->d"]), b"{!}d");
        assert_eq!(read(&[b"<!--#a b='0123456789012345678901' -->d"]), b"{!}d");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            parts in proptest::collection::vec(
                prop_oneof!["[<!#>-]{0,4}", Just("<!--#".into()), Just("-->".into()), Just(" a='b\\'' ".into()), "[a\"' =\\\\-]{0,6}"],
                0..12,
            ),
            cuts in proptest::collection::vec(0usize..80, 0..8),
        ) {
            let text: String = parts.concat();
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&text[at..cut]);
                at = cut;
            }
            pieces.push(&text[at..]);
            prop_assert_eq!(read(&pieces), read(&[text]));
        }
    }
}
