//! Files: reading only what the page cache holds, and telling descriptors apart.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;

use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Reads at `offset` without waiting for the disk (`RWF_NOWAIT`). A file system that cannot tell reports
/// [`io::ErrorKind::WouldBlock`], as one whose pages are not in memory does.
///
/// # Errors
/// `WouldBlock` if nothing can be read without waiting; else what the kernel says.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::WouldBlock.into()),
        result => Ok(result?),
    }
}

/// Files are read ahead in order: where the last page of so much is in memory, the first ones are.
const READ_AHEAD: u64 = 64 * 1024;

/// Whether a part of a file can be read without waiting for the disk: its last byte is in memory, and its first one too
/// where the part is longer than what is read ahead.
pub fn is_cached(file: &File, offset: u64, length: u64) -> bool {
    length == 0
        || (ends_cached(file, offset, length) && (length <= READ_AHEAD || ends_cached(file, offset, 1)))
}

/// As [`is_cached`] of a part behind one that is: its first byte is not looked at. A part is not empty.
pub fn ends_cached(file: &File, offset: u64, length: u64) -> bool {
    matches!(read_cached(file, &mut [0], offset + length - 1), Ok(1))
}

/// Device and inode: equal for two descriptors of the same file or socket.
///
/// # Errors
/// What `fstat` says.
pub fn identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}
