//! Encryption of connections to upstream servers: a [`Link`] is read and written in the same way with and without it.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;

use super::pool::Link;
use crate::ciphertext::Wire;
use crate::connection::Socket;

/// The state of a connection's encryption.
pub struct Secure {
    connection: ClientConnection,
    /// Decrypted bytes that nobody took yet.
    plain: usize,
    /// The server has sent its last.
    ended: bool,
    /// It broke TLS's rules, or says that we did: whoever reads next is told.
    failed: Option<rustls::Error>,
}

fn waits<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Secure {
    /// Sends the ciphertext there is; `WouldBlock` while some is left.
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Wire(socket))?;
        }
        Ok(())
    }
    /// Takes in ciphertext until there is something to read, or the end.
    fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        while self.plain == 0 && !self.ended {
            self.receive_some(socket)?;
        }
        Ok(())
    }
    fn receive_some(&mut self, socket: &Socket) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
        }
        if self.connection.read_tls(&mut Wire(socket))? == 0 {
            self.ended = true;
            return Ok(());
        }
        let state = self.connection.process_new_packets();
        let flushed = self.flush(socket);
        let state = state.map_err(|error| {
            self.failed = Some(error.clone());
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.plain = state.plaintext_bytes_to_read();
        self.ended = state.peer_has_closed();
        if waits(&flushed) { Ok(()) } else { flushed }
    }
    fn read(&mut self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        self.receive(socket)?;
        if self.plain == 0 {
            return Ok(0);
        }
        let n = self.connection.reader().read(into)?;
        self.plain -= n.min(self.plain);
        Ok(n)
    }
    fn write(&mut self, socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        let taken = self.connection.writer().write_vectored(slices)?;
        let flushed = self.flush(socket);
        if waits(&flushed) { Ok(taken) } else { flushed.map(|()| taken) }
    }
}

/// What a file is read in, to be encrypted.
const PART: usize = 16 * 1024;

impl Link {
    /// Encrypts the connection from here on.
    pub fn secure(&mut self, connection: ClientConnection) {
        self.tls = Some(Box::new(RefCell::new(Secure { connection, plain: 0, ended: false, failed: None })));
    }
    /// Goes on with the handshake; ready when it is complete.
    pub fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &self.tls else { return Poll::Ready(Ok(())) };
        let mut tls = tls.borrow_mut();
        loop {
            let flushed = tls.flush(&self.socket);
            if waits(&flushed) {
                ready!(self.socket.poll_writable(cx))?;
                continue;
            }
            flushed?;
            if !tls.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let received = tls.receive_some(&self.socket);
            if waits(&received) {
                ready!(self.socket.poll_readable(cx))?;
                continue;
            }
            received?;
            if tls.ended && tls.connection.is_handshaking() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
    /// As [`Socket::maybe_readable`]; what only concerns the encryption is no answer.
    #[inline]
    pub fn maybe_readable(&self) -> bool {
        match &self.tls {
            None => self.socket.maybe_readable(),
            Some(tls) => !waits(&tls.borrow_mut().receive(&self.socket)),
        }
    }
    /// As [`Socket::poll_readable`]; meanwhile what was not sent yet is.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &self.tls else { return self.socket.poll_readable(cx) };
        loop {
            while waits(&tls.borrow_mut().flush(&self.socket)) {
                if self.socket.poll_writable(cx)?.is_pending() {
                    break;
                }
            }
            if self.maybe_readable() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.socket.poll_readable(cx))?;
        }
    }
    /// As [`Socket::poll_writable`].
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &self.tls else { return self.socket.poll_writable(cx) };
        loop {
            let flushed = tls.borrow_mut().flush(&self.socket);
            if !waits(&flushed) {
                return Poll::Ready(flushed);
            }
            ready!(self.socket.poll_writable(cx))?;
        }
    }
    /// As [`Socket::try_read`].
    #[inline]
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_read(into),
            Some(tls) => tls.borrow_mut().read(&self.socket, into),
        }
    }
    /// As [`Socket::try_append`].
    #[inline]
    pub fn try_append(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.try_append(buffer) };
        let before = buffer.len();
        buffer.resize(buffer.capacity().max(before + 4096), 0);
        let read = tls.borrow_mut().read(&self.socket, &mut buffer[before..]);
        buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }
    /// As [`Socket::poll_read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let read = self.try_read(into);
            if !waits(&read) {
                return Poll::Ready(read);
            }
            ready!(self.poll_readable(cx))?;
        }
    }
    /// As [`Socket::try_write`].
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_write(bytes),
            Some(tls) => tls.borrow_mut().write(&self.socket, &[IoSlice::new(bytes)]),
        }
    }
    /// As [`Socket::try_writev`].
    #[inline]
    pub fn try_writev(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.tls {
            None => self.socket.try_writev(slices),
            Some(tls) => tls.borrow_mut().write(&self.socket, slices),
        }
    }
    /// As [`Socket::try_sendfile`].
    pub fn try_sendfile(&self, file: BorrowedFd<'_>, offset: &mut u64, most: usize) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.socket.try_sendfile(file, offset, most);
        }
        let mut part = vec![0; most.min(PART)];
        let n = rustix::io::pread(file, &mut part[..], *offset)?;
        if n == 0 {
            return Ok(0);
        }
        let sent = self.try_write(&part[..n])?;
        *offset += sent as u64;
        Ok(sent)
    }
}
