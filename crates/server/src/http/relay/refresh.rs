//! `.._cache_background_update`: the client gets the old answer, and a request that nobody waits for fetches a new one.

use super::cache::Kept;
use crate::http::phases::Next;
use crate::http::plan::Content;
use crate::http::request::Request;

/// Begins to fetch what `kept` has the right to fetch; `false` if that cannot be.
pub(super) fn begin(request: &mut Request, kept: &mut Kept) -> bool {
    if !matches!(request.plan().content, Content::Proxy(_) | Content::Handler(_)) {
        return false;
    }
    let mut other = request.thread.request();
    request.copy_to(&mut other);
    other.upstream.cache.background = true;
    other.upstream.cache.fetch = kept.fetch.take();
    let thread = request.thread.clone();
    request.thread.handle.spawn(async move {
        let plan = other.plan();
        // The body goes to the cache whether anybody takes it or not.
        let _ = match &plan.content {
            Content::Proxy(proxy) => proxy.answer(&mut other).await,
            Content::Handler(handler) => handler.answer(&mut other).outcome().await,
            Content::Files => Next::Close,
        };
        drop(plan);
        thread.give_request(other);
    });
    true
}
