//! A new connection to a server upstream: to whom it may go, from where, and what is waited for.

use std::task::Poll;

use super::failure::{During, Failure};
use super::settings::Settings;
use super::tls::{self, Secured};
use super::written::local_address;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::upstream::{self, Held, Link, NoLink};
use crate::worker::{Seat, admission, descriptors};

/// A new connection, encrypted where it is to be. `last`: nobody else can be asked.
pub(super) async fn open(
    settings: &Settings,
    request: &mut Request,
    held: &Held,
    secured: Option<&Secured>,
    last: bool,
) -> Result<Link, Failure> {
    if !allowed(&settings.allow, request) {
        return Err(Failure::Denied);
    }
    let mut link = connect(settings, request, held, last).await?;
    if let Some(secured) = secured {
        Box::pin(tls::handshake(settings, request, &mut link, secured)).await?;
    }
    Ok(link)
}

/// How the socket is set up; the address it is bound to may have variables.
fn options(settings: &Settings, request: &mut Request) -> upstream::Options {
    let mut options = settings.options;
    if let Some((address, _)) = settings.bind.as_ref().filter(|(address, _)| address.as_literal().is_none()) {
        let mut text = request.thread.buffer();
        address.render(request, &mut text);
        options.local = local_address(&text);
        if options.local.is_none() && !text.is_empty() {
            log_error!(request, "invalid local address \"{}\"", crate::log::shown(&text));
        }
        request.thread.give_buffer(text);
    }
    options
}

/// Whether all values are neither empty nor `0`.
fn allowed(conditions: &[Template], request: &mut Request) -> bool {
    conditions.iter().all(|condition| {
        let mut value = request.thread.buffer();
        condition.render(request, &mut value);
        let yes = !matches!(&*value, b"" | b"0");
        request.thread.give_buffer(value);
        yes
    })
}

async fn connect(
    settings: &Settings,
    request: &mut Request,
    held: &Held,
    last: bool,
) -> Result<Link, Failure> {
    let options = options(settings, request);
    let mut seat = Some(admission::upstream(request).await.ok_or(Failure::NoLink(NoLink::Full))?);
    let begun = match upstream::begin(&request.thread, held.peer(), options, &mut seat) {
        // Boxed: what few requests do must not make every request's future larger.
        Err(failure) if upstream::may_pass(held.peer(), &failure) => {
            Box::pin(overloaded(settings, request, held, options, &mut seat, failure, last)).await
        }
        begun => begun.map_err(Failure::NoLink),
    };
    let (link, stands) = begun.inspect_err(|failure| {
        // Who waited and found room after all was not refused.
        failure.cause().into_iter().for_each(|cause| request.thread.process.meter.refused(cause));
    })?;
    if stands {
        return Ok(link);
    }
    link.socket.set_timeout(settings.connect_timeout);
    std::future::poll_fn(|cx| {
        if !settings.ignore_client_abort
            && !request.upstream.cache.keeps
            && request.client.poll_closed(cx).is_ready()
        {
            return Poll::Ready(Err(Failure::ClientGone(During::Connecting)));
        }
        link.socket.poll_writable(cx).map_err(|e| Failure::NoLink(NoLink::Failed(e)))
    })
    .await?;
    upstream::finish(&link).map_err(Failure::NoLink)?;
    Ok(link)
}

/// The server's accept queue is full: unless another can be asked, it is waited for. Or no descriptor is left: idle
/// connections give way.
async fn overloaded(
    settings: &Settings,
    request: &Request,
    held: &Held,
    options: upstream::Options,
    seat: &mut Option<Seat>,
    failure: NoLink,
    last: bool,
) -> Result<(Link, bool), Failure> {
    let (peer, wait) = (held.peer(), settings.overload_wait);
    let minds_client = settings.minds_client();
    let another = !last && !upstream::no_descriptor(&failure);
    let begun = match !another && !wait.is_zero() {
        true => upstream::wait_for_room(request, peer, options, seat, wait, minds_client).await,
        false => Some(Err(failure)),
    };
    match begun {
        None => Err(Failure::ClientGone(During::Connecting)),
        Some(Err(NoLink::Refused(error))) if descriptors::are_out(&error) => {
            Err(Failure::NoLink(NoLink::NoDescriptor(error)))
        }
        Some(Err(NoLink::Refused(error))) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let queue = upstream::queue_of(&request.thread, peer).await;
            Err(Failure::NoLink(NoLink::Overloaded(error, queue)))
        }
        Some(begun) => begun.map_err(Failure::NoLink),
    }
}
