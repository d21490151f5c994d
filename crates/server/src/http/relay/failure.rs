//! What can go wrong while a server is asked: what it leads to, and what is logged.

use std::io;
use std::net::SocketAddr;

use super::protocol::BadHead;
use super::written::again;
use crate::chain::{Behind, Cause};
use crate::http::request::Request;
use crate::log::Errno;
use crate::log::openssl::ReadFailed;
use crate::program::Address;
use crate::upstream::{AcceptQueue, Held, NoLink};

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection.
    NoLink(NoLink),
    /// `.._allow_upstream` does not allow it.
    Denied,
    /// The connection could not be encrypted: what is logged.
    Tls(String),
    TlsTimeout,
    /// Writing failed, or waited too long.
    Send(io::Error),
    SendTimeout,
    /// Reading failed, waited too long, or found the end.
    Receive(io::Error),
    ReceiveTimeout,
    Closed,
    /// What was read is no answer.
    Invalid(BadHead),
    /// It answered 101, which nobody asked for.
    Upgrade,
    /// It answered with a status that counts as failure.
    Status(u16),
    /// The client left, while this was being done.
    ClientGone(During),
    /// The client's body cannot be had: what to answer.
    Client(u16),
    /// Likewise; what is logged.
    ClientBody(String, u16),
    /// The server says that it has not begun with the request: what is logged.
    Unprocessed(String),
}

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// There is no connection yet.
    Connecting,
    /// No byte of an answer has come.
    Sending,
    /// The head has begun.
    Receiving,
}

/// What a failure leads to.
pub(super) enum Verdict {
    /// The client left: nobody wants an answer.
    Gone,
    /// This answer.
    Refuse(u16),
    /// This answer, unless another server has a better one.
    Failed(u16, u32),
}

impl Failure {
    /// What it leads to.
    pub fn verdict(&self) -> Verdict {
        match self {
            Failure::ClientGone(_) => Verdict::Gone,
            Failure::Client(status) | Failure::ClientBody(_, status) => Verdict::Refuse(*status),
            Failure::NoLink(NoLink::Full | NoLink::NoDescriptor(_)) => Verdict::Refuse(503),
            Failure::NoLink(NoLink::Unbound(_)) => Verdict::Refuse(500),
            Failure::NoLink(NoLink::Failed(e)) if e.kind() == io::ErrorKind::TimedOut => {
                Verdict::Failed(504, again::TIMEOUT)
            }
            Failure::Denied => Verdict::Failed(502, again::DENIED),
            Failure::Tls(_)
            | Failure::NoLink(_)
            | Failure::Send(_)
            | Failure::Receive(_)
            | Failure::Unprocessed(_)
            | Failure::Closed => Verdict::Failed(502, again::ERROR),
            Failure::SendTimeout | Failure::ReceiveTimeout | Failure::TlsTimeout => {
                Verdict::Failed(504, again::TIMEOUT)
            }
            Failure::Invalid(_) | Failure::Upgrade => Verdict::Failed(502, again::INVALID_HEADER),
            Failure::Status(status) => Verdict::Failed(*status, 0),
        }
    }
    /// The link of the chain that was full, if that is it.
    pub(super) fn cause(&self) -> Option<Cause> {
        let Failure::NoLink(link) = self else { return None };
        match link {
            NoLink::Full => Some(Cause::SlotsForUpstream),
            NoLink::NoDescriptor(_) => Some(Cause::DescriptorsForUpstream),
            NoLink::Overloaded(..) => Some(Cause::UpstreamQueue),
            NoLink::Refused(error) => Cause::of(error),
            NoLink::Failed(_) | NoLink::Unbound(_) => None,
        }
    }
    /// nginx's words for what was being done.
    pub fn during(&self) -> &'static str {
        match self {
            Failure::NoLink(_) | Failure::Denied => " while connecting to upstream",
            Failure::Tls(_) | Failure::TlsTimeout => " while SSL handshaking to upstream",
            Failure::Send(_) | Failure::SendTimeout | Failure::Client(_) | Failure::ClientBody(..) => {
                " while sending request to upstream"
            }
            Failure::ClientGone(During::Connecting) => " while connecting to upstream",
            Failure::ClientGone(During::Sending) => " while sending request to upstream",
            _ => " while reading response header from upstream",
        }
    }
}

/// Failures of the network that nginx logs as `error`; others are `crit`.
fn is_common(error: &io::Error) -> bool {
    const COMMON: [rustix::io::Errno; 7] = [
        rustix::io::Errno::CONNREFUSED,
        rustix::io::Errno::AGAIN,
        rustix::io::Errno::CONNRESET,
        rustix::io::Errno::NETDOWN,
        rustix::io::Errno::NETUNREACH,
        rustix::io::Errno::HOSTDOWN,
        rustix::io::Errno::HOSTUNREACH,
    ];
    let code = error.raw_os_error();
    COMMON.iter().any(|errno| Some(errno.raw_os_error()) == code)
}

/// Writes it to the error log; where a link of the chain was full, once a second.
pub(super) fn log(request: &Request, held: &Held, failure: &Failure) {
    let during = failure.during();
    let thread = &request.thread;
    let speak = |cause| thread.process.meter.speak(cause, thread.handle.now());
    match (failure, failure.cause().map(speak)) {
        (_, None) => log_other(request, held, failure),
        (_, Some(None)) => {}
        (Failure::NoLink(link), Some(Some(behind))) => log_full(request, held, link, during, behind),
        _ => {}
    }
}

/// A link of the chain was full.
fn log_full(request: &Request, held: &Held, link: &NoLink, during: &str, behind: Behind) {
    let process = &request.thread.process;
    match link {
        NoLink::Full => {
            let (taken, most) = (process.seats_taken(), process.seats());
            let (by_descriptors, advice) = process.meter.more_slots();
            let binds = if by_descriptors { "descriptors" } else { "slots" };
            log_alert!(
                request,
                "{most} worker_connections are not enough{during} ({binds} bind: {taken} of {most}){behind}{advice}"
            );
        }
        NoLink::NoDescriptor(error) => {
            log_alert!(request, "socket() failed ({}){during}{behind}", Errno(error))
        }
        NoLink::Overloaded(error, Some(AcceptQueue { length, ceiling })) => {
            refused(
                request,
                held,
                error,
                format_args!("{during}, accept queue: {length} of {ceiling}{behind}"),
            );
        }
        NoLink::Refused(error) | NoLink::Overloaded(error, None) => {
            refused(request, held, error, format_args!("{during}{behind}"));
        }
        // No link of the chain is full.
        NoLink::Failed(_) | NoLink::Unbound(_) => {}
    }
}

fn log_other(request: &Request, held: &Held, failure: &Failure) {
    let during = failure.during();
    match failure {
        Failure::Denied => log_error!(request, "access to upstream was denied{during}"),
        Failure::NoLink(NoLink::Refused(error)) => refused(request, held, error, format_args!("{during}")),
        Failure::NoLink(NoLink::Unbound(why)) => unbound(request, why.0, &why.1, during),
        Failure::NoLink(NoLink::Failed(error)) if error.kind() == io::ErrorKind::TimedOut => {
            timed_out(request, during)
        }
        Failure::NoLink(NoLink::Failed(error)) => {
            log_error!(request, "connect() failed ({}){during}", Errno(error))
        }
        Failure::Send(error) => log_error!(request, "writev() failed ({}){during}", Errno(error)),
        Failure::Receive(error) => log_error!(request, "{}{during}", ReadFailed(error)),
        Failure::SendTimeout | Failure::ReceiveTimeout | Failure::TlsTimeout => timed_out(request, during),
        Failure::Tls(what) => log_error!(request, "{what}{during}"),
        Failure::Closed => log_error!(request, "upstream prematurely closed connection{during}"),
        Failure::Upgrade => {
            log_error!(request, "upstream sent unexpected \"101 Switching Protocols\"{during}")
        }
        Failure::Invalid(BadHead::Lines(bad)) => {
            let mut text = Vec::new();
            bad.log_text(&request.upstream.buffer, &mut text);
            log_error!(request, "{}{during}", crate::log::shown(&text));
        }
        Failure::Invalid(BadHead::Framing(what)) | Failure::Unprocessed(what) => {
            log_error!(request, "{what}{during}")
        }
        Failure::ClientBody(what, 408) => log_info!(request, "{what}"),
        Failure::ClientBody(what, _) => log_error!(request, "{what}"),
        Failure::ClientGone(_) => log_gone(request, during),
        // Told by `log_full`.
        Failure::NoLink(_) => {}
        Failure::Invalid(BadHead::Noted) | Failure::Status(_) | Failure::Client(_) => {}
    }
}

/// What the log says of a body that broke off.
pub(super) fn of_body(failure: Failure) -> String {
    match failure {
        Failure::Unprocessed(what) | Failure::ClientBody(what, _) => what,
        Failure::Invalid(BadHead::Framing(what)) => what,
        Failure::SendTimeout | Failure::ReceiveTimeout => TIMED_OUT.into(),
        Failure::Receive(error) | Failure::Send(error) => ReadFailed(&error).to_string(),
        _ => "upstream prematurely closed connection".into(),
    }
}

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";

/// `connect()` failed at once.
fn refused(request: &Request, held: &Held, error: &io::Error, behind: std::fmt::Arguments<'_>) {
    let colon = if matches!(held.peer().address, Address::Unix(_)) { "unix:" } else { "" };
    let name = held.peer().name.strip_prefix("unix:").unwrap_or(&held.peer().name);
    let level = if is_common(error) { crate::log::Level::Error } else { crate::log::Level::Crit };
    request.note(level, format_args!("connect() to {colon}{name} failed ({}){behind}", Errno(error)));
}

/// The address of `proxy_bind` cannot be taken.
fn unbound(request: &Request, local: SocketAddr, error: &io::Error, during: &str) {
    let level = crate::log::Level::Crit;
    let shown: &dyn std::fmt::Display = if local.port() == 0 { &local.ip() } else { &local };
    request.note(level, format_args!("bind({shown}) failed ({}){during}", Errno(error)));
}

/// The client left while this was being done.
pub(super) fn log_gone(request: &Request, during: &str) {
    log_info!(
        request,
        "epoll_wait() reported that client prematurely closed connection, \
        so upstream connection is closed too{during}"
    );
}

fn timed_out(request: &Request, during: &str) {
    log_error!(request, "{TIMED_OUT}{during}");
}
