//! A folder with logs, for tests.
#![allow(clippy::unwrap_used)]
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::log::LogFile;

/// Gone with all that is in it when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("logs-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
    pub fn open(&self, name: &str) -> File {
        File::options().append(true).create(true).open(self.0.join(name)).unwrap()
    }
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
    /// The log `a`.
    pub fn log(&self) -> Arc<LogFile> {
        let log = LogFile::new(self.0.join("a"));
        log.open(self.open("a"));
        Arc::new(log)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
