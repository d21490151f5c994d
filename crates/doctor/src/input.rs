//! Opening what somebody else chose: files and pipes. What would never end, or never begin, is refused.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl, seek};

/// A pipe that nobody has written to for so long is refused.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any configuration, or anything that was saved of a server.
const MOST: u64 = 64 << 20;

/// Opens a file, or a pipe that somebody writes to.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Not to wait for a writer who may never come.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let meta = file.metadata()?;
    match () {
        () if meta.is_file() => {}
        () if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        () if meta.file_type().is_fifo() => wait_for_writer(&file)?,
        () if is_null(&meta) || file.is_terminal() => {}
        () => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a pipe")),
    }
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// The whole of a file that is to be held in memory.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 64 MiB")),
        false => Ok(bytes),
    }
}

fn wait_for_writer(file: &File) -> io::Result<()> {
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience))? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody writes to this pipe")),
        _ => Ok(()),
    }
}

fn is_null(meta: &Metadata) -> bool {
    const NULL: (u32, u32) = (1, 3);
    let device = meta.rdev();
    meta.file_type().is_char_device() && (rustix::fs::major(device), rustix::fs::minor(device)) == NULL
}

/// A file as long as it was when it was opened, without its holes: they read as zeros, for hours.
pub(crate) struct Whole {
    file: File,
    at: u64,
    length: u64,
}

impl Whole {
    pub(crate) fn new(file: File, length: u64) -> Whole {
        Whole { file, at: 0, length }
    }

    /// A part of a file, from one byte to another.
    pub(crate) fn from(file: File, at: u64, length: u64) -> Whole {
        Whole { file, at, length }
    }

    /// Over a hole, if one is here: whether there was one.
    fn skip_hole(&mut self) -> bool {
        let data = match seek(&self.file, rustix::fs::SeekFrom::Data(self.at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => self.length,
            // A file system that knows of no holes.
            Err(_) => return false,
        };
        let data = data.min(self.length);
        std::mem::replace(&mut self.at, data) < data
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length || buffer.is_empty() {
            return Ok(0);
        }
        if self.skip_hole() {
            // What stood before it and what stands behind it is not one line.
            buffer[0] = b'\n';
            return Ok(1);
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let most = usize::try_from(self.length - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn holes_are_passed_over() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"first").unwrap();
        file.seek(SeekFrom::Start(10 << 30)).unwrap();
        file.write_all(b"last").unwrap();
        let length = file.metadata().unwrap().len();
        let mut text = Vec::new();
        Whole::new(file, length).take(1 << 20).read_to_end(&mut text).unwrap();
        let words: Vec<_> = text.split(|byte| matches!(byte, 0 | b'\n')).filter(|w| !w.is_empty()).collect();
        assert_eq!(words, [b"first".as_slice(), b"last"]);
    }

    #[test]
    fn devices_and_folders_are_refused() {
        assert!(open(Path::new("/dev/zero")).is_err() && open(Path::new("/")).is_err());
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
    }
}
