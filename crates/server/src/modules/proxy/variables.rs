//! `$proxy_host`, `$proxy_port`, `$proxy_add_x_forwarded_for`.

use super::pass::{Fixed, Target};
use crate::http::plan::Content;
use crate::http::request::Request;
use crate::http::variables::{Variable, variable};

pub(super) static VARIABLES: &[Variable] = &[
    variable("proxy_host", |r, out| of_target(r, out, |f| &f.host, |r| &r.upstream.host)).hideable(),
    variable("proxy_port", |r, out| of_target(r, out, |f| &f.port, |r| &r.upstream.port)).hideable(),
    variable("proxy_add_x_forwarded_for", |r, out| {
        for header in r.head.headers.all(wire::Known::XForwardedFor) {
            out.extend_from_slice(header.value.of(&r.buffer));
            out.extend_from_slice(b", ");
        }
        r.client.push_address(out);
        true
    }),
];

fn of_target(
    request: &mut Request,
    out: &mut Vec<u8>,
    fixed: fn(&Fixed) -> &[u8],
    found: fn(&Request) -> &[u8],
) -> bool {
    let plan = request.plan();
    let Content::Proxy(proxy) = &plan.content else { return false };
    if !request.upstream.is_begun() {
        return false;
    }
    out.extend_from_slice(match &proxy.target {
        Target::Fixed(target) => fixed(target),
        Target::Variable(..) => found(request),
    });
    true
}
