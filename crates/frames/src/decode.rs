//! Compressed heads into fields (RFC 7541).

use std::ops::Range;

use crate::huffman;
use crate::table::Table;

/// What a peer's heads are to be read with.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Table,
}

/// Why a head was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is broken: what follows on the connection cannot be read, either.
    Broken,
    /// A name or value is longer than allowed.
    TooLong,
    /// Whoever took the fields wants no more.
    Enough,
}

/// Where a text is: in the head itself, or unpacked.
enum Text {
    Plain(Range<usize>),
    Unpacked(Range<usize>),
}
impl Text {
    fn of<'a>(&self, block: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Text::Plain(range) => &block[range.clone()],
            Text::Unpacked(range) => &scratch[range.clone()],
        }
    }
}

impl Decoder {
    /// Gives the fields of a whole head to `each`, which says `false` when it wants no more. `most` bytes may a name or a
    /// value have as it was sent; `scratch` is for what has to be unpacked.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn decode(
        &mut self,
        block: &[u8],
        most: usize,
        scratch: &mut Vec<u8>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Stop> {
        let mut at = 0;
        let mut begun = false;
        while let Some(first) = block.get(at) {
            let (bits, adds) = match first {
                0x80.. => (7, false),
                0x40.. => (6, true),
                0x20.. => (5, false),
                _ => (4, false),
            };
            let number = number(block, &mut at, bits)?;
            match first {
                0x80.. => {
                    let (name, value) = self.table.get(number).ok_or(Stop::Broken)?;
                    each(name, value).then_some(()).ok_or(Stop::Enough)?;
                }
                0x20..0x40 => {
                    // Only what stands before all fields may change the table's size.
                    if begun || !self.table.resize(number) {
                        return Err(Stop::Broken);
                    }
                    continue;
                }
                _ => self.literal(block, &mut at, (number, adds), most, scratch, &mut each)?,
            }
            begun = true;
        }
        Ok(())
    }
    /// A field whose value is there, and its name where it has no number.
    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        (number, adds): (usize, bool),
        most: usize,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Stop> {
        scratch.clear();
        let own = if number == 0 { Some(text(block, at, most, scratch)?) } else { None };
        let value = text(block, at, most, scratch)?;
        let value = value.of(block, scratch);
        let name = match &own {
            Some(name) => name.of(block, scratch),
            None => self.table.get(number).ok_or(Stop::Broken)?.0,
        };
        let more = each(name, value);
        if adds {
            let name = name.to_vec();
            self.table.add(&name, value);
        }
        more.then_some(()).ok_or(Stop::Enough)
    }
}

/// A number whose first byte has so many bits for it.
fn number(block: &[u8], at: &mut usize, bits: u32) -> Result<usize, Stop> {
    /// More bytes than this would be for the bytes' sake.
    const MOST_BYTES: u32 = 4;
    let most = (1usize << bits) - 1;
    let first = usize::from(*block.get(*at).ok_or(Stop::Broken)?) & most;
    *at += 1;
    if first < most {
        return Ok(first);
    }
    let mut value = most;
    for place in 0..MOST_BYTES {
        let byte = *block.get(*at).ok_or(Stop::Broken)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Stop::Broken)
}

fn text(block: &[u8], at: &mut usize, most: usize, scratch: &mut Vec<u8>) -> Result<Text, Stop> {
    let packed = block.get(*at).is_some_and(|first| first & 0x80 != 0);
    let length = number(block, at, 7)?;
    if length > most {
        return Err(Stop::TooLong);
    }
    let range = *at..*at + length;
    let raw = block.get(range.clone()).ok_or(Stop::Broken)?;
    *at += length;
    if !packed {
        return Ok(Text::Plain(range));
    }
    let from = scratch.len();
    huffman::decode(raw, scratch).ok_or(Stop::Broken)?;
    Ok(Text::Unpacked(from..scratch.len()))
}
