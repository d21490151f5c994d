//! What a request head may cost, and how forgiving its reading is.

/// The directives of one server that bear on reading a request head. Those of the default server of the
/// address count until the host is known ([`crate::RequestParser::parse_to_host`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `client_header_buffer_size`, bytes.
    pub first_buffer: usize,
    /// `large_client_header_buffers`: number and size in bytes.
    pub large_buffers: (usize, usize),
    /// `ignore_invalid_headers`: drop header lines whose name has bytes other than letters, digits,
    /// hyphens and (by `underscores_in_headers`) underscores.
    pub ignore_invalid_headers: bool,
    /// `underscores_in_headers`: an underscore is a valid byte of a name.
    pub underscores_in_headers: bool,
    /// `max_headers`: header lines in one request; one more is refused.
    pub max_headers: usize,
}

impl Default for Limits {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            first_buffer: 1024,
            large_buffers: (4, 8192),
            ignore_invalid_headers: true,
            underscores_in_headers: false,
            max_headers: 1000,
        }
    }
}

impl Limits {
    /// The longest head these limits can let through: a buffer of this many bytes holds any.
    #[must_use]
    pub fn longest_head(&self) -> usize {
        self.first_buffer.saturating_add(self.large_buffers.0.saturating_mul(self.large_buffers.1))
    }
}

/// Follows a head through nginx's buffers without having them: a line must fit into what is left of the
/// current buffer or into a large one of its own, and there are only so many of those.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Room {
    /// Where the current buffer would end, as an offset into the message.
    end: usize,
    /// Large buffers in use.
    large: usize,
}

/// The line that starts at `from` needs a byte at an offset where nginx has no buffer left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    /// Offset past the last byte nginx would have read.
    pub(crate) at: usize,
}

impl Room {
    /// The first buffer, for a head that starts at `start`: when nothing but empty lines fills the buffer,
    /// nginx begins it anew.
    pub(crate) fn after(start: usize, limits: &Limits) -> Self {
        let size = limits.first_buffer.max(1);
        Self { end: (start / size + 1).saturating_mul(size), large: 0 }
    }

    /// Reserves room up to `to` for the line that starts at `line`.
    #[inline]
    pub(crate) fn reserve(&mut self, line: usize, to: usize, limits: &Limits) -> Result<(), Full> {
        if to <= self.end { Ok(()) } else { self.enlarge(line, to, limits) }
    }

    #[cold]
    fn enlarge(&mut self, line: usize, to: usize, limits: &Limits) -> Result<(), Full> {
        let (number, size) = limits.large_buffers;
        while to > self.end {
            if self.end.saturating_sub(line) >= size || self.large == number {
                return Err(Full { at: self.end });
            }
            self.large += 1;
            // The part of the line that was read is copied to the start of the new buffer.
            self.end = line.min(self.end) + size;
        }
        Ok(())
    }
}
