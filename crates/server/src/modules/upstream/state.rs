//! `state`: a file that keeps the servers of a group over reloads and restarts, as `upstream_api` leaves them.

use std::io::ErrorKind;
use std::path::Path;

use conf::{Args, Error, Scope};

use super::{Block, add_server};

pub(super) const EITHER: &str = "\"server\" and \"state\" cannot be in the same upstream";

/// `state file`: reads `server ..;`, line by line. A file that is not there yet has none.
pub(super) fn state(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let path = a.prefix_path(a.str(0));
    if !at.own::<Block>().servers.is_empty() {
        return Err(a.error(EITHER));
    }
    at.own::<Block>().state.set(path.clone().into())?;
    let text = match a.inputs().read(Path::new(&path)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let error = crate::log::Errno(&error);
            return Err(a.error(format!("open() \"{path}\" failed ({error})")));
        }
    };
    for line in String::from_utf8_lossy(&text).split(';') {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            [] => {}
            ["server", ref words @ ..] if !words.is_empty() && !words.contains(&"resolve") => {
                add_server(at, a, words)?;
            }
            _ => {
                let line = line.trim();
                return Err(a.error(format!("unexpected \"{line}\" in \"{path}\"")));
            }
        }
    }
    Ok(())
}
