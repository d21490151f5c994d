//! Sends a response: the head as text, the body from its source through the filters to the client.
//!
//! The small case is one buffer and one write. The general case pulls chunks from the source, through the
//! filters, into a short queue, and writes the queue; it pulls again only when the client took what came before.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use wire::{Method, Span, Version};

use super::filters::{self, Chunk};
use super::request::Request;
use super::response::{Body, FileBody};

/// Bodies up to this size travel with the head in one write.
const SMALL: u64 = 16 * 1024;
/// No more than this waits in the queue before the client takes some.
const QUEUE: usize = 64 * 1024;
/// The most one call of `sendfile` sends: others want their turn.
const SENDFILE: usize = 512 * 1024;
/// How much of a file is looked at, and read ahead if it must be, at a time.
const WINDOW: u64 = 256 * 1024;

/// Sends `request.response`. Errors end the connection and are remembered in the request.
pub async fn send(request: &mut Request) {
    if request.response.status == 0 {
        return;
    }
    let bodiless = prepare(request);
    if !request.plan().core.tcp_nodelay
        && let Some(fd) = request.client.fd()
    {
        let _ = sys::net::set_nodelay(fd, false);
    }
    let mut head = request.thread.buffer();
    write_head(request, &mut head);
    request.head_sent = true;
    let head_length = head.len() as u64;
    let result = if bodiless || fits_head(request, &mut head) {
        write_all(request, head).await
    } else {
        stream(request, head).await
    };
    let result = match result {
        Ok(()) if request.client.tls().is_some() => flush(request).await,
        other => other,
    };
    request.body_sent = request.sent.saturating_sub(head_length);
    if let Err(error) = result {
        failed(request, &error);
    }
    note_upstream(request);
}

/// What happened to an upstream's body on its way is logged here: it has no request to log with.
fn note_upstream(request: &mut Request) {
    if let Body::Upstream(mut upstream) = std::mem::take(&mut request.response.body) {
        upstream.log(request);
        request.response.body = Body::Upstream(upstream);
    }
}

/// Ciphertext may still be waiting.
async fn flush(request: &mut Request) -> io::Result<()> {
    let until = request.thread.handle.now() + request.plan().core.send_timeout;
    request.client.set_deadline(Some(until));
    std::future::poll_fn(|cx| request.client.poll_flush(cx)).await
}

fn failed(request: &mut Request, error: &io::Error) {
    request.keep_alive = false;
    request.aborted = true;
    if error.kind() == io::ErrorKind::TimedOut {
        request.client.timed_out = true;
        log_info!(request, "client timed out (110: Connection timed out) while sending response to client");
    } else if error.kind() != io::ErrorKind::ConnectionAborted {
        log_info!(request, "send() failed ({}) while sending response to client", crate::log::Errno(error));
    }
}

/// Decides how the body is delimited; says whether there is none to send.
fn prepare(request: &mut Request) -> bool {
    if request.thread.is_leaving(request.client.listener) {
        request.keep_alive = false;
    }
    let status = request.response.status;
    if !matches!(status, 200 | 206 | 304) {
        request.response.last_modified = None;
    }
    if status == 204 {
        request.response.content_type = Span::default();
    }
    let none = status < 200 || status == 204 || status == 304;
    let bodiless = none || request.method == Method::Head || request.head.method == Method::Head;
    if none {
        if status != 304 {
            request.response.content_length = None;
        }
        return true;
    }
    if request.response.content_length.is_none() && !bodiless && !request.response.upgrade {
        let plan = request.plan();
        if request.head.version >= Version::Http11 && plan.core.chunked_transfer_encoding {
            request.response.chunked = true;
        } else {
            request.keep_alive = false;
        }
    }
    bodiless
}

/// Appends the head to `out`.
fn write_head(request: &mut Request, out: &mut Vec<u8>) {
    if request.head.version == Version::Http09 {
        return;
    }
    let response = &request.response;
    let text = &response.text;
    match response.status_text {
        Some(span) => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(span.of(text));
            out.extend_from_slice(b"\r\n");
        }
        None => out.extend_from_slice(wire::status_line(response.status)),
    }
    let field = |out: &mut Vec<u8>, name: &[u8], value: &[u8]| {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    match response.server {
        Some(span) => field(out, b"Server: ", span.of(text)),
        None => out.extend_from_slice(request.plan().core.server_header),
    }
    match response.date {
        Some(span) => field(out, b"Date: ", span.of(text)),
        None => field(out, b"Date: ", &request.thread.clock.http_date.get()),
    }
    if !response.content_type.is_empty() {
        field(out, b"Content-Type: ", response.content_type.of(text));
    }
    if let Some(length) = response.content_length {
        out.extend_from_slice(b"Content-Length: ");
        wire::push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(span) = response.last_modified_text {
        field(out, b"Last-Modified: ", span.of(text));
    } else if let Some(seconds) = response.last_modified {
        field(out, b"Last-Modified: ", &wire::date::format(seconds));
    }
    let location = response.location.map(|span| span.of(text));
    let absolute = location.filter(|to| becomes_absolute(request, to));
    if let Some(to) = absolute {
        out.extend_from_slice(b"Location: ");
        absolute_location(request, to, out);
        out.extend_from_slice(b"\r\n");
    }
    if response.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    connection_header(request, out);
    if response.vary_encoding {
        out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    if let (Some(to), None) = (location, absolute) {
        // As nginx has it: what is not changed stands among the other headers.
        field(out, b"Location: ", to);
    }
    for header in &response.headers {
        out.extend_from_slice(header.name.of(text));
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value.of(text));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn connection_header(request: &Request, out: &mut Vec<u8>) {
    if request.response.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if !request.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        if let Some(seconds) = request.plan().core.keepalive_header {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            wire::push_decimal(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn becomes_absolute(request: &Request, to: &[u8]) -> bool {
    to.starts_with(b"/") && request.plan().core.absolute_redirect && request.response.location_is_ours
}
/// A path becomes an absolute URL (`absolute_redirect`, `server_name_in_redirect`, `port_in_redirect`).
pub fn absolute_location(request: &Request, to: &[u8], out: &mut Vec<u8>) {
    if !becomes_absolute(request, to) {
        out.extend_from_slice(to);
        return;
    }
    let plan = request.plan();
    let encrypted = request.client.tls().is_some();
    out.extend_from_slice(if encrypted { b"https://" } else { b"http://" });
    let generation = request.generation.clone();
    let server = generation.shared.server(request.server);
    if plan.core.server_name_in_redirect || request.host.is_empty() {
        match server.name.is_empty() {
            true => request.client.push_local_ip(out),
            false => out.extend_from_slice(server.name.as_bytes()),
        }
    } else {
        out.extend_from_slice(&request.host);
    }
    let port = request.client.local_port();
    if plan.core.port_in_redirect && port != if encrypted { 443 } else { 80 } && port != 0 {
        out.push(b':');
        wire::push_decimal(out, port.into());
    }
    out.extend_from_slice(to);
}

/// Appends a small body to the head. What does not fit, or waits, is left where it is.
fn fits_head(request: &mut Request, head: &mut Vec<u8>) -> bool {
    if !request.response.filters.is_empty() || request.response.chunked {
        return false;
    }
    match &mut request.response.body {
        Body::Empty => true,
        Body::Memory(text) if text.len() as u64 <= SMALL => {
            head.extend_from_slice(text);
            request.thread.give_buffer(std::mem::take(text).into_buffer());
            true
        }
        Body::Static(text) if text.len() as u64 <= SMALL => {
            head.extend_from_slice(text);
            true
        }
        Body::File(part) if part.end - part.offset <= SMALL => read_small(part, head),
        _ => false,
    }
}

/// Reads a small file behind the head if it is in memory.
fn read_small(part: &mut FileBody, head: &mut Vec<u8>) -> bool {
    let before = head.len();
    let length = (part.end - part.offset) as usize;
    head.resize(before + length, 0);
    match sys::file::read_cached(&part.file, &mut head[before..], part.offset) {
        Ok(n) if n == length => true,
        _ => {
            head.truncate(before);
            false
        }
    }
}

async fn write_all(request: &mut Request, buffer: Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    let result = loop {
        if at == buffer.len() {
            break Ok(());
        }
        let slices = [IoSlice::new(&buffer[at..])];
        let written = std::future::poll_fn(|cx| poll_write(request, cx, &slices, false)).await;
        match written {
            Ok(n) => at += n,
            Err(error) => break Err(error),
        }
    };
    request.thread.give_buffer(buffer);
    result
}

/// One write; each that has to wait waits `send_timeout` at most.
fn poll_write(
    request: &mut Request,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
    more: bool,
) -> Poll<io::Result<usize>> {
    let written = request.client.poll_write(cx, slices, more);
    sent(request, written)
}
fn sent(request: &mut Request, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match &written {
        Poll::Ready(Ok(n)) => {
            request.sent += *n as u64;
            request.client.waiting_to_send = false;
        }
        Poll::Ready(Err(_)) => {}
        Poll::Pending if request.client.waiting_to_send => {}
        Poll::Pending => {
            request.client.waiting_to_send = true;
            let until = request.thread.handle.now() + request.plan().core.send_timeout;
            request.client.set_deadline(Some(until));
        }
    }
    written
}

/// The general case.
async fn stream(request: &mut Request, head: Vec<u8>) -> io::Result<()> {
    let mut sender = Sender {
        queue: std::mem::take(&mut request.response.queue),
        filtered: std::mem::take(&mut request.response.filtered),
        ended: false,
        reading: None,
        written: 0,
        failure: None,
        warm: 0,
    };
    sender.queue.push_back(Chunk::Memory(head.into()));
    request.client.waiting_to_send = false;
    let result = std::future::poll_fn(|cx| sender.poll(request, cx)).await;
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

type Reading = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>>>>;
struct Sender {
    queue: VecDeque<Chunk>,
    filtered: VecDeque<Chunk>,
    /// The source has given its last.
    ended: bool,
    /// A read that had to leave the thread because the file is not in memory.
    reading: Option<Reading>,
    /// How much of the chunk at the front of the queue was written.
    written: usize,
    /// The source failed: what it gave before still goes out.
    failure: Option<io::Error>,
    /// Up to here the file at the front of the queue is known to be in memory.
    warm: u64,
}

impl Sender {
    fn poll(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.pull(request, cx)?;
            if self.queue.is_empty() {
                return match self.failure.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None if self.ended => Poll::Ready(Ok(())),
                    None => client_left(request, cx),
                };
            }
            if self.write(request, cx)?.is_pending() {
                // The client is slow: an upstream may still hand over what it has, and be free.
                if let Body::Upstream(upstream) = &mut request.response.body {
                    upstream.poll_fill(cx);
                }
                return Poll::Pending;
            }
        }
    }

    /// Fills the queue from the source, until the source has to be waited for.
    fn pull(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && self.failure.is_none() && self.queued() < QUEUE {
            match self.next(request, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => self.failure = Some(error),
                Poll::Ready(Ok(Some(chunk))) => {
                    filters::through(&mut request.response.filters, chunk, &mut self.filtered)?;
                }
                Poll::Ready(Ok(None)) => {
                    self.ended = true;
                    filters::finish(&mut request.response.filters, &mut self.filtered)?;
                }
            }
            self.encode(request);
        }
        Ok(())
    }
    fn queued(&self) -> usize {
        self.queue.iter().map(|chunk| length(chunk) as usize).sum::<usize>() - self.written
    }

    /// The next chunk of the source.
    fn next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let unread = request.client.sends_files()
            && request.plan().core.sendfile
            && request.response.filters.first().is_none_or(|filter| filter.takes_files());
        if let Body::Parts(parts) = &mut request.response.body {
            let Some(mut part) = parts.pop_front() else { return Poll::Ready(Ok(None)) };
            std::mem::swap(&mut request.response.body, &mut part);
            let next = self.next_of(request, cx, unread);
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
        self.next_of(request, cx, unread)
    }
    fn next_of(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
        unread: bool,
    ) -> Poll<io::Result<Option<Chunk>>> {
        match &mut request.response.body {
            Body::Upstream(upstream) => upstream.poll_next(cx),
            Body::File(part) if part.offset >= part.end => Poll::Ready(Ok(None)),
            Body::File(_) if !unread => self.read_file(request, cx),
            body => Poll::Ready(Ok(match std::mem::take(body) {
                Body::Memory(text) => Some(Chunk::Memory(text)),
                Body::Static(text) => Some(Chunk::Static(text)),
                Body::File(part) => Some(Chunk::File(part)),
                _ => None,
            })),
        }
    }

    /// A piece of a file that has to pass filters or encryption.
    fn read_file(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let Body::File(part) = &mut request.response.body else { return Poll::Ready(Ok(None)) };
        if let Some(reading) = &mut self.reading {
            let bytes = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            let bytes = bytes?;
            part.offset += bytes.len() as u64;
            return Poll::Ready(if bytes.is_empty() {
                Err(truncated())
            } else {
                Ok(Some(Chunk::Memory(bytes.into())))
            });
        }
        let mut buffer = request.thread.buffer();
        buffer.resize((part.end - part.offset).min(32 * 1024) as usize, 0);
        match sys::file::read_cached(&part.file, &mut buffer, part.offset) {
            Ok(0) => Poll::Ready(Err(truncated())),
            Ok(n) => {
                buffer.truncate(n);
                part.offset += n as u64;
                Poll::Ready(Ok(Some(Chunk::Memory(buffer.into()))))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let most = buffer.len();
                request.thread.give_buffer(buffer);
                self.reading = Some(read_elsewhere(request, part_of(request), most));
                self.read_file(request, cx)
            }
            Err(e) => Poll::Ready(Err(e)),
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
            self.queue.push_back(Chunk::Static(b"0\r\n\r\n"));
        }
    }

    /// Writes the queue until the client takes no more (`Pending`) or it is empty.
    fn write(&mut self, request: &mut Request, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while let Some(front) = self.queue.front() {
            let written = match front {
                Chunk::File(_) => self.send_file(request, cx),
                _ => self.write_memory(request, cx),
            };
            match written {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result?,
            }
        }
        Ok(Poll::Ready(()))
    }
    fn write_memory(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 16];
        let mut n = 0;
        for chunk in self.queue.iter().take(slices.len()) {
            let text: &[u8] = match chunk {
                Chunk::Memory(text) => text,
                Chunk::Static(text) => text,
                Chunk::File(_) | Chunk::Flush => break,
            };
            slices[n] = IoSlice::new(if n == 0 { &text[self.written..] } else { text });
            n += 1;
        }
        let more = self.queue.get(n).is_some_and(|chunk| matches!(chunk, Chunk::File(_)));
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
    fn send_file(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.warm(request, cx))?;
        let Some(Chunk::File(part)) = self.queue.front_mut() else { return Poll::Ready(Ok(())) };
        let most = SENDFILE.min((self.warm - part.offset) as usize);
        let sent_now = request.client.poll_sendfile(cx, part, most);
        let done = part.offset >= part.end;
        match ready!(sent(request, sent_now)) {
            Ok(0) => Poll::Ready(Err(truncated())),
            Ok(_) => {
                if done {
                    self.queue.pop_front();
                    self.warm = 0;
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
    /// Makes sure that the next window of the file in front is in memory: a thread of the pool waits for the disk, not the loop.
    fn warm(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(Chunk::File(part)) = self.queue.front() else { return Poll::Ready(Ok(())) };
        if part.offset < self.warm {
            return Poll::Ready(Ok(()));
        }
        let window = (part.end - part.offset).min(WINDOW);
        if self.reading.is_none() {
            if sys::file::is_cached(&part.file, part.offset, window) {
                self.warm = part.offset + window;
                return Poll::Ready(Ok(()));
            }
            let part = FileBody { file: part.file.clone(), offset: part.offset, end: part.end };
            self.reading = Some(read_elsewhere(request, part, window as usize));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let read = ready!(reading.as_mut().poll(cx))?;
        self.reading = None;
        if read.is_empty() {
            return Poll::Ready(Err(truncated()));
        }
        self.warm = part.offset + read.len() as u64;
        Poll::Ready(Ok(()))
    }
}

fn part_of(request: &Request) -> FileBody {
    match &request.response.body {
        Body::File(part) => FileBody { file: part.file.clone(), offset: part.offset, end: part.end },
        _ => unreachable!("asked only while the body is a file"),
    }
}

/// Reads a part of a file in the pool of blocking threads.
fn read_elsewhere(request: &Request, part: FileBody, most: usize) -> Reading {
    let file = part.file.try_clone();
    let blocking = request.thread.process.blocking.clone();
    Box::pin(async move {
        let file = file?;
        let read = blocking.run(move || {
            let mut buffer = vec![0; most];
            let n = std::os::unix::fs::FileExt::read_at(&file, &mut buffer, part.offset)?;
            buffer.truncate(n);
            Ok(buffer)
        });
        read.await.unwrap_or_else(|_| Err(io::ErrorKind::ResourceBusy.into()))
    })
}

/// A file that became shorter while it was sent: the promised length cannot be kept.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "file was truncated while it was sent")
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
