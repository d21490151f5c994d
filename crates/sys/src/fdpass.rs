//! Messages with descriptors between processes, over a pair of SEQPACKET unix sockets: each message arrives whole or
//! not at all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The most descriptors in a message; the kernel's own limit is 253.
pub const MOST: usize = 250;

const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST));

/// A connected pair, closed on exec, blocking.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message. An empty one cannot be told from the end and is refused, as are more than [`MOST`] descriptors.
pub fn send(to: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MOST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(to.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            // SEQPACKET takes a message whole.
            outcome => return Ok(outcome.map(drop)?),
        }
    }
}

/// A message that was received.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills; 0 is the end.
    pub len: usize,
    /// The descriptors that came with it, closed on exec, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
}

/// Receives one message. One that is longer than `buffer`, or whose descriptors did not all arrive (the receiver's limit
/// is reached), is an error; what did arrive is closed.
pub fn receive(from: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut into = [IoSliceMut::new(buffer)];
        match recvmsg(from.as_fd(), &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            outcome => break outcome?,
        }
    };
    let mut fds = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = part {
            fds.extend(more);
        }
    }
    if message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message arrived incomplete"));
    }
    Ok(Received { len: message.bytes, fds })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn messages_keep_their_bounds_and_descriptors() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&a, b"one", &[read.as_fd(), write.as_fd()]).unwrap();
        send(&a, b"second", &[]).unwrap();
        let mut buffer = [0; 64];
        let one = receive(&b, &mut buffer).unwrap();
        assert_eq!((&buffer[..one.len], one.fds.len()), (&b"one"[..], 2));
        rustix::io::write(&one.fds[1], b"through").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 16]).unwrap(), 7);
        let second = receive(&b, &mut buffer).unwrap();
        assert_eq!((&buffer[..second.len], second.fds.len()), (&b"second"[..], 0));
        drop(a);
        assert_eq!(receive(&b, &mut buffer).unwrap().len, 0);
    }

    #[test]
    fn the_most_fits_and_more_is_refused() {
        let (a, b) = pair().unwrap();
        let most = vec![a.as_fd(); MOST];
        send(&a, b"x", &most).unwrap();
        assert_eq!(receive(&b, &mut [0; 8]).unwrap().fds.len(), MOST);
        assert_eq!(
            send(&a, b"x", &vec![a.as_fd(); MOST + 1]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(send(&a, b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_incomplete_message_is_an_error_and_leaks_nothing() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(&a, b"too long", &[write.as_fd()]).unwrap();
        assert_eq!(receive(&b, &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(write);
        assert_eq!(rustix::io::read(&read, &mut [0; 4]).unwrap(), 0, "no copy of the other end is left");
        assert!(read.as_raw_fd() >= 0);
    }
}
