//! Files that somebody sent: not all of those that the configuration includes are among them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use conf::Inputs;

/// So many missing files are named.
const NAMED: usize = 5;

/// Other inputs, where a file that is not there is as an empty one, and is remembered.
pub(super) struct Sent<I> {
    inputs: I,
    missing: Mutex<Vec<PathBuf>>,
}

impl<I: Inputs> Sent<I> {
    pub(super) fn new(inputs: I) -> Sent<I> {
        Sent { inputs, missing: Mutex::default() }
    }

    /// What was asked for in vain, in one line.
    pub(super) fn unread(self) -> Option<String> {
        let missing = self.missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = missing.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = match missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!missing.is_empty()).then(|| format!("included, but not here: {}{more}", names.join(", ")))
    }
}

impl<I: Inputs> Inputs for Sent<I> {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        match self.inputs.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
                if !missing.iter().any(|known| known == path) {
                    missing.push(path.to_owned());
                }
                Ok(Arc::default())
            }
            read => read,
        }
    }
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        self.inputs.glob(pattern)
    }
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.inputs.resolve(host, port)
    }
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        self.inputs.user(name)
    }
    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        self.inputs.group(name)
    }
    fn exists(&self, path: &Path) -> bool {
        self.inputs.exists(path)
    }
}
