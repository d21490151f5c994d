//! 103 Early Hints: what a server says before its answer goes on to clients of HTTP/1.1 and 2 where `early_hints` wants
//! it.

use wire::{Known, Version};

use super::settings::Settings;
use crate::http::output;
use crate::http::request::Request;
use crate::http2;
use crate::upstream::Record;

const LINE: &[u8] = b"HTTP/1.1 103 Early Hints\r\n";

/// Passes the interim head in the request's record on. `passed` counts the bytes that one request had so.
pub(super) async fn pass_on(settings: &Settings, request: &mut Request, passed: &mut usize) {
    *passed += request.upstream.head.length;
    if *passed > settings.buffer_size {
        log_info!(request, "upstream sent too big early hints");
        return;
    }
    let plan = request.plan();
    let unable = request.head.version < Version::Http11 || request.depth > 0;
    if unable || request.aborted || !plan.core.early_hints.hold(request) {
        return;
    }
    if request.client.is_stream() {
        let mut block = request.thread.buffer();
        http2::head::hints(fields(settings, &request.upstream), &mut block);
        if !block.is_empty()
            && let Ok(sent) = request.client.stream().and_then(|stream| stream.send_hints(&block))
        {
            request.sent += sent as u64;
        }
        // A client that is gone shows when its answer comes.
        return request.thread.give_buffer(block);
    }
    let mut text = request.thread.buffer();
    text.extend_from_slice(LINE);
    for (name, value) in fields(settings, &request.upstream) {
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    if text.len() == LINE.len() {
        return request.thread.give_buffer(text);
    }
    text.extend_from_slice(b"\r\n");
    let _ = output::write_all(request, text).await;
}

/// Names and values that go on.
fn fields<'a>(settings: &'a Settings, record: &'a Record) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let all = record.head.headers.iter().map(|header| {
        let text = &record.buffer;
        (header.known, header.name.of(text), header.value.of(text))
    });
    let goes_on = |known, name: &[u8]| known != Known::Connection && !settings.hide.has(known, name);
    all.filter(move |(known, name, _)| goes_on(*known, name)).map(|(_, name, value)| (name, value))
}
