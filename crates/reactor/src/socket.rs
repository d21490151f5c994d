//! A registered descriptor and what can be done with it.
//!
//! Readiness is remembered from the poller's edges, so that nothing asks the kernel what is known: a read that fills
//! less than its buffer emptied the socket (unless the peer's end of stream may follow), and a write that took less
//! than it was given filled it. The next edge says when to try again.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::Handle;
use crate::entries::{State, Waiting};
use crate::handle::connection_key;

const READ_EVENTS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
const ALL_EVENTS: EventFlags = READ_EVENTS.union(EventFlags::OUT);

/// The most pieces writev(2) takes (IOV_MAX).
const MOST_PIECES: usize = 1024;

/// A nonblocking stream on a loop: owns the descriptor and the loop's entry for it. Dropping it closes both.
pub struct Socket<R> {
    fd: OwnedFd,
    place: Place<R>,
}

/// The loop's entry, freed when dropped.
struct Place<R> {
    handle: Handle<R>,
    index: u32,
    /// Whether the entry is ours to free; not any more when the connection goes to rest.
    owned: bool,
}

impl<R> Drop for Place<R> {
    fn drop(&mut self) {
        if self.owned {
            // Dropped after the borrow: a waker may own a future that uses this loop.
            let _waiting = self.handle.0.entries.borrow_mut().remove(self.index);
        }
    }
}

impl<R> Socket<R> {
    /// Registers a nonblocking descriptor. Writes are tried at once; for a connect that is under way, await
    /// [`Socket::writable`] first, or use [`Socket::connecting`].
    pub fn new(handle: &Handle<R>, fd: OwnedFd) -> io::Result<Self> {
        Self::register(handle, fd, State::WRITE, READ_EVENTS)
    }

    /// Registers a descriptor whose connect is under way (EINPROGRESS): one system call less than [`Socket::new`].
    pub fn connecting(handle: &Handle<R>, fd: OwnedFd) -> io::Result<Self> {
        Self::register(handle, fd, State::WATCHES_WRITE, ALL_EVENTS)
    }

    fn register(handle: &Handle<R>, fd: OwnedFd, state: State, events: EventFlags) -> io::Result<Self> {
        let key = handle.0.entries.borrow_mut().insert(state);
        let place = Place { handle: handle.clone(), index: key.index, owned: true };
        handle.watch(&fd, key, events)?;
        Ok(Socket { fd, place })
    }

    pub(crate) fn from_parts(handle: &Handle<R>, fd: OwnedFd, index: u32) -> Self {
        Socket { fd, place: Place { handle: handle.clone(), index, owned: true } }
    }

    pub(crate) fn into_parts(self) -> (OwnedFd, u32) {
        let Socket { fd, mut place } = self;
        place.owned = false;
        (fd, place.index)
    }

    pub(crate) fn index(&self) -> u32 {
        self.place.index
    }

    /// The descriptor. What is read or written past this type must not be waited for with it, unless until EAGAIN.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The loop this socket is on.
    pub fn handle(&self) -> &Handle<R> {
        &self.place.handle
    }

    /// Sets the one deadline of this connection; it goes with it into rest. Once it has passed (at most two ticks of
    /// 32 ms later), whatever waits for the socket fails with [`io::ErrorKind::TimedOut`], until it is set anew.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        let due = deadline.map_or(0, |at| self.handle().due_at(at));
        self.handle().0.entries.borrow_mut().set_deadline(self.index(), due);
    }

    /// As [`Socket::set_deadline`], from [`Handle::now`] on; reckons less.
    pub fn set_timeout(&self, timeout: Duration) {
        let due = self.handle().due_in(timeout);
        self.handle().0.entries.borrow_mut().set_deadline(self.index(), due);
    }

    /// Says that from then on the connection may be asked to give way, although it is being served: its deadline passes
    /// ([`Handle::hurry`]). `None`: it may not. Ends when the connection goes to rest.
    pub fn set_yielding(&self, from: Option<Instant>) {
        let from = from.map(|from| self.handle().due_at(from));
        self.handle().0.entries.borrow_mut().set_yielding(self.index(), from);
    }

    /// Whether the peer closed at least its sending side, or the connection broke, as far as the poller has said.
    pub fn peer_closed(&self) -> bool {
        self.has(State::CLOSED)
    }

    /// Whether the poller has said anything to read since the last read that found nothing more: bytes, end or error.
    /// A connection in a pool for which this is true is stale.
    pub fn maybe_readable(&self) -> bool {
        self.has(State::READ)
    }

    fn has(&self, bits: State) -> bool {
        self.handle().0.entries.borrow_mut().state(self.index()).has(bits)
    }

    fn clear(&self, bits: State) {
        self.handle().0.entries.borrow_mut().state(self.index()).clear(bits);
    }

    /// Reads what is there; 0 is the end of the stream. `WouldBlock` costs no system call while nothing is known to
    /// be there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has(State::READ) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = buffer.len();
        let outcome = retry(|| recv(&self.fd, &mut *buffer, RecvFlags::empty()).map(|(n, _)| n));
        self.note_read(&outcome, size);
        outcome
    }

    fn note_read(&self, outcome: &io::Result<usize>, size: usize) {
        match outcome {
            // The end may follow without another edge if it is part of the one already seen.
            Ok(n) if *n > 0 && *n < size && !self.peer_closed() => self.clear(State::READ),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(State::READ),
            _ => {}
        }
    }

    /// Reads as [`Socket::try_read`], to the end of `buffer`, as much as it has room for without growing (at least one
    /// byte): nothing is zeroed or copied.
    pub fn try_append(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if !self.has(State::READ) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.reserve(1);
        let size = buffer.capacity() - buffer.len();
        let outcome = retry(|| {
            recv(&self.fd, rustix::buffer::spare_capacity(buffer), RecvFlags::empty()).map(|(n, _)| n)
        });
        self.note_read(&outcome, size);
        outcome
    }

    /// Reads as [`Socket::try_read`], straight after registering, although the poller has said nothing yet: pays off
    /// only where the bytes are likely to be there (a deferred accept).
    pub fn try_read_early(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle().0.entries.borrow_mut().state(self.index()).set(State::READ);
        self.try_read(buffer)
    }

    /// Writes what there is room for.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_out(bytes.len(), || send(&self.fd, bytes, SendFlags::NOSIGNAL))
    }

    /// Writes what there is room for from several pieces, of the first 1024.
    pub fn try_writev(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        let size = pieces.iter().map(|p| p.len()).sum();
        self.try_out(size, || rustix::io::writev(&self.fd, pieces))
    }

    /// Sends bytes that more will follow at once (a head before its file): the kernel may hold back a part of a packet
    /// until then. Sockets only.
    pub fn try_send_more(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        self.try_out(bytes.len(), || send(&self.fd, bytes, flags))
    }

    /// Sends up to `count` bytes of a file from `offset`, which moves on. 0 is the end of the file.
    pub fn try_sendfile(&self, file: BorrowedFd<'_>, offset: &mut u64, count: usize) -> io::Result<usize> {
        // Less than asked for may be the end of the file, of which no edge would tell.
        self.try_out(0, || rustix::fs::sendfile(&self.fd, file, Some(&mut *offset), count))
    }

    fn try_out(&self, size: usize, attempt: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
        if !self.has(State::WRITE) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = retry(attempt);
        match &outcome {
            Ok(n) if *n < size => self.clear(State::WRITE),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(State::WRITE),
            _ => {}
        }
        outcome
    }

    /// Ready when a read may find bytes, the end or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_state(State::READ, cx, |waiting| &mut waiting.read)
    }

    /// Ready when the poller has said that a write may find room (or that the connection broke).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has(State::WATCHES_WRITE) {
            self.watch_writes()?;
        }
        self.poll_state(State::WRITE, cx, |waiting| &mut waiting.write)
    }

    /// Watches for room from now on; if there is some already, the poller says so.
    fn watch_writes(&self) -> io::Result<()> {
        let mut entries = self.handle().0.entries.borrow_mut();
        let key = connection_key(entries.key(self.index()));
        self.handle().0.poller.modify(self.fd(), key, ALL_EVENTS)?;
        let state = entries.state(self.index());
        state.clear(State::WRITE);
        state.set(State::WATCHES_WRITE);
        Ok(())
    }

    fn poll_state(
        &self,
        bits: State,
        cx: &mut Context<'_>,
        who: impl FnOnce(&mut Waiting) -> &mut Option<Waker>,
    ) -> Poll<io::Result<()>> {
        let handle = self.handle();
        let mut entries = handle.0.entries.borrow_mut();
        let Some((state, past, waiting)) = entries.serving(self.index(), handle.tick()) else {
            return Poll::Ready(Ok(()));
        };
        if state.has(bits) {
            return Poll::Ready(Ok(()));
        }
        if past {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = wait(who(waiting), cx.waker());
        drop(entries);
        drop(before);
        Poll::Pending
    }

    /// Reads, waiting until there is something.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_readable(cx))?,
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_out(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_writable(cx))?,
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Reads some bytes, waiting for them; 0 is the end of the stream.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Writes some bytes, waiting for room.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_out(cx, || self.try_write(bytes))).await
    }

    /// Writes some bytes of several pieces, waiting for room.
    pub async fn writev(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_out(cx, || self.try_writev(pieces))).await
    }

    /// Writes all bytes, waiting for room as often as needed.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }

    /// Sends up to `count` bytes of a file from `offset`, which moves on, waiting for room. 0 is the end of the file.
    pub async fn sendfile(&self, file: BorrowedFd<'_>, offset: &mut u64, count: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_out(cx, || self.try_sendfile(file, offset, count))).await
    }

    /// Ends when a read may find bytes, the end or an error.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Ends when a write may find room. After a connect, `SO_ERROR` says then whether it succeeded.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    /// Ends when the peer closed at least its sending side, or the connection broke. Takes no notice of the deadline.
    pub async fn closed(&self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// Ready when [`Socket::peer_closed`].
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle();
        let mut entries = handle.0.entries.borrow_mut();
        let Some((state, _, waiting)) = entries.serving(self.index(), handle.tick()) else {
            return Poll::Ready(());
        };
        if state.has(State::CLOSED) {
            return Poll::Ready(());
        }
        let before = wait(&mut waiting.closed, cx.waker());
        drop(entries);
        drop(before);
        Poll::Pending
    }
}

/// Notes who waits. Returns who waited before, to be dropped when nothing is borrowed.
fn wait(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match slot {
        Some(known) if known.will_wake(waker) => None,
        _ => slot.replace(waker.clone()),
    }
}

/// Repeats a system call that a signal interrupted.
fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}
