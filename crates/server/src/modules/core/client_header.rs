//! How heads of requests are read, and how long they may be.

use std::time::Duration;

use conf::{Directive, Scope, directive};

use super::UPPER;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("client_header_timeout", UPPER, conf::exactly(1), |at, a| {
        at.own::<Conf>().timeout.set(a.msec(0)?)
    }),
    directive("client_header_buffer_size", UPPER, conf::exactly(1), |at, a| {
        at.own::<Conf>().buffer_size.set(a.size(0)?)
    }),
    directive("large_client_header_buffers", UPPER, conf::exactly(2), |at, a| {
        at.own::<Conf>().large_buffers.set(a.buffers()?)
    }),
    directive("max_headers", UPPER, conf::exactly(1), |at, a| at.own::<Conf>().max_headers.set(a.number(0)?)),
    directive("ignore_invalid_headers", UPPER, conf::flag(), |at, a| {
        at.own::<Conf>().ignore_invalid_headers.set(a.flag(0)?)
    }),
    directive("underscores_in_headers", UPPER, conf::flag(), |at, a| {
        at.own::<Conf>().underscores_in_headers.set(a.flag(0)?)
    }),
    directive("merge_slashes", UPPER, conf::flag(), |at, a| at.own::<Conf>().merge_slashes.set(a.flag(0)?)),
];

settings! {
    /// As written.
    struct Conf {
        timeout: u64,
        buffer_size: u64,
        large_buffers: (u64, u64),
        max_headers: u32,
        ignore_invalid_headers: bool,
        underscores_in_headers: bool,
        merge_slashes: bool,
    }
}

/// As run.
pub struct ClientHeader {
    /// How long a head may be, and what its fields may look like.
    pub limits: wire::Limits,
    /// How long the whole head may take.
    pub timeout: Duration,
    /// Whether several slashes in a path count as one.
    pub merge_slashes: bool,
}

pub(super) fn compile(at: &Scope) -> ClientHeader {
    let none = Conf::default();
    let c = at.conf::<Conf>().unwrap_or(&none);
    let (number, size) = c.large_buffers.or((4, 8 << 10));
    ClientHeader {
        limits: wire::Limits {
            first_buffer: c.buffer_size.or(1 << 10) as usize,
            large_buffers: (number as usize, size as usize),
            ignore_invalid_headers: c.ignore_invalid_headers.or(true),
            underscores_in_headers: c.underscores_in_headers.or(false),
            max_headers: c.max_headers.or(1000) as usize,
        },
        timeout: Duration::from_millis(c.timeout.or(60_000)),
        merge_slashes: c.merge_slashes.or(true),
    }
}
