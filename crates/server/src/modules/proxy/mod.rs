//! `proxy_pass`: a request is asked of an HTTP server, and its answer passed on.
//!
//! | file | does |
//! |---|---|
//! | `written.rs` | the directives as written |
//! | `settings.rs`, `pass.rs`, `redirect.rs`, `cookies.rs` | as run |
//! | `answer.rs` | one request |
//! | `response.rs` | headers of the answer that change on their way |
//!
//! Whatever does not depend on HTTP being spoken is in [`crate::http::relay`].

use conf::{Error, Scope};

use super::Module;
use crate::http::relay;
use crate::worker::generation::Compiler;

mod answer;
mod cookies;
mod pass;
mod redirect;
mod response;
mod settings;
mod variables;
mod written;

pub use answer::Proxy;

pub(crate) static MODULE: Module =
    Module { name: "proxy", directives: written::DIRECTIVES, variables: variables::VARIABLES };

/// `proxy_ssl_*`: how connections to servers are encrypted.
pub(crate) static SSL: Module = Module { name: "proxy", directives: written::SSL_DIRECTIVES, variables: &[] };

/// What a location with `proxy_pass` does.
///
/// # Errors
/// Unknown hosts, and URLs that the location cannot have.
pub fn content(scope: &Scope, with: &mut Compiler<'_>) -> Result<Option<Proxy>, Error> {
    let Some(pass) = scope.conf::<written::Pass>() else {
        if let Some(passing) = scope.conf::<written::Passing>() {
            relay::check(scope, &passing.0, "proxy")?;
        }
        return Ok(None);
    };
    let target = pass::target(pass, scope, with)?;
    let settings = settings::compile(scope, &target, with)?;
    Ok(Some(Proxy::new(settings, target)))
}
