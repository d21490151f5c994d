//! How much goes into one record: a client can read nothing of a record before all of it has come.
//!
//! A connection that is new, or was silent, may send ten segments before the client has to acknowledge any (RFC 6928; after a
//! pause the kernel begins anew). A record of 16 KB takes one round trip more than these; so until they are full, a
//! record is a segment. What follows is as long as it can be: longer records cost less.

use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

use rustls::ServerConnection;

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
    /// Bytes since the connection was new, or silent.
    sent: usize,
    last: Option<Instant>,
}

impl Records {
    /// Records that begin small, or as `ssl_buffer_size` has them.
    pub fn new(grow: bool) -> Records {
        Records { grow, sent: 0, last: None }
    }
    /// Encrypts; how much was taken.
    ///
    /// # Errors
    /// rustls' own.
    pub fn write(
        &mut self,
        connection: &mut ServerConnection,
        slices: &[IoSlice<'_>],
        now: Instant,
    ) -> io::Result<usize> {
        let paused = self.last.replace(now).is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if paused {
            self.sent = 0;
        }
        let mut writer = connection.writer();
        let small =
            self.grow && self.sent < FIRST && slices.iter().map(|slice| slice.len()).sum::<usize>() > SEGMENT;
        if !small {
            let taken = writer.write_vectored(slices)?;
            self.sent = self.sent.saturating_add(taken);
            return Ok(taken);
        }
        let mut taken = 0;
        for slice in slices {
            let mut rest = &**slice;
            while !rest.is_empty() {
                let part = if self.sent < FIRST { &rest[..rest.len().min(SEGMENT)] } else { rest };
                let n = writer.write(part)?;
                taken += n;
                self.sent = self.sent.saturating_add(n);
                if n < part.len() {
                    return Ok(taken);
                }
                rest = &rest[n..];
            }
        }
        Ok(taken)
    }
}
