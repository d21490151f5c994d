//! Where the reading of a head stands between two calls.

use memchr::memchr;

/// The line being read, and how much of it has been looked at.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cursor {
    /// Offset of the line.
    pub(crate) line: usize,
    /// How much of the buffer has been looked at; the line's offset, if nothing of the line has.
    pub(crate) scanned: usize,
    /// Length the line had when it was last read without its end.
    looked: usize,
}

impl Cursor {
    /// Goes on to the line at `next`.
    #[inline]
    pub(crate) fn next_line(&mut self, next: usize) {
        *self = Self { line: next, scanned: next, looked: 0 };
    }

    /// Notes that all of `buf` was looked at and the line's end is not there.
    #[inline]
    pub(crate) fn partial(&mut self, buf: &[u8]) {
        self.scanned = buf.len();
    }

    /// Whether there is no use in reading the line again: its end has still not come in.
    #[inline]
    pub(crate) fn still_partial(&mut self, buf: &[u8]) -> bool {
        self.scanned > self.line && self.no_end(buf)
    }

    #[cold]
    fn no_end(&mut self, buf: &[u8]) -> bool {
        let more = buf.get(self.scanned..).unwrap_or_default();
        self.scanned = self.scanned.max(buf.len());
        if memchr(b'\n', more).is_some() {
            return false;
        }
        // Looking again each time the line has doubled costs no more than looking twice, and finds soon
        // that what comes in is no HTTP.
        let length = buf.len().saturating_sub(self.line);
        let look = length < 64 || length >= 2 * self.looked;
        if look {
            self.looked = length;
        }
        !look
    }
}
