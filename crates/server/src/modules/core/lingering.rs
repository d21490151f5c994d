//! `lingering_*`: a client that may still be sending is listened to for a while before its connection closes, or the
//! kernel's reset could overtake the answer.

use std::time::Duration;

use conf::{Directive, Scope, directive};

use super::ANY;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("lingering_close", ANY, conf::exactly(1), |at, a| {
        let value = a.one_of(0, &[("off", Close::Off), ("on", Close::On), ("always", Close::Always)])?;
        at.own::<Conf>().close.set(value)
    }),
    directive("lingering_time", ANY, conf::exactly(1), |at, a| at.own::<Conf>().time.set(a.msec(0)?)),
    directive("lingering_timeout", ANY, conf::exactly(1), |at, a| at.own::<Conf>().timeout.set(a.msec(0)?)),
];

settings! {
    /// As written.
    struct Conf {
        close: Close,
        time: u64,
        timeout: u64,
    }
}

/// When to linger before closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Never.
    Off,
    /// Where the client may still be sending.
    On,
    /// Always.
    Always,
}

/// As run.
pub struct Lingering {
    /// When.
    pub close: Close,
    /// How long in all.
    pub time: Duration,
    /// How long without a byte.
    pub timeout: Duration,
}

pub(super) fn compile(at: &Scope) -> Lingering {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    Lingering {
        close: c.close.or(Close::On),
        time: Duration::from_millis(c.time.or(30_000)),
        timeout: Duration::from_millis(c.timeout.or(5_000)),
    }
}
