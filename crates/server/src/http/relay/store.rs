//! `.._store`: an answer becomes a file in a place of its own, whole or not at all.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use conf::{Args, Error, Scope};
use wire::Known;

use super::settings::Settings;
use super::written::Once;
use crate::access::Access;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::log::{Errno, shown_path};
use crate::temp;
use crate::worker::ledger::OpenFile;

/// `.._store`, as written.
#[derive(Clone)]
pub enum Wish {
    /// Not at all.
    Off,
    /// In the file that the path in force leads to.
    On,
    /// In this file.
    To(Template),
}

/// Reads `on | off | path`; `kept` is what `.._cache` says in the same block.
///
/// # Errors
/// nginx's words.
pub(crate) fn wish(at: &Scope, a: &Args<'_>, kept: &conf::Setting<Option<Template>>) -> Result<Wish, Error> {
    match a.str(0) {
        "off" => return Ok(Wish::Off),
        "" => return Err(a.error("empty path")),
        _ => {}
    }
    if kept.written().is_some_and(Option::is_some) {
        return Err(incompatible(a, "_store", "_cache"));
    }
    match a.str(0) {
        "on" => Ok(Wish::On),
        _ => Ok(Wish::To(Template::compile(at, a, 0)?)),
    }
}
/// Where an answer is stored it is not cached.
///
/// # Errors
/// nginx's words.
pub(crate) fn check_cache(a: &Args<'_>, stored: &conf::Setting<Wish>) -> Result<(), Error> {
    match stored.written() {
        None | Some(Wish::Off) => Ok(()),
        Some(_) => Err(incompatible(a, "_cache", "_store")),
    }
}
fn incompatible(a: &Args<'_>, own: &str, other: &str) -> Error {
    let prefix = a.directive.strip_suffix(own).unwrap_or_default();
    Error::directive(format!("is incompatible with \"{prefix}{other}\""))
}

/// As run.
pub struct Store {
    /// `None`: where the path in force leads.
    to: Option<Template>,
    access: Access,
}

pub(super) fn compile(written: &Once) -> Option<Store> {
    let to = match written.store.written()? {
        Wish::Off => return None,
        Wish::On => None,
        Wish::To(path) => Some(path.clone()),
    };
    Some(Store { to, access: written.store_access.or(Access::default()) })
}

/// An answer while it is written: under another name, until it is complete.
pub(super) struct Storing {
    file: OpenFile,
    /// The name it has now; it goes with this.
    temporary: PathBuf,
    to: PathBuf,
    access: Access,
    modified: Option<SystemTime>,
}

/// The head of an answer came: begins its file, if it is to have one.
pub(super) fn begin(settings: &Settings, request: &mut Request) -> Option<Storing> {
    let store = settings.store.as_ref()?;
    if request.upstream.head.status != 200 || request.method == wire::Method::Head {
        return None;
    }
    let mut to = Vec::new();
    match &store.to {
        Some(path) => path.render(request, &mut to),
        None if request.has_file_path() => request.file_path(&mut to),
        None => return None,
    }
    if to.is_empty() {
        return None;
    }
    let record = &request.upstream;
    let modified = record.head.headers.value(Known::LastModified, &record.buffer).and_then(wire::date::parse);
    let modified = modified.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    match temp::open_named(&settings.temp_path) {
        Ok((file, temporary)) => {
            let to = OsString::from_vec(to).into();
            Some(Storing { file, temporary, to, access: store.access, modified })
        }
        Err((error, path)) => {
            log_crit!(request, "open() \"{}\" failed ({})", path.display(), Errno(&error));
            None
        }
    }
}

impl Storing {
    /// Appends to the file.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
    /// The answer is complete: the file goes to its place. Says what went wrong.
    pub fn finish(self) -> Result<(), String> {
        let fault = |call: &str, error: &io::Error| {
            format!("{call} \"{}\" failed ({})", shown_path(&self.temporary), Errno(error))
        };
        let mode = Permissions::from_mode(self.access.0);
        self.file.set_permissions(mode).map_err(|error| fault("chmod()", &error))?;
        if let Some(time) = self.modified {
            self.file.set_modified(time).map_err(|error| fault("utimes()", &error))?;
        }
        let (from, to) = (&self.temporary, &self.to);
        let mut moved = std::fs::rename(from, to);
        if moved.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            make_way(to, self.access.folder())
                .map_err(|error| format!("mkdir() \"{}\" failed ({})", shown_path(to), Errno(&error)))?;
            moved = std::fs::rename(from, to);
        }
        if moved.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::CrossesDevices) {
            moved = self.copy();
        }
        moved.map_err(|error| {
            format!("rename() \"{}\" to \"{}\" failed ({})", shown_path(from), shown_path(to), Errno(&error))
        })
    }
    /// To another file system: there, too, it appears at once and whole.
    fn copy(&self) -> io::Result<()> {
        let number = self.temporary.file_name().unwrap_or_default();
        let mut beside = self.to.clone().into_os_string();
        beside.push(".");
        beside.push(number);
        // Keeps the mode.
        let copied = std::fs::copy(&self.temporary, &beside).and_then(|_| {
            if let Some(time) = self.modified {
                File::options().write(true).open(&beside)?.set_modified(time)?;
            }
            std::fs::rename(&beside, &self.to)
        });
        if copied.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        copied
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        // Not there any more, where it got its place.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Makes the folders on the way to a file.
fn make_way(path: &Path, mode: u32) -> io::Result<()> {
    match path.parent() {
        Some(folder) => DirBuilder::new().recursive(true).mode(mode).create(folder),
        None => Ok(()),
    }
}
