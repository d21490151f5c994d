//! Passing a request on to a server and its answer back, whatever protocol that server speaks.
//!
//! A module (`proxy`, `fastcgi` ..) says in its [`Protocol`] how its requests are written and its answers read; all else is
//! here: which server is asked, what is tried again, what is buffered, what becomes of the answer's head.
//!
//! | file | does |
//! |---|---|
//! | `written.rs` | the directives that all such modules have, as written |
//! | `settings.rs` | as run |
//! | `protocol.rs` | what differs from one protocol to another |
//! | `ask.rs`, `failure.rs` | one request: who is asked, what is tried again |
//! | `connect.rs`, `tls/` | a new connection, encrypted where it is to be |
//! | `send.rs` | the request to the server |
//! | `receive.rs`, `hints.rs`, `respond.rs` | the answer's head |
//! | `create.rs` | a request of HTTP |
//! | `http2/` | servers that speak HTTP/2 |
//! | `target.rs` | the servers behind a name |
//! | `gateway.rs`, `params.rs`, `script.rs` | what protocols have in common that begin with parameters and end as CGI does |
//! | `cache/`, `refresh.rs` | answers that are kept |
//! | `store.rs` | answers that become files |
//! | `body/`, `pace.rs`, `spill.rs`, `tunnel.rs` | what follows it |

mod ask;
mod body;
pub(crate) mod cache;
mod connect;
pub(crate) mod create;
mod failure;
pub(crate) mod gateway;
mod hints;
mod http2;
mod pace;
pub(crate) mod params;
mod protocol;
mod receive;
mod refresh;
mod respond;
pub(crate) mod script;
mod send;
mod settings;
mod spill;
pub(crate) mod store;
pub(crate) mod target;
pub(crate) mod tls;
mod tunnel;
pub(crate) mod written;

pub use ask::{Asked, ask, read_body};
pub use body::UpstreamBody;
pub use cache::{Cache, Kept, Looked, look};
pub use protocol::{Answer, BadHead, Frame, Message, Part, Payload, Protocol, Reader};
pub use settings::{Kind, Settings, check, compile};
pub use tunnel::tunnel;
pub use written::Written;
