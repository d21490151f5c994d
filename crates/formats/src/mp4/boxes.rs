//! How boxes begin, and those that say how long something lasts.

use super::edit::Read;
use super::tables::{Fault, u32_at, u64_at};

/// What a box begins with.
pub(super) struct Header {
    pub(super) name: [u8; 4],
    /// How long it is without its data, and with it.
    pub(super) header: u64,
    pub(super) size: u64,
}
impl Header {
    /// Reads one, of a box that may have `room` bytes; `None`: there are no more boxes.
    pub(super) fn read(bytes: &[u8], room: u64) -> Result<Option<Header>, Fault> {
        let truncated = || Fault::Of("file truncated".into());
        let (header, size) = match u32_at(bytes, 0).ok_or_else(truncated)? {
            0 => return Ok(None),
            1 => (16, u64_at(bytes, 8).ok_or_else(truncated)?),
            size => (8, u64::from(size)),
        };
        if size < header {
            return Err(Fault::Of(format!("atom is too small:{size}")));
        }
        let name = bytes.get(4..8).and_then(|name| name.try_into().ok()).ok_or_else(truncated)?;
        if size > room {
            return Err(Fault::Of(format!("atom too large:{size}")));
        }
        Ok(Some(Header { name, header, size }))
    }
    /// The data, which begins at `start` of a file of `size`, and its length; behind it the head of the next box may be
    /// looked at, by which a wrong size is told. More than `most` is refused, with `advice`.
    pub(super) fn data(
        &self,
        read: &Read<'_>,
        (start, size): (u64, u64),
        most: u64,
        advice: &str,
    ) -> Result<(Vec<u8>, usize), Fault> {
        let length = self.size - self.header;
        if length > most {
            let name = String::from_utf8_lossy(&self.name);
            return Err(Fault::Of(format!("{name} atom is too large:{length}{advice}")));
        }
        let more = (size - start - length).min(16);
        let mut data = vec![0; (length + more) as usize];
        read(start, &mut data).map_err(Fault::Read)?;
        Ok((data, length as usize))
    }
}

/// Where a header box says how long something lasts.
pub(super) struct Clock {
    pub(super) at: usize,
    wide: bool,
    pub(super) duration: u64,
}
impl Clock {
    /// Of a box of at least `least` bytes whose duration is at `at` in version 0; later versions have wider times.
    pub(super) fn read(name: &str, data: &[u8], at: usize, least: usize) -> Result<Clock, Fault> {
        let small = || Fault::small(name);
        // Two dates before it are wider, too.
        let wide = *data.first().ok_or_else(small)? != 0;
        let (at, least) = if wide { (at + 8, least + 12) } else { (at, least) };
        let duration = match wide {
            _ if data.len() < least => None,
            true => u64_at(data, at),
            false => u32_at(data, at).map(u64::from),
        };
        Ok(Clock { at, wide, duration: duration.ok_or_else(small)? })
    }
    /// Writes another duration.
    pub(super) fn set(&self, data: &mut [u8], duration: u64) {
        let (wide, narrow) = (duration.to_be_bytes(), (duration as u32).to_be_bytes());
        let bytes: &[u8] = if self.wide { &wide } else { &narrow };
        if let Some(place) = data.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// What is within a box, and what stands behind that in the boxes around it.
#[derive(Clone, Copy)]
pub(super) struct Inside<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) length: usize,
}
impl<'a> Inside<'a> {
    /// What is within.
    pub(super) fn data(self) -> &'a [u8] {
        &self.bytes[..self.length]
    }
}

/// Whether boxes follow: one that says it has no size ends those around it, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}
