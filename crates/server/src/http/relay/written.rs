//! The directives that all modules have which pass requests on, as written: `proxy_buffering`, `fastcgi_buffering` ..

use std::net::SocketAddr;

use conf::{Args, Error, Inherit, Scope};

use super::store::Wish;
use crate::access::Access;
use crate::http::variables::Template;
use crate::modules::settings;
use crate::temp::TempPath;

/// A module's table of directives: its own rows behind those that all such modules have. `$prefix` is what the names
/// begin with, `$own` the module's settings, a structure around [`Written`].
///
/// `@once` is the row of a directive that has one value, sets the field of its name, and may stand once in a block; `@names`
/// of one that adds to a list of names, `@bind`, `@lowat` and `@allow` of
/// `.._bind`, `.._send_lowat`, `.._allow_upstream`. Modules that have only some of the rows name those.
macro_rules! relay_directives {
    (@names $prefix:literal, $own:ident, $name:literal, $field:ident) => {
        conf::directive(concat!($prefix, $name), conf::IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<$own>().0.$field.push(a.bytes(0).into());
            Ok(())
        })
    };
    (@bind $prefix:literal, $own:ident) => {
        conf::directive(concat!($prefix, "_bind"), conf::IN_HTTP, conf::between(1, 2), |at, a| {
            let bind = $crate::http::relay::written::bind(at, a)?;
            at.own::<$own>().0.once.bind.set(bind)
        })
    };
    (@lowat $prefix:literal, $own:ident) => {
        conf::directive(concat!($prefix, "_send_lowat"), conf::IN_HTTP, conf::exactly(1), |at, a| {
            let lowat = a.size(0)?;
            at.warn(a.warning(format!("\"{}\" is not supported, ignored", a.directive)));
            at.own::<$own>().0.once.send_lowat.set(lowat)
        })
    };
    (@allow $prefix:literal, $own:ident) => {
        conf::directive(concat!($prefix, "_allow_upstream"), conf::IN_HTTP, conf::at_least(1), |at, a| {
            let all = $crate::http::relay::written::templates(at, a)?;
            at.own::<$own>().0.allow_upstream.extend(all);
            Ok(())
        })
    };
    (@once $prefix:literal, $own:ident, $name:literal, $field:ident, flag) => {
        conf::directive(concat!($prefix, $name), conf::IN_HTTP, conf::flag(), |at, a| {
            at.own::<$own>().0.once.$field.set(a.flag(0)?)
        })
    };
    (@once $prefix:literal, $own:ident, $name:literal, $field:ident, $read:ident) => {
        conf::directive(concat!($prefix, $name), conf::IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<$own>().0.once.$field.set(a.$read(0)?)
        })
    };
    ($prefix:literal, $own:ident, [$($row:expr,)*]) => {{
        use conf::{IN_HTTP, at_least, between, directive, exactly};
        use $crate::http::relay::written::{self, AGAIN, IGNORED};
        &[
            relay_directives!(@names $prefix, $own, "_pass_header", pass_header),
            relay_directives!(@names $prefix, $own, "_hide_header", hide_header),
            directive(concat!($prefix, "_ignore_headers"), IN_HTTP, at_least(1), |at, a| {
                a.bits(at, IGNORED, |at| &mut at.own::<$own>().0.once.ignore_headers)
            }),
            directive(concat!($prefix, "_next_upstream"), IN_HTTP, at_least(1), |at, a| {
                a.bits(at, AGAIN, |at| &mut at.own::<$own>().0.once.next_upstream)
            }),
            relay_directives!(@once $prefix, $own, "_next_upstream_tries", next_upstream_tries, number),
            relay_directives!(@once $prefix, $own, "_next_upstream_timeout", next_upstream_timeout, msec),
            relay_directives!(@once $prefix, $own, "_pass_request_headers", pass_request_headers, flag),
            relay_directives!(@once $prefix, $own, "_pass_request_body", pass_request_body, flag),
            relay_directives!(@once $prefix, $own, "_request_buffering", request_buffering, flag),
            relay_directives!(@once $prefix, $own, "_buffering", buffering, flag),
            relay_directives!(@once $prefix, $own, "_buffer_size", buffer_size, size),
            directive(concat!($prefix, "_buffers"), IN_HTTP, exactly(2), |at, a| {
                at.own::<$own>().0.once.buffers.set(a.buffers()?)
            }),
            relay_directives!(@once $prefix, $own, "_busy_buffers_size", busy_buffers_size, size),
            relay_directives!(@once $prefix, $own, "_max_temp_file_size", max_temp_file_size, size),
            relay_directives!(@once $prefix, $own, "_temp_file_write_size", temp_file_write_size, size),
            directive(concat!($prefix, "_temp_path"), IN_HTTP, between(1, 4), |at, a| {
                let path = $crate::temp::TempPath::read(at, a)?;
                at.own::<$own>().0.once.temp_path.set(path)
            }),
            relay_directives!(@once $prefix, $own, "_connect_timeout", connect_timeout, msec),
            relay_directives!(@once $prefix, $own, "_send_timeout", send_timeout, msec),
            relay_directives!(@once $prefix, $own, "_read_timeout", read_timeout, msec),
            relay_directives!(@once $prefix, $own, "_intercept_errors", intercept_errors, flag),
            relay_directives!(@once $prefix, $own, "_ignore_client_abort", ignore_client_abort, flag),
            relay_directives!(@once $prefix, $own, "_socket_keepalive", socket_keepalive, flag),
            relay_directives!(@once $prefix, $own, "_socket_rcvbuf", socket_rcvbuf, size),
            relay_directives!(@once $prefix, $own, "_socket_sndbuf", socket_sndbuf, size),
            relay_directives!(@lowat $prefix, $own),
            relay_directives!(@bind $prefix, $own),
            relay_directives!(@once $prefix, $own, "_force_ranges", force_ranges, flag),
            directive(concat!($prefix, "_limit_rate"), IN_HTTP, exactly(1), |at, a| {
                let rate = $crate::http::variables::Template::compile(at, a, 0)?;
                if rate.as_literal().is_some() {
                    a.size(0)?;
                }
                at.own::<$own>().0.once.limit_rate.set(rate)
            }),
            directive(concat!($prefix, "_cache"), IN_HTTP, exactly(1), |at, a| {
                let zone = match a.str(0) {
                    "off" => None,
                    _ => {
                        $crate::http::relay::store::check_cache(a, &at.own::<$own>().0.once.store)?;
                        Some($crate::http::variables::Template::compile(at, a, 0)?)
                    }
                };
                at.own::<$own>().0.once.cache.set(zone)
            }),
            directive(concat!($prefix, "_store"), IN_HTTP, exactly(1), |at, a| {
                let kept = at.own::<$own>().0.once.cache.clone();
                let wish = $crate::http::relay::store::wish(at, a, &kept)?;
                at.own::<$own>().0.once.store.set(wish)
            }),
            directive(concat!($prefix, "_store_access"), IN_HTTP, between(1, 3), |at, a| {
                let access = $crate::access::Access::read(a)?;
                at.own::<$own>().0.once.store_access.set(access)
            }),
            directive(concat!($prefix, "_cache_path"), conf::HTTP, at_least(2), $crate::cache::declare),
            directive(concat!($prefix, "_cache_key"), IN_HTTP, exactly(1), |at, a| {
                let key = $crate::http::variables::Template::compile(at, a, 0)?;
                at.own::<$own>().0.once.cache_key.set(key)
            }),
            directive(concat!($prefix, "_cache_valid"), IN_HTTP, at_least(1), |at, a| {
                let valid = $crate::http::relay::cache::valid(a)?;
                at.own::<$own>().0.cache_valid.extend(valid);
                Ok(())
            }),
            directive(concat!($prefix, "_cache_methods"), IN_HTTP, at_least(1), |at, a| {
                let names = $crate::http::relay::cache::METHODS;
                a.bits(at, names, |at| &mut at.own::<$own>().0.once.cache_methods)
            }),
            relay_directives!(@once $prefix, $own, "_cache_min_uses", cache_min_uses, number),
            relay_directives!(@once $prefix, $own, "_cache_max_range_offset", cache_max_range_offset, offset),
            directive(concat!($prefix, "_cache_use_stale"), IN_HTTP, at_least(1), |at, a| {
                a.bits(at, AGAIN, |at| &mut at.own::<$own>().0.once.cache_use_stale)
            }),
            relay_directives!(@once $prefix, $own, "_cache_background_update", cache_background_update, flag),
            relay_directives!(@once $prefix, $own, "_cache_lock", cache_lock, flag),
            relay_directives!(@once $prefix, $own, "_cache_lock_age", cache_lock_age, msec),
            relay_directives!(@once $prefix, $own, "_cache_lock_timeout", cache_lock_timeout, msec),
            relay_directives!(@once $prefix, $own, "_cache_revalidate", cache_revalidate, flag),
            directive(concat!($prefix, "_cache_bypass"), IN_HTTP, at_least(1), |at, a| {
                let all = written::templates(at, a)?;
                at.own::<$own>().0.cache_bypass.extend(all);
                Ok(())
            }),
            relay_directives!(@allow $prefix, $own),
            directive(concat!($prefix, "_cache_purge"), IN_HTTP, at_least(1), |at, a| {
                let all = written::templates(at, a)?;
                at.own::<$own>().0.cache_purge.extend(all);
                Ok(())
            }),
            directive(concat!($prefix, "_no_cache"), IN_HTTP, at_least(1), |at, a| {
                let all = written::templates(at, a)?;
                at.own::<$own>().0.no_cache.extend(all);
                Ok(())
            }),
            $($row,)*
        ]
    }};
}
pub(crate) use relay_directives;

/// What all such modules can be told.
#[derive(Default)]
pub struct Written {
    /// What may stand once in a block.
    pub once: Once,
    /// `.._pass_header`: a block that has any takes none from around it.
    pub pass_header: Vec<Box<[u8]>>,
    /// `.._hide_header`, likewise.
    pub hide_header: Vec<Box<[u8]>>,
    /// `.._cache_valid`, likewise: statuses, 0 for any, and seconds.
    pub cache_valid: Vec<(u16, u64)>,
    /// `.._cache_bypass`, likewise.
    pub cache_bypass: Vec<Template>,
    /// `.._allow_upstream`, likewise.
    pub allow_upstream: Vec<Template>,
    /// `.._cache_purge`, likewise.
    pub cache_purge: Vec<Template>,
    /// `.._no_cache`, likewise.
    pub no_cache: Vec<Template>,
}
impl Inherit for Written {
    fn inherit(&mut self, outer: &Written) {
        self.one_way_to_keep();
        self.once.inherit(&outer.once);
        take(&mut self.pass_header, &outer.pass_header);
        take(&mut self.hide_header, &outer.hide_header);
        take(&mut self.cache_valid, &outer.cache_valid);
        take(&mut self.cache_bypass, &outer.cache_bypass);
        take(&mut self.allow_upstream, &outer.allow_upstream);
        take(&mut self.cache_purge, &outer.cache_purge);
        take(&mut self.no_cache, &outer.no_cache);
    }
}

impl Written {
    /// A block that stores answers takes no cache from around it, and the other way round.
    fn one_way_to_keep(&mut self) {
        let Once { cache, store, .. } = &mut self.once;
        // Nothing is written where nothing was, so neither can be a duplicate.
        if matches!(store.written(), Some(Wish::On | Wish::To(_))) && !cache.is_written() {
            let _ = cache.set(None);
        } else if matches!(cache.written(), Some(Some(_))) && !store.is_written() {
            let _ = store.set(Wish::Off);
        }
    }
}

/// Takes a list from the block around, unless this block has its own.
pub fn take<T: Clone>(own: &mut Vec<T>, outer: &[T]) {
    if own.is_empty() {
        own.extend_from_slice(outer);
    }
}

settings! {
    /// See [`Written::once`]; each field is the directive of its name.
    #[allow(missing_docs)]
    pub struct Once {
        ignore_headers: u32,
        next_upstream: u32,
        next_upstream_tries: u32,
        next_upstream_timeout: u64,
        pass_request_headers: bool,
        pass_request_body: bool,
        request_buffering: bool,
        buffering: bool,
        buffer_size: u64,
        buffers: (u64, u64),
        busy_buffers_size: u64,
        max_temp_file_size: u64,
        temp_file_write_size: u64,
        temp_path: TempPath,
        connect_timeout: u64,
        send_timeout: u64,
        read_timeout: u64,
        intercept_errors: bool,
        ignore_client_abort: bool,
        socket_keepalive: bool,
        socket_rcvbuf: u64,
        socket_sndbuf: u64,
        send_lowat: u64,
        bind: Bind,
        force_ranges: bool,
        pass_trailers: bool,
        limit_rate: Template,
        store: Wish,
        store_access: Access,
        cache: Option<Template>,
        cache_key: Template,
        cache_methods: u32,
        cache_min_uses: u32,
        cache_max_range_offset: u64,
        cache_use_stale: u32,
        cache_background_update: bool,
        cache_lock: bool,
        cache_lock_age: u64,
        cache_lock_timeout: u64,
        cache_revalidate: bool,
        cache_convert_head: bool,
    }
}

/// All words of a directive.
///
/// # Errors
/// Variables that cannot be.
pub(crate) fn templates(at: &Scope, a: &Args<'_>) -> Result<Vec<Template>, Error> {
    (0..a.words.len()).map(|i| Template::compile(at, a, i)).collect()
}

/// `.._bind`
#[derive(Clone)]
pub enum Bind {
    /// The kernel chooses.
    Off,
    /// From this address.
    To {
        /// Address and perhaps a port.
        address: Template,
        /// The address need not be this machine's own.
        transparent: bool,
    },
}

/// Reads `address [transparent] | off`.
///
/// # Errors
/// nginx's words.
pub(crate) fn bind(at: &Scope, a: &Args<'_>) -> Result<Bind, Error> {
    if a.words.len() == 1 && a.str(0) == "off" {
        return Ok(Bind::Off);
    }
    let address = Template::compile(at, a, 0)?;
    if address.as_literal().is_some_and(|text| local_address(text).is_none()) {
        return Err(a.error(format!("invalid address \"{}\"", a.str(0))));
    }
    let transparent = match a.opt(1) {
        None => false,
        Some("transparent") => true,
        Some(_) => return Err(a.invalid_parameter(1)),
    };
    Ok(Bind::To { address, transparent })
}

/// An address with or without a port.
pub(crate) fn local_address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address).filter(|address| address.port() != 0);
    }
    let ip = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    Some(SocketAddr::new(ip.parse().ok()?, 0))
}

/// What `.._ignore_headers` can name.
pub(crate) const IGNORED: &[(&str, u32)] = &[
    ("X-Accel-Redirect", ignored::REDIRECT),
    ("X-Accel-Expires", ignored::EXPIRES_ACCEL),
    ("X-Accel-Limit-Rate", ignored::LIMIT_RATE),
    ("X-Accel-Buffering", ignored::BUFFERING),
    ("X-Accel-Charset", ignored::CHARSET),
    ("Expires", ignored::EXPIRES),
    ("Cache-Control", ignored::CACHE_CONTROL),
    ("Set-Cookie", ignored::SET_COOKIE),
    ("Vary", ignored::VARY),
];
/// Their bits.
pub(crate) mod ignored {
    pub const REDIRECT: u32 = 1;
    pub const EXPIRES_ACCEL: u32 = 1 << 1;
    pub const LIMIT_RATE: u32 = 1 << 2;
    pub const BUFFERING: u32 = 1 << 3;
    pub const CHARSET: u32 = 1 << 4;
    pub const EXPIRES: u32 = 1 << 5;
    pub const CACHE_CONTROL: u32 = 1 << 6;
    pub const SET_COOKIE: u32 = 1 << 7;
    pub const VARY: u32 = 1 << 8;
}

/// What `.._next_upstream` and `.._cache_use_stale` can name; not all of it can happen to both.
pub(crate) const AGAIN: &[(&str, u32)] = &[
    ("error", again::ERROR),
    ("timeout", again::TIMEOUT),
    ("denied", again::DENIED),
    ("invalid_header", again::INVALID_HEADER),
    ("updating", again::UPDATING),
    ("non_idempotent", again::NON_IDEMPOTENT),
    ("http_500", again::HTTP_500),
    ("http_502", again::HTTP_502),
    ("http_503", again::HTTP_503),
    ("http_504", again::HTTP_504),
    ("http_403", again::HTTP_403),
    ("http_404", again::HTTP_404),
    ("http_429", again::HTTP_429),
    ("off", again::OFF),
];
/// Reasons to ask another server.
pub(crate) mod again {
    pub const ERROR: u32 = 1;
    pub const TIMEOUT: u32 = 1 << 1;
    pub const INVALID_HEADER: u32 = 1 << 2;
    pub const NON_IDEMPOTENT: u32 = 1 << 3;
    pub const HTTP_500: u32 = 1 << 4;
    pub const HTTP_502: u32 = 1 << 5;
    pub const HTTP_503: u32 = 1 << 6;
    pub const HTTP_504: u32 = 1 << 7;
    pub const HTTP_403: u32 = 1 << 8;
    pub const HTTP_404: u32 = 1 << 9;
    pub const HTTP_429: u32 = 1 << 10;
    /// Not a failure: somebody fetches a new answer (`.._cache_use_stale`).
    pub const UPDATING: u32 = 1 << 11;
    /// `.._allow_upstream` says no.
    pub const DENIED: u32 = 1 << 12;
    pub const OFF: u32 = 1 << 31;
}
