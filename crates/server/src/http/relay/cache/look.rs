//! Before anybody is asked: is there an answer, may it be used, and who fetches a new one.

use std::sync::Arc;
use std::time::Duration;

use wire::Known;

use super::super::protocol::Protocol;
use super::super::settings::Settings;
use super::super::written::again;
use super::purge;
use super::serve::serve;
use super::settings::{Cache, any};
use crate::cache::{Fetch, Hash, Opened, Seen, Zone, hash};
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::upstream::CacheStatus;

/// What a look came to.
pub enum Looked {
    /// The cache has no part in this request.
    Not,
    /// This is the answer.
    Answered(Next),
    /// Somebody is to be asked.
    Ask(Box<Kept>),
}

/// What the cache has to do with a request that is passed on.
pub struct Kept {
    pub(super) zone: Arc<Zone>,
    pub(super) key: Vec<u8>,
    /// The key's hash.
    pub(super) main: Hash,
    /// That of the answer looked for: the key's, or that of a variant.
    pub(super) hash: Hash,
    /// The right to fetch it alone.
    pub(in super::super) fetch: Option<Fetch>,
    /// An answer that is too old.
    pub(super) stale: Option<Opened>,
    /// The answer may be kept.
    pub(super) keeps: bool,
}

impl Kept {
    /// Whether the upstream is asked for the whole, without the client's conditions.
    pub fn asks_for_all(&self) -> bool {
        self.keeps
    }
    /// Whether the old answer is good enough in the place of a failure (`.._cache_use_stale`).
    pub(in super::super) fn takes_stale(&self, cache: &Cache, bit: u32) -> bool {
        self.stale.is_some() && cache.use_stale & bit != 0
    }
    /// Whether it says so itself; as in nginx, it speaks of servers that do not answer, not of their statuses.
    pub(in super::super) fn stale_if_error(&self, now: u64) -> bool {
        self.stale.as_ref().is_some_and(|old| old.cached.valid.saturating_add(old.cached.if_error) >= now)
    }
    /// The old answer.
    pub(in super::super) fn take_stale(&mut self) -> Option<Opened> {
        self.stale.take()
    }
    /// That nobody could answer is an answer for a while, where it is configured.
    pub(in super::super) fn note_failure(&self, cache: &Cache, status: u16, now: u64) {
        let seconds = cache.valid(status);
        if self.keeps && seconds > 0 && matches!(status, 502 | 504) {
            self.zone.failed(&self.hash, now, status, now.saturating_add(seconds));
        }
    }
}

/// How often one that waits for another's answer looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks for an answer to a request with this key.
pub async fn look(
    cache: &Cache,
    settings: &Arc<Settings>,
    protocol: &dyn Protocol,
    request: &mut Request,
    key: Vec<u8>,
) -> Looked {
    let purges = purge::wanted(cache, request);
    if !purges && cache.methods & 1 << request.method as u32 == 0 {
        return Looked::Not;
    }
    let zone = match cache.zone(request) {
        Ok(Some(zone)) => zone,
        Ok(None) => return Looked::Not,
        Err(status) => return Looked::Answered(Next::Status(status)),
    };
    if purges {
        return Looked::Answered(purge::purge(request, zone, key).await);
    }
    let main = hash([&key[..]]);
    let mut kept = Box::new(Kept {
        zone,
        key,
        main,
        hash: main,
        fetch: None,
        stale: None,
        keeps: range_allows(cache, request),
    });
    if any(&cache.bypass, request) {
        request.upstream.cache.status = Some(CacheStatus::Bypass);
        request.upstream.cache.keeps = kept.keeps;
        return Looked::Ask(kept);
    }
    request.upstream.cache.status = Some(CacheStatus::Miss);
    let found = find(cache, request, &mut kept).await;
    request.upstream.cache.keeps = kept.keeps;
    match found {
        Found::Fresh(opened) => {
            let status = request.upstream.cache.status.filter(|status| *status != CacheStatus::Miss);
            request.upstream.cache.status = status.or(Some(CacheStatus::Hit));
            Looked::Answered(serve(protocol, settings, request, opened))
        }
        Found::Failed(status) => {
            request.upstream.cache.status = Some(CacheStatus::Hit);
            Looked::Answered(Next::Status(status))
        }
        Found::Ask => Looked::Ask(kept),
    }
}

enum Found {
    /// To be served, though perhaps not fresh: the status says.
    Fresh(Opened),
    Failed(u16),
    Ask,
}

async fn find(cache: &Cache, request: &mut Request, kept: &mut Kept) -> Found {
    let began = request.thread.handle.now();
    loop {
        let now = request.thread.handle.unix_time();
        match kept.zone.look(&kept.hash, now.as_secs(), cache.min_uses) {
            Seen::Failed(status) => return Found::Failed(status),
            Seen::Scarce => {
                kept.keeps = false;
                return Found::Ask;
            }
            Seen::File { scarce } => match open(request, kept) {
                Some(opened) if opened.cached.valid >= now.as_secs() => return Found::Fresh(opened),
                Some(opened) => return stale(cache, request, kept, opened),
                None if scarce => {
                    kept.keeps = false;
                    return Found::Ask;
                }
                None => {}
            },
            Seen::Nothing => {}
        }
        let Some((age, timeout)) = cache.lock else { return Found::Ask };
        kept.fetch = kept.zone.fetch(&kept.hash, now.as_millis() as u64, age);
        if kept.fetch.is_some() {
            return Found::Ask;
        }
        if request.thread.handle.now().saturating_duration_since(began) >= Duration::from_millis(timeout) {
            kept.keeps = false;
            return Found::Ask;
        }
        request.thread.handle.sleep(LOOK_AGAIN.min(Duration::from_millis(timeout))).await;
    }
}

/// The file of an answer, if it is to this request: with `Vary`, perhaps another one.
fn open(request: &mut Request, kept: &mut Kept) -> Option<Opened> {
    for second in [false, true] {
        let opened = match Opened::open(&kept.zone, &kept.hash) {
            Ok(opened) => opened?,
            Err(error) => {
                let path = kept.zone.place.file(&kept.hash);
                log_crit!(request, "open() \"{}\" failed ({})", path.display(), crate::log::Errno(&error));
                return None;
            }
        };
        if opened.cached.key != kept.key {
            let path = kept.zone.place.file(&kept.hash);
            log_crit!(request, "cache file \"{}\" has md5 collision", path.display());
            return None;
        }
        let now = request.thread.handle.unix_time().as_secs();
        kept.zone.found(&kept.hash, now, opened.body().end);
        if opened.cached.vary.is_empty() {
            return Some(opened);
        }
        let variant = variant(&kept.main, &opened.cached.vary, request);
        if variant == opened.cached.variant {
            return Some(opened);
        }
        if second {
            return None;
        }
        kept.hash = variant;
        let _ = kept.zone.look(&kept.hash, now, 1);
    }
    None
}

/// The hash of what a request says in the headers that an answer depends on.
pub(super) fn variant(main: &Hash, vary: &[u8], request: &Request) -> Hash {
    let mut text = main.to_vec();
    let is_gap = |b: &u8| matches!(b, b' ' | b',');
    for name in vary.split(is_gap).filter(|name| !name.is_empty()) {
        text.extend_from_slice(&name.to_ascii_lowercase());
        text.push(b':');
        // Lists are the same however they are spaced.
        let is_list = [&b"accept-charset"[..], b"accept-encoding", b"accept-language"]
            .iter()
            .any(|list| list.eq_ignore_ascii_case(name));
        let mut first = true;
        for header in request.head.headers.iter() {
            if !header.name.of(&request.buffer).eq_ignore_ascii_case(name) {
                continue;
            }
            let value = header.value.of(&request.buffer);
            let parts = value.split(|b| is_list && is_gap(b)).filter(|part| !is_list || !part.is_empty());
            for part in parts {
                if !std::mem::take(&mut first) {
                    text.push(b',');
                }
                text.extend_from_slice(part);
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    hash([&text[..]])
}

/// There is an answer, but it is too old.
fn stale(cache: &Cache, request: &mut Request, kept: &mut Kept, opened: Opened) -> Found {
    let now = request.thread.handle.unix_time();
    let cached = &opened.cached;
    let serves = cache.use_stale & again::UPDATING != 0
        || cached.valid.saturating_add(cached.while_updating) >= now.as_secs();
    let handed_over = request.upstream.cache.fetch.take();
    kept.fetch = handed_over.or_else(|| kept.zone.fetch(&kept.hash, now.as_millis() as u64, u64::MAX));
    let record = &mut request.upstream.cache;
    if kept.fetch.is_none() && serves && !record.background {
        record.status = Some(CacheStatus::Updating);
        return Found::Fresh(opened);
    }
    record.status = Some(CacheStatus::Expired);
    if cache.revalidate {
        if let Some(modified) = cached.last_modified {
            record.last_modified.extend_from_slice(&wire::date::format(modified));
        }
        record.etag.extend_from_slice(&cached.etag);
    }
    if kept.fetch.is_some()
        && serves
        && cache.background_update
        && !record.background
        && super::super::refresh::begin(request, kept)
    {
        request.upstream.cache.status = Some(CacheStatus::Stale);
        return Found::Fresh(opened);
    }
    kept.stale = Some(opened);
    Found::Ask
}

/// Whether a range begins near enough to the beginning for the whole to be fetched.
fn range_allows(cache: &Cache, request: &Request) -> bool {
    let Some(most) = cache.max_range_offset else { return true };
    let Some(range) = request.header(Known::Range) else { return true };
    if most == 0 {
        return false;
    }
    let Some(first) = range.strip_prefix(b"bytes=") else { return true };
    let first = first.trim_ascii_start();
    let digits = first.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return false; // the last so many bytes
    }
    std::str::from_utf8(&first[..digits]).ok().and_then(|d| d.parse::<u64>().ok()).is_some_and(|at| at < most)
}
