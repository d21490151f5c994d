//! The three socket options for which neither rustix nor nix nor socket2 has a setter.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Sets an option whose value is an int.
///
/// Private to this crate, and called only with options of which tcp(7) or ip(7) says that they take an int: for any other
/// option the kernel would read the value as what it is not.
pub(crate) fn set_int(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, since it is borrowed for the call; the pointer is to an initialised int that
    // outlives the call, and the size is its size, so the kernel reads nothing else; it writes nothing.
    let outcome = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
