//! From an answer that came to one that is kept.

use wire::cached::Cached;
use wire::{Known, ResponseHead};

use super::super::settings::Settings;
use super::fresh::{Fresh, fresh};
use super::look::{Kept, variant};
use super::settings::{Cache, any};
use crate::cache::{Opened, Writer};
use crate::http::request::Request;
use crate::upstream::CacheStatus;

impl Kept {
    /// An answer's head came: where its body is to be written, if it may be kept.
    pub(in super::super) fn keep(
        mut self: Box<Kept>,
        cache: &Cache,
        settings: &Settings,
        request: &mut Request,
    ) -> Option<Writer> {
        let fresh = self.freshness(cache, settings, request)?;
        if any(&cache.no_cache, request) {
            return None;
        }
        let now = request.thread.handle.unix_time().as_secs();
        let record = &request.upstream;
        let own = match fresh.vary.is_empty() {
            true => Default::default(),
            false => variant(&self.main, &fresh.vary, request),
        };
        if own != self.hash {
            // The first of several variants has the key's own place.
            self.hash = self.main;
        }
        let described = matches!(record.head.status, 200 | 206);
        let value = |known| record.head.headers.value(known, &record.buffer).filter(|_| described);
        let cached = Cached {
            valid: fresh.valid,
            while_updating: fresh.while_updating,
            if_error: fresh.if_error,
            date: now,
            last_modified: value(Known::LastModified).and_then(wire::date::parse),
            body: 0,
            variant: own,
            key: std::mem::take(&mut self.key),
            etag: value(Known::ETag).unwrap_or_default().to_vec(),
            vary: fresh.vary,
            head: head(&record.head, &record.buffer),
        };
        match Writer::begin(&self.zone, self.hash, cached, self.fetch.take()) {
            Ok(writer) => Some(writer),
            Err((error, path)) => {
                log_crit!(request, "open() \"{}\" failed ({})", path.display(), crate::log::Errno(&error));
                None
            }
        }
    }

    /// Whether nothing but its own headers and the configuration's times speaks against it.
    fn might_keep(&self, request: &Request) -> bool {
        let head = &request.upstream.head;
        self.keeps && head.status != 101 && head.version != wire::Version::Http09
    }
    /// Whether the client's conditions are this server's business: also where no time is known for it after all.
    pub(in super::super) fn is_cacheable(&self, settings: &Settings, request: &Request) -> bool {
        let record = &request.upstream;
        let now = request.thread.handle.unix_time().as_secs();
        self.might_keep(request) && !fresh(&record.head, &record.buffer, settings.ignore_headers, now).never
    }
    /// How long it holds, if it may be kept at all.
    fn freshness(&self, cache: &Cache, settings: &Settings, request: &Request) -> Option<Fresh> {
        let record = &request.upstream;
        let now = request.thread.handle.unix_time().as_secs();
        let mut fresh = fresh(&record.head, &record.buffer, settings.ignore_headers, now);
        if fresh.never || !self.might_keep(request) {
            return None;
        }
        if fresh.valid == 0 {
            match cache.valid(record.head.status) {
                0 => return None,
                seconds => fresh.valid = now.saturating_add(seconds),
            }
        }
        Some(fresh)
    }

    /// An error of the upstream's that a page of this server answers: not asked again for a while.
    pub(in super::super) fn keep_status(&self, cache: &Cache, settings: &Settings, request: &Request) {
        if let Some(fresh) = self.freshness(cache, settings, request) {
            let now = request.thread.handle.unix_time().as_secs();
            self.zone.failed(&self.hash, now, request.upstream.head.status, fresh.valid);
        }
    }
}

/// Status line and headers, less what concerned the connection.
fn head(head: &ResponseHead, text: &[u8]) -> Vec<u8> {
    let mut out = match head.status_line_text.of(text) {
        b"" => wire::status_line(head.status).to_vec(),
        line => [b"HTTP/1.1 ", line, b"\r\n"].concat(),
    };
    let of_connection =
        |known| matches!(known, Known::Connection | Known::KeepAlive | Known::TransferEncoding);
    for header in head.headers.iter().filter(|header| !of_connection(header.known)) {
        out.extend_from_slice(header.name.of(text));
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value.of(text));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The upstream says that the old answer is still good (304): it is, for as long as that says. `None` if it was not asked.
pub(in super::super) fn revalidated(
    kept: &mut Kept,
    cache: &Cache,
    settings: &Settings,
    request: &mut Request,
) -> Option<Opened> {
    if request.upstream.head.status != 304 || !cache.revalidate {
        return None;
    }
    let mut opened = kept.take_stale()?;
    let now = request.thread.handle.unix_time().as_secs();
    let record = &request.upstream;
    let said = fresh(&record.head, &record.buffer, settings.ignore_headers, now);
    let mut times = (said.valid, said.while_updating, said.if_error);
    let mut head = ResponseHead::default();
    let text = &opened.cached.head;
    if times.0 == 0 && wire::ResponseParser::new().parse(text, &mut head, usize::MAX).is_ok() {
        let old = fresh(&head, text, settings.ignore_headers, now);
        times = (old.valid, old.while_updating, old.if_error);
        if times.0 == 0 {
            times.0 = now.saturating_add(cache.valid(head.status));
        }
    }
    if times.0 > now && !said.never {
        (opened.cached.valid, opened.cached.while_updating, opened.cached.if_error) = times;
        opened.cached.date = now;
        if let Err(error) = opened.update(&kept.zone, &kept.hash) {
            let path = kept.zone.place.file(&kept.hash);
            log_crit!(request, "pwrite() \"{}\" failed ({})", path.display(), crate::log::Errno(&error));
        }
    }
    request.upstream.cache.status = Some(CacheStatus::Revalidated);
    kept.fetch = None;
    Some(opened)
}
