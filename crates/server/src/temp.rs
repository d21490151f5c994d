//! Temporary files: request bodies and responses that do not fit in memory.
//!
//! A file has no name from the moment it is open, so nothing is left behind however the process ends; but for bodies
//! that others are to read (`client_body_in_file_only`).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use conf::{Args, Error, Scope};

use crate::http::request::Request;
use crate::log::Level;
use crate::modules::core::client_body::InFile;
use crate::worker::descriptors;
use crate::worker::ledger::{Class, Counted, OpenFile};

/// A directory for temporary files and the levels of folders below it (`client_body_temp_path`, `proxy_temp_path`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TempPath {
    /// The directory.
    pub path: PathBuf,
    /// Digits of the file's number that each level of folders takes, from its end; 0 ends the list.
    pub levels: [usize; 3],
}

/// Digits of a file's number, as in nginx.
const DIGITS: usize = 10;

impl TempPath {
    /// A directory without levels.
    pub fn flat(path: String) -> TempPath {
        TempPath { path: path.into(), levels: [0; 3] }
    }
    /// Reads `path [level1 [level2 [level3]]]`: digits of each level.
    ///
    /// # Errors
    /// nginx's `invalid value`.
    pub fn read(_: &Scope, a: &Args<'_>) -> Result<TempPath, Error> {
        let mut temp = TempPath::flat(a.prefix_path(a.str(0)));
        for i in 1..a.words.len() {
            let level: usize = a.number(i).map_err(|_| a.invalid())?;
            // All levels together have no more digits than a name.
            if level == 0 || level + temp.levels.iter().sum::<usize>() > DIGITS {
                return Err(a.invalid());
            }
            temp.levels[i - 1] = level;
        }
        Ok(temp)
    }
    /// The file of this number.
    fn file(&self, number: u64) -> PathBuf {
        let name = format!("{number:010}");
        let mut path = self.path.clone();
        let mut end = name.len().min(DIGITS);
        for level in self.levels.iter().take_while(|level| **level > 0) {
            path.push(&name[end - level..end]);
            end -= level;
        }
        path.push(name);
        path
    }
}

/// What a temporary file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's request body (`client_body_temp_path`).
    ClientBody,
}

/// The name of a file that others read while the request lasts (`client_body_in_file_only`), or afterwards.
#[derive(Debug)]
pub struct Name {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it goes with the request.
    clean: bool,
}
impl Drop for Name {
    fn drop(&mut self) {
        if self.clean {
            // Whoever got the name may have moved the file away.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Creates a temporary file for `request`; with a name if it is to have one.
///
/// # Errors
/// 500, logged, when the directory cannot be written to; 503 where no descriptor is left.
pub fn create(request: &mut Request, kind: Kind) -> Result<(OpenFile, Option<Name>), u16> {
    let plan = request.plan();
    let (temp, what) = match kind {
        Kind::ClientBody => (&plan.core.client_body.temp_path, "a client request body"),
    };
    let named = plan.core.client_body.in_file_only;
    let open = || open_as(temp, named != InFile::Off);
    let opened = match open() {
        Err((error, _)) if descriptors::are_out(&error) && descriptors::make_room(&request.thread) => open(),
        opened => opened,
    };
    match opened {
        Ok((file, path)) => {
            let level = if named == InFile::Off { Level::Warn } else { Level::Notice };
            let message = format_args!("{what} is buffered to a temporary file {}", path.display());
            request.note(level, message);
            let name = (named != InFile::Off).then(|| Name { path, clean: named == InFile::Clean });
            Ok((file, name))
        }
        Err((error, path)) if descriptors::are_out(&error) => {
            Err(descriptors::refuse(request, format_args!("open() \"{}\"", path.display()), &error))
        }
        Err((error, path)) => {
            log_crit!(request, "open() \"{}\" failed ({})", path.display(), crate::log::Errno(&error));
            Err(500)
        }
    }
}

/// Opens a new file without a name; says under which name it was made.
pub fn open(temp: &TempPath) -> Result<(OpenFile, PathBuf), (io::Error, PathBuf)> {
    open_as(temp, false)
}

/// As [`open`], with a name.
pub fn open_named(temp: &TempPath) -> Result<(OpenFile, PathBuf), (io::Error, PathBuf)> {
    open_as(temp, true)
}

fn open_as(temp: &TempPath, named: bool) -> Result<(OpenFile, PathBuf), (io::Error, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    loop {
        let path = temp.file(NEXT.fetch_add(1, Relaxed));
        match make(&path, named) {
            // Another process counts, too: two generations of a server share the directory during an upgrade.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err((error, path)),
            Ok(file) => return Ok((Counted::new(Class::Temporary, file), path)),
        }
    }
}

fn make(path: &Path, named: bool) -> io::Result<File> {
    let file = match create_new(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            create_new(path)?
        }
        made => made?,
    };
    if !named {
        std::fs::remove_file(path)?;
    }
    Ok(file)
}
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn levels_take_digits_from_the_end() {
        let temp = TempPath { path: "/t".into(), levels: [1, 2, 0] };
        assert_eq!(temp.file(1_234_567), Path::new("/t/7/56/0001234567"));
        assert_eq!(TempPath::flat("/t".into()).file(1), Path::new("/t/0000000001"));
    }

    #[test]
    fn a_file_can_be_read_back_and_has_no_name() {
        let folder = std::env::temp_dir().join(format!("temp-test-{}", std::process::id()));
        let temp = TempPath { path: folder.clone(), levels: [2, 0, 0] };
        let (mut file, path) = open(&temp).map_err(|e| e.0).unwrap();
        file.write_all(b"abc").unwrap();
        file.rewind().unwrap();
        let mut back = String::new();
        file.read_to_string(&mut back).unwrap();
        assert_eq!((back.as_str(), path.exists()), ("abc", false));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
