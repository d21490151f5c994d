//! The fields that a number stands for (RFC 7541, 2.3).

use std::collections::VecDeque;

/// How large a peer may have the dynamic table be, by its own account.
const MOST: usize = 4096;
/// What an entry costs beside its text, by the same account.
const OVERHEAD: usize = 32;

/// Fields that were said before.
#[derive(Debug)]
pub struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    room: usize,
    /// The most that the room may be.
    most: usize,
}
#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    name: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table::with_room(MOST)
    }
}

impl Table {
    /// A table that never has more room.
    #[must_use]
    pub fn with_room(most: usize) -> Table {
        Table { entries: VecDeque::new(), size: 0, room: most, most }
    }
    /// The name and value of a number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<(&[u8], &[u8])> {
        if let Some((name, value)) = STATIC.get(number.checked_sub(1)?) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(number - 1 - STATIC.len())?;
        Some(entry.text.split_at(entry.name))
    }
    /// Adds a field; older ones give way to it.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + OVERHEAD;
        self.shrink(self.room.saturating_sub(size));
        if size <= self.room {
            self.size += size;
            self.entries.push_front(Entry { text: [name, value].concat().into(), name: name.len() });
        }
    }
    /// Changes how much there is room for; `false`: to more than was allowed.
    pub fn resize(&mut self, room: usize) -> bool {
        if room > self.most {
            return false;
        }
        self.room = room;
        self.shrink(room);
        true
    }
    fn shrink(&mut self, to: usize) {
        while self.size > to {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.text.len() + OVERHEAD;
        }
    }
}

/// RFC 7541, appendix A.
#[rustfmt::skip]
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
