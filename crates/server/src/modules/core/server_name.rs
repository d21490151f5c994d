//! `server_name`, and the sizes of hash tables that nginx has and this server does without.

use conf::{Args, Directive, Error, HTTP, Inherit, Scope, directive};

use crate::http::regex::Regex;

/// The names of one server.
#[derive(Default)]
pub struct Names {
    /// In order.
    pub all: Vec<Name>,
}
/// One of them.
#[derive(Clone)]
pub enum Name {
    /// Exact or with an asterisk, lower case.
    Text(String),
    /// `~pattern`.
    Regex(Regex),
}
impl Inherit for Names {
    fn inherit(&mut self, _: &Names) {}
    fn reaches(_: conf::Within) -> bool {
        false
    }
}

/// `server_name name ..;`
pub fn server_name(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    for i in 0..a.words.len() {
        let name = name(at, a, a.str(i))?;
        at.own::<Names>().all.push(name);
    }
    Ok(())
}

fn name(at: &mut Scope, a: &Args<'_>, text: &str) -> Result<Name, Error> {
    if let Some(pattern) = text.strip_prefix('~') {
        if pattern.is_empty() {
            return Err(a.error("empty regex in server name \"~\""));
        }
        return Ok(Name::Regex(Regex::new(at, pattern, true).map_err(|e| a.error(e.message))?));
    }
    if text.contains('/') {
        at.warn(a.warning(format!("server name \"{text}\" has suspicious symbols")));
    }
    if text == "$hostname" {
        return Ok(Name::Text(sys::process::hostname().to_ascii_lowercase()));
    }
    let half = text.starts_with('*') && (text.len() < 3 || !text.starts_with("*."));
    if half || text == "." {
        return Err(a.error(format!("server name \"{text}\" is invalid")));
    }
    Ok(Name::Text(text.to_ascii_lowercase()))
}

/// A size that is checked, and needs no setting here: these tables grow as they must.
fn needless(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0)?;
    super::process::once_here(at, a)
}
/// `server_names_hash_max_size`
pub const HASH_MAX_SIZE: Directive =
    directive("server_names_hash_max_size", HTTP, conf::exactly(1), needless);
/// `server_names_hash_bucket_size`
pub const HASH_BUCKET_SIZE: Directive =
    directive("server_names_hash_bucket_size", HTTP, conf::exactly(1), needless);
/// `variables_hash_max_size`
pub const VARIABLES_HASH_MAX_SIZE: Directive =
    directive("variables_hash_max_size", HTTP, conf::exactly(1), needless);
/// `variables_hash_bucket_size`
pub const VARIABLES_HASH_BUCKET_SIZE: Directive =
    directive("variables_hash_bucket_size", HTTP, conf::exactly(1), needless);
