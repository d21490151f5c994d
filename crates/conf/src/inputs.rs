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

/// What is read from a pipe or a device, at most.
const MOST_OF_STREAM: u64 = 16 << 20;

/// A file of known size, straight into its place. Should it have shrunk since, what is left.
fn whole(file: &mut File, len: usize) -> io::Result<Arc<[u8]>> {
    let mut text: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
    let Some(buffer) = Arc::get_mut(&mut text) else { return Ok(text) };
    let mut filled = 0;
    while filled < len {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(buffer[..filled].into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(text)
}

/// `**` is `*` for glob(3), while the glob crate would go through all folders below.
fn single_stars(pattern: &str) -> String {
    let mut before = None;
    pattern.chars().filter(|&c| before.replace(c) != Some('*') || c != '*').collect()
}

/// What has no size: a pipe, a device, an empty file.
fn endless(file: File) -> io::Result<Arc<[u8]>> {
    let mut text = Vec::new();
    file.take(MOST_OF_STREAM + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MOST_OF_STREAM {
        true => Err(io::Error::from_raw_os_error(nix::errno::Errno::EFBIG as i32)),
        false => Ok(text.into()),
    }
}

impl Inputs for SystemInputs {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        let mut file = File::open(path)?;
        match usize::try_from(file.metadata()?.len()) {
            Ok(0) => endless(file),
            Ok(len) => whole(&mut file, len),
            Err(_) => Err(io::Error::from_raw_os_error(nix::errno::Errno::EFBIG as i32)),
        }
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        // glob(3) takes a pattern it cannot read for a name, which then matches nothing.
        let Ok(paths) = glob::glob_with(&single_stars(pattern), options) else { return Ok(Vec::new()) };
        // As for glob(3) without GLOB_ERR, a folder that cannot be listed has nothing in it.
        let mut found: Vec<PathBuf> = paths.filter_map(Result::ok).collect();
        found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn files_are_found_as_glob_finds_them() {
        let folder = std::env::temp_dir().join(format!("conf-glob-{}", std::process::id()));
        fs::create_dir_all(folder.join("b.d/sub")).unwrap();
        for name in ["b.d/b", "b.d/B", "b.d/a-1", "b.d/a.1", "b.d/.hidden", "b.d/sub/x", "c"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let found = SystemInputs.glob(&format!("{}/{pattern}", folder.display())).unwrap();
            let short = |path: PathBuf| path.strip_prefix(&folder).unwrap().display().to_string();
            found.into_iter().map(short).collect()
        };
        assert_eq!(found("b.d/*"), ["b.d/B", "b.d/a-1", "b.d/a.1", "b.d/b", "b.d/sub"]);
        assert_eq!(found("**"), ["b.d", "c"]);
        assert_eq!(found("**/x"), [""; 0]);
        assert_eq!(found("*/a[.-]?"), ["b.d/a-1", "b.d/a.1"]);
        assert_eq!(found("b.d/[!ab]"), ["b.d/B"]);
        assert_eq!(found("b.d/["), [""; 0]);
        assert_eq!(found("none/*"), [""; 0]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn stars_are_single() {
        assert_eq!(single_stars("a**b***/*.c"), "a*b*/*.c");
    }
}
