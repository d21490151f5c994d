//! Sends a request to the upstream, with an eye on a client that leaves and an answer that comes early.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::failure::{During, Failure};
use super::protocol::{Frame, Message, Payload};
use super::settings::Settings;
use crate::http::body;
use crate::http::request::Request;
use crate::upstream::Link;

/// How far the request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was sent whole.
    Whole,
    /// The upstream answers, or closed, before everything was sent.
    Early,
}

/// What one call of `sendfile` sends at most: others want their turn.
const SENDFILE: u64 = 512 * 1024;

/// What interrupts a wait for the upstream.
enum Stopped {
    Early,
    Failed(Failure),
}
impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        match error.kind() {
            io::ErrorKind::TimedOut => Stopped::Failed(Failure::SendTimeout),
            _ => Stopped::Failed(Failure::Send(error)),
        }
    }
}

/// Sends head and body.
pub(super) async fn send(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    message: &Message,
) -> Result<Sent, Failure> {
    let sent = match message.payload {
        Payload::Nothing => write(settings, request, link, &message.head, &[]).await,
        Payload::Whole => match message.frame {
            Frame::Raw | Frame::Chunked => whole(settings, request, link, message).await,
            Frame::Records(put) => records(settings, request, link, message, put).await,
        },
        Payload::Stream => stream(settings, request, link, message).await,
    };
    match sent {
        Ok(()) => Ok(Sent::Whole),
        Err(Stopped::Early) => Ok(Sent::Early),
        Err(Stopped::Failed(failure)) => Err(failure),
    }
}

async fn whole(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    message: &Message,
) -> Result<(), Stopped> {
    let memory = std::mem::take(&mut request.body.memory);
    let result = write(settings, request, link, &message.head, &memory).await;
    request.body.memory = memory;
    result?;
    match request.body.file.is_some() {
        true => send_file(settings, request, link).await,
        false => Ok(()),
    }
}

async fn send_file(settings: &Settings, request: &mut Request, link: &mut Link) -> Result<(), Stopped> {
    let (mut offset, end) = (0, request.body.read);
    while offset < end {
        let most = (end - offset).min(SENDFILE) as usize;
        let mut waits = false;
        let n = std::future::poll_fn(|cx| {
            loop {
                let Some(file) = &request.body.file else { return Poll::Ready(Ok(0)) };
                match link.try_sendfile(file.as_fd(), &mut offset, most) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done.map_err(Stopped::from)),
                }
                ready!(room(settings, request, link, cx, &mut waits))?;
            }
        })
        .await?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        count(request, n);
    }
    Ok(())
}

/// A part of a body in a file that is read at once, to be put into records.
const PART: u64 = 32 * 1024;

/// A body that was read, in records.
async fn records(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    message: &Message,
    put: fn(&[u8], bool, &mut Vec<u8>),
) -> Result<(), Stopped> {
    let mut framed = request.thread.buffer();
    framed.extend_from_slice(&message.head);
    let in_file = if request.body.file.is_some() { request.body.read } else { 0 };
    put(&request.body.memory, in_file == 0, &mut framed);
    let mut part = request.thread.buffer();
    let mut offset = 0;
    let result = loop {
        let written = write(settings, request, link, &framed, &[]).await;
        if written.is_err() || offset == in_file {
            break written;
        }
        part.resize((in_file - offset).min(PART) as usize, 0);
        let read = match &request.body.file {
            Some(file) => file.read_exact_at(&mut part, offset),
            None => Ok(()),
        };
        if let Err(error) = read {
            break Err(error.into());
        }
        offset += part.len() as u64;
        framed.clear();
        put(&part, offset == in_file, &mut framed);
    };
    request.thread.give_buffer(part);
    request.thread.give_buffer(framed);
    result
}

async fn stream(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    message: &Message,
) -> Result<(), Stopped> {
    let raw = matches!(message.frame, Frame::Raw);
    let mut part = request.thread.buffer();
    let mut framed = request.thread.buffer();
    framed.extend_from_slice(&message.head);
    let mut result = Ok(());
    if !request.head_pipelined() {
        // The upstream can begin before the body does.
        result = write(settings, request, link, &framed, &[]).await;
        framed.clear();
    }
    let result = loop {
        if result.is_err() {
            break result;
        }
        part.clear();
        let more = match receive(request, link, &mut part).await {
            Ok(more) => more,
            Err(stopped) => break Err(stopped),
        };
        match message.frame {
            Frame::Raw => {}
            Frame::Chunked => put_chunk(&part, !more, &mut framed),
            Frame::Records(put) => put(&part, !more, &mut framed),
        }
        result = write(settings, request, link, &framed, if raw { &part } else { &[] }).await;
        framed.clear();
        if !more {
            break result;
        }
    };
    request.thread.give_buffer(part);
    request.thread.give_buffer(framed);
    result
}

fn put_chunk(part: &[u8], last: bool, out: &mut Vec<u8>) {
    if !part.is_empty() {
        wire::push_hex(out, part.len() as u64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    if last {
        out.extend_from_slice(wire::chunked::LAST_CHUNK);
    }
}

/// A part of the client's body, unless the upstream has something to say first.
async fn receive(request: &mut Request, link: &Link, part: &mut Vec<u8>) -> Result<bool, Stopped> {
    let read = {
        let mut reading = pin!(body::read_some(request, part));
        std::future::poll_fn(|cx| {
            if link.maybe_readable() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(Some(read));
            }
            match link.poll_readable(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    match read {
        None => Err(Stopped::Early),
        Some(Ok(more)) => Ok(more),
        Some(Err(_)) if request.aborted => Err(Stopped::Failed(Failure::ClientGone(During::Sending))),
        Some(Err(status)) => Err(Stopped::Failed(Failure::Client(status))),
    }
}

/// Writes two pieces, in one call where the kernel takes them.
async fn write(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    first: &[u8],
    second: &[u8],
) -> Result<(), Stopped> {
    let mut at = 0;
    while at < first.len() + second.len() {
        if at > 0 && !link.nodelay {
            // What is left must not wait for the acknowledgement of what went before.
            link.nodelay = sys::net::set_nodelay(link.socket.fd(), true).is_ok();
        }
        let mut waits = false;
        let n = std::future::poll_fn(|cx| {
            loop {
                let rest = &first[at.min(first.len())..];
                let body = &second[at.saturating_sub(first.len())..];
                let written = match (rest, body) {
                    (one, []) | ([], one) => link.try_write(one),
                    (one, two) => link.try_writev(&[IoSlice::new(one), IoSlice::new(two)]),
                };
                match written {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    // It closed, perhaps with an answer: what it said counts.
                    Err(_) if link.maybe_readable() && !link.reused => {
                        return Poll::Ready(Err(Stopped::Early));
                    }
                    done => return Poll::Ready(done.map_err(Stopped::from)),
                }
                ready!(room(settings, request, link, cx, &mut waits))?;
            }
        })
        .await?;
        count(request, n);
        at += n;
    }
    Ok(())
}

fn count(request: &mut Request, n: usize) {
    if let Some(last) = request.upstream.last() {
        last.sent += n as u64;
    }
}

/// Waits for room; each wait lasts `proxy_send_timeout` at most.
fn room(
    settings: &Settings,
    request: &Request,
    link: &Link,
    cx: &mut Context<'_>,
    waits: &mut bool,
) -> Poll<Result<(), Stopped>> {
    if !std::mem::replace(waits, true) {
        link.socket.set_timeout(settings.send_timeout);
    }
    if !settings.ignore_client_abort
        && !request.upstream.cache.keeps
        && request.client.poll_closed(cx).is_ready()
    {
        return Poll::Ready(Err(Stopped::Failed(Failure::ClientGone(During::Sending))));
    }
    if link.maybe_readable() {
        return Poll::Ready(Err(Stopped::Early));
    }
    if let Poll::Ready(writable) = link.poll_writable(cx) {
        return Poll::Ready(writable.map_err(Stopped::from));
    }
    // Woken by an answer, too.
    match link.poll_readable(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(Stopped::Early)),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        Poll::Pending => Poll::Pending,
    }
}
