//! A part of the body comes from the connection: what is behind the head first, then what the client sends.

use std::io;
use std::task::Poll;

use wire::Framing;
use wire::chunked::Step;

use crate::http::request::Request;

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
            if request.client.is_stream() {
                if let Some(text) = request.client.cancellation() {
                    log_info!(request, "{text}");
                }
                log_info!(request, "client prematurely closed stream");
                return Err(499);
            }
            log_info!(request, "{}", crate::log::openssl::ReadFailed(&e));
            Err(400)
        }
    }
}

/// Takes what is read but not decoded yet from `request.buffer`, to `out` if anybody wants it.
pub(super) fn take_buffered(request: &mut Request, out: Option<&mut Vec<u8>>) -> Result<(), u16> {
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
