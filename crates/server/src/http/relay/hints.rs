//! 103 Early Hints: what a server says before its answer goes on to clients of HTTP/1.1 where `early_hints` wants it.

use wire::{Known, Version};

use super::settings::Settings;
use crate::http::output;
use crate::http::request::Request;

const LINE: &[u8] = b"HTTP/1.1 103 Early Hints\r\n";

/// Passes the interim head in the request's record on. `passed` counts the bytes that one request had so.
pub(super) async fn pass_on(settings: &Settings, request: &mut Request, passed: &mut usize) {
    *passed += request.upstream.head.length;
    if *passed > settings.buffer_size {
        log_info!(request, "upstream sent too big early hints");
        return;
    }
    let plan = request.plan();
    let unable = request.head.version < Version::Http11 || request.client.is_stream();
    if unable || request.aborted || !plan.core.early_hints.wanted(request) {
        return;
    }
    let mut text = request.thread.buffer();
    text.extend_from_slice(LINE);
    let record = &request.upstream;
    for header in record.head.headers.iter() {
        let name = header.name.of(&record.buffer);
        if header.known != Known::Connection && !settings.hide.has(header.known, name) {
            text.extend_from_slice(name);
            text.extend_from_slice(b": ");
            text.extend_from_slice(header.value.of(&record.buffer));
            text.extend_from_slice(b"\r\n");
        }
    }
    if text.len() == LINE.len() {
        return request.thread.give_buffer(text);
    }
    text.extend_from_slice(b"\r\n");
    // A client that is gone shows when its answer comes.
    let _ = output::write_all(request, text).await;
}
