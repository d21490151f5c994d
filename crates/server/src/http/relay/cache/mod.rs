//! `.._cache`: an answer that was kept is the answer; one that comes is kept, if it may be.
//!
//! | file | does |
//! |---|---|
//! | `settings.rs` | the directives, as run |
//! | `look.rs` | before anybody is asked: is there an answer, may it be used, who fetches a new one |
//! | `fresh.rs` | what an answer says of how long it holds |
//! | `purge.rs` | requests that take answers out |
//! | `keep.rs` | from an answer that came to one that is kept |
//! | `serve.rs` | from an answer that was kept to the client's |

use wire::Known;

/// Whether a request's header says that less than the whole answer is wanted.
pub(super) fn is_condition(known: Known) -> bool {
    matches!(
        known,
        Known::IfModifiedSince
            | Known::IfUnmodifiedSince
            | Known::IfNoneMatch
            | Known::IfMatch
            | Known::Range
            | Known::IfRange
    )
}

mod fresh;
mod keep;
mod look;
mod purge;
mod serve;
mod settings;

pub(super) use keep::revalidated;
pub use look::{Kept, Looked, look};
pub(super) use serve::serve;
pub use settings::Cache;
pub(super) use settings::compile;
pub(crate) use settings::{METHODS, valid};
