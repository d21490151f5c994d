//! A socket as rustls reads and writes it.

use std::io::{self, IoSlice, Read, Write};

use crate::connection::Socket;

/// `WouldBlock` where it would wait.
pub struct Wire<'a>(pub &'a Socket);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}
impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_writev(slices)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
