//! The calls for which neither rustix nor nix nor socket2 has anything: three socket options to set, one to read, and one
//! to the C library's allocator.
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

/// What the kernel says of a TCP connection (`TCP_INFO`, tcp(7)).
pub(crate) fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: the structure is integers alone, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    let place = (&raw mut info).cast();
    // SAFETY: the descriptor is open, since it is borrowed for the call; `place` and `size` are of one structure that
    // outlives the call. The kernel writes `size` bytes at most, an older one fewer, and what it leaves is zero.
    let outcome =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut size) };
    if outcome == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// Gives pages of the heap in which nothing is left back to the system.
///
/// By itself the C library does so at the end of a heap alone: what was taken there for long holds all that was freed before it.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, may be called by any thread at any time, and touches only what is free (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
