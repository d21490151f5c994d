//! After `101 Switching Protocols`, and what CONNECT opens: bytes both ways, until one side closes.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::body::UpstreamBody;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::upstream::Link;
use crate::worker::thread::Thread;

/// One direction: what was read and not yet written.
struct Pipe {
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}
impl Pipe {
    fn new(buffer: Vec<u8>) -> Pipe {
        Pipe { buffer, at: 0, ended: false }
    }
    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }
    /// Takes what was read: a buffer of the thread's is held only while there is something in it.
    fn refill(&mut self, thread: &Thread, bytes: &[u8]) {
        self.ended = bytes.is_empty();
        if !self.ended {
            self.buffer = thread.buffer();
            self.buffer.extend_from_slice(bytes);
        }
    }
    /// Everything was written.
    fn empty(&mut self, thread: &Thread) {
        self.at = 0;
        thread.give_buffer(std::mem::take(&mut self.buffer));
    }
    /// All that was read has been written, and no more will be read.
    fn is_done(&self) -> bool {
        self.ended && self.rest().is_empty()
    }
}

struct Tunnel {
    link: Link,
    up: Pipe,
    down: Pipe,
    moved: bool,
    /// The most that is read at once.
    most: usize,
    times: Times,
}

/// How long each wait may last.
struct Times {
    read: Duration,
    send: Duration,
    client: Duration,
}

/// So often each direction reads and writes before others have their turn.
const ROUNDS: usize = 8;

/// Passes bytes between client and upstream. As in nginx the end of one side ends both, once all it sent has arrived.
pub async fn tunnel(request: &mut Request) {
    let Body::Upstream(body) = std::mem::take(&mut request.response.body) else { return };
    let Some((link, held, settings, down)) = UpstreamBody::into_tunnel(body) else { return };
    let mut up = request.thread.buffer();
    up.extend_from_slice(&request.buffer[request.unread..]);
    request.unread = request.buffer.len();
    request.keep_alive = false;
    let times = Times {
        read: settings.read_timeout,
        send: settings.send_timeout,
        client: request.core().send_timeout,
    };
    let (up, down) = (Pipe::new(up), Pipe::new(down));
    let mut tunnel = Tunnel { link, up, down, moved: false, most: settings.tunnel_buffer, times };
    drop(settings);
    // It may last for days, while other configurations come and go.
    request.let_configuration_go();
    // Whatever moves puts the end off.
    let mut moved = true;
    let result = std::future::poll_fn(|cx| {
        for _ in 0..ROUNDS {
            let done = tunnel.poll(request, cx);
            if done.is_ready() {
                return done;
            }
            // What moved may have made room for more.
            if !std::mem::take(&mut tunnel.moved) {
                if std::mem::take(&mut moved) {
                    // Not both may be waited for.
                    let until = Some(request.thread.handle.now() + tunnel.patience().0);
                    tunnel.link.socket.set_deadline(until);
                    request.client.set_deadline(until);
                }
                return Poll::Pending;
            }
            moved = true;
        }
        // Both sides are quick: other connections of the thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    if let Err(error) = result {
        failed(request, &tunnel, &error);
    }
    let now = request.thread.handle.now();
    request.upstream.end_at(now);
    drop(held);
}

fn failed(request: &mut Request, tunnel: &Tunnel, error: &io::Error) {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            let (_, who) = tunnel.patience();
            log_info!(
                request,
                "{who} timed out (110: Connection timed out) while proxying upgraded connection"
            );
        }
        _ => log_info!(
            request,
            "connection failed ({}) while proxying upgraded connection",
            crate::log::Errno(error)
        ),
    }
}

impl Tunnel {
    /// How long it may be before anything moves, and who is to blame if nothing does: a side takes what it is sent in
    /// time, and the upstream has something to say where all it said was taken.
    fn patience(&self) -> (Duration, &'static str) {
        let down = match self.down.rest().is_empty() {
            true => (self.times.read, "upstream"),
            false => (self.times.client, "client"),
        };
        match self.up.rest().is_empty() {
            true => down,
            false => down.min((self.times.send, "upstream")),
        }
    }
    /// One round: each direction writes what it has, then reads.
    fn poll(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_up(request, cx)?.is_ready() && !self.up.ended {
            self.read_up(request, cx)?;
        }
        if self.write_down(request, cx)?.is_ready() && !self.down.ended {
            self.read_down(request, cx)?;
        }
        match self.up.is_done() || self.down.is_done() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Client to upstream.
    fn write_up(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.up.rest().is_empty() {
            match self.link.try_write(self.up.rest()) {
                Ok(n) => {
                    self.up.at += n;
                    self.moved = true;
                    request.upstream.last().into_iter().for_each(|last| last.sent += n as u64);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.link.poll_writable(cx)?.is_pending() {
                        return Ok(Poll::Pending);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        self.up.empty(&request.thread);
        Ok(Poll::Ready(()))
    }
    fn read_up(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<()> {
        let Request { thread, client, .. } = &mut *request;
        let mut scratch = thread.scratch();
        let most = scratch.len().min(self.most);
        let Poll::Ready(n) = client.poll_read(cx, &mut scratch[..most])? else { return Ok(()) };
        self.up.refill(thread, &scratch[..n]);
        self.moved = true;
        Ok(())
    }

    /// Upstream to client.
    fn write_down(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.down.rest().is_empty() {
            let slices = [io::IoSlice::new(self.down.rest())];
            let Poll::Ready(n) = request.client.poll_write(cx, &slices, false)? else {
                return Ok(Poll::Pending);
            };
            self.down.at += n;
            self.moved = true;
            request.sent += n as u64;
        }
        self.down.empty(&request.thread);
        Ok(Poll::Ready(()))
    }
    fn read_down(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<()> {
        let mut scratch = request.thread.scratch();
        let most = scratch.len().min(self.most);
        let Poll::Ready(n) = self.link.poll_read(cx, &mut scratch[..most])? else { return Ok(()) };
        self.down.refill(&request.thread, &scratch[..n]);
        self.moved = true;
        if let Some(last) = request.upstream.last() {
            last.received += n as u64;
        }
        Ok(())
    }
}
