//! The web server: nginx's configuration, its processes, HTTP from head to log line.
#![forbid(unsafe_code)]

#[macro_use]
mod log;

mod access;
mod cache;
mod chain;
mod ciphertext;
mod clock;
mod connection;
mod embedded;
mod flow;
mod hash;
mod hosts;
mod http;
mod http2;
mod listener;
pub mod master;
mod modules;
mod network;
pub mod program;
mod proxy_protocol;
mod random;
pub mod reference;
mod resolver;
mod snapshot;
mod syslog;
mod temp;
mod texts;
mod upstream;
pub mod worker;
