//! How much goes into one record: a client can read nothing of a record before all of it has come.
//!
//! A connection that is new, or was silent, may send ten segments before the client has to acknowledge any (RFC 6928; after a
//! pause the kernel begins anew). A record of 16 KB takes one round trip more than these; so until they are full, a
//! record is a segment. What follows is as long as it can be: longer records cost less.

use std::io::IoSlice;
use std::time::{Duration, Instant};

/// What fits a record.
pub const WHOLE: usize = 16 * 1024;
/// What fits a segment on the way to most clients (1460 bytes), beside the record's own.
const SEGMENT: usize = 1400;
/// What may go out unacknowledged at first.
const FIRST: usize = 10 * SEGMENT;
/// Silence after which the kernel begins anew.
const PAUSE: Duration = Duration::from_secs(1);

/// The records of a connection.
pub struct Records {
    /// `ssl_buffer_size` is not written.
    grow: bool,
    /// What is written now is to come in small ones at first.
    small: bool,
    /// Bytes since the connection was new, or silent.
    sent: usize,
    last: Option<Instant>,
}

impl Records {
    /// Records that begin small, or as `ssl_buffer_size` has them.
    pub fn new(grow: bool) -> Records {
        Records { grow, small: false, sent: 0, last: None }
    }
    /// So much is to be written.
    pub fn begin(&mut self, length: usize, now: Instant) {
        let paused = self.last.replace(now).is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if paused {
            self.sent = 0;
        }
        self.small = self.grow && length > SEGMENT;
    }
    /// The most for the next record.
    pub fn most(&self) -> usize {
        if self.small && self.sent < FIRST { SEGMENT } else { WHOLE }
    }
    /// So much was encrypted.
    pub fn note(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length);
    }
}

/// What is to be written, piece by piece.
pub struct Pieces<'a> {
    slices: &'a [IoSlice<'a>],
    /// What of the first is taken already.
    taken: usize,
}

impl<'a> Pieces<'a> {
    /// All of it.
    pub fn of(slices: &'a [IoSlice<'a>]) -> Pieces<'a> {
        Pieces { slices, taken: 0 }
    }
    /// Up to `most` bytes in one piece, gathered where they lie in several; empty at the end.
    pub fn next<'b>(&mut self, most: usize, gathered: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let first = self.part(most);
        if first.len() == most || self.slices.is_empty() {
            return first;
        }
        gathered.clear();
        gathered.extend_from_slice(first);
        while gathered.len() < most && !self.slices.is_empty() {
            gathered.extend_from_slice(self.part(most - gathered.len()));
        }
        gathered
    }
    /// Up to `most` bytes of one slice.
    fn part(&mut self, most: usize) -> &'a [u8] {
        let Some((first, others)) = self.slices.split_first() else { return &[] };
        let rest = &first[self.taken..];
        match rest.len() <= most {
            true => (self.slices, self.taken) = (others, 0),
            false => self.taken += most,
        }
        &rest[..rest.len().min(most)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_whole_and_in_order(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            most in 1usize..50,
        ) {
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let (mut pieces, mut gathered, mut all) = (Pieces::of(&slices), Vec::new(), Vec::new());
            let mut last = most;
            loop {
                let piece = pieces.next(most, &mut gathered);
                if piece.is_empty() {
                    break;
                }
                prop_assert!(last == most && piece.len() <= most);
                last = piece.len();
                all.extend_from_slice(piece);
            }
            prop_assert_eq!(all, parts.concat());
        }
    }
}
