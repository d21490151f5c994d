//! Bytes to words: nginx's grammar, one statement at a time.
//!
//! A word is at most 4095 bytes long, as in nginx, so a hostile file is given up on after one buffer's worth.

use std::sync::Arc;

use crate::Word;

/// nginx's configuration buffer: a word with its quotes, or with the character that ends it, must fit in.
const BUFFER: usize = 4096;
/// Words of a statement, at most: each takes more memory than it has bytes in the file.
const MOST_WORDS: usize = 1 << 18;

/// What ended a statement, or the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`, with no words before it.
    Close,
    /// The end of the text, with no words before it.
    End,
}

/// A mistake in the text: nginx's words, the line, and a remark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) message: String,
    pub(crate) line: u32,
    pub(crate) help: Option<String>,
}

/// Reads statements off a text.
pub(crate) struct Lexer {
    text: Arc<[u8]>,
    at: usize,
    /// Where reading is now.
    pub(crate) line: u32,
    /// A text given with `-g`: other words at its end.
    option: bool,
    /// Words are unescaped here.
    scratch: Vec<u8>,
}

type Step<T> = Result<T, Flaw>;

impl Lexer {
    pub(crate) fn new(text: Arc<[u8]>, option: bool) -> Lexer {
        Lexer { text, at: 0, line: 1, option, scratch: Vec::new() }
    }

    /// Reads the words of the next statement, up to what ends it.
    pub(crate) fn next(&mut self, words: &mut Vec<Word>) -> Step<Stop> {
        words.clear();
        loop {
            self.skip_space();
            let Some(&byte) = self.text.get(self.at) else { return self.end(words) };
            match byte {
                b';' | b'{' | b'}' => return self.stop(byte, words),
                b'#' => self.comment()?,
                _ if words.len() == MOST_WORDS => {
                    return Err(
                        self.flaw(format!("more than {MOST_WORDS} parameters in \"{}\" directive", words[0]))
                    );
                }
                b'"' | b'\'' => words.push(self.quoted(byte)?),
                _ => words.push(self.bare()?),
            }
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.line += u32::from(self.text[self.at] == b'\n');
            self.at += 1;
        }
    }

    fn end(&self, words: &[Word]) -> Step<Stop> {
        match words.first() {
            None => Ok(Stop::End),
            Some(name) => {
                let help = Some(format!("\"{name}\" lacks its \";\""));
                Err(Flaw { help, ..self.unfinished() })
            }
        }
    }

    fn stop(&mut self, byte: u8, words: &[Word]) -> Step<Stop> {
        self.at += 1;
        match (byte, words.is_empty()) {
            (b';', false) => Ok(Stop::Semicolon),
            (b'{', false) => Ok(Stop::Open),
            (b'}', true) => Ok(Stop::Close),
            _ => {
                let help = words.first().map(|name| format!("\"{name}\" before it lacks its \";\""));
                Err(Flaw { help, ..self.flaw(format!("unexpected \"{}\"", char::from(byte))) })
            }
        }
    }

    /// A comment fills the same buffer as a word does in nginx, and so has the same limit.
    fn comment(&mut self) -> Step<()> {
        let rest = &self.text[self.at..];
        let len = rest.iter().take(BUFFER).position(|&b| b == b'\n');
        let len = match len {
            Some(len) => len,
            None if rest.len() >= BUFFER => return Err(self.too_long(rest, self.line)),
            None => rest.len(),
        };
        self.at += len;
        Ok(())
    }

    fn quoted(&mut self, quote: u8) -> Step<Word> {
        let started = self.line;
        let from = self.at + 1;
        let (mut at, mut escaped) = (from, false);
        loop {
            match self.text.get(at) {
                _ if at - from >= BUFFER => return Err(unterminated(quote, started)),
                None => {
                    let help = Some(format!("the quote that begins in line {started} is not closed"));
                    return Err(Flaw { help, ..self.unfinished() });
                }
                Some(&byte) if byte == quote => break,
                Some(b'\\') => (at, escaped) = (at + 1, true),
                Some(_) => {}
            }
            if self.text.get(at) == Some(&0) {
                return Err(self.nul());
            }
            // What follows a backslash is taken as it is, a line's end included.
            self.line += u32::from(self.text.get(at) == Some(&b'\n'));
            at += 1;
        }
        if at - from + 2 > BUFFER {
            return Err(self.too_long(&self.text[from..], started));
        }
        let word = self.word(from, at, escaped, true);
        self.at = at + 1;
        self.after_quote()?;
        Ok(word)
    }

    /// After a closing quote only a space or what ends a statement may stand; nginx lets `)` pass, for `if`.
    fn after_quote(&self) -> Step<()> {
        match self.text.get(self.at) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => Ok(()),
            Some(0) => Err(self.nul()),
            Some(_) => Err(self.flaw(format!("unexpected \"{}\"", first_char(&self.text[self.at..])))),
        }
    }

    fn bare(&mut self) -> Step<Word> {
        let started = self.line;
        let (from, mut at) = (self.at, self.at);
        let (mut escaped, mut dollar) = (false, false);
        loop {
            if at - from >= BUFFER {
                return Err(self.too_long(&self.text[from..], started));
            }
            let Some(&byte) = self.text.get(at) else { return Err(self.unfinished()) };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if !dollar => break,
                b'\\' => {
                    (at, escaped) = (at + 1, true);
                    self.line += u32::from(self.text.get(at) == Some(&b'\n'));
                }
                _ => {}
            }
            if self.text.get(at) == Some(&0) {
                return Err(self.nul());
            }
            // Only a brace keeps it: all of `${{{` are part of the word.
            dollar = matches!(byte, b'$' | b'{');
            at += 1;
        }
        let word = self.word(from, at, escaped, false);
        self.at = at;
        Ok(word)
    }

    fn word(&mut self, from: usize, to: usize, escaped: bool, quoted: bool) -> Word {
        if !escaped {
            return Word::new(&self.text[from..to], quoted);
        }
        unescape(&self.text[from..to], &mut self.scratch);
        Word::new(&self.scratch, quoted)
    }

    /// The text ended inside a statement.
    fn unfinished(&self) -> Flaw {
        self.flaw(match self.option {
            true => "unexpected end of parameter, expecting \";\"",
            false => "unexpected end of file, expecting \";\" or \"}\"",
        })
    }

    /// nginx works on C strings and reads something else than what is written; nobody means that.
    fn nul(&self) -> Flaw {
        self.flaw("unexpected NUL byte")
    }

    fn too_long(&self, text: &[u8], started: u32) -> Flaw {
        let start = String::from_utf8_lossy(&text[..text.len().min(10)]).into_owned();
        Flaw { message: format!("too long parameter \"{start}...\" started"), line: started, help: None }
    }

    pub(crate) fn flaw(&self, message: impl Into<String>) -> Flaw {
        Flaw { message: message.into(), line: self.line, help: None }
    }
}

fn unterminated(quote: u8, line: u32) -> Flaw {
    let message =
        format!("too long parameter, probably missing terminating \"{}\" character", char::from(quote));
    Flaw { message, line, help: None }
}

fn first_char(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4)]);
    text.chars().next().map(String::from).unwrap_or_default()
}

/// `\"`, `\'` and `\\` lose their backslash, `\t`, `\r` and `\n` become what they stand for, others stay.
fn unescape(raw: &[u8], to: &mut Vec<u8>) {
    to.clear();
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        let plain = match (*byte, tail.first()) {
            (b'\\', Some(&c @ (b'"' | b'\'' | b'\\'))) => Some(c),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        to.push(plain.unwrap_or(*byte));
        rest = if plain.is_some() { &tail[1..] } else { tail };
    }
}
