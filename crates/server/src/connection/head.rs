//! A request's head is read: until it is whole, refused, late, or the client is gone.

use std::io;
use std::time::{Duration, Instant};

use wire::{BadRequest, Progress, RequestParser};

use super::refusal::Refusal;
use super::understand::{choose_default_server, choose_server, take_host, take_path};
use crate::http::request::{Request, Stage};
use crate::log::openssl::{ReadFailed, of_tls};
use crate::log::{Context, Level};

/// How long a head that has begun may take before it has to give way to others: what comes in several packets comes within a
/// moment.
const WHOLE_HEAD: Duration = Duration::from_millis(250);

/// Reads the head of a request; `false` if the client closed before one began.
pub(super) async fn read_head(request: &mut Request) -> Result<bool, Refusal> {
    let by_name = choose_default_server(request);
    let mut parser = RequestParser::new();
    let mut deadline = None;
    loop {
        if !request.buffer.is_empty() {
            if deadline.is_none() {
                begin(request);
            }
            if by_name {
                read_to_host(request, &mut parser).map_err(Refusal::Bad)?;
            }
            let Request { generation, plan, buffer, head, .. } = &mut *request;
            let core = &generation.shared.plan(*plan).core;
            if parser.parse(buffer, head, &core.client_header.limits).map_err(Refusal::Bad)? == Progress::Done
            {
                request.unread = request.head.length;
                if deadline.is_some() {
                    request.client.set_yielding(None);
                }
                return Ok(true);
            }
            // Once: a head that drips in is none the younger for its next byte.
            if deadline.is_none() {
                let timeout = core.client_header.timeout;
                deadline = Some(request.thread.handle.now() + timeout);
                request.client.set_deadline(deadline);
                request.client.set_yielding(Some(request.started + WHOLE_HEAD));
            }
        }
        match request.receive().await {
            Ok(0) if request.buffer.is_empty() => {
                note_closed(request);
                return Ok(false);
            }
            Ok(0) => return Err(Refusal::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && before(deadline, request) => {
                return Err(Refusal::GaveWay);
            }
            Err(error) => return broken(request, &error),
        }
    }
}

/// Where the servers of an address differ in how heads are to be read, each has its say from the line on that names it.
pub(crate) fn read_to_host(request: &mut Request, parser: &mut RequestParser) -> Result<(), BadRequest> {
    let Request { generation, plan, buffer, head, .. } = &mut *request;
    let limits = generation.shared.plan(*plan).core.client_header.limits;
    if head.tells_host() {
        return Ok(());
    }
    let progress = parser.parse_to_host(buffer, head, &limits)?;
    if progress == Progress::Done || !request.head.tells_host() {
        return Ok(());
    }
    // The request line came before the name.
    take_path(request)?;
    take_host(request)?;
    choose_server(request);
    request.host.clear();
    Ok(())
}

/// Whether a deadline that passed was let pass before its time.
fn before(deadline: Option<Instant>, request: &Request) -> bool {
    deadline.is_some_and(|until| request.thread.handle.now() < until)
}

pub(super) fn begin(request: &mut Request) {
    if !request.client.is_stream() {
        request.client.requests += 1;
    }
    request.thread.counters.request();
    request.stage(Stage::Reading);
    request.started = request.thread.handle.now();
    request.started_unix = request.thread.handle.unix_time();
}

fn broken(request: &mut Request, error: &io::Error) -> Result<bool, Refusal> {
    match (error.kind() == io::ErrorKind::TimedOut, request.buffer.is_empty()) {
        (true, false) => return Err(Refusal::Timeout),
        (true, true) => {
            let message =
                format_args!("client timed out (110: Connection timed out) while waiting for request");
            note_waiting(request, Level::Info, message);
        }
        (false, true) if request.client.requests > 0 && of_tls(error).is_some() => {
            note_waiting(request, Level::Info, format_args!("{} while keepalive", ReadFailed(error)));
        }
        (false, true) if request.client.requests > 0 => {
            note_kept_closed(request, format_args!(" ({})", crate::log::Errno(error)));
        }
        (false, true) => {
            let message = format_args!("{} while waiting for request", ReadFailed(error));
            note_waiting(request, Level::Info, message);
        }
        (false, false) => {
            log_info!(request, "{} while {}", ReadFailed(error), reading(request));
            return Err(Refusal::Broken);
        }
    }
    Ok(false)
}

/// What is being read of a head that is not complete.
pub(super) fn reading(request: &Request) -> &'static str {
    match request.head.line.is_empty() {
        true if request.pipelined => "reading client pipelined request line",
        true => "reading client request line",
        false => "reading client request headers",
    }
}

/// A client closed a connection on which nothing was under way.
fn note_closed(request: &Request) {
    if request.client.requests == 0 {
        let message = format_args!("client closed connection while waiting for request");
        return note_waiting(request, Level::Info, message);
    }
    note_kept_closed(request, format_args!(""));
}

/// A client left that had been answered; `how`, if not as it should.
fn note_kept_closed(request: &Request, how: std::fmt::Arguments<'_>) {
    let client = &request.client;
    let message = format_args!("client {} closed keepalive connection{how}", client.address_text());
    request.core().error_log.write(Level::Info, &Context::connection(client.id), message);
}

/// Logs what befell a connection while no request was under way.
pub fn note_waiting(request: &Request, level: Level, message: std::fmt::Arguments<'_>) {
    let client = &request.client;
    let listener = request.generation.shared.listener(client.listener);
    let context = Context::waiting(client.id, client.peer, &listener.address);
    request.core().error_log.write(level, &context, message);
}
