//! Settings of nginx's insides that have no counterpart here: read, checked, and said to have no effect.

use conf::{Args, Directive, EVENTS, Error, MAIN, Scope, directive};

use super::process::no_effect;
use super::{ANY, UPPER};

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("connection_pool_size", UPPER, conf::exactly(1), pool_size),
    directive("request_pool_size", UPPER, conf::exactly(1), pool_size),
    // A body that is in memory is always in one buffer.
    directive("client_body_in_single_buffer", ANY, conf::flag(), flag),
    directive("ssl_object_cache_inheritable", MAIN, conf::flag(), flag),
    directive("debug_points", MAIN, conf::exactly(1), |at, a| {
        a.one_of(0, &[("stop", ()), ("abort", ())])?;
        no_effect(at, a)
    }),
    directive("debug_connection", EVENTS, conf::exactly(1), |at, a| {
        at.warn(a.warning("\"debug_connection\" is ignored, there are no debugging messages in plimsoll"));
        Ok(())
    }),
];

/// Settings that nginx has and does not write about.
pub(super) const UNWRITTEN: &[Directive] = &[
    directive("epoll_events", EVENTS, conf::exactly(1), |at, a| {
        a.number::<u32>(0)?;
        no_effect(at, a)
    }),
    directive("open_file_cache_events", ANY, conf::flag(), flag),
    directive("gzip_no_buffer", ANY, conf::flag(), flag),
    directive("gzip_window", ANY, conf::exactly(1), |at, a| power(at, a, 32, "16k, or 32k")),
    directive("gzip_hash", ANY, conf::exactly(1), |at, a| power(at, a, 128, "16k, 32k, 64k, or 128k")),
    directive("postpone_gzipping", ANY, conf::exactly(1), |at, a| {
        a.size(0)?;
        no_effect(at, a)
    }),
    directive("ssi_ignore_recycled_buffers", ANY, conf::flag(), flag),
];

/// What zlib has for its tables: powers of two from 512 bytes up to so many kilobytes.
fn power(at: &mut Scope, a: &Args<'_>, most: u64, last: &str) -> Result<(), Error> {
    let size = a.size(0)?;
    if !size.is_power_of_two() || !(512..=most << 10).contains(&size) {
        let name = a.directive;
        return Err(a.error(format!("\"{name}\" directive must be 512, 1k, 2k, 4k, 8k, {last}")));
    }
    no_effect(at, a)
}

/// nginx's rules about pools.
fn pool_size(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    const LEAST: u64 = 112;
    const UNIT: u64 = 16;
    match a.size(0)? {
        size if size < LEAST => Err(a.error(format!("the pool size must be no less than {LEAST}"))),
        size if size % UNIT != 0 => Err(a.error(format!("the pool size must be a multiple of {UNIT}"))),
        _ => no_effect(at, a),
    }
}

fn flag(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.flag(0)?;
    no_effect(at, a)
}
