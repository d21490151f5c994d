//! The life of a request, in order. This file is the only place where the order of phases is decided; what each has to do in a
//! location is its [`Plan`].
//!
//! ```text
//! post read -> server rewrite -> find location -> rewrite -> preaccess -> access -> precontent -> content
//!                     ^------ internal redirect, error_page ------------------------------'   |
//!                                                              header filters -> send -> log <'
//! ```

use super::error_page;
use super::plan::{Content, Plan, PlanId};
use super::request::Request;
use super::response::Body;
use super::steps::{self, Step};
use super::{body, output, post_action, relay, router};
use crate::flow::Verdict;
use crate::log::Action;
use crate::modules::{charset, files, slice};
use crate::worker::admission;

/// What a phase decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next phase.
    Go,
    /// `Request::response` is complete but for the filters.
    Respond,
    /// The path changed: find the location again. Rewrites and internal redirects.
    Locate,
    /// Continue in this plan (a named location, an `if` block) from its rewrite phase on.
    Enter(PlanId),
    /// Answer with this status, through `error_page`.
    Status(u16),
    /// Close the connection without an answer (status 444).
    Close,
}
/// Serves a request whose head is read: from the first phase to its log line.
pub async fn run(request: &mut Request) {
    request.restarted = true;
    request.action = Action::None;
    if request.client.is_refused() {
        request.overloaded = true;
        // It has no slot: over a new connection it may find one.
        request.keep_alive = false;
        return finish(request, Next::Status(503)).await;
    }
    let begin = post_read(request).await;
    finish(request, begin).await;
}

/// Serves a request within another, whose path and arguments are in place: the answer stays in its response.
pub async fn within(request: &mut Request) {
    request.internal = true;
    request.restarted = true;
    decide(request, Next::Locate).await;
}

/// Asks what answers in the location in force once more, for a request within another of the same path.
pub async fn again(request: &mut Request) {
    request.internal = true;
    let plan = request.plan();
    let next = content(&plan, request).await;
    decide(request, next).await;
}

/// Writes the lines of a request within another, where `log_subrequest` asks for them.
pub fn log_within(request: &mut Request) {
    if request.core().log_subrequest {
        let action = std::mem::take(&mut request.action);
        log(request);
        (request.logging, request.action) = (false, action);
    }
}

/// Steps that see the request before anything is decided by its path.
async fn post_read(request: &mut Request) -> Next {
    request.plan = request.generation.shared.server(request.server).plan;
    if request.location().steps.post_read.is_empty() {
        return Next::Locate;
    }
    let plan = request.plan();
    match first_rejection(&plan.steps.post_read, request).await {
        Some(status) => Next::Status(status),
        None => Next::Locate,
    }
}

/// Answers a request that was refused before its location was known.
pub async fn refuse(request: &mut Request, status: u16) {
    finish(request, Next::Status(status)).await;
}

/// Attached to a request whose time was over before there was an answer.
pub struct CutOff;

/// Ends a request whose time is over, wherever it is: what became of it is logged.
pub fn cut_off(request: &mut Request) {
    request.aborted = true;
    request.keep(CutOff);
    request.keep_alive = false;
    if request.is_under_way() && request.depth == 0 {
        let now = request.thread.handle.now();
        request.upstream.end_at(now);
        log(request);
    }
}

/// Logs a request that is not answered.
pub fn give_up(request: &mut Request, status: u16) {
    request.response.status = status;
    log(request);
}

async fn finish(request: &mut Request, begin: Next) {
    decide(request, begin).await;
    if request.overloaded && request.response.status == 503 {
        request.response.add(wire::Known::Other, b"Retry-After", b"1");
    }
    if !request.aborted {
        output::send(request).await;
    }
    if request.response.upgrade && !request.aborted {
        relay::tunnel(request).await;
    }
    if request.generation.shared.plan(request.plan).core.post_action.is_some() {
        Box::pin(post_action::run(request)).await;
    }
    log(request);
}

/// Goes through the phases until there is a response (or none is to be sent).
pub async fn decide(request: &mut Request, mut next: Next) {
    loop {
        next = match next {
            Next::Locate => locate(request).await,
            Next::Enter(plan) => {
                request.plan = plan;
                phases(request).await
            }
            Next::Status(status) => error_page::answer(request, status),
            Next::Respond | Next::Go => match respond(request).await {
                Ok(()) => return,
                Err(status) => Next::Status(status),
            },
            Next::Close => {
                request.response.reset();
                request.keep_alive = false;
                return;
            }
        }
    }
}

/// Finds the location of the path in force and goes through its phases.
async fn locate(request: &mut Request) -> Next {
    let restarted = std::mem::take(&mut request.restarted);
    if request.redirects > router::MAX_REDIRECTS {
        let doing = if restarted { "internally redirecting to" } else { "processing" };
        log_error!(
            request,
            "rewrite or internal redirection cycle while {doing} \"{}\"",
            crate::log::shown(&request.uri)
        );
        return Next::Status(500);
    }
    if restarted {
        request.action = Action::None;
        let next = server_rewrite(request);
        if next != Next::Go {
            return next;
        }
    }
    match router::find_location(request) {
        Next::Go => phases(request).await,
        decided => decided,
    }
}

async fn phases(request: &mut Request) -> Next {
    if request.keep_alive {
        // Where others wait for its seat, the client may come again.
        let gives_way = request.thread.process.is_pressed()
            && !request.client.is_stream()
            && admission::had_its_turn(&request.thread, request.client.opened);
        request.keep_alive = !gives_way && request.core().keep_alive.allows(request);
    }
    let next = rewrite(request);
    if next != Next::Go {
        return next;
    }
    // From here on the plan stays: `if` blocks were entered in the rewrite phase.
    let plan = request.plan();
    if plan.need == 0 {
        request.client.spare();
    }
    if plan.steps.before_content {
        let next = before_content(&plan, request).await;
        if next != Next::Go {
            return next;
        }
    }
    content(&plan, request).await
}

async fn content(plan: &Plan, request: &mut Request) -> Next {
    match &plan.content {
        Content::Files => files(plan, request).await,
        Content::Proxy(proxy) => proxy.answer(request).await,
        Content::Handler(handler) => match handler.answer(request).outcome().await {
            Next::Go => files(plan, request).await,
            next => next,
        },
    }
}

/// The phases between rewrite and content, where any of them has a step.
async fn before_content(plan: &Plan, request: &mut Request) -> Next {
    if let Some(status) = rejection(plan, request).await {
        return Next::Status(status);
    }
    if let Some(try_files) = &plan.steps.try_files {
        let next = try_files.look(request);
        if next != Next::Go {
            return next;
        }
    }
    match first_rejection(&plan.steps.precontent, request).await {
        Some(status) => Next::Status(status),
        None => Next::Go,
    }
}

/// Files, if none of those before them answers.
async fn files(plan: &Plan, request: &mut Request) -> Next {
    for handler in &plan.steps.before_files {
        let next = handler.answer(request).outcome().await;
        if next != Next::Go {
            return next;
        }
    }
    files::answer(request)
}

/// Whether one of the phases between rewrite and `try_files` rejects the request.
async fn rejection(plan: &Plan, request: &mut Request) -> Option<u16> {
    if let Some(status) = first_rejection(&plan.steps.preaccess, request).await {
        return Some(status);
    }
    // Who may was decided for the client's own request.
    if request.depth > 0 {
        return None;
    }
    access(plan, request).await
}

async fn first_rejection(steps: &[Box<dyn Step>], request: &mut Request) -> Option<u16> {
    for step in steps {
        if let Verdict::Reject(status) = step.check(request).outcome().await {
            return Some(status);
        }
    }
    None
}

/// `satisfy all`: nobody rejects. `satisfy any`: one allows, or nobody rejects. A 401 or 407 may wait a while
/// (`auth_delay`).
async fn access(plan: &Plan, request: &mut Request) -> Option<u16> {
    let rejected = judged(plan, request).await?;
    if !matches!(rejected, 401 | 407) || plan.core.auth_delay.is_zero() {
        return Some(rejected);
    }
    log_info!(request, "delaying unauthorized request");
    match steps::pause(request, plan.core.auth_delay).await {
        Verdict::Reject(status) => Some(status),
        _ => Some(rejected),
    }
}

async fn judged(plan: &Plan, request: &mut Request) -> Option<u16> {
    let mut rejected = None;
    for step in &plan.steps.access {
        match step.check(request).outcome().await {
            Verdict::Next => {}
            Verdict::Allow if plan.core.satisfy_any => {
                request.response.remove(request.challenge().name);
                return None;
            }
            Verdict::Allow => {}
            // To be asked for a password is better than to be sent away.
            Verdict::Reject(403) if plan.core.satisfy_any => rejected = rejected.or(Some(403)),
            Verdict::Reject(status @ (401 | 407)) if plan.core.satisfy_any => rejected = Some(status),
            Verdict::Reject(status) => return Some(status),
        }
    }
    if rejected == Some(403) {
        log_error!(request, "access forbidden by rule");
    }
    rejected
}

/// The server's own rewrite phase: before the location is found, at first and after each internal redirect.
fn server_rewrite(request: &mut Request) -> Next {
    request.plan = request.generation.shared.server(request.server).plan;
    if request.location().steps.rewrite.is_none() {
        return Next::Go;
    }
    let plan = request.plan();
    let Some(script) = &plan.steps.rewrite else { return Next::Go };
    match script.run(request) {
        // At server level the location is found afterwards anyway.
        Next::Locate => {
            request.uri_changed = false;
            Next::Go
        }
        decided => decided,
    }
}

fn rewrite(request: &mut Request) -> Next {
    if request.plan == request.generation.shared.server(request.server).plan {
        // No location matched: the server's script ran already.
        return Next::Go;
    }
    if request.location().steps.rewrite.is_none() {
        return Next::Go;
    }
    let plan = request.plan();
    let Some(script) = &plan.steps.rewrite else { return Next::Go };
    let next = script.run(request);
    if next == Next::Locate {
        request.redirects += 1;
        request.leave_location();
    }
    next
}

async fn respond(request: &mut Request) -> Result<(), u16> {
    if request.body.expects_continue || !request.body.complete {
        leave_body(request).await?;
    }
    if request.error_status != 0 && request.response.status != 0 {
        // What answers an error is sent with the error's status, whatever it is itself.
        request.response.status = request.error_status;
        request.response.status_text = None;
    }
    let steps = &request.location().steps;
    let asks = steps.ssi.is_some() || steps.addition.is_some();
    match asks || request.depth > 0 {
        true => respond_in_parts(request).await,
        false => filter_head(request),
    }
}

/// Answers that become part of others, and those that others become part of. A page in pieces (`slice`) is neither.
async fn respond_in_parts(request: &mut Request) -> Result<(), u16> {
    if request.response.status == 0 || request.depth == 0 && slice::is_piece(request) {
        return filter_head(request);
    }
    let plan = request.plan();
    let (inner, outer) = plan.steps.header_filters.split_at(plan.steps.inner_filters);
    if request.depth > 0 {
        if slice::is_piece(request) {
            return Ok(());
        }
        inner.iter().filter(|filter| filter.minds_parts()).try_for_each(|filter| filter.apply(request))?;
        request.response.close_filters();
        return ask_others(&plan, request).await;
    }
    inner.iter().try_for_each(|filter| filter.apply(request))?;
    request.response.close_filters();
    charset::note(request);
    if let Err(status) = ask_others(&plan, request).await {
        request.response.forget_headers();
        return Err(status);
    }
    outer.iter().try_for_each(|filter| filter.apply(request))
}

/// Bodies in which answers of other locations stand.
async fn ask_others(plan: &Plan, request: &mut Request) -> Result<(), u16> {
    if request.action == Action::UpstreamHead {
        request.action = Action::SendingUpstream;
    }
    if let Some(ssi) = &plan.steps.ssi {
        ssi.run(request).outcome().await?;
    }
    if let Some(addition) = &plan.steps.addition {
        addition.add(request);
    }
    Ok(())
}

/// An answer is ready though the body was not read to its end. One that is broken leaves nowhere to find the next
/// request.
async fn leave_body(request: &mut Request) -> Result<(), u16> {
    if matches!(request.response.body, Body::Upstream(_)) || request.aborted {
        return Ok(());
    }
    let action = std::mem::take(&mut request.action);
    let left = body::disregard(request).await;
    request.keep_alive &= left.is_ok();
    if left.is_ok() {
        request.action = action;
    }
    left
}

/// The head passes every configured filter; errors and plain pages too.
fn filter_head(request: &mut Request) -> Result<(), u16> {
    if request.response.status == 0 {
        return Ok(());
    }
    let plan = request.plan();
    plan.steps.header_filters.iter().try_for_each(|filter| filter.apply(request))
}

fn log(request: &mut Request) {
    if request.location().steps.log.is_none() {
        return;
    }
    let plan = request.plan();
    if let Some(logs) = &plan.steps.log {
        request.logging = true;
        request.action = Action::Logging;
        logs.write(request);
    }
}
