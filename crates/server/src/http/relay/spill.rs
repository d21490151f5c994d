//! What a slow client has not taken yet: in memory up to `proxy_buffers`, behind that in a temporary file.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::http::filters::Piece;
use crate::temp::{self, TempPath};
use crate::worker::descriptors;
use crate::worker::ledger::OpenFile;

/// Read back at once.
const PIECE: u64 = 32 * 1024;

/// Bytes in order, memory first.
#[derive(Default)]
pub(super) struct Spill {
    /// What came with the head.
    first: Piece,
    memory: VecDeque<Piece>,
    held: usize,
    file: Option<OpenFile>,
    read: u64,
    written: u64,
    /// There was no descriptor for a file.
    stays_in_memory: bool,
    /// The name of a file just made, for the log.
    pub made: Option<PathBuf>,
}

impl Spill {
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.memory.is_empty() && self.read == self.written
    }
    /// Bytes that come before all others.
    pub fn begin(first: Piece) -> Spill {
        Spill { held: first.len(), first, ..Spill::default() }
    }
    /// Whether more fits.
    pub fn has_room(&self, memory: usize, most: u64) -> bool {
        self.fits_memory(memory) || (self.written < most && !self.stays_in_memory)
    }
    fn fits_memory(&self, memory: usize) -> bool {
        self.held < memory && self.read == self.written
    }
    /// Takes more bytes.
    ///
    /// # Errors
    /// What creating or writing the file says.
    pub fn push(&mut self, bytes: Piece, memory: usize, path: &TempPath) -> io::Result<Option<Piece>> {
        if self.fits_memory(memory) {
            self.held += bytes.len();
            self.memory.push_back(bytes);
            return Ok(None);
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (file, name) = match temp::open(path) {
                    Err((error, _)) if descriptors::are_out(&error) => {
                        // The upstream is not read on until the client has taken this.
                        self.stays_in_memory = true;
                        self.held += bytes.len();
                        self.memory.push_back(bytes);
                        return Ok(None);
                    }
                    opened => opened.map_err(|(error, _)| error)?,
                };
                self.made = Some(name);
                none.insert(file)
            }
        };
        file.write_all_at(&bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(Some(bytes))
    }
    /// The next bytes; those of the file go into `buffer`.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn pop(&mut self, buffer: impl FnOnce() -> Vec<u8>) -> io::Result<Piece> {
        if !self.first.is_empty() {
            self.held -= self.first.len();
            return Ok(std::mem::take(&mut self.first));
        }
        if let Some(bytes) = self.memory.pop_front() {
            self.held -= bytes.len();
            return Ok(bytes);
        }
        let mut buffer = buffer();
        let Some(file) = &self.file else { return Ok(buffer.into()) };
        buffer.resize((self.written - self.read).min(PIECE) as usize, 0);
        file.read_exact_at(&mut buffer, self.read)?;
        self.read += buffer.len() as u64;
        if self.read == self.written {
            // All was taken: the file's room can be used again from its beginning.
            (self.read, self.written) = (0, 0);
        }
        Ok(buffer.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_out_in_order(steps in proptest::collection::vec((any::<bool>(), 1usize..90_000), 1..60)) {
            let folder = std::env::temp_dir().join(format!("spill-test-{}", std::process::id()));
            let path = TempPath::flat(folder.to_string_lossy().into_owned());
            let mut spill = Spill::default();
            let (mut put, mut got) = (0u64, 0u64);
            let byte = |at: u64| (at % 251) as u8;
            let take = |spill: &mut Spill, got: &mut u64| {
                for b in &*spill.pop(Vec::new).unwrap() {
                    assert_eq!(*b, byte(*got));
                    *got += 1;
                }
            };
            for (push, n) in steps {
                if push {
                    let bytes: Vec<u8> = (put..put + n as u64).map(byte).collect();
                    spill.push(bytes.into(), 64 * 1024, &path).unwrap();
                    put += n as u64;
                } else if !spill.is_empty() {
                    take(&mut spill, &mut got);
                }
            }
            while !spill.is_empty() {
                take(&mut spill, &mut got);
            }
            prop_assert_eq!(put, got);
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
