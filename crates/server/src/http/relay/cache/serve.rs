//! From an answer that was kept to the client's.

use std::sync::Arc;

use wire::{Progress, ResponseParser};

use super::super::protocol::Protocol;
use super::super::respond;
use super::super::settings::Settings;
use crate::cache::Opened;
use crate::http::open_files::SentFile;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::{Body, FileBody};

/// Answers with what was kept.
pub(in super::super) fn serve(
    protocol: &dyn Protocol,
    settings: &Arc<Settings>,
    request: &mut Request,
    opened: Opened,
) -> Next {
    let record = &mut request.upstream;
    record.forget_response();
    record.buffer.extend_from_slice(&opened.cached.head);
    let parsed = ResponseParser::new().parse(&record.buffer, &mut record.head, usize::MAX);
    if parsed != Ok(Progress::Done) {
        log_crit!(request, "an answer in the cache has no head");
        return Next::Status(500);
    }
    if let Some(next) = respond::accel(settings, request) {
        return next;
    }
    let response = &mut request.response;
    response.unconditional = false;
    response.single_range = false;
    respond::copy_head(protocol, settings, request);
    let body = opened.body();
    let response = &mut request.response;
    response.upgrade = false;
    // What the upstream did not say of the length is not said for it.
    let bodiless = matches!(response.status, 204 | 304) || request.method == wire::Method::Head;
    if !bodiless && response.content_length.is_some() {
        response.content_length = Some(opened.cached.body);
    }
    response.body = match body.is_empty() {
        true => Body::Empty,
        false => Body::File(FileBody { file: SentFile::Own(opened.file), offset: body.start, end: body.end }),
    };
    Next::Respond
}
