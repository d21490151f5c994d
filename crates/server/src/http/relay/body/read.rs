//! What is taken from the upstream, at once or ahead of the client.

use std::io;
use std::task::{Context, Poll, ready};

use super::inner::Inner;
use super::parts::UpstreamSource;
use crate::http::filters::{Chunk, Piece};
use crate::http::relay::failure;
use crate::log::{Action, Level};
use crate::upstream::Link;
use crate::worker::thread::BLOCK;

/// After so many bytes in a row other connections of the thread have their turn.
const BURST: usize = 1 << 20;

/// What the connection has, at most so much.
#[inline]
fn append(link: &Link, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    if most == usize::MAX {
        return link.try_append(buffer);
    }
    buffer.resize(most.min(BLOCK), 0);
    let read = link.try_read(buffer);
    buffer.truncate(*read.as_ref().unwrap_or(&0));
    read
}

impl Inner {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        loop {
            if std::mem::take(&mut self.flush) && !self.buffering {
                return Poll::Ready(Ok(Some(Chunk::Flush)));
            }
            if !self.spill.is_empty() {
                self.flush = true;
                return Poll::Ready(self.pop().map(Some));
            }
            if self.failure.is_some() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if self.complete {
                return Poll::Ready(Ok(None));
            }
            let Poll::Ready(bytes) = self.read(cx) else { return Poll::Pending };
            let decoded = self.decode(bytes);
            if !decoded.is_empty() {
                self.flush = true;
                return Poll::Ready(Ok(Some(Chunk::Memory(decoded))));
            }
            self.thread.give_buffer(decoded.into_buffer());
        }
    }
    fn pop(&mut self) -> io::Result<Chunk> {
        match self.spill.pop(|| self.thread.buffer()) {
            Ok(bytes) => Ok(Chunk::Memory(bytes)),
            Err(error) => {
                self.fail(format!("pread() from temporary file failed ({})", crate::log::Errno(&error)));
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Reads ahead into memory and the temporary file.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) {
        let (memory, most) = (self.settings.memory, self.settings.max_temp_file_size);
        while !self.complete && self.failure.is_none() && self.spill.has_room(memory, most) {
            let Poll::Ready(bytes) = self.read(cx) else { return };
            let decoded = self.decode(bytes);
            if decoded.is_empty() {
                self.thread.give_buffer(decoded.into_buffer());
                continue;
            }
            match self.spill.push(decoded, memory, &self.settings.temp_path) {
                Ok(Some(written)) => self.thread.give_buffer(written.into_buffer()),
                Ok(None) => {}
                Err(error) => {
                    self.fail(format!("writing a temporary file failed ({})", crate::log::Errno(&error)))
                }
            }
            if let Some(path) = self.spill.made.take() {
                let what = format!("an upstream response is buffered to a temporary file {}", path.display());
                self.remark(Level::Warn, what);
            }
        }
    }

    /// What the upstream has; empty when that is nothing any more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        match &self.source {
            Some(UpstreamSource::Link(_)) => {}
            Some(UpstreamSource::Stream(_)) => return self.read_stream(cx),
            None => {
                self.end();
                return Poll::Ready(Piece::default());
            }
        }
        let mut most = usize::MAX;
        if let Some(pace) = &mut self.pace {
            most = ready!(pace.poll(cx, &self.thread, self.with_head + self.received));
        }
        if self.burst >= BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match ready!(self.poll_link(cx, most)) {
            Ok(piece) if !piece.is_empty() => return Poll::Ready(piece),
            Ok(_) if self.coding.ends_by_closing() => self.end(),
            Ok(_) => self.fail("upstream prematurely closed connection".into()),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                self.fail("upstream timed out (110: Connection timed out)".into());
            }
            Err(e) => {
                let call = if self.buffering { "readv()" } else { "recv()" };
                self.fail(format!("{call} failed ({})", crate::log::Errno(&e)));
            }
        }
        Poll::Ready(Piece::default())
    }
    /// At most so many bytes of the connection; none when it has ended.
    fn poll_link(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Piece>> {
        let Some(UpstreamSource::Link(link)) = &self.source else { return Poll::Ready(Ok(Piece::default())) };
        loop {
            if link.maybe_readable() {
                let mut buffer = self.thread.block();
                match append(link, &mut buffer, most) {
                    Ok(n) => {
                        self.received += n as u64;
                        self.waits = false;
                        self.burst += n;
                        return Poll::Ready(Ok(buffer.into()));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.thread.give_buffer(buffer),
                    Err(e) => return Poll::Ready(Err(e)),
                }
            }
            if !std::mem::replace(&mut self.waits, true) {
                link.socket.set_timeout(self.settings.read_timeout);
            }
            if link.poll_readable(cx)?.is_pending() {
                self.burst = 0;
                self.during = Action::Upstream;
                return Poll::Pending;
            }
        }
    }

    fn read_stream(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll(cx, &self.thread, self.with_head + self.received));
        }
        let Some(UpstreamSource::Stream(stream)) = &mut self.source else {
            return Poll::Ready(Piece::default());
        };
        let mut buffer = self.thread.buffer();
        let came = stream.poll_body(cx, &mut buffer, &mut self.trailers);
        if matches!(came, Poll::Ready(Ok(()))) && !buffer.is_empty() {
            self.received += buffer.len() as u64;
            return Poll::Ready(buffer.into());
        }
        self.thread.give_buffer(buffer);
        match ready!(came) {
            Ok(()) => self.end(),
            Err(failure) => self.fail(failure::of_body(failure)),
        }
        Poll::Ready(Piece::default())
    }

    /// Nobody takes the body any more: what is being kept is still read to its end.
    pub(super) fn go_on(mut self) {
        if self.keeper.is_none() || self.complete || self.failure.is_some() {
            return;
        }
        self.pace = None;
        let handle = self.thread.handle.clone();
        handle.spawn(async move { std::future::poll_fn(|cx| self.poll_rest(cx)).await });
    }
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.keeper.is_some() && !self.complete && self.failure.is_none() {
            let bytes = ready!(self.read(cx));
            let decoded = self.decode(bytes);
            self.thread.give_buffer(decoded.into_buffer());
        }
        Poll::Ready(())
    }
}
