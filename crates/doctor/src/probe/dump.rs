//! The output of `nginx -T`, as the files it came from.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::Inputs;

const HEADING: &str = "# configuration file ";

/// Files of a dump; nothing is asked of this machine.
pub struct Dump {
    files: HashMap<PathBuf, Arc<[u8]>>,
    main: Option<PathBuf>,
}

impl Dump {
    /// Cuts a dump into its files.
    pub fn new(dump: &str) -> Dump {
        let mut found = Dump { files: HashMap::new(), main: None };
        let mut open: Option<(PathBuf, String)> = None;
        for line in dump.split_inclusive('\n') {
            let heading = line.trim_end().strip_prefix(HEADING).and_then(|rest| rest.strip_suffix(':'));
            match (heading, &mut open) {
                (Some(path), _) => {
                    found.close(open.take());
                    open = Some((PathBuf::from(path), String::new()));
                }
                (None, Some((_, text))) => text.push_str(line),
                // What `-t` says comes first.
                (None, None) => {}
            }
        }
        found.close(open);
        found
    }

    fn close(&mut self, file: Option<(PathBuf, String)>) {
        let Some((path, text)) = file else { return };
        self.main.get_or_insert(path.clone());
        self.files.insert(path, text.into_bytes().into());
    }

    /// The main file.
    pub fn main(&self) -> Option<PathBuf> {
        self.main.clone()
    }
}

impl Inputs for Dump {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A dump has only files that were included, so any that has the pattern's folder and ending was meant.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let (before, after) =
            (pattern.split(['*', '?', '[']).next().unwrap_or(""), pattern.rsplit(['*', '?', ']']).next());
        let depth = pattern.matches('/').count();
        let mut found: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|path| {
                let path = path.to_string_lossy();
                path.starts_with(before)
                    && path.ends_with(after.unwrap_or(""))
                    && path.matches('/').count() == depth
            })
            .cloned()
            .collect();
        found.sort();
        Ok(found)
    }

    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn user(&self, _: &str) -> io::Result<Option<(u32, u32)>> {
        Ok(None)
    }

    fn group(&self, _: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_of_a_dump() {
        let dump = Dump::new(
            "nginx: ok\n# configuration file /a/n.conf:\ninclude c/*.conf;\n\n# configuration file /a/c/x.conf:\nb;\n",
        );
        assert_eq!(dump.main().unwrap(), Path::new("/a/n.conf"));
        assert_eq!(dump.glob("/a/c/*.conf").unwrap(), [Path::new("/a/c/x.conf")]);
        assert_eq!(&dump.read(Path::new("/a/c/x.conf")).unwrap()[..], b"b;\n");
        assert!(dump.glob("/a/d/*").unwrap().is_empty() && Dump::new("").main().is_none());
    }
}
