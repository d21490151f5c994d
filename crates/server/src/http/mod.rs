//! HTTP: a request from its head to its log line.

pub mod body;
pub mod client;
pub mod error_page;
pub mod file;
pub mod filters;
pub mod included;
mod notes;
pub mod open_files;
pub mod output;
pub mod pace;
pub mod paths;
pub mod phases;
pub mod pieces;
pub mod plan;
mod post_action;
pub mod regex;
pub mod relay;
pub mod request;
pub mod response;
pub mod router;
pub mod status_page;
pub mod steps;
pub mod subrequest;
pub mod symlinks;
pub mod template;
pub mod types;
pub mod variables;
