//! What changes a response on its way out.
//!
//! Header filters look at the head once, in the order of [`super::phases`]; one that wants to change the body
//! adds a [`BodyFilter`]. Body filters turn chunks into chunks, synchronously; the sender
//! ([`super::output`]) pulls from the source only when the client has taken what came before, so a slow client
//! holds up nothing but itself. With no filter a file goes out by `sendfile`.

use std::collections::VecDeque;
use std::io;

use super::request::Request;
use super::response::FileBody;

/// A configured look at every response's head.
pub trait HeaderFilter: Send + Sync {
    /// Changes the head in place; an error status replaces the response (412, 416).
    fn apply(&self, request: &mut Request) -> Result<(), u16>;
    /// Whether it looks at answers that become part of others, too (`ssi`, `addition`).
    fn minds_parts(&self) -> bool {
        false
    }
}

/// Bytes in a buffer, from some place on: what was read together with a head goes on without being copied.
#[derive(Default)]
pub struct Piece {
    buffer: Vec<u8>,
    from: usize,
}
impl Piece {
    /// What stands in `buffer` behind the first `from` bytes.
    pub fn behind(buffer: Vec<u8>, from: usize) -> Piece {
        debug_assert!(from <= buffer.len());
        Piece { buffer, from }
    }
    /// Drops all but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(self.from + length);
    }
    /// Drops the first `length` bytes.
    pub fn advance(&mut self, length: usize) {
        self.from = self.buffer.len().min(self.from + length);
    }
    /// The bytes alone.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.buffer.drain(..self.from);
        self.buffer
    }
    /// The buffer, for reuse.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}
impl From<Vec<u8>> for Piece {
    fn from(buffer: Vec<u8>) -> Piece {
        Piece { buffer, from: 0 }
    }
}
impl std::ops::Deref for Piece {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[self.from..]
    }
}
impl std::ops::DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.from..]
    }
}

/// A part of a body.
pub enum Chunk {
    /// Bytes in a buffer of the thread's pool.
    Memory(Piece),
    /// Bytes that live as long as the process.
    Static(&'static [u8]),
    /// A part of a file.
    File(FileBody),
    /// What came so far should reach the client now.
    Flush,
}

/// Turns the chunks of a body into other chunks.
pub trait BodyFilter {
    /// Takes one chunk; appends what is ready. File chunks arrive only if [`BodyFilter::takes_files`].
    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<Chunk>) -> io::Result<()>;
    /// The body is complete; appends what is left.
    fn end(&mut self, out: &mut VecDeque<Chunk>) -> io::Result<()>;
    /// Appends more of what the chunks so far become, for a filter that holds it back because it may be a lot;
    /// `false` if there is no more. Asked before the next chunk comes.
    fn more(&mut self, _: &mut VecDeque<Chunk>) -> io::Result<bool> {
        Ok(false)
    }
    /// Whether files may arrive unread.
    fn takes_files(&self) -> bool {
        false
    }
}

/// Why a body cannot be made into another: an error of filters, in the log's words.
#[derive(Debug)]
pub struct Unfit(&'static str);
impl Unfit {
    /// As an error of [`BodyFilter`].
    pub fn error(why: &'static str) -> io::Error {
        io::Error::other(Unfit(why))
    }
    /// What the error is, if it is one of these.
    pub fn of(error: &io::Error) -> Option<&'static str> {
        Some(error.get_ref()?.downcast_ref::<Unfit>()?.0)
    }
}
impl std::error::Error for Unfit {}
impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Runs one chunk through `filters` from the first on.
pub fn through(
    filters: &mut [Box<dyn BodyFilter>],
    chunk: Chunk,
    out: &mut VecDeque<Chunk>,
) -> io::Result<()> {
    let Some((first, rest)) = filters.split_first_mut() else {
        out.push_back(chunk);
        return Ok(());
    };
    let mut made = VecDeque::new();
    first.chunk(chunk, &mut made)?;
    made.into_iter().try_for_each(|chunk| through(rest, chunk, out))
}

/// Asks `filters` for what they hold back; `false` if that is nothing.
pub fn more(filters: &mut [Box<dyn BodyFilter>], out: &mut VecDeque<Chunk>) -> io::Result<bool> {
    let Some((first, rest)) = filters.split_first_mut() else { return Ok(false) };
    let mut made = VecDeque::new();
    if !first.more(&mut made)? {
        return more(rest, out);
    }
    made.into_iter().try_for_each(|chunk| through(rest, chunk, out))?;
    Ok(true)
}

/// Tells `filters` that the body is complete, each after those before it gave their last.
pub fn finish(filters: &mut [Box<dyn BodyFilter>], out: &mut VecDeque<Chunk>) -> io::Result<()> {
    let Some((first, rest)) = filters.split_first_mut() else { return Ok(()) };
    let mut made = VecDeque::new();
    first.end(&mut made)?;
    made.into_iter().try_for_each(|chunk| through(rest, chunk, out))?;
    finish(rest, out)
}
