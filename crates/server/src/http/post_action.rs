//! `post_action`: once the client has its answer, another path is asked with all that is known of the request. Nobody
//! gets its answer; the log line is written behind it.

use super::body::RequestBody;
use super::phases::{self, Next};
use super::request::{Query, Request};
use super::response::Body;
use super::router;

/// Goes wherever the location in force leads, and on from there; as often as internal redirects may follow one another.
pub async fn run(request: &mut Request) {
    // Whether the client is still there is no matter any more.
    let client = request.client.shadow();
    let client = std::mem::replace(&mut request.client, client);
    let (keep_alive, aborted) = (request.keep_alive, std::mem::take(&mut request.aborted));
    let unread = (!request.body.is_kept()).then(|| std::mem::replace(&mut request.body, RequestBody::none()));
    loop {
        let plan = request.plan();
        let Some(to) = plan.core.post_action.as_deref() else { break };
        if request.redirects > router::MAX_REDIRECTS {
            break;
        }
        account(request);
        let status = request.response.status;
        request.response.reset();
        // Until there is another answer `$status` is that of the client's.
        request.response.status = status;
        let next = match to.starts_with(b"/") {
            true => {
                request.redirect_to(to, Query::None);
                Next::Locate
            }
            false => router::enter_named(request, to),
        };
        phases::decide(request, next).await;
    }
    request.client = client;
    if let Some(body) = unread {
        request.body = body;
    }
    (request.keep_alive, request.aborted) = (keep_alive, aborted);
}

/// What the body knows of the upstream it came from is lost with it.
fn account(request: &mut Request) {
    if let Body::Upstream(body) = &request.response.body {
        body.account(&mut request.upstream);
    }
}
