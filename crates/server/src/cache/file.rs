//! One answer's file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::cached::{Cached, NotCached};

use super::zone::{Fetch, Hash, Zone};
use crate::worker::ledger::{Class, Counted, OpenFile};

/// An answer found.
pub struct Opened {
    /// Its file.
    pub file: OpenFile,
    /// What stands before the body.
    pub cached: Cached,
}

/// Read at first: most files' beginnings are shorter.
const FIRST: usize = 4096;

impl Opened {
    /// Opens an answer's file; `None` if there is none that is whole. A broken one is removed.
    ///
    /// # Errors
    /// What keeps it from being opened or read.
    pub fn open(zone: &Zone, hash: &Hash) -> io::Result<Option<Opened>> {
        let path = zone.place.file(hash);
        let opened = read(&path);
        if let Ok(None) = opened {
            zone.lost(hash);
        }
        opened
    }
    /// Where the body is.
    pub fn body(&self) -> std::ops::Range<u64> {
        let start = self.cached.length() as u64;
        start..start + self.cached.body
    }
    /// Writes changed times to the file.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub fn update(&self, zone: &Zone, hash: &Hash) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(zone.place.file(hash))?;
        let file = Counted::new(Class::Cache, file);
        file.write_all_at(&self.cached.encode(), 0)
    }
}

/// Reads a file's beginning; what is broken is removed, and is as if it had never been.
pub(super) fn read(path: &Path) -> io::Result<Option<Opened>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => Counted::new(Class::Cache, file?),
    };
    let mut bytes = vec![0; FIRST];
    let mut filled = 0;
    loop {
        let n = file.read_at(&mut bytes[filled..], filled as u64)?;
        filled += n;
        match Cached::decode(&bytes[..filled]) {
            Err(NotCached::Short(needed)) if n > 0 => bytes.resize(needed.max(filled + 1), 0),
            Ok(cached) if file.metadata()?.len() == cached.length() as u64 + cached.body => {
                return Ok(Some(Opened { file, cached }));
            }
            _ => {
                let _ = std::fs::remove_file(path);
                return Ok(None);
            }
        }
    }
}

/// An answer while it is written: under another name, until it is complete.
pub struct Writer {
    zone: Arc<Zone>,
    hash: Hash,
    file: OpenFile,
    /// The name it has now; `None` when it got its own.
    temporary: Option<PathBuf>,
    cached: Cached,
    /// Nobody else fetches it meanwhile, if that was asked for.
    _fetch: Option<Fetch>,
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    /// What keeps it from being made, and its name.
    pub fn begin(
        zone: &Arc<Zone>,
        hash: Hash,
        cached: Cached,
        fetch: Option<Fetch>,
    ) -> Result<Writer, (io::Error, PathBuf)> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut path = zone.place.file(&hash).into_os_string();
        path.push(format!(".{:010}", NEXT.fetch_add(1, Relaxed)));
        let path = PathBuf::from(path);
        let file = create(&path).map_err(|error| (error, path.clone()))?;
        let file = Counted::new(Class::Cache, file);
        Ok(Writer { zone: zone.clone(), hash, file, temporary: Some(path), cached, _fetch: fetch })
    }
    /// Appends to the body.
    ///
    /// # Errors
    /// What writing says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.cached.length() as u64 + self.cached.body)?;
        self.cached.body += bytes.len() as u64;
        Ok(())
    }
    /// The body is complete: the file gets its name.
    ///
    /// # Errors
    /// What writing or renaming says.
    pub fn finish(mut self, now: u64) -> io::Result<()> {
        self.file.write_all_at(&self.cached.encode(), 0)?;
        if let Some(temporary) = &self.temporary {
            std::fs::rename(temporary, self.zone.place.file(&self.hash))?;
        }
        self.temporary = None;
        self.zone.stored(&self.hash, now, self.cached.length() as u64 + self.cached.body);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let new = || OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
    match new() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            new()
        }
        made => made,
    }
}
