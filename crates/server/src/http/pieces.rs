//! A response's body, piece by piece in memory: for those who look into it, or who pass it on as part of another.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use super::filters::Chunk;
use super::request::Request;
use super::response::{Body, FileBody};
use crate::worker::ledger::OpenFile;

/// How much of a file is read at a time.
const PIECE: u64 = 64 * 1024;

/// A piece of a body, and where in a file it stands if it is from one.
pub struct Piece {
    /// The bytes.
    pub text: Vec<u8>,
    /// The file and the place in it.
    pub origin: Option<(Rc<OpenFile>, u64)>,
}

/// The next piece of a body; `None` at its end. What asks others for its pieces (`Body::Series`) has none here.
///
/// # Errors
/// When a file cannot be read, or an upstream broke off.
pub async fn next(request: &Request, body: &mut Body) -> io::Result<Option<Piece>> {
    loop {
        let piece = match body {
            Body::Parts(parts) => {
                let Some(part) = parts.front_mut() else { return Ok(None) };
                let next = Box::pin(next(request, part)).await?;
                if next.is_none() {
                    parts.pop_front();
                    continue;
                }
                return Ok(next);
            }
            Body::Filtered(part) => match part.next()? {
                Some(chunk) => text(chunk),
                None if part.is_over() => return Ok(None),
                None => {
                    let next = Box::pin(next(request, &mut part.body)).await?;
                    part.give(next.map(|piece| Chunk::Memory(piece.text.into())))?;
                    continue;
                }
            },
            Body::File(part) if part.offset < part.end => {
                let Body::File(part) = std::mem::take(body) else { return Ok(None) };
                let (mut part, file) = part.share();
                let piece = read(request, &mut part, file).await;
                *body = Body::File(part);
                return piece.map(Some);
            }
            Body::File(_) | Body::Empty | Body::Series(_) => return Ok(None),
            Body::Upstream(upstream) => match std::future::poll_fn(|cx| upstream.poll_next(cx)).await? {
                None => return Ok(None),
                Some(Chunk::Memory(text)) => text.into_vec(),
                Some(Chunk::Static(text)) => text.to_vec(),
                Some(Chunk::File(part)) => {
                    let mut part = Body::File(part);
                    std::mem::swap(body, &mut part);
                    *body = Body::Parts([std::mem::take(body), part].into());
                    continue;
                }
                Some(Chunk::Flush) => continue,
            },
            Body::Static(_) | Body::Memory(_) => match std::mem::take(body) {
                Body::Static(text) => text.to_vec(),
                Body::Memory(text) => text.into_vec(),
                _ => return Ok(None),
            },
        };
        return Ok(Some(Piece { text: piece, origin: None }));
    }
}

/// What filters make is in memory.
fn text(chunk: Chunk) -> Vec<u8> {
    match chunk {
        Chunk::Memory(text) => text.into_vec(),
        Chunk::Static(text) => text.to_vec(),
        Chunk::File(_) | Chunk::Flush => Vec::new(),
    }
}

async fn read(request: &Request, part: &mut FileBody, file: Rc<OpenFile>) -> io::Result<Piece> {
    let (offset, size) = (part.offset, (part.end - part.offset).min(PIECE) as usize);
    let mut text = vec![0; size];
    let n = match sys::file::read_cached(&part.file, &mut text, offset) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let file = file.twin()?;
            let read = move || -> io::Result<Vec<u8>> {
                let mut text = vec![0; size];
                let n = file.read_at(&mut text, offset)?;
                text.truncate(n);
                Ok(text)
            };
            let run = request.thread.process.blocking.run(read);
            text = run.await.unwrap_or_else(|_| Err(io::ErrorKind::ResourceBusy.into()))?;
            text.len()
        }
        read => read?,
    };
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.truncate(n);
    part.offset += n as u64;
    Ok(Piece { text, origin: Some((file, offset)) })
}
