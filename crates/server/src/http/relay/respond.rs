//! From the upstream's head to the response's, and to where its body comes from.

use wire::{Known, ResponseFraming, Span};

use super::ask::Tries;
use super::body::{Coding, Keeper, Parts, UpstreamBody, UpstreamSource};
use super::cache::{self, Kept};
use super::protocol::{Protocol, Reader};
use super::settings::Settings;
use super::store;
use super::written::ignored;
use crate::cache::Opened;
use crate::http::paths;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::router;
use crate::upstream::Held;

/// A server that answered: its head was read.
pub(super) struct Answered {
    pub held: Held,
    pub source: Option<UpstreamSource>,
    pub reader: Reader,
}

/// The head was read and will be passed on, unless it says otherwise.
pub(super) async fn respond(
    protocol: &dyn Protocol,
    request: &mut Request,
    answered: Answered,
    tries: &mut Tries<'_>,
) -> Next {
    let settings = tries.settings;
    let Answered { mut held, source, reader } = answered;
    let opened = matches!(reader, Reader::Opened);
    tries.answered(request, &mut held);
    let mut kept = tries.kept.take();
    let rests = tries.rests(&held);
    let record = &request.upstream;
    let (coding, reusable) = match reader {
        Reader::Other(answer) => (Coding::Other(answer), true),
        Reader::Stream | Reader::Opened => (Coding::UntilClose, false),
        Reader::Http(_) => {
            // What has no head ends with its connection.
            let framing = record.framing.unwrap_or(ResponseFraming::UntilClose);
            (Coding::http(framing, settings), record.head.keep_alive(framing, &record.buffer))
        }
    };
    let reusable = reusable && source.as_ref().is_some_and(UpstreamSource::is_whole);
    let mut parts =
        Parts { source, held: Some(held), rests: rests.filter(|_| reusable), coding, keeper: None };
    take_rate(settings, request);
    if let Some(opened) = revalidated(settings, kept.as_deref_mut(), request) {
        drop(UpstreamBody::begin(settings, request, parts, false));
        return cache::serve(protocol, settings, request, opened);
    }
    if let Some(next) = instead(settings, kept.as_deref(), request) {
        // What came whole with its head leaves a connection that can be used again.
        drop(UpstreamBody::begin(settings, request, parts, false));
        // What follows that body does not follow the other.
        request.response.expects_trailers = false;
        request.response.trailers.clear();
        if let Some(last) = request.upstream.last() {
            last.length = 0;
        }
        return next;
    }
    let buffering = buffering(settings, request);
    let cacheable = kept.as_ref().is_some_and(|kept| kept.is_cacheable(settings, request));
    if let (Some(kept), Some(cache), true) = (kept, &settings.cache, buffering) {
        parts.keeper = kept.keep(cache, settings, request).map(|writer| Box::new(Keeper::Cache(writer)));
    }
    request.response.unconditional = !cacheable;
    if buffering && let Some(storing) = store::begin(settings, request) {
        parts.keeper = Some(Box::new(Keeper::File(storing)));
    }
    request.response.single_range = true;
    copy_head(protocol, settings, request);
    request.response.upgrade |= opened;
    let may_have_body = !matches!(request.response.status, 204 | 304);
    if may_have_body && parts.source.as_ref().is_some_and(UpstreamSource::is_end) {
        request.response.content_length.get_or_insert(0);
    }
    request.response.body = UpstreamBody::begin(settings, request, parts, buffering);
    UpstreamBody::give_up_broken(request);
    Next::Respond
}

/// `X-Accel-Limit-Rate`: how fast the answer may go, whoever makes it in the end.
fn take_rate(settings: &Settings, request: &mut Request) {
    let record = &request.upstream;
    if settings.ignore_headers & ignored::LIMIT_RATE == 0
        && let Some(rate) = record.head.headers.value(Known::XAccelLimitRate, &record.buffer)
        && let Some(rate) = wire::parse_length(rate)
    {
        request.limit_rate = Some(rate);
    }
}

/// The old answer is still good, says the upstream.
fn revalidated(settings: &Settings, kept: Option<&mut Kept>, request: &mut Request) -> Option<Opened> {
    cache::revalidated(kept?, settings.cache.as_ref()?, settings, request)
}

/// The upstream names a path to answer with.
pub(super) fn accel(settings: &Settings, request: &mut Request) -> Option<Next> {
    let to = request.upstream.head.headers.find(Known::XAccelRedirect)?;
    (settings.ignore_headers & ignored::REDIRECT == 0).then(|| accel_redirect(settings, request, to.value))
}

/// Something else is the answer.
fn instead(settings: &Settings, kept: Option<&Kept>, request: &mut Request) -> Option<Next> {
    let record = &request.upstream;
    let status = record.head.status;
    if settings.intercept_404 && status == 404 {
        return Some(Next::Status(404));
    }
    if settings.intercept_errors && status >= 300 && request.core().error_pages.covers(status) {
        if status == 401 {
            let Request { response, upstream, .. } = request;
            let all = upstream.head.headers.iter();
            for header in all.filter(|header| header.known == Known::WwwAuthenticate) {
                response.add(header.known, b"WWW-Authenticate", header.value.of(&upstream.buffer));
            }
        }
        if let (Some(kept), Some(cache)) = (kept, &settings.cache) {
            kept.keep_status(cache, settings, request);
        }
        return Some(Next::Status(status));
    }
    accel(settings, request)
}

/// `X-Accel-Redirect`: the upstream names the path to answer with; a few of its headers stay.
fn accel_redirect(settings: &Settings, request: &mut Request, to: Span) -> Next {
    let Request { response, upstream, .. } = &mut *request;
    for header in upstream.head.headers.iter() {
        let name = header.name.of(&upstream.buffer);
        let value = header.value.of(&upstream.buffer);
        let stays = matches!(
            header.known,
            Known::SetCookie
                | Known::ContentDisposition
                | Known::CacheControl
                | Known::Expires
                | Known::AcceptRanges
        );
        if header.known == Known::ContentType {
            response.set_content_type(value);
        } else if stays && !settings.hide.has(header.known, name) {
            response.add(header.known, name, value);
        }
    }
    want_charset(settings, response, &upstream.head.headers, &upstream.buffer);
    let target = to.of(&upstream.buffer).to_vec();
    if target.starts_with(b"@") {
        return router::enter_named(request, &target);
    }
    let (path, args) = wire::uri::split_args(&target);
    let mut uri = request.thread.buffer();
    wire::uri::unescape(path, &mut uri);
    if !paths::is_safe(&uri) {
        let target = crate::log::shown(paths::unsafe_part(&target, &uri));
        log_error!(
            request,
            "unsafe URI \"{target}\" was detected while reading response header from upstream"
        );
        request.thread.give_buffer(uri);
        return Next::Status(404);
    }
    if request.method != wire::Method::Head {
        request.method = wire::Method::Get;
    }
    request.redirect_to(&uri, args.into());
    request.thread.give_buffer(uri);
    Next::Locate
}

fn buffering(settings: &Settings, request: &Request) -> bool {
    let record = &request.upstream;
    let said = record.head.headers.value(Known::XAccelBuffering, &record.buffer);
    match said.filter(|_| settings.ignore_headers & ignored::BUFFERING == 0) {
        Some(value) if value.eq_ignore_ascii_case(b"yes") => true,
        Some(value) if value.eq_ignore_ascii_case(b"no") => false,
        _ => settings.buffering,
    }
}

/// Status and headers.
pub(super) fn copy_head(protocol: &dyn Protocol, settings: &Settings, request: &mut Request) {
    let head = std::mem::take(&mut request.upstream.head);
    let buffer = std::mem::take(&mut request.upstream.buffer);
    let text = &buffer[..];
    request.response.status = head.status;
    request.response.theirs = true;
    request.response.upgrade = head.status == 101 && protocol.has_name_and_date();
    request.response.allow_ranges = settings.force_ranges;
    let line = head.status_line_text.of(text);
    if !line.is_empty() && !is_standard(head.status, line) {
        request.response.status_text = Some(request.response.store(line));
    }
    request.response.content_length = head.content_length(text).ok().flatten();
    want_charset(settings, &mut request.response, &head.headers, text);
    for header in head.headers.iter() {
        copy_header(protocol, settings, request, header, text);
    }
    let theirs = |known| protocol.has_name_and_date() || head.headers.find(known).is_some();
    let theirs = (theirs(Known::Server), theirs(Known::Date));
    leave_theirs(settings, &mut request.response, theirs);
    for dropped in &head.dropped {
        let mut line = Vec::new();
        head.log_dropped(*dropped, text, &mut line);
        log_warn!(request, "{} while reading response header from upstream", crate::log::shown(&line));
    }
    request.upstream.head = head;
    request.upstream.buffer = buffer;
}

/// `X-Accel-Charset`
fn want_charset(settings: &Settings, response: &mut Response, headers: &wire::Headers, text: &[u8]) {
    let charset = headers.value(Known::XAccelCharset, text);
    if let Some(charset) = charset.filter(|_| settings.ignore_headers & ignored::CHARSET == 0) {
        response.charset = Some(response.store(charset));
    }
}

/// `Server` and `Date` that may pass are the upstream's alone: where an HTTP server sent none, as in nginx, none goes out.
fn leave_theirs(settings: &Settings, response: &mut Response, theirs: (bool, bool)) {
    let none = Some(Span::default());
    response.server = none.filter(|_| theirs.0 && !settings.hide.has(Known::Server, b"Server"));
    response.date = none.filter(|_| theirs.1 && !settings.hide.has(Known::Date, b"Date"));
}

/// Whether a status and its text are those this server would send by itself.
fn is_standard(status: u16, line: &[u8]) -> bool {
    let ours = wire::status_line(status);
    ours.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.strip_suffix(b"\r\n")) == Some(line)
}

#[inline]
fn copy_header(
    protocol: &dyn Protocol,
    settings: &Settings,
    request: &mut Request,
    header: &wire::Header,
    text: &[u8],
) {
    let (name, value) = (header.name.of(text), header.value.of(text));
    if settings.hide.has(header.known, name) {
        return;
    }
    if matches!(header.known, Known::Location | Known::SetCookie | Known::Refresh)
        && protocol.header(request, header.known, name, value)
    {
        return;
    }
    let response = &mut request.response;
    match header.known {
        Known::ContentLength | Known::TransferEncoding | Known::Connection | Known::KeepAlive => {}
        Known::ContentType => response.set_content_type(value),
        Known::LastModified => {
            response.add(header.known, name, value);
            response.last_modified_text = Some(Span::default());
            if response.allow_ranges || !response.unconditional {
                response.last_modified = wire::date::parse(value);
            }
        }
        Known::AcceptRanges if settings.force_ranges => {}
        // Of what is kept the ranges are cut here.
        Known::AcceptRanges if !response.unconditional => response.allow_ranges = true,
        Known::Location => {
            response.location = Some(response.store(value));
            response.location_is_ours = false;
            response.location_place = response.headers.len() as u16;
        }
        known => response.add(known, name, value),
    }
}
