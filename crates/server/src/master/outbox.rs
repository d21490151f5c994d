//! The master's end of a channel: messages in order, one with descriptors at a time, never waiting for the reader.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::snapshot::{self, Answer, Outgoing};

/// What is to be sent to one process, and what it answers.
pub struct Outbox {
    fd: OwnedFd,
    queue: VecDeque<Outgoing>,
    /// The last message has not been acknowledged.
    waiting: bool,
}

impl Outbox {
    /// The master's end of a pair; it is made nonblocking.
    ///
    /// # Errors
    /// When it is no socket.
    pub fn new(fd: OwnedFd) -> io::Result<Outbox> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Outbox { fd, queue: VecDeque::new(), waiting: false })
    }

    /// Sends messages after those that wait already.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn send(&mut self, messages: impl IntoIterator<Item = Outgoing>) -> io::Result<()> {
        self.queue.extend(messages);
        self.push()
    }

    /// Whether everything has arrived.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.waiting
    }

    /// Whether messages wait for room rather than for an answer.
    pub fn is_full(&self) -> bool {
        !self.queue.is_empty() && !self.waiting
    }

    /// Sends what can be sent now.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn push(&mut self) -> io::Result<()> {
        while !self.waiting
            && let Some(next) = self.queue.front()
        {
            match next.send(&self.fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                outcome => outcome?,
            }
            self.waiting = next.is_acknowledged();
            self.queue.pop_front();
        }
        Ok(())
    }

    /// The next answer, if there is one; acknowledgements are dealt with here.
    ///
    /// # Errors
    /// When the other end is gone or makes no sense.
    pub fn receive(&mut self) -> io::Result<Option<Answer>> {
        loop {
            match snapshot::receive_answer(&self.fd) {
                Ok(Some(Answer::Received)) => {
                    self.waiting = false;
                    self.push()?;
                }
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
