//! A piece of a message, as offsets into the buffer that holds it.

/// A range of bytes in a message's buffer. Offsets stay right when the buffer moves or grows, which a slice
/// would not, and cost half of one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `start..end`. The parsers look at no more than [`Span::REACH`] bytes.
    #[inline]
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= Self::REACH);
        Self { start: start as u32, end: end as u32 }
    }

    /// The longest buffer that spans reach the end of, in bytes.
    pub const REACH: usize = u32::MAX as usize;

    /// The bytes meant; empty where `buf` is not the buffer the span was found in and is too short.
    #[inline]
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is meant.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The span as a range of indices.
    #[inline]
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}
