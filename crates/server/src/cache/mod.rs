//! Answers kept on disk: what `proxy_cache_path` and its like declare.
//!
//! | file | does |
//! |---|---|
//! | `place.rs` | the directive: a folder and its limits |
//! | `zone.rs` | the index of a folder: shared by all threads, kept over reloads |
//! | `file.rs` | one answer's file: opened, written |
//! | `manager.rs` | finds files again after a start, removes what is old or too much |

mod file;
mod manager;
mod place;
mod zone;

pub use file::{Opened, Writer};
pub use place::{Declared, declare};
pub use zone::{Fetch, Hash, Seen, Zone, hash};
