//! A body on its way from one character set to another.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use super::map::Table;
use crate::http::filters::{BodyFilter, Chunk};

/// The recoding of one response.
pub(super) struct Body {
    table: Arc<Table>,
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}
impl Body {
    pub fn new(table: Arc<Table>) -> Body {
        Body { table, begun: Vec::new() }
    }
    fn recode(&mut self, text: &[u8]) -> Vec<u8> {
        match &*self.table {
            Table::Bytes(table) => text.iter().map(|byte| table[usize::from(*byte)]).collect(),
            Table::ToUtf8(table) => {
                text.iter().flat_map(|byte| table[usize::from(*byte)].iter().copied()).collect()
            }
            Table::FromUtf8(table) => {
                let joined = [&self.begun, text].concat();
                let mut out = Vec::with_capacity(joined.len());
                let mut rest = &joined[..];
                while !rest.is_empty() {
                    let (character, length) = decode(rest);
                    match character {
                        Decoded::Partial => break,
                        Decoded::Invalid => out.push(b'?'),
                        Decoded::Character(n) => match table.get(&n) {
                            Some(byte) => out.push(*byte),
                            None => drop(write!(out, "&#{n};")),
                        },
                    }
                    rest = &rest[length..];
                }
                self.begun = rest.to_vec();
                out
            }
        }
    }
}

enum Decoded {
    Character(u32),
    Invalid,
    /// Bytes are missing.
    Partial,
}

/// The first character of a text and its length, with nginx's idea of what is valid.
fn decode(text: &[u8]) -> (Decoded, usize) {
    let Some(&first) = text.first() else { return (Decoded::Partial, 0) };
    let (bits, more, least) = match first {
        0..0x80 => return (Decoded::Character(first.into()), 1),
        0xc2..0xe0 => (first & 0x1f, 1, 0x80),
        0xe0..0xf0 => (first & 0x0f, 2, 0x800),
        0xf0..0xf8 => (first & 0x07, 3, 0x1_0000),
        _ => return (Decoded::Invalid, 1),
    };
    let mut character = u32::from(bits);
    for at in 1..=more {
        match text.get(at) {
            None if text.len() <= more => return (Decoded::Partial, 0),
            Some(byte) if *byte >= 0x80 => character = character << 6 | u32::from(byte & 0x3f),
            _ => return (Decoded::Invalid, at + 1),
        }
    }
    match character {
        n if n >= least && n <= 0x10_ffff => (Decoded::Character(n), more + 1),
        _ => (Decoded::Invalid, more + 1),
    }
}

impl BodyFilter for Body {
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> io::Result<()> {
        let recoded = match chunk {
            Chunk::Memory(text) => self.recode(&text),
            Chunk::Static(text) => self.recode(text),
            Chunk::Flush => {
                out.push_back(Chunk::Flush);
                return Ok(());
            }
            Chunk::File(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        if !recoded.is_empty() {
            out.push_back(Chunk::Memory(recoded.into()));
        }
        Ok(())
    }
    fn end(&mut self, _: &mut VecDeque<Chunk>) -> io::Result<()> {
        // A character that is cut off is left out, as in nginx.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recode(table: &Arc<Table>, text: &[u8], piece: usize) -> Vec<u8> {
        let mut body = Body::new(table.clone());
        text.chunks(piece).flat_map(|part| body.recode(part)).collect()
    }
    fn back() -> Arc<Table> {
        let known = (0..128).map(|i| (u32::from(i), i));
        Arc::new(Table::FromUtf8(known.chain([(0xe4, 0xe4), (0x20ac, 0x80)]).collect()))
    }

    #[test]
    fn characters_become_bytes_or_references() {
        assert_eq!(recode(&back(), "aä€ü\u{1f600}".as_bytes(), 100), b"a\xe4\x80&#252;&#128512;");
        assert_eq!(recode(&back(), b"\xff\xc3(\xe2\x82", 100), b"??");
    }

    proptest! {
        #[test]
        fn text_is_recoded_the_same_however_it_is_cut(text: String, piece in 1usize..9) {
            prop_assert_eq!(recode(&back(), text.as_bytes(), 1 << 20), recode(&back(), text.as_bytes(), piece));
        }
        #[test]
        fn anything_can_come(text: Vec<u8>, piece in 1usize..9) {
            recode(&back(), &text, piece);
        }
    }
}
