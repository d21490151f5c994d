//! The whole body, in memory or a temporary file, before it goes on.

use std::io;

use wire::Framing;

use super::read::read_some;
use crate::http::request::Request;
use crate::modules::core::client_body::InFile;
use crate::worker::ledger::OpenFile;

/// Reads the whole body: into memory if there is [`room`] for it, else into a temporary file, where
/// `client_body_in_file_only` wants one even if there is nothing to put into it.
///
/// # Errors
/// As [`read_some`]; 500 when it cannot be written to the file.
pub async fn read_whole(request: &mut Request) -> Result<(), u16> {
    let plan = request.plan();
    let only_in_file = !matches!(plan.core.client_body.in_file_only, InFile::Off);
    let room = if only_in_file { 0 } else { room(request) };
    let mut part = request.thread.buffer();
    let result = loop {
        part.clear();
        let more = match read_some(request, &mut part).await {
            Ok(more) => more,
            Err(status) => break Err(status),
        };
        if let Err(status) = store(request, &part, room) {
            break Err(status);
        }
        if !more {
            break Ok(());
        }
    };
    request.thread.give_buffer(part);
    result?;
    if only_in_file && request.body.is_expected() && request.body.file.is_none() {
        (request.body.file, request.body.name) = temporary(request)?;
    }
    Ok(())
}

/// How long the body may be in memory. That is about `client_body_buffer_size`: what fits the first buffer of the head
/// (`client_header_buffer_size`) together with it does not count, and a quarter more is no reason for a file.
fn room(request: &Request) -> usize {
    let core = &request.plan().core;
    let size = core.client_body.buffer_size;
    if request.client.is_stream() {
        return size;
    }
    let with_head = core.client_header.limits.first_buffer.saturating_sub(request.head.length);
    let began = (request.buffer.len() - request.unread).min(with_head);
    match request.body.framing {
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let fits = began > 0 && length <= with_head
                || length - began.min(length) < size.saturating_add(size / 4);
            if fits { length } else { size }
        }
        _ => size.saturating_add(began),
    }
}

fn temporary(request: &mut Request) -> Result<(Option<OpenFile>, Option<crate::temp::Name>), u16> {
    let (file, name) = crate::temp::create(request, crate::temp::Kind::ClientBody)?;
    Ok((Some(file), name))
}

fn store(request: &mut Request, part: &[u8], room: usize) -> Result<(), u16> {
    if request.body.file.is_none() {
        if part.is_empty() || request.body.memory.len() + part.len() <= room {
            request.body.memory.extend_from_slice(part);
            return Ok(());
        }
        (request.body.file, request.body.name) = temporary(request)?;
        let memory = std::mem::take(&mut request.body.memory);
        append(request, &memory)?;
    }
    append(request, part)
}
fn append(request: &Request, part: &[u8]) -> Result<(), u16> {
    let Some(mut file) = request.body.file.as_deref() else { return Ok(()) };
    io::Write::write_all(&mut file, part).map_err(|e| {
        log_crit!(request, "write() to temporary file failed ({})", crate::log::Errno(&e));
        500
    })
}
