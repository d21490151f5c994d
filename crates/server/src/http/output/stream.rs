//! The general case: chunks from the source, through the filters, into a short queue, and from there to the client.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use super::file::{Reading, reads_directly};
use super::poll_write;
use crate::http::filters::{self, Chunk};
use crate::http::pace::Pace;
use crate::http::relay::UpstreamBody;
use crate::http::request::Request;
use crate::http::response::{Body, Response, Series};
use crate::worker::ledger::OpenFile;

/// No more than this waits in the queue before the client takes some.
const QUEUE: usize = 64 * 1024;

/// Sends `head`, and the body behind it.
pub(super) async fn send(request: &mut Request, head: Vec<u8>, pace: Option<Pace>) -> io::Result<()> {
    let max_chunk = request.core().delivery.max_chunk;
    let mut sender = Sender {
        queue: std::mem::take(&mut request.response.queue),
        filtered: std::mem::take(&mut request.response.filtered),
        ended: false,
        between: false,
        reading: None,
        written: 0,
        failure: None,
        warm: 0,
        forgetful: false,
        direct: None,
        max_chunk,
        turn: 0,
        pace,
    };
    sender.queue.push_back(Chunk::Memory(head.into()));
    request.client.waiting_to_send = false;
    let result = loop {
        let result = std::future::poll_fn(|cx| sender.poll(request, cx)).await;
        if result.is_err() || !std::mem::take(&mut sender.between) {
            break result;
        }
        if let Err(error) = Series::advance(request).await {
            break Err(error);
        }
    };
    sender.queue.clear();
    sender.filtered.clear();
    request.response.queue = sender.queue;
    request.response.filtered = sender.filtered;
    result
}

/// While an upstream is waited for: whether the client closed meanwhile, so that nobody waits for its answer.
fn client_left(request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match &request.response.body {
        Body::Upstream(upstream) if upstream.minds_client() && request.client.poll_closed(cx).is_ready() => {
            log_info!(
                request,
                "epoll_wait() reported that client prematurely closed connection, \
                so upstream connection is closed too while sending to client"
            );
            Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
        }
        _ => Poll::Pending,
    }
}

/// What is between the source and the client.
pub(super) struct Sender {
    pub(super) queue: VecDeque<Chunk>,
    filtered: VecDeque<Chunk>,
    /// The source has given its last.
    ended: bool,
    /// The source has given one piece of a series, and has to be asked for the next.
    between: bool,
    /// A read that had to leave the thread because the file is not in memory.
    pub(super) reading: Option<Reading>,
    /// How much of the chunk at the front of the queue was written.
    written: usize,
    /// The source failed: what it gave before still goes out.
    failure: Option<io::Error>,
    /// Up to here the file at the front of the queue is known to be in memory.
    pub(super) warm: u64,
    /// What was read of it was not in memory afterwards.
    pub(super) forgetful: bool,
    /// The file being read, opened for `directio`; `None` within where that is not possible.
    pub(super) direct: Option<Option<OpenFile>>,
    /// How much may go out in one turn of the loop, and what is left of it in this one.
    max_chunk: usize,
    turn: usize,
    /// `limit_rate`
    pace: Option<Pace>,
}

impl Sender {
    fn poll(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn = self.max_chunk;
        loop {
            self.pull(request, cx)?;
            if self.queue.is_empty() {
                return match self.failure.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None if self.ended || self.between => Poll::Ready(Ok(())),
                    None => client_left(request, cx),
                };
            }
            if self.write(request, cx)?.is_pending() {
                request.response.body.fill(cx);
                return Poll::Pending;
            }
        }
    }

    /// Fills the queue from the source, until the source has to be waited for.
    fn pull(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && !self.between && self.failure.is_none() && self.queued() < QUEUE {
            let made = match filters::more(&mut request.response.filters, &mut self.filtered) {
                Ok(false) => match self.next(request, cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(chunk) => self.take(request, chunk),
                },
                made => made.map(drop),
            };
            self.encode(request);
            match made {
                Ok(()) => {}
                // Nothing was said yet, and nothing is.
                Err(error) if self.queue.len() == 1 && request.sent == 0 => return Err(error),
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(())
    }
    /// What the source gave goes through the filters.
    fn take(&mut self, request: &mut Request, chunk: io::Result<Option<Chunk>>) -> io::Result<()> {
        let filters = &mut request.response.filters;
        match chunk {
            Err(error) => {
                self.failure = Some(error);
                // What filters have of it goes out, too; they may know themselves that they cannot.
                let _ = filters::through(filters, Chunk::Flush, &mut self.filtered);
            }
            Ok(Some(chunk)) => filters::through(filters, chunk, &mut self.filtered)?,
            Ok(None) => {
                filters::finish(filters, &mut self.filtered)?;
                self.ended = true;
                add_trailers(request);
            }
        }
        Ok(())
    }
    fn queued(&self) -> usize {
        self.queue.iter().map(|chunk| length(chunk) as usize).sum::<usize>() - self.written
    }

    /// The next chunk of the source.
    fn next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let unread = request.client.sends_files()
            && request.core().sendfile
            && request.response.filters.first().is_none_or(|filter| filter.takes_files());
        if let Body::Parts(parts) = &mut request.response.body {
            let Some(mut part) = parts.pop_front() else { return Poll::Ready(Ok(None)) };
            std::mem::swap(&mut request.response.body, &mut part);
            let next = match &request.response.body {
                Body::Filtered(_) => self.next_of_filtered(request, cx),
                Body::Series(_) => self.next_of_series(request, cx),
                _ => self.next_of(request, cx, unread),
            };
            let Body::Parts(mut parts) = part else { return Poll::Ready(Ok(None)) };
            let current = std::mem::take(&mut request.response.body);
            if !matches!(next, Poll::Ready(Ok(None))) {
                parts.push_front(current);
            }
            request.response.body = Body::Parts(parts);
            return match next {
                Poll::Ready(Ok(None)) => self.next(request, cx),
                next => next,
            };
        }
        match &request.response.body {
            Body::Series(_) => return self.next_of_series(request, cx),
            Body::Filtered(_) => return self.next_of_filtered(request, cx),
            _ => {}
        }
        self.next_of(request, cx, unread)
    }
    /// The next chunk of a series' piece.
    fn next_of_series(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let Body::Series(mut series) = std::mem::take(&mut request.response.body) else {
            return Poll::Ready(Ok(None));
        };
        std::mem::swap(&mut request.response.body, &mut series.current);
        let next = self.next(request, cx);
        std::mem::swap(&mut request.response.body, &mut series.current);
        self.between = matches!(next, Poll::Ready(Ok(None))) && series.more.is_some();
        request.response.body = Body::Series(series);
        if self.between { Poll::Pending } else { next }
    }
    /// The next chunk that the filters of a part make.
    fn next_of_filtered(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let Body::Filtered(mut part) = std::mem::take(&mut request.response.body) else {
            return Poll::Ready(Ok(None));
        };
        let next = loop {
            match part.next() {
                Ok(None) if !part.is_over() => {}
                made => break Poll::Ready(made),
            }
            // Files are read if the part's first filter wants it, whatever those of the whole take.
            std::mem::swap(&mut request.response.body, &mut part.body);
            std::mem::swap(&mut request.response.filters, &mut part.filters);
            let next = self.next(request, cx);
            std::mem::swap(&mut request.response.body, &mut part.body);
            std::mem::swap(&mut request.response.filters, &mut part.filters);
            match next {
                Poll::Ready(Ok(chunk)) => {
                    if let Err(error) = part.give(chunk) {
                        break Poll::Ready(Err(error));
                    }
                }
                waits_or_failed => break waits_or_failed,
            }
        };
        request.response.body = Body::Filtered(part);
        next
    }
    fn next_of(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
        unread: bool,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let plan = request.plan();
        match &mut request.response.body {
            Body::Upstream(upstream) => upstream.poll_next(cx),
            Body::File(part) if part.offset >= part.end => Poll::Ready(Ok(None)),
            Body::File(part) if !unread || reads_directly(&plan.core.delivery, part) => {
                self.read_file(request, cx)
            }
            body => Poll::Ready(Ok(match std::mem::take(body) {
                Body::Memory(text) => Some(Chunk::Memory(text)),
                Body::Static(text) => Some(Chunk::Static(text)),
                Body::File(part) => Some(Chunk::File(part)),
                _ => None,
            })),
        }
    }

    /// Moves filtered chunks to the queue, in chunked framing where the response has it.
    fn encode(&mut self, request: &mut Request) {
        let chunked = request.response.chunked;
        while let Some(chunk) = self.filtered.pop_front() {
            let size = length(&chunk);
            if size == 0 {
                recycle(request, chunk);
                continue;
            }
            if chunked {
                let mut line = request.thread.buffer();
                wire::push_hex(&mut line, size);
                line.extend_from_slice(b"\r\n");
                self.queue.push_back(Chunk::Memory(line.into()));
            }
            self.queue.push_back(chunk);
            if chunked {
                self.queue.push_back(Chunk::Static(b"\r\n"));
            }
        }
        if chunked && self.ended {
            self.queue.push_back(last_chunk(request));
        }
    }

    /// Writes the queue until the client takes no more (`Pending`) or it is empty.
    fn write(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while let Some(front) = self.queue.front() {
            let is_file = matches!(front, Chunk::File(_));
            let Poll::Ready(room) = self.poll_room(request, cx)? else { return Ok(Poll::Pending) };
            let before = request.sent;
            let written = match is_file {
                true => self.send_file(request, cx, room),
                false => self.write_memory(request, cx, room),
            };
            match written {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result?,
            }
            self.note_written(request, (request.sent - before) as usize);
        }
        Ok(Poll::Ready(()))
    }
    /// How much may be written now: others have their turn after `sendfile_max_chunk`, and `limit_rate` makes waits.
    fn poll_room(&mut self, request: &Request, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.turn == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &mut self.pace {
            None => Poll::Ready(Ok(self.turn)),
            Some(pace) => pace.poll_room(request, cx).map_ok(|room| room.min(self.turn)),
        }
    }
    fn note_written(&mut self, request: &Request, written: usize) {
        self.turn = self.turn.saturating_sub(written);
        if let Some(pace) = &mut self.pace {
            pace.wrote(request, written);
        }
    }
    fn write_memory(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 16];
        let (mut n, mut left) = (0, room);
        for chunk in self.queue.iter().take(slices.len()) {
            let text: &[u8] = match chunk {
                Chunk::Memory(text) => text,
                Chunk::Static(text) => text,
                Chunk::File(_) | Chunk::Flush => break,
            };
            let text = if n == 0 { &text[self.written..] } else { text };
            slices[n] = IoSlice::new(&text[..text.len().min(left)]);
            n += 1;
            left = left.saturating_sub(text.len());
            if left == 0 {
                break;
            }
        }
        let more = left > 0 && self.queue.get(n).is_some_and(|chunk| matches!(chunk, Chunk::File(_)));
        let written = ready!(poll_write(request, cx, &slices[..n], more))?;
        self.consume(request, written);
        Poll::Ready(Ok(()))
    }
    fn consume(&mut self, request: &Request, written: usize) {
        self.written += written;
        while let Some(Chunk::Memory(_) | Chunk::Static(_) | Chunk::Flush) = self.queue.front() {
            let size = self.queue.front().map_or(0, length) as usize;
            if size > self.written {
                return;
            }
            self.written -= size;
            if let Some(chunk) = self.queue.pop_front() {
                recycle(request, chunk);
            }
        }
    }
}

/// The body is complete: what is configured to follow it joins what an upstream had to say behind its own.
fn add_trailers(request: &mut Request) {
    if request.response.expects_trailers {
        UpstreamBody::pass_trailers(request);
        let plan = request.plan();
        if let Some(trailers) = plan.trailers() {
            trailers.add(request);
        }
    }
}

/// The end of a chunked body.
fn last_chunk(request: &Request) -> Chunk {
    let Response { trailers, text, .. } = &request.response;
    if trailers.is_empty() {
        return Chunk::Static(b"0\r\n\r\n");
    }
    let mut end = request.thread.buffer();
    end.extend_from_slice(b"0\r\n");
    for trailer in trailers {
        end.extend_from_slice(trailer.name.of(text));
        end.extend_from_slice(b": ");
        end.extend_from_slice(trailer.value.of(text));
        end.extend_from_slice(b"\r\n");
    }
    end.extend_from_slice(b"\r\n");
    Chunk::Memory(end.into())
}

fn recycle(request: &Request, chunk: Chunk) {
    if let Chunk::Memory(piece) = chunk {
        request.thread.give_buffer(piece.into_buffer());
    }
}

fn length(chunk: &Chunk) -> u64 {
    match chunk {
        Chunk::Memory(text) => text.len() as u64,
        Chunk::Static(text) => text.len() as u64,
        Chunk::File(part) => part.end - part.offset,
        Chunk::Flush => 0,
    }
}
