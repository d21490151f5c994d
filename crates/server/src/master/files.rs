//! Files that the master keeps: its process id, and folders for temporary files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::log::Errno;
use crate::program::Call;

/// On a fresh machine there is no folder for the pid file and the default log: somebody's first configuration should
/// not fail for that. A prefix that was asked for is taken as it is.
pub fn make_prefix(call: &Call) {
    if call.conf.is_some() && call.prefix.as_os_str() == super::flags::PREFIX {
        // What cannot be opened there says so when it matters.
        let _ = fs::create_dir_all(call.prefix.join("logs"));
    }
}

/// Where the old master's process id is during an upgrade.
pub fn old_pid(pid: &Path) -> PathBuf {
    let mut old = pid.as_os_str().to_owned();
    old.push(".oldbin");
    old.into()
}

/// Writes this process's id.
///
/// # Errors
/// In nginx's words.
pub fn write_pid(path: &Path) -> Result<(), String> {
    let outcome = File::options().write(true).create(true).truncate(true).mode(0o644).open(path);
    let mut file = outcome.map_err(|error| failed("open()", path, &error))?;
    writeln!(file, "{}", std::process::id()).map_err(|error| failed("write()", path, &error))
}

/// Whether the file could be written: what a check of the configuration wants to know. It is left as it was.
///
/// # Errors
/// In nginx's words.
pub fn check_pid(path: &Path) -> Result<(), String> {
    let outcome = File::options().write(true).create(true).truncate(false).mode(0o644).open(path);
    outcome.map(drop).map_err(|error| failed("open()", path, &error))
}

/// The process id in a file.
///
/// # Errors
/// In nginx's words.
pub fn read_pid(path: &Path) -> Result<u32, String> {
    let text = fs::read(path).map_err(|error| failed("open()", path, &error))?;
    let text = String::from_utf8_lossy(&text);
    let number = text.trim_end_matches(['\r', '\n']);
    let pid = number.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| format!("invalid PID number \"{number}\" in \"{}\"", path.display()))
}

fn failed(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} \"{}\" failed ({})", path.display(), Errno(error))
}

/// Makes the folders for temporary files, and leaves them to the worker's user. Parents that are missing are made,
/// too: a fresh machine has none.
///
/// # Errors
/// In nginx's words.
pub fn make_folders(folders: &[PathBuf], user: Option<(u32, u32)>) -> Result<(), String> {
    let user = user.filter(|_| sys::privileges::is_root()).map(|(uid, _)| uid);
    for folder in folders {
        make_folder(folder, user)?;
    }
    Ok(())
}

fn make_folder(folder: &Path, user: Option<u32>) -> Result<(), String> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(|error| failed("mkdir()", folder, &error))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("mkdir()", folder, &error));
        }
        _ => {}
    }
    let Some(uid) = user else { return Ok(()) };
    let metadata = fs::metadata(folder).map_err(|error| failed("stat()", folder, &error))?;
    if metadata.uid() != uid {
        std::os::unix::fs::chown(folder, Some(uid), None)
            .map_err(|error| format!("chown(\"{}\", {uid}) failed ({})", folder.display(), Errno(&error)))?;
    }
    let mode = metadata.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, PermissionsExt::from_mode(mode | 0o700))
            .map_err(|error| failed("chmod()", folder, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pid_file_is_written_read_and_refused() {
        let path = std::env::temp_dir().join(format!("plimsoll-pid-{}", std::process::id()));
        check_pid(&path).unwrap();
        let shown = path.display();
        assert_eq!(read_pid(&path).unwrap_err(), format!("invalid PID number \"\" in \"{shown}\""));
        write_pid(&path).unwrap();
        check_pid(&path).unwrap();
        assert_eq!(read_pid(&path).unwrap(), std::process::id());
        fs::write(&path, "12x\n").unwrap();
        assert_eq!(read_pid(&path).unwrap_err(), format!("invalid PID number \"12x\" in \"{shown}\""));
        fs::remove_file(&path).unwrap();
        let gone = read_pid(&path).unwrap_err();
        assert_eq!(gone, format!("open() \"{shown}\" failed (2: No such file or directory)"));
        assert!(old_pid(&path).to_string_lossy().ends_with(".oldbin"));
    }

    #[test]
    fn folders_are_made_once_and_for_their_user_only() {
        let top = std::env::temp_dir().join(format!("plimsoll-folders-{}", std::process::id()));
        let folder = top.join("a/b");
        for _ in 0..2 {
            make_folders(std::slice::from_ref(&folder), None).unwrap();
        }
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(&top).unwrap();
        fs::write(&top, "").unwrap();
        assert!(make_folders(&[folder], None).unwrap_err().starts_with("mkdir() "));
        fs::remove_file(&top).unwrap();
    }
}
