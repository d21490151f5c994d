//! Log files: opened by the master, which has the rights, and opened anew when they were moved away.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::log::{Errno, Level, LogFile};

use super::voice::Voice;

/// Opens a log for appending; who may create it may read it, others too.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// Opens every log.
///
/// # Errors
/// The first that cannot be opened, in nginx's words.
pub fn open_all(logs: &[Arc<LogFile>]) -> Result<(), String> {
    for log in logs {
        log.open(open(&log.path).map_err(|error| failed(&log.path, &error))?);
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("open() \"{}\" failed ({})", path.display(), Errno(error))
}

/// Opens every log anew and leaves the files to the worker's user, as nginx does when told to; one that cannot be
/// opened is said and goes on in the file it had.
pub fn reopen_all(logs: &[Arc<LogFile>], user: Option<(u32, u32)>, voice: &Voice) {
    for log in logs {
        match open(&log.path) {
            Err(error) => voice.say(Level::Emerg, format_args!("{}", failed(&log.path, &error))),
            Ok(file) => {
                if let Some((uid, _)) = user.filter(|_| sys::privileges::is_root()) {
                    leave_to(&file, &log.path, uid, voice);
                }
                log.open(file);
            }
        }
    }
}

fn leave_to(file: &File, path: &Path, uid: u32, voice: &Voice) {
    let outcome = file.metadata().and_then(|metadata| {
        if !metadata.is_file() {
            return Ok(());
        }
        if metadata.uid() != uid {
            std::os::unix::fs::fchown(file, Some(uid), None)?;
        }
        let mode = metadata.permissions().mode();
        match mode & 0o600 {
            0o600 => Ok(()),
            _ => file.set_permissions(PermissionsExt::from_mode(mode | 0o600)),
        }
    });
    if let Err(error) = outcome {
        voice.say(
            Level::Emerg,
            format_args!("chown(\"{}\", {uid}) failed ({})", path.display(), Errno(&error)),
        );
    }
}

/// Descriptors of the logs as they are now.
///
/// # Errors
/// When there is no descriptor left to copy to.
pub fn descriptors(logs: &[Arc<LogFile>]) -> io::Result<Vec<Arc<OwnedFd>>> {
    logs.iter()
        .map(|log| {
            let file = log.current().ok_or(io::ErrorKind::NotFound)?;
            Ok(Arc::new(OwnedFd::from(file.try_clone()?)))
        })
        .collect()
}
