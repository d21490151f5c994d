//! A compressor in gzip's format (RFC 1952). Making one costs more than compressing a page: 260 KB have to be
//! set up. So each thread keeps a few for the next responses.

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// How many compressors of all levels a thread keeps.
const KEPT: usize = 8;
/// zlib's largest window: 32 KB.
const WINDOW_BITS: u8 = 15;
/// Room that is made whenever the output is full.
const ROOM: usize = 4096;
/// The library's level 1 leaves a quarter to a half more than zlib's, which is what `gzip` alone stands for; its
/// level 2 leaves less, and costs no more than zlib's level 1.
const FASTEST: u32 = 2;

thread_local! {
    static IDLE: RefCell<Vec<Compressor>> = const { RefCell::new(Vec::new()) };
}

/// The state of one stream.
pub(super) struct Compressor {
    level: u32,
    stream: Box<Compress>,
}

/// What a call is to reach.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// That the text has been taken.
    Taken,
    /// That the receiver can read all that has been taken.
    Flushed,
    /// The end of the stream.
    Finished,
}

impl Compressor {
    /// A compressor of this level (1 to 9), as new.
    pub(super) fn take(level: u32) -> Compressor {
        let idle = IDLE.with_borrow_mut(|idle| {
            let place = idle.iter().rposition(|c| c.level == level)?;
            Some(idle.swap_remove(place))
        });
        idle.unwrap_or_else(|| {
            let stream = Compress::new_gzip(Compression::new(level.max(FASTEST)), WINDOW_BITS);
            Compressor { level, stream: Box::new(stream) }
        })
    }

    /// Gives it back for another stream, however far it has come with this one.
    pub(super) fn give_back(mut self) {
        IDLE.with_borrow_mut(|idle| {
            if idle.len() < KEPT {
                self.stream.reset();
                idle.push(self);
            }
        });
    }

    /// Compresses the text to the end of `out`.
    ///
    /// # Errors
    /// If the library finds its own state broken.
    pub(super) fn run(&mut self, mut text: &[u8], until: Until, out: &mut Vec<u8>) -> io::Result<()> {
        let flush = match until {
            Until::Taken => FlushCompress::None,
            Until::Flushed => FlushCompress::Sync,
            Until::Finished => FlushCompress::Finish,
        };
        loop {
            if out.capacity() - out.len() < ROOM / 8 {
                out.reserve(ROOM);
            }
            let before = self.stream.total_in();
            let status = self.stream.compress_vec(text, out, flush)?;
            let taken = usize::try_from(self.stream.total_in() - before).unwrap_or(text.len());
            text = text.get(taken..).unwrap_or_default();
            // Room that is left over says that nothing waits inside.
            let room_left = out.len() < out.capacity();
            let done = match until {
                Until::Taken => text.is_empty(),
                Until::Flushed => text.is_empty() && room_left,
                Until::Finished => status == Status::StreamEnd,
            };
            if done {
                return Ok(());
            }
            if status == Status::BufError && room_left {
                return Err(io::Error::other("the compressor makes no progress"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpack(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut text).expect("a gzip stream");
        text
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6),
                                  level in 1_u32..=9, flush: bool) {
            let mut compressor = Compressor::take(level);
            let mut out = Vec::new();
            for piece in &pieces {
                compressor.run(piece, if flush { Until::Flushed } else { Until::Taken }, &mut out).unwrap();
            }
            compressor.run(b"", Until::Finished, &mut out).unwrap();
            compressor.give_back();
            prop_assert_eq!(unpack(&out), pieces.concat());
        }
    }

    #[test]
    fn one_that_was_given_back_midway_starts_anew() {
        let mut compressor = Compressor::take(3);
        compressor.run(&[7; 5000], Until::Taken, &mut Vec::new()).unwrap();
        compressor.give_back();
        let (mut again, mut out) = (Compressor::take(3), Vec::new());
        again.run(b"hello", Until::Finished, &mut out).unwrap();
        assert_eq!(unpack(&out), b"hello");
    }

    #[test]
    fn a_flush_makes_everything_readable() {
        let (mut compressor, mut out) = (Compressor::take(1), Vec::new());
        compressor.run(&[b'x'; 100_000], Until::Flushed, &mut out).unwrap();
        let mut text = vec![0; 100_000];
        flate2::read::GzDecoder::new(&out[..]).read_exact(&mut text).expect("all of it");
        assert!(text.iter().all(|byte| *byte == b'x'));
    }
}
