//! `error_log memory:`: the newest messages in a ring, for whoever looks into the process or its core file. They stand
//! behind a line that begins with `MEMLOG`, as in nginx.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A ring of messages.
pub struct Memory {
    ring: Mutex<Ring>,
}
struct Ring {
    text: Box<[u8]>,
    /// Where the messages begin: behind the first line.
    start: usize,
    next: usize,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// A ring of `size` bytes; `place` is where the configuration asks for it. `None` where not even one message fits.
    pub fn new(size: usize, place: &str) -> Option<Memory> {
        let title = format!("MEMLOG {size} {place}\n");
        let start = title.len();
        if size < start + super::line::LONGEST {
            return None;
        }
        let mut text = vec![b' '; size].into_boxed_slice();
        text[..start].copy_from_slice(title.as_bytes());
        Some(Memory { ring: Mutex::new(Ring { text, start, next: start }) })
    }
    /// Adds a line, in the place of the oldest ones.
    pub fn write(&self, line: &[u8]) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let Ring { text, start, next } = &mut *ring;
        let line = &line[..line.len().min(text.len() - *start)];
        let (first, rest) = line.split_at(line.len().min(text.len() - *next));
        text[*next..*next + first.len()].copy_from_slice(first);
        text[*start..*start + rest.len()].copy_from_slice(rest);
        *next = if rest.is_empty() { *next + first.len() } else { *start + rest.len() };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn text(memory: &Memory) -> String {
        String::from_utf8_lossy(&memory.ring.lock().unwrap().text).into_owned()
    }

    #[test]
    fn the_newest_stand_behind_the_title() {
        assert!(Memory::new(2000, "f:1").is_none());
        let memory = Memory::new(4096, "f:1").unwrap();
        memory.write(b"one\n");
        memory.write(b"two\n");
        assert!(text(&memory).starts_with("MEMLOG 4096 f:1\none\ntwo\n "));
    }

    proptest! {
        #[test]
        fn what_was_written_last_is_there(lengths in proptest::collection::vec(0usize..3000, 1..40)) {
            let memory = Memory::new(4096, "f:1").unwrap();
            let title = "MEMLOG 4096 f:1\n".len();
            let mut all = Vec::new();
            for (i, length) in lengths.into_iter().enumerate() {
                let line = vec![b'a' + (i % 26) as u8; length];
                memory.write(&line);
                all.extend(line);
            }
            let kept = text(&memory);
            prop_assert!(kept.starts_with("MEMLOG 4096 f:1\n"));
            let room = 4096 - title;
            let last = &all[all.len().saturating_sub(room)..];
            let next = memory.ring.lock().unwrap().next - title;
            let ring = &kept.as_bytes()[title..];
            let in_order = [&ring[next..], &ring[..next]].concat();
            prop_assert!(in_order.ends_with(last));
        }
    }
}
