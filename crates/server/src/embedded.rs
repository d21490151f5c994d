//! The configuration that runs where there is none: a welcome page on the loopback address.

/// In the language of every other configuration.
pub const CONFIGURATION: &str = include_str!("embedded.conf");
