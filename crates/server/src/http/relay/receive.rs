//! Reads the head of the upstream's response.

use std::io;
use std::task::Poll;

use wire::{BadResponse, Method, Progress};

use super::failure::{During, Failure};
use super::hints;
use super::protocol::{BadHead, Reader};
use super::settings::Settings;
use crate::http::request::Request;
use crate::upstream::Link;
use crate::worker::thread::{BLOCK, Thread};

/// Interim responses (100, 103) that one response may have before it.
const INTERIM: usize = 64;

/// Reads until the head is there, into the request's record; what came behind it stays in the buffer.
pub(super) async fn head(
    settings: &Settings,
    request: &mut Request,
    link: &Link,
    reader: &mut Reader,
    method: Method,
) -> Result<(), Failure> {
    let (mut interim, mut hints) = (0, 0);
    loop {
        if !request.upstream.buffer.is_empty() {
            let record = &mut request.upstream;
            let limit = settings.buffer_size;
            match reader {
                Reader::Http(parser) => match parser.parse(&record.buffer, &mut record.head, limit) {
                    Ok(Progress::Done) if is_interim(record.head.status) && interim < INTERIM => {
                        interim += 1;
                        if record.head.status == 103 {
                            hints::pass_on(settings, request, &mut hints).await;
                        }
                        let record = &mut request.upstream;
                        record.buffer.drain(..record.head.length);
                        parser.reset();
                        continue;
                    }
                    Ok(Progress::Done) => return check(request, method),
                    Err(BadResponse::NoStatusLine) => return without_head(request),
                    Err(bad) => return Err(Failure::Invalid(bad.into())),
                    Ok(_) => {}
                },
                // That of a stream is not read here, and one that is opened has none.
                Reader::Stream | Reader::Opened => return Err(Failure::Closed),
                Reader::Other(answer) => {
                    let progress = answer.head(&mut record.buffer, &mut record.head, limit);
                    for (level, note) in answer.notes() {
                        request
                            .note(level, format_args!("{note} while reading response header from upstream"));
                    }
                    if progress.map_err(Failure::Invalid)? == Progress::Done {
                        request.upstream.answered(request.thread.handle.now());
                        return Ok(());
                    }
                }
            }
        }
        if read(settings, request, link).await? == 0 {
            return Err(Failure::Closed);
        }
    }
}

/// 101 is final, the others announce a response.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

fn check(request: &mut Request, method: Method) -> Result<(), Failure> {
    request.upstream.answered(request.thread.handle.now());
    let record = &mut request.upstream;
    let framing = record.head.framing(method, &record.buffer);
    record.framing = Some(framing.map_err(|bad| Failure::Invalid(bad.into()))?);
    let wants = request.head.headers.has(wire::Known::Upgrade);
    match record.head.status {
        101 if !wants => Err(Failure::Upgrade),
        status if is_interim(status) => Err(Failure::Invalid(BadHead::Lines(BadResponse::TooBig))),
        _ => Ok(()),
    }
}

/// What has no head is HTTP/0.9: all of it is the body, and the client gets it so.
fn without_head(request: &mut Request) -> Result<(), Failure> {
    log_error!(request, "upstream sent no valid HTTP/1.0 header while reading response header from upstream");
    request.upstream.head.make_http09();
    request.head.version = wire::Version::Http09;
    request.upstream.answered(request.thread.handle.now());
    Ok(())
}

/// Moves what was read so far to a block: a body that comes with the head goes on from where it was read to.
fn make_room(thread: &Thread, buffer: &mut Vec<u8>) {
    if buffer.capacity() < BLOCK {
        let mut block = thread.block();
        block.extend_from_slice(buffer);
        thread.give_buffer(std::mem::replace(buffer, block));
    }
}

/// Reads what is there; each wait lasts `proxy_read_timeout` at most.
async fn read(settings: &Settings, request: &mut Request, link: &Link) -> Result<usize, Failure> {
    let mut waits = false;
    let Request { thread, client, upstream, .. } = request;
    let n = std::future::poll_fn(|cx| {
        loop {
            if link.maybe_readable() {
                make_room(thread, &mut upstream.buffer);
            }
            match link.try_append(&mut upstream.buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map_err(Failure::Receive)),
            }
            if !std::mem::replace(&mut waits, true) {
                link.socket.set_timeout(settings.read_timeout);
            }
            if !settings.ignore_client_abort && !upstream.cache.keeps && client.poll_closed(cx).is_ready() {
                let during = if upstream.buffer.is_empty() { During::Sending } else { During::Receiving };
                return Poll::Ready(Err(Failure::ClientGone(during)));
            }
            match link.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(Failure::ReceiveTimeout));
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(Failure::Receive(e))),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await?;
    if let Some(last) = upstream.last() {
        last.received += n as u64;
    }
    Ok(n)
}
