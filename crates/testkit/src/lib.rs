//! Behaviour tests for the server: configuration text, bytes sent, bytes expected.
//!
//! A test starts a server from nginx.conf text in a temporary prefix, talks to it over plain sockets and looks at
//! what came back, at the logs and at what an upstream saw. The same test runs against Debian's nginx, which is the
//! oracle: an expectation that only one of the two meets is a bug in the test or in the server.
//!
//! ```no_run
//! testkit::on_both("location / { return 200 hello; }", |server| {
//!     assert_eq!(server.get("/").text(), "hello");
//! });
//! ```
//!
//! Which servers run is the environment's choice: `PLIMSOLL` names the binary under test (else the one cargo
//! built), `NGINX` the oracle (else `/usr/sbin/nginx`), `PLIMSOLL_ONLY` and `NGINX_ONLY` leave one of them out.
#![forbid(unsafe_code)]

mod apps;
mod binary;
mod client;
mod gate;
pub mod http2;
mod log;
mod message;
mod names;
mod normal;
mod origin;
pub mod peers;
mod ports;
mod server;
mod site;
mod slow;
mod wire;

pub use apps::App;
pub use binary::Binary;
pub use client::Client;
pub use gate::{Gate, PATIENCE, eventually, within};
pub use log::LogFile;
pub use message::{Fields, Request, Response};
pub use names::{NameServer, Record};
pub use normal::{PAGES, error_page, matches, normal};
pub use origin::{Exchange, Origin};
pub use ports::Port;
pub use server::{Exit, Server};
pub use site::Site;
pub use slow::{Ask, Kept, SlowFiles};
pub use wire::Wire;

/// Starts Plimsoll with this configuration; see [`Site`] for the short forms.
#[track_caller]
pub fn serve(site: impl Into<Site>) -> Server {
    Binary::Plimsoll.serve(site)
}

/// Runs the test against Plimsoll and, where it is installed, against nginx with the same configuration.
#[track_caller]
pub fn on_both(site: impl Into<Site>, test: impl Fn(&Server)) {
    let site = site.into();
    each(|binary| test(&binary.serve(site.clone())));
}

/// Runs the test once for each server, for tests that start the server themselves (because an origin, say, has to
/// be there first). A failing run says which server it was.
#[track_caller]
pub fn each(test: impl Fn(Binary)) {
    for binary in Binary::wanted() {
        let blame = binary::Blame(binary);
        test(binary);
        drop(blame);
    }
}
