//! `.._cache_purge`: a request that takes answers out of the cache instead of asking for one.

use super::settings::{Cache, any};
use crate::cache::{Zone, hash};
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;

/// Whether a request is of this kind.
pub(super) fn wanted(cache: &Cache, request: &mut Request) -> bool {
    !cache.purge.is_empty() && any(&cache.purge, request)
}

/// Takes out what is kept under the key, with all its variants; under a key that ends with `*`, all whose keys begin so.
/// 204, or 404 where there is nothing.
pub(super) async fn purge(request: &mut Request, zone: std::sync::Arc<Zone>, key: Vec<u8>) -> Next {
    let work = move || take_out(&zone, &key);
    let Ok(found) = request.thread.process.blocking.run(work).await else { return Next::Status(500) };
    if !found {
        return Next::Status(404);
    }
    request.response.status = 204;
    request.response.content_length = None;
    request.response.body = Body::Empty;
    Next::Respond
}

/// Says whether anything was there. Reads files, and may have to wait for a disk.
fn take_out(zone: &Zone, key: &[u8]) -> bool {
    if let Some(start) = key.strip_suffix(b"*") {
        return zone.remove_where(|cached| cached.key.starts_with(start));
    }
    let main = hash([key]);
    match zone.read(&main).filter(|cached| cached.key == key) {
        None => false,
        Some(cached) if cached.vary.is_empty() => zone.remove(&main),
        Some(_) => zone.remove_where(|cached| cached.key == key),
    }
}
