//! Everything the configuration asks of the system, behind one trait.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the configuration may ask. Every answer counts as configuration: it is asked once, when reading.
pub trait Inputs: Send + Sync {
    /// A file's contents.
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>>;
    /// The files a pattern matches, sorted, as glob(3). No match is no error.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;
    /// A host's addresses.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
    /// A user's id and that of their group.
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>>;
    /// A group's id.
    fn group(&self, name: &str) -> io::Result<Option<u32>>;
    /// Whether there is a file or folder.
    fn exists(&self, path: &Path) -> bool;
}

/// The system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemInputs;

impl Inputs for SystemInputs {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        let mut file = File::open(path)?;
        let mut text = Vec::with_capacity(file.metadata()?.len() as usize);
        file.read_to_end(&mut text)?;
        Ok(text.into())
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        // glob(3) takes a pattern it cannot read for a name, which then matches nothing.
        let Ok(paths) = glob::glob_with(pattern, options) else { return Ok(Vec::new()) };
        let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(io::Error::from)?;
        found.sort();
        Ok(found)
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }

    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        let user = nix::unistd::User::from_name(name)?;
        Ok(user.map(|user| (user.uid.as_raw(), user.gid.as_raw())))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(nix::unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}
