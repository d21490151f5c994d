//! Any text is a configuration or an error with a place; it never panics, hangs or asks for the system's files.
#![no_main]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::{Inputs, Source, Tree};
use libfuzzer_sys::fuzz_target;

/// A world with one file, which may include itself.
struct OneFile(Arc<[u8]>);

impl Inputs for OneFile {
    fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        match path.ends_with("nginx.conf") {
            true => Ok(self.0.clone()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn glob(&self, _: &str) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(Vec::new())
    }
    fn user(&self, _: &str) -> io::Result<Option<(u32, u32)>> {
        Ok(None)
    }
    fn group(&self, _: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
}

fuzz_target!(|input: &[u8]| {
    let world = OneFile(input.into());
    let source =
        Source { file: Path::new("/etc/nginx.conf"), prefix: Path::new("/etc"), globals: "", text: None };
    let tree = Tree::read(&world, &source);
    if let Some(error) = &tree.error {
        assert!(!error.to_string().is_empty());
    }
});
