//! `charset_map`: which byte of one character set is which of another, or which character of UTF-8.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Error};

/// From one character set to another.
#[derive(Debug)]
pub(super) enum Table {
    /// Byte by byte.
    Bytes(Box<[u8; 256]>),
    /// Each byte becomes some bytes of UTF-8.
    ToUtf8(Box<[Box<[u8]>]>),
    /// Each character becomes a byte, where there is one for it.
    FromUtf8(HashMap<u32, u8>),
}
impl Table {
    /// Whether a text may become longer or shorter.
    pub fn changes_length(&self) -> bool {
        !matches!(self, Table::Bytes(_))
    }
}

/// From where to where, and how.
type Way = (Box<[u8]>, Box<[u8]>, Arc<Table>);

/// All maps of a configuration, and the names of all character sets in it.
#[derive(Default)]
pub(super) struct Maps {
    tables: Vec<Way>,
    names: Vec<Box<[u8]>>,
}
impl Maps {
    /// Notes a name.
    pub fn mention(&mut self, name: &[u8]) {
        if !self.knows(name) {
            self.names.push(name.into());
        }
    }
    /// Whether the configuration has this name.
    pub fn knows(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
    /// Whether no character set is named anywhere.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// What leads from one to the other.
    pub fn table(&self, from: &[u8], to: &[u8]) -> Option<Arc<Table>> {
        let same = |(a, b, _): &&Way| a.eq_ignore_ascii_case(from) && b.eq_ignore_ascii_case(to);
        self.tables.iter().find(same).map(|(_, _, table)| table.clone())
    }
    /// Takes the tables of a block, there and back.
    ///
    /// # Errors
    /// nginx's, for names that do not fit.
    pub fn add(&mut self, a: &Args<'_>, read: &mut Option<(Table, Table)>) -> Result<(), Error> {
        let (from, to) = (a.bytes(0), a.bytes(1));
        if self.table(from, to).is_some() || self.table(to, from).is_some() {
            return Err(a.error(format!(
                "duplicate \"charset_map\" between \"{}\" and \"{}\"",
                a.str(0),
                a.str(1)
            )));
        }
        self.mention(from);
        self.mention(to);
        if let Some((there, back)) = read.take() {
            self.tables.push((from.into(), to.into(), Arc::new(there)));
            self.tables.push((to.into(), from.into(), Arc::new(back)));
        }
        Ok(())
    }
}

/// Reads a block: the tables there and back.
///
/// # Errors
/// nginx's words.
pub(super) fn read(a: &Args<'_>) -> Result<Option<(Table, Table)>, Error> {
    let (from, to) = (a.str(0), a.str(1));
    if from.eq_ignore_ascii_case(to) {
        return Err(a.error(format!("\"charset_map\" between the same charsets \"{from}\" and \"{to}\"")));
    }
    if from.eq_ignore_ascii_case("utf-8") {
        return Err(a.error("\"charset_map\" with \"utf-8\" charset should be given in the second column"));
    }
    let entries = a.entries().map(|line| {
        let wrong = |text: &[u8]| line.error(format!("invalid value \"{}\"", String::from_utf8_lossy(text)));
        if line.len() != 1 {
            return Err(line.error("invalid parameters number"));
        }
        let (byte, value) = (line.name_bytes(), line.bytes(0));
        Ok((hex(byte).ok_or_else(|| wrong(byte))?, value, wrong(value)))
    });
    let entries = entries.collect::<Result<Vec<_>, Error>>()?;
    let tables = match to.eq_ignore_ascii_case("utf-8") {
        true => utf8(entries)?,
        false => bytes(entries)?,
    };
    Ok(Some(tables))
}

/// A byte in hexadecimal.
fn hex(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?;
    u8::try_from(u32::from_str_radix(text, 16).ok()?).ok()
}

/// What a line says: a byte, and what it becomes; the error if that is nonsense.
type Entry<'a> = (u8, &'a [u8], Error);

fn bytes(entries: Vec<Entry<'_>>) -> Result<(Table, Table), Error> {
    let ascii = || Box::new(std::array::from_fn(|i| if i < 128 { i as u8 } else { b'?' }));
    let (mut there, mut back) = (ascii(), ascii());
    for (from, value, wrong) in entries {
        let to = hex(value).ok_or(wrong)?;
        there[usize::from(from)] = to;
        back[usize::from(to)] = from;
    }
    Ok((Table::Bytes(there), Table::Bytes(back)))
}

fn utf8(entries: Vec<Entry<'_>>) -> Result<(Table, Table), Error> {
    let ascii = |i: u8| -> Box<[u8]> { if i < 128 { Box::new([i]) } else { Box::new(*b"?") } };
    let mut there: Vec<Box<[u8]>> = (0..=255).map(ascii).collect();
    let mut back: HashMap<u32, u8> = (0..128).map(|i| (u32::from(i), i)).collect();
    for (from, value, wrong) in entries {
        let text = value.chunks(2).map(hex).collect::<Option<Vec<u8>>>();
        let text = text.filter(|text| text.len() <= 3);
        let character = text.as_deref().and_then(|text| std::str::from_utf8(text).ok()?.chars().next());
        let (Some(text), Some(character)) = (text, character) else { return Err(wrong) };
        there[usize::from(from)] = text.into();
        back.insert(character.into(), from);
    }
    Ok((Table::ToUtf8(there.into()), Table::FromUtf8(back)))
}
