//! The request's body: read by whoever needs it, in memory or a temporary file, or thrown away.

use std::io;
use std::task::Poll;

use wire::Framing;
use wire::chunked::{Decoder, Step};

use super::request::Request;
use crate::modules::core::client_body::InFile;
use crate::worker::ledger::OpenFile;

/// What is known of the body of the request in service.
pub struct RequestBody {
    /// How the head says that it is delimited.
    pub framing: Framing,
    /// The location's `client_max_body_size`; 0 for no limit.
    pub limit: u64,
    /// Bytes of the body read, decoded.
    pub read: u64,
    /// Bytes of the body read, as the client sent them.
    pub consumed: u64,
    /// It was too large for some location: nobody gets it any more, and what comes of it is thrown away.
    pub refused: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The whole body, if it was read and fits `client_body_buffer_size`.
    pub memory: Vec<u8>,
    /// The whole body, if it was read and did not fit.
    pub file: Option<OpenFile>,
    /// The name of that file, if it has one.
    pub name: Option<crate::temp::Name>,
    /// Everything was read.
    pub complete: bool,
    /// Its chunks are none: it was refused, and how long it is nobody knows.
    pub broken: bool,
    decoder: Decoder,
}

impl Default for RequestBody {
    fn default() -> RequestBody {
        RequestBody {
            framing: Framing::None,
            limit: 0,
            read: 0,
            consumed: 0,
            refused: false,
            expects_continue: false,
            memory: Vec::new(),
            file: None,
            name: None,
            complete: true,
            broken: false,
            decoder: Decoder::default(),
        }
    }
}

impl RequestBody {
    /// Ready for the next request. Names every field, so that none that is added is forgotten.
    pub fn reset(&mut self) {
        #[rustfmt::skip]
        let RequestBody {
            framing, limit, read, consumed, refused, expects_continue, memory, file, name, complete, broken, decoder,
        } = self;
        (*framing, *limit, *read, *consumed) = (Framing::None, 0, 0, 0);
        (*refused, *expects_continue, *complete, *broken) = (false, false, true, false);
        memory.clear();
        (*file, *name) = (None, None);
        *decoder = Decoder::default();
    }
    /// The same body for another request, as far as it was read.
    ///
    /// # Errors
    /// When the file it is in cannot be held open a second time.
    pub fn twin(&self) -> io::Result<RequestBody> {
        Ok(RequestBody {
            framing: self.framing,
            read: self.read,
            consumed: self.consumed,
            memory: self.memory.clone(),
            file: self.file.as_ref().map(OpenFile::twin).transpose()?,
            ..RequestBody::default()
        })
    }
    /// What the head says of the body.
    pub fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.complete = matches!(framing, Framing::None | Framing::Length(0));
    }
    /// `Content-Length`; of a body in chunks its size, once it was read. 0 where neither is known.
    pub fn declared(&self) -> u64 {
        match self.framing {
            Framing::Length(length) => length,
            Framing::Chunked if self.complete => self.read,
            _ => 0,
        }
    }
    /// It is too large (413): for the page that says so, and whoever makes it, there is none.
    pub fn refuse(&mut self) {
        (self.framing, self.read) = (Framing::Length(0), 0);
        (self.refused, self.complete, self.expects_continue) = (true, true, false);
        self.memory.clear();
        (self.file, self.name) = (None, None);
    }
    /// A body of which nothing is left.
    pub fn none() -> RequestBody {
        let mut body = RequestBody::default();
        body.refuse();
        body
    }
    /// Whether all of it is here, to be passed on.
    pub fn is_kept(&self) -> bool {
        let held = self.file.is_some() || self.memory.len() as u64 == self.read;
        !self.is_expected() || self.complete && held
    }
    /// Whether there is any body to read.
    pub fn is_expected(&self) -> bool {
        !matches!(self.framing, Framing::None)
    }
}

/// Reads a part of the body and appends it to `out`; `false` when there is no more.
///
/// # Errors
/// The status to refuse with: 400 for broken framing or a client that went away, 408, 413.
pub async fn read_some(request: &mut Request, out: &mut Vec<u8>) -> Result<bool, u16> {
    send_continue(request).await?;
    if request.body.complete {
        return Ok(false);
    }
    if request.client.is_stream() {
        return read_frames(request, out).await;
    }
    let before = out.len();
    loop {
        take_buffered(request, Some(out))?;
        if request.body.complete || out.len() > before {
            return Ok(!request.body.complete);
        }
        match request.body.framing {
            Framing::Length(length) if !request.head_pipelined() => read_past(request, length, out).await?,
            _ => fill(request).await?,
        }
    }
}

/// Reads more of a stream's body: the frames say where it ends.
async fn read_frames(request: &mut Request, out: &mut Vec<u8>) -> Result<bool, u16> {
    set_deadline(request);
    let client = &mut request.client;
    let read = std::future::poll_fn(|cx| match client.stream() {
        Ok(stream) => stream.poll_data(cx, out),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await;
    match read {
        Ok(0) => request.body.complete = true,
        read => {
            let n = arrived(request, read)? as u64;
            request.received += n;
            request.body.read += n;
            request.body.consumed += n;
        }
    }
    let (read, limit) = (request.body.read, request.body.limit);
    match request.body.framing {
        Framing::Length(length) if read > length => {
            log_info!(request, "client intended to send body data larger than declared");
            return Err(400);
        }
        Framing::Length(length) if request.body.complete && read < length => {
            log_info!(
                request,
                "client prematurely closed stream: only {read} out of {length} bytes of request body received"
            );
            return Err(400);
        }
        Framing::Length(length) => request.body.complete |= read >= length,
        _ if limit != 0 && read > limit => {
            log_error!(request, "client intended to send too large chunked body: {read} bytes");
            return Err(413);
        }
        _ => {}
    }
    Ok(!request.body.complete)
}

/// Reads more of a body of known length straight to where it is wanted. What follows the body is the next request's.
async fn read_past(request: &mut Request, length: u64, out: &mut Vec<u8>) -> Result<(), u16> {
    set_deadline(request);
    request.compact();
    let before = out.len();
    let Request { thread, client, .. } = &mut *request;
    let read = std::future::poll_fn(|cx| client.poll_read_block(cx, thread, out)).await;
    let n = arrived(request, read)?;
    request.received += n as u64;
    let left = usize::try_from(length - request.body.read).unwrap_or(usize::MAX);
    if n > left {
        request.buffer.extend_from_slice(&out[before + left..]);
        out.truncate(before + left);
    }
    request.body.read += n.min(left) as u64;
    request.body.consumed += n.min(left) as u64;
    request.body.complete = n >= left;
    Ok(())
}

/// Reads more bytes of the connection behind `request.buffer`.
async fn fill(request: &mut Request) -> Result<(), u16> {
    set_deadline(request);
    request.compact();
    let read = request.receive().await;
    arrived(request, read).map(drop)
}

fn set_deadline(request: &Request) {
    let timeout = request.core().client_body.timeout;
    request.client.set_deadline(Some(request.thread.handle.now() + timeout));
}

/// Says why there are no more bytes.
fn arrived(request: &mut Request, read: io::Result<usize>) -> Result<usize, u16> {
    match read {
        Ok(0) => {
            request.aborted = true;
            log_info!(request, "client prematurely closed connection");
            Err(400)
        }
        Ok(n) => Ok(n),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => {
            log_info!(request, "client timed out (110: Connection timed out)");
            request.client.timed_out = true;
            Err(408)
        }
        Err(e) => {
            request.aborted = true;
            if let Some(text) = request.client.cancellation() {
                log_info!(request, "{text}");
                return Err(400);
            }
            log_info!(request, "{}", crate::modules::ssl::words::ReadFailed(&e));
            Err(400)
        }
    }
}

/// Takes what is read but not decoded yet from `request.buffer`, to `out` if anybody wants it.
fn take_buffered(request: &mut Request, out: Option<&mut Vec<u8>>) -> Result<(), u16> {
    let start = request.unread;
    let taken = match request.body.framing {
        Framing::None => {
            request.body.complete = true;
            0
        }
        Framing::Length(length) => {
            let left = length - request.body.read;
            let there = &request.buffer[request.unread..];
            let n = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Some(out) = out {
                out.extend_from_slice(&there[..n]);
            }
            request.unread += n;
            request.body.complete = n as u64 == left;
            n as u64
        }
        Framing::Chunked => take_chunks(request, out)?,
    };
    request.body.read += taken;
    request.body.consumed += (request.unread - start) as u64;
    Ok(())
}

/// A chunk is refused by its announced size, before it arrives.
fn check_chunk(request: &Request, held: u64, size: u64) -> Result<(), u16> {
    if request.body.limit == 0 || held.saturating_add(size) <= request.body.limit {
        return Ok(());
    }
    log_error!(request, "client intended to send too large chunked body: {held}+{size} bytes");
    Err(413)
}

/// How much of the body the chunks held.
fn take_chunks(request: &mut Request, mut out: Option<&mut Vec<u8>>) -> Result<u64, u16> {
    let mut taken = 0;
    while request.unread < request.buffer.len() {
        let there = &request.buffer[request.unread..];
        let held = request.body.read + taken;
        let decoded = request.body.decoder.decode(there);
        let left = request.body.decoder.left_in_chunk();
        match decoded {
            Ok(Step::Data(data)) => {
                check_chunk(request, held, left.saturating_add(data.len() as u64))?;
                if let Some(out) = &mut out {
                    out.extend_from_slice(&there[data.clone()]);
                }
                taken += data.len() as u64;
                request.unread += data.end;
            }
            Ok(Step::More { consumed }) => {
                check_chunk(request, held, left)?;
                request.unread += consumed;
                break;
            }
            Ok(Step::Done { consumed }) => {
                request.unread += consumed;
                request.body.complete = true;
                break;
            }
            Err(_) => {
                log_error!(request, "client sent invalid chunked body");
                // It is refused once: nothing more is read of it, nor of the connection.
                (request.body.complete, request.body.broken) = (true, true);
                request.keep_alive = false;
                return Err(400);
            }
        }
    }
    Ok(taken)
}

/// Whether what was read with the head has the whole of a body in chunks, or shows that it is broken.
pub fn is_here(request: &Request) -> bool {
    if request.body.framing != Framing::Chunked || request.client.is_stream() {
        return false;
    }
    let mut decoder = request.body.decoder.clone();
    let mut there = &request.buffer[request.unread..];
    loop {
        match decoder.decode(there) {
            Ok(Step::Data(data)) => there = &there[data.end..],
            Ok(Step::More { .. }) => return false,
            Ok(Step::Done { .. }) | Err(_) => return true,
        }
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Answers an `Expect: 100-continue`; as nginx does, even where the body is here already or there is none.
///
/// # Errors
/// 400 if the client cannot be told.
pub async fn send_continue(request: &mut Request) -> Result<(), u16> {
    if !std::mem::take(&mut request.body.expects_continue) {
        return Ok(());
    }
    let slices = [io::IoSlice::new(CONTINUE)];
    let written = std::future::poll_fn(|cx| request.client.poll_write(cx, &slices, false)).await;
    match written {
        Ok(n) if n == CONTINUE.len() => {
            request.sent += n as u64;
            Ok(())
        }
        _ => {
            request.aborted = true;
            Err(400)
        }
    }
}

/// Before an answer that does not need the body: lets the client send it, and looks at what came of it.
///
/// # Errors
/// 400 if its framing is broken.
pub async fn disregard(request: &mut Request) -> Result<(), u16> {
    send_continue(request).await?;
    drop_buffered(request)
}

/// Drops what was read of a body that nobody wants.
///
/// # Errors
/// 400 if its framing is broken.
pub fn drop_buffered(request: &mut Request) -> Result<(), u16> {
    if request.client.is_stream() {
        return Ok(());
    }
    request.body.limit = 0;
    if request.body.complete {
        return Ok(());
    }
    let (consumed, read) = (request.body.consumed, request.body.read);
    let result = take_buffered(request, None);
    // As in nginx, `$request_length` has only what somebody read, and so has `$content_length` of chunks.
    request.body.consumed = consumed;
    if request.body.framing == Framing::Chunked {
        request.body.read = read;
    }
    result
}

/// Reads the whole body: into memory up to `client_body_buffer_size`, else into a temporary file, where
/// `client_body_in_file_only` wants one even if there is nothing to put into it.
pub async fn read_whole(request: &mut Request) -> Result<(), u16> {
    let plan = request.plan();
    let only_in_file = !matches!(plan.core.client_body.in_file_only, InFile::Off);
    let room = if only_in_file { 0 } else { plan.core.client_body.buffer_size };
    let mut part = request.thread.buffer();
    let result = loop {
        part.clear();
        let more = match read_some(request, &mut part).await {
            Ok(more) => more,
            Err(status) => break Err(status),
        };
        if let Err(status) = store(request, &part, room) {
            break Err(status);
        }
        if !more {
            break Ok(());
        }
    };
    request.thread.give_buffer(part);
    result?;
    if only_in_file && request.body.is_expected() && request.body.file.is_none() {
        (request.body.file, request.body.name) = temporary(request)?;
    }
    Ok(())
}

fn temporary(request: &mut Request) -> Result<(Option<OpenFile>, Option<crate::temp::Name>), u16> {
    let (file, name) = crate::temp::create(request, crate::temp::Kind::ClientBody)?;
    Ok((Some(file), name))
}

fn store(request: &mut Request, part: &[u8], room: usize) -> Result<(), u16> {
    if request.body.file.is_none() {
        if part.is_empty() || request.body.memory.len() + part.len() <= room {
            request.body.memory.extend_from_slice(part);
            return Ok(());
        }
        (request.body.file, request.body.name) = temporary(request)?;
        let memory = std::mem::take(&mut request.body.memory);
        append(request, &memory)?;
    }
    append(request, part)
}
fn append(request: &Request, part: &[u8]) -> Result<(), u16> {
    let Some(mut file) = request.body.file.as_deref() else { return Ok(()) };
    io::Write::write_all(&mut file, part).map_err(|e| {
        log_crit!(request, "write() to temporary file failed ({})", crate::log::Errno(&e));
        500
    })
}

/// Reads and drops what is left of the body, so that the next request can be read; `false`: the connection must close.
pub async fn discard(request: &mut Request) -> bool {
    let plan = request.plan();
    let end = request.thread.handle.now() + plan.core.lingering.time;
    loop {
        match drop_buffered(request) {
            Err(_) => return false,
            Ok(()) if request.body.complete => return true,
            Ok(()) => {}
        }
        let now = request.thread.handle.now();
        if now >= end {
            return false;
        }
        request.client.set_deadline(Some((now + plan.core.lingering.timeout).min(end)));
        request.compact();
        // Nobody is told of one who leaves or falls silent: he has his answer.
        let read = request.receive().await;
        if !matches!(read, Ok(1..)) {
            request.client.timed_out = read.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
            return false;
        }
    }
}
