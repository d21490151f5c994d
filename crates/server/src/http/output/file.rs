//! Bodies from files: sent unread where nothing changes them, else read; by the pool where the disk has to be waited for.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::stream::Sender;
use super::{late, sent};
use crate::http::file::text;
use crate::http::filters::{Chunk, Piece};
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};
use crate::modules::core::delivery::Delivery;
use crate::worker::descriptors;
use crate::worker::ledger::{Class, Counted, OpenFile};

/// The most one call of `sendfile` sends. Cutting a file in smaller pieces costs more than the calls: each piece is pushed
/// out by itself, and its acknowledgement dealt with.
const SENDFILE: u64 = 1024 * 1024;
/// How much of a file is looked at, and read ahead if it must be, at a time.
const WINDOW: u64 = 256 * 1024;
/// How much at a time of a file that must be held until the client has taken it.
const PIECE: u64 = 64 * 1024;

/// A read under way in the pool of blocking threads.
pub(super) type Reading = Pin<Box<dyn Future<Output = io::Result<Piece>>>>;

impl Sender {
    /// A piece of a file that has to pass filters or encryption.
    pub(super) fn read_file(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let plan = request.plan();
        let Body::File(part) = &mut request.response.body else { return Poll::Ready(Ok(None)) };
        if let Some(reading) = &mut self.reading {
            let bytes = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            let bytes = bytes?;
            if bytes.is_empty() {
                return Poll::Ready(Err(Truncated::error(&part.file, part.offset, "pread")));
            }
            part.offset += bytes.len() as u64;
            return Poll::Ready(Ok(Some(Chunk::Memory(bytes))));
        }
        let delivery = &plan.core.delivery;
        if reads_directly(delivery, part) {
            let (align, piece) = (delivery.alignment as usize, delivery.output_buffer);
            let direct = self.direct.get_or_insert_with(|| open_direct(&part.file).ok());
            let most = piece.min((part.end - part.offset) as usize);
            self.reading = Some(match direct {
                Some(file) => read_direct(request, file.twin(), part_of(request)?.1, most, align),
                None => read_elsewhere(request, part_of(request)?, most),
            });
            return self.read_file(request, cx);
        }
        let mut buffer = request.thread.buffer();
        let piece = plan.core.delivery.output_buffer as u64;
        buffer.resize((part.end - part.offset).min(piece) as usize, 0);
        match sys::file::read_cached(&part.file, &mut buffer, part.offset) {
            Ok(0) => Poll::Ready(Err(Truncated::error(&part.file, part.offset, "pread"))),
            Ok(n) => {
                buffer.truncate(n);
                part.offset += n as u64;
                Poll::Ready(Ok(Some(Chunk::Memory(buffer.into()))))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let most = buffer.len();
                request.thread.give_buffer(buffer);
                self.reading = Some(read_elsewhere(request, part_of(request)?, most));
                self.read_file(request, cx)
            }
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    pub(super) fn send_file(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<()>> {
        ready!(self.warm(request, cx))?;
        let Some(Chunk::File(part)) = self.queue.front_mut() else { return Poll::Ready(Ok(())) };
        let most = room.min((self.warm - part.offset) as usize);
        let mut sent_now = request.client.poll_sendfile(cx, part, most);
        if late(request, &sent_now) {
            sent_now = request.client.poll_sendfile(cx, part, most);
        }
        let done = part.offset >= part.end;
        if sent_now.is_pending() {
            // Who knows what of it is still in memory when the client has taken some.
            self.warm = 0;
        }
        match ready!(sent(request, sent_now)) {
            Ok(0) => Poll::Ready(Err(self.truncated())),
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
    /// Makes sure that what is sent next of the file in front is in memory: a thread of the pool waits for the disk, not the
    /// loop.
    fn warm(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(Chunk::File(part)) = self.queue.front() else { return Poll::Ready(Ok(())) };
        if part.offset < self.warm {
            return Poll::Ready(Ok(()));
        }
        let most = if self.forgetful { PIECE } else { WINDOW };
        let window = (part.end - part.offset).min(most);
        if self.reading.is_none() {
            if sys::file::is_cached(&part.file, part.offset, window) {
                let most = part.end.min(part.offset + if self.forgetful { window } else { SENDFILE });
                self.warm = warm_until(&part.file, part.offset + window, most);
                return Poll::Ready(Ok(()));
            }
            self.reading = Some(read_elsewhere(request, (&part.file, part.offset), window as usize));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(Ok(())) };
        let read = ready!(reading.as_mut().poll(cx))?;
        self.reading = None;
        if read.is_empty() {
            return Poll::Ready(Err(self.truncated()));
        }
        let length = read.len() as u64;
        self.forgetful = !sys::file::is_cached(&part.file, part.offset, length);
        match self.forgetful {
            true => self.send_read(read),
            false => self.warm = part.offset + length,
        }
        Poll::Ready(Ok(()))
    }

    /// The file in front has ended too soon.
    fn truncated(&self) -> io::Error {
        match self.queue.front() {
            Some(Chunk::File(part)) => Truncated::error(&part.file, part.offset, "sendfile"),
            _ => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// What was read of the file in front is sent itself: its file system does not keep it (or does not say), and would
    /// be waited for once more.
    fn send_read(&mut self, read: Piece) {
        let Some(Chunk::File(part)) = self.queue.front_mut() else { return };
        part.offset += read.len() as u64;
        if part.offset >= part.end {
            self.queue.pop_front();
            self.warm = 0;
        }
        self.queue.push_front(Chunk::Memory(read));
    }
}

/// How far a file is in memory of which all is before `from`, looked at window by window.
fn warm_until(file: &File, mut from: u64, end: u64) -> u64 {
    while from < end {
        let window = (end - from).min(WINDOW);
        if !sys::file::ends_cached(file, from, window) {
            break;
        }
        from += window;
    }
    from
}

/// Reads a small file behind the head if it is in memory.
pub(super) fn read_small(part: &mut FileBody, head: &mut Vec<u8>) -> bool {
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

/// The file that is the body, and the place in it.
fn part_of(request: &Request) -> io::Result<(&OpenFile, u64)> {
    match &request.response.body {
        Body::File(part) => Ok((&part.file, part.offset)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Reads a part of a file in the pool of blocking threads.
fn read_elsewhere(request: &Request, (file, offset): (&OpenFile, u64), most: usize) -> Reading {
    match file.twin() {
        Ok(file) => blocking(request, move || read_at(&file, offset, most)),
        // No descriptor is left: the loop waits for the disk, lest the answer be broken off.
        Err(_) => {
            descriptors::make_room(&request.thread);
            let read = read_at(file, offset, most);
            Box::pin(async { read })
        }
    }
}
fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Piece> {
    let mut buffer = vec![0; most];
    let n = file.read_at(&mut buffer, offset)?;
    buffer.truncate(n);
    Ok(buffer.into())
}

/// Whether a part of a file is to be read past the system's cache (`directio`).
pub(super) fn reads_directly(delivery: &Delivery, part: &FileBody) -> bool {
    delivery.directio.is_some_and(|least| part.end >= least)
}

/// The same file with O_DIRECT, which others who have it open do not want.
fn open_direct(file: &File) -> io::Result<OpenFile> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct =
        File::options().read(true).custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32).open(path)?;
    Ok(Counted::new(Class::File, direct))
}

/// As [`read_elsewhere`], past the system's cache: offset, length and place in memory are multiples of `align`.
fn read_direct(
    request: &Request,
    file: io::Result<OpenFile>,
    offset: u64,
    most: usize,
    align: usize,
) -> Reading {
    blocking(request, move || {
        let skip = (offset % align as u64) as usize;
        let length = (skip + most).next_multiple_of(align);
        let mut buffer = vec![0; length + align];
        let start = buffer.as_ptr().align_offset(align).min(align);
        let n = file?.read_at(&mut buffer[start..start + length], offset - skip as u64)?;
        let mut piece = Piece::behind(buffer, start + skip);
        piece.truncate(n.saturating_sub(skip).min(most));
        Ok(piece)
    })
}

fn blocking(request: &Request, read: impl FnOnce() -> io::Result<Piece> + Send + 'static) -> Reading {
    let blocking = request.thread.process.blocking.clone();
    Box::pin(
        async move { blocking.run(read).await.unwrap_or_else(|_| Err(io::ErrorKind::ResourceBusy.into())) },
    )
}

/// A file that became shorter while it was sent: the promised length cannot be kept.
#[derive(Debug)]
pub(super) struct Truncated {
    call: &'static str,
    /// By the name it has now.
    path: PathBuf,
    at: u64,
}
impl Truncated {
    fn error(file: &File, at: u64, call: &'static str) -> io::Error {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
        io::Error::new(io::ErrorKind::UnexpectedEof, Truncated { call, path, at })
    }
    /// What the error is, if it is one of these.
    pub fn of(error: &io::Error) -> Option<&Truncated> {
        error.get_ref()?.downcast_ref()
    }
}
impl std::error::Error for Truncated {}
impl std::fmt::Display for Truncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = text(self.path.as_os_str().as_bytes());
        write!(f, "{}() reported that \"{path}\" was truncated at {}", self.call, self.at)
    }
}
