//! A stream cut into blocks of whole lines.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

/// What is read at once, and the longest line that is seen whole.
const BLOCK: usize = 1 << 20;

/// Blocks of whole lines, each ending with its line's end, but for the last line of the stream and for lines too long
/// to be seen whole: of those, the beginning is a block of its own.
pub struct Blocks<R> {
    input: R,
    buffer: Vec<u8>,
    filled: usize,
    given: usize,
    /// Inside a line whose beginning was given.
    skipping: bool,
    ended: bool,
    /// Why it ended early: said when what came before was given.
    failed: Option<io::Error>,
}

impl<R: Read> Blocks<R> {
    /// The blocks of this stream.
    pub fn new(input: R) -> Blocks<R> {
        Blocks {
            input,
            buffer: vec![0; BLOCK],
            filled: 0,
            given: 0,
            skipping: false,
            ended: false,
            failed: None,
        }
    }

    /// The next block; `None` at the end.
    pub fn next_block(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            self.buffer.copy_within(self.given..self.filled, 0);
            (self.filled, self.given) = (self.filled - self.given, 0);
            self.fill();
            if self.filled == 0 {
                return self.failed.take().map_or(Ok(None), Err);
            }
            if self.skipping {
                self.skip();
                continue;
            }
            self.given = match memrchr(b'\n', &self.buffer[..self.filled]) {
                Some(end) if !self.ended => end + 1,
                _ => self.filled,
            };
            self.skipping = !self.ended && self.buffer[self.given - 1] != b'\n';
            return Ok(Some(&self.buffer[..self.given]));
        }
    }

    fn fill(&mut self) {
        while !self.ended && self.filled < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => (self.ended, self.failed) = (true, Some(error)),
            }
        }
    }

    /// Over the rest of a long line.
    fn skip(&mut self) {
        let end = memchr(b'\n', &self.buffer[..self.filled]);
        self.given = end.map_or(self.filled, |end| end + 1);
        self.skipping = end.is_none();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Gives a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn blocks(text: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::new(Drops(text, step));
        let mut all = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            all.push(block.to_vec());
        }
        all
    }

    #[test]
    fn long_lines_are_cut() {
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * BLOCK));
        text.extend(b"\nlast");
        let all = blocks(&text, usize::MAX);
        assert_eq!(
            (all[0].as_slice(), all[1].len(), all.last().unwrap().as_slice()),
            (&b"first\n"[..], BLOCK, &b"last"[..])
        );
        assert_eq!(all.len(), 3);
    }

    proptest! {
        #[test]
        fn short_lines_come_whole(text in "[ab\n]{0,300}", step in 1usize..50) {
            prop_assert_eq!(blocks(text.as_bytes(), step).concat(), text.as_bytes());
        }
    }
}
