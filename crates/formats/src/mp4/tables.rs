//! The tables of a track, which say when, where and how large each sample of it is.

use std::io;

/// The part of a film that is asked for, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where it begins.
    pub start: u64,
    /// How long it is; 0: to the end.
    pub length: u64,
    /// Whether it begins with the key frame before it.
    pub key_frame: bool,
}

/// Why a film cannot be cut.
#[derive(Debug)]
pub enum Fault {
    /// What stands behind the file's name.
    Of(String),
    /// What stands before it.
    In(String),
    /// It cannot be read.
    Read(io::Error),
}
impl Fault {
    /// What stands before the file's name.
    pub(super) fn within(what: &str) -> Fault {
        Fault::In(what.to_owned())
    }
    /// A box that does not hold what it says.
    pub(super) fn small(name: &str) -> Fault {
        Fault::Of(format!("{name} atom too small"))
    }
}

/// The big-endian number at `at`.
pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}
/// The big-endian number at `at`.
pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

/// Rows of `N` numbers behind a few bytes that are kept as they are and the count.
pub(super) struct Table<const N: usize> {
    fixed: Vec<u8>,
    pub(super) rows: Vec<[u32; N]>,
}
impl<const N: usize> Table<N> {
    /// Reads one, with `fixed` bytes before the count.
    pub(super) fn read(name: &str, data: &[u8], fixed: usize) -> Result<Self, Fault> {
        let count = u32_at(data, fixed).ok_or_else(|| Fault::small(name))? as usize;
        let bytes = count.checked_mul(4 * N).and_then(|size| data.get(fixed + 4..)?.get(..size));
        let bytes = bytes.ok_or_else(|| Fault::small(name))?;
        let mut numbers = bytes.chunks_exact(4).map(|four| u32_at(four, 0).unwrap_or(0));
        let rows = (0..count).map(|_| std::array::from_fn(|_| numbers.next().unwrap_or(0))).collect();
        Ok(Table { fixed: data[..fixed].to_vec(), rows })
    }
    /// Appends it as a box.
    pub(super) fn put(&self, name: &[u8; 4], out: &mut Vec<u8>) {
        put_box(name, out, |out| {
            out.extend_from_slice(&self.fixed);
            out.extend_from_slice(&(self.rows.len() as u32).to_be_bytes());
            for number in self.rows.iter().flatten() {
                out.extend_from_slice(&number.to_be_bytes());
            }
        });
    }
}

/// Where the chunks are; `co64` has room for more than 4 GiB.
pub(super) struct Offsets {
    fixed: Vec<u8>,
    pub(super) wide: bool,
    pub(super) rows: Vec<u64>,
}
impl Offsets {
    /// Reads either kind.
    pub(super) fn read(wide: bool, data: &[u8]) -> Result<Self, Fault> {
        let name = if wide { "co64" } else { "stco" };
        let small = || Fault::small(name);
        let count = u32_at(data, 4).ok_or_else(small)? as usize;
        let width = if wide { 8 } else { 4 };
        let bytes = count.checked_mul(width).and_then(|size| data.get(8..)?.get(..size)).ok_or_else(small)?;
        let number = |bytes| match wide {
            true => u64_at(bytes, 0),
            false => u32_at(bytes, 0).map(u64::from),
        };
        let rows = bytes.chunks_exact(width).filter_map(number).collect();
        Ok(Offsets { fixed: data[..4].to_vec(), wide, rows })
    }
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        if self.wide { "co64" } else { "stco" }
    }
    /// How many bytes it takes as a box.
    pub(super) fn size(&self) -> usize {
        16 + self.rows.len() * if self.wide { 8 } else { 4 }
    }
    /// Appends it as a box, everything moved by `by`.
    pub(super) fn put(&self, by: i64, out: &mut Vec<u8>) {
        let name = if self.wide { b"co64" } else { b"stco" };
        put_box(name, out, |out| {
            out.extend_from_slice(&self.fixed);
            out.extend_from_slice(&(self.rows.len() as u32).to_be_bytes());
            for row in &self.rows {
                let moved = row.wrapping_add_signed(by);
                match self.wide {
                    true => out.extend_from_slice(&moved.to_be_bytes()),
                    false => out.extend_from_slice(&(moved as u32).to_be_bytes()),
                }
            }
        });
    }
}

/// Appends a box around what `fill` appends.
pub(super) fn put_box(name: &[u8; 4], out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(name);
    fill(out);
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
}
