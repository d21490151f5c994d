//! Compressed heads into fields (RFC 7541).

use std::ops::Range;

use crate::huffman;
use crate::table::Table;

/// What a peer's heads are to be read with.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Table,
}

/// Why a head was not read to its end. All but the last two break what follows on the connection, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No field has this number.
    Number(usize),
    /// The table is to have this size, which it may not, or not there.
    Size(usize),
    /// It ends where a number or a length should be.
    Short,
    /// It ends in the middle of a name or a value.
    Cut,
    /// A number has no end.
    Endless(Of),
    /// A text is none in Huffman's code.
    Packed,
    /// A name or value is longer than allowed: so many bytes.
    TooLong(Of, usize),
    /// Whoever took the fields wants no more.
    Enough,
}

/// What a number or a length is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say it")]
pub enum Of {
    Table,
    Size,
    Name,
    Value,
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
    /// For a peer that was told to remember nothing: there are the fields that always have a number, and no others.
    #[must_use]
    pub fn without_memory() -> Decoder {
        Decoder { table: Table::with_room(0) }
    }
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
            let of = if (0x20..0x40).contains(first) { Of::Size } else { Of::Table };
            let number = number(block, &mut at, bits, of)?;
            match first {
                0x80.. => {
                    let (name, value) = self.table.get(number).ok_or(Stop::Number(number))?;
                    each(name, value).then_some(()).ok_or(Stop::Enough)?;
                }
                0x20..0x40 => {
                    // Only what stands before all fields may change the table's size.
                    if begun || !self.table.resize(number) {
                        return Err(Stop::Size(number));
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
        let own = if number == 0 { Some(text(block, at, most, Of::Name, scratch)?) } else { None };
        let value = text(block, at, most, Of::Value, scratch)?;
        let value = value.of(block, scratch);
        let name = match &own {
            Some(name) => name.of(block, scratch),
            None => self.table.get(number).ok_or(Stop::Number(number))?.0,
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
fn number(block: &[u8], at: &mut usize, bits: u32, of: Of) -> Result<usize, Stop> {
    /// More bytes than this would be for the bytes' sake.
    const MOST_BYTES: u32 = 4;
    let most = (1usize << bits) - 1;
    let first = usize::from(*block.get(*at).ok_or(Stop::Short)?) & most;
    *at += 1;
    if first < most {
        return Ok(first);
    }
    let mut value = most;
    for place in 0..MOST_BYTES {
        let byte = *block.get(*at).ok_or(Stop::Short)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Stop::Endless(of))
}

fn text(block: &[u8], at: &mut usize, most: usize, of: Of, scratch: &mut Vec<u8>) -> Result<Text, Stop> {
    let packed = block.get(*at).is_some_and(|first| first & 0x80 != 0);
    let length = number(block, at, 7, of)?;
    if length > most {
        return Err(Stop::TooLong(of, length));
    }
    let range = *at..*at + length;
    let raw = block.get(range.clone()).ok_or(Stop::Cut)?;
    *at += length;
    if !packed {
        return Ok(Text::Plain(range));
    }
    let from = scratch.len();
    huffman::decode(raw, scratch).ok_or(Stop::Packed)?;
    Ok(Text::Unpacked(from..scratch.len()))
}
