//! What is done to the file system. Everything here may have to wait for a disk.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::worker::ledger::{Class, Line, OpenFile};

/// What could not be done to which file.
#[derive(Debug)]
pub(super) struct Fault {
    /// The system call; empty for "could not be created".
    pub call: &'static str,
    pub path: PathBuf,
    /// Where it was to go, of what is moved.
    pub to: Option<PathBuf>,
    pub error: io::Error,
}
impl Fault {
    pub fn new(call: &'static str, path: &Path, error: io::Error) -> Fault {
        Fault { call, path: path.to_owned(), to: None, error }
    }
    /// What could not be given its name.
    fn rename(from: &Path, to: &Path, error: io::Error) -> Fault {
        Fault { to: Some(to.to_owned()), ..Fault::new("rename()", from, error) }
    }
}

/// What is to be in a file.
pub(super) enum Content {
    Memory(Vec<u8>),
    /// So many bytes of another.
    File(OpenFile, u64),
}
/// How a file is to be made.
pub(super) struct Put {
    pub access: u32,
    /// The mode of folders on the way to it, if they are to be made.
    pub create_path: Option<u32>,
    pub modified: Option<SystemTime>,
}

/// Puts a file in its place at once and whole; says whether there was none before.
pub(super) fn put(path: &Path, content: Content, how: &Put) -> Result<bool, Fault> {
    let fresh = match fs::metadata(path) {
        Ok(stat) if stat.is_dir() => return Err(Fault::new("", path, Errno::ISDIR.into())),
        Ok(_) => false,
        Err(_) => true,
    };
    if let Some(mode) = how.create_path {
        make_way(path, mode)?;
    }
    let beside = beside(path);
    let written = write(&beside, content, how);
    let moved = written.and_then(|()| fs::rename(&beside, path));
    let moved = moved.map_err(|error| Fault::rename(&beside, path, error));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved.map(|()| fresh)
}
/// A name next to a file that is not used otherwise; it begins with as much of the file's as there is room for.
fn beside(path: &Path) -> PathBuf {
    let number = u128::from_ne_bytes(crate::random::bits()) % 10_000_000_000;
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut beside = OsString::from_vec(name[..name.len().min(LONGEST_NAME - 11)].to_vec());
    beside.push(format!(".{number:010}"));
    path.with_file_name(beside)
}
/// Linux has no longer names of files.
const LONGEST_NAME: usize = 255;

fn write(path: &Path, content: Content, how: &Put) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let _line = Line::new(Class::File);
    match content {
        Content::Memory(text) => file.write_all(&text)?,
        Content::File(mut body, length) => {
            io::Seek::rewind(&mut *body)?;
            let copied = io::copy(&mut io::Read::take(&*body, length), &mut file)?;
            if copied != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    if how.access != 0 {
        file.set_permissions(fs::Permissions::from_mode(how.access))?;
    }
    how.modified.map_or(Ok(()), |time| file.set_modified(time))
}

/// Makes the folders on the way to a file.
fn make_way(path: &Path, mode: u32) -> Result<(), Fault> {
    let Some(folder) = path.parent() else { return Ok(()) };
    match DirBuilder::new().recursive(true).mode(mode).create(folder) {
        // A file is in the way: whoever wants to go there will be told.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Of a folder without the right to write nginx goes on to what is in it, and names the last.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Fault::new("mkdir()", path, error))
        }
        made => made.map_err(|error| Fault::new("mkdir()", folder, error)),
    }
}

pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Fault> {
    DirBuilder::new().mode(mode).create(path).map_err(|error| Fault::new("mkdir()", path, error))
}

/// Removes a file, or a folder with all in it; what could not be removed in it, and how it ended.
pub(super) fn remove(path: &Path, is_folder: bool) -> (Vec<Fault>, Result<(), Fault>) {
    let mut remarks = Vec::new();
    if !is_folder {
        let removed = fs::remove_file(path).map_err(|error| Fault::new("unlink()", path, error));
        return (remarks, removed);
    }
    empty(path, &mut remarks);
    let removed = fs::remove_dir(path).map_err(|error| Fault::new("rmdir()", path, error));
    (remarks, removed)
}

fn empty(folder: &Path, remarks: &mut Vec<Fault>) {
    for (path, is_folder) in items(folder, remarks) {
        let removed = match is_folder {
            true => {
                empty(&path, remarks);
                fs::remove_dir(&path).map_err(|error| Fault::new("rmdir()", &path, error))
            }
            false => fs::remove_file(&path).map_err(|error| Fault::new("unlink()", &path, error)),
        };
        remarks.extend(removed.err());
    }
}

/// What is in a folder, and whether each is a folder; links are none.
fn items(folder: &Path, remarks: &mut Vec<Fault>) -> Vec<(PathBuf, bool)> {
    let _line = Line::new(Class::File);
    let listed = fs::read_dir(folder).and_then(|items| {
        items.map(|item| item.and_then(|item| Ok((item.path(), item.file_type()?.is_dir())))).collect()
    });
    listed.unwrap_or_else(|error| {
        remarks.push(Fault::new("opendir()", folder, error));
        Vec::new()
    })
}

/// Copies a file with its mode and time.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), Fault> {
    let mut source = File::open(from).map_err(|error| Fault::new("open()", from, error))?;
    let _lines = [Line::new(Class::File), Line::new(Class::File)];
    let stat = source.metadata().map_err(|error| Fault::new("fstat()", from, error))?;
    let copied = (|| {
        let mode = stat.mode() & 0o7777;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(to)?;
        io::copy(&mut source, &mut file)?;
        file.set_modified(stat.modified()?)
    })();
    copied.map_err(|error| Fault::new("open()", to, error))
}

/// Copies a folder with all in it but links and devices; what could not be copied in it, and whether it was made.
pub(super) fn copy_folder(from: &Path, to: &Path) -> (Vec<Fault>, Result<(), Fault>) {
    let mut remarks = Vec::new();
    let mode = fs::metadata(from).map_or(0o700, |stat| stat.mode() & 0o7777);
    let made = make_folder(to, mode);
    if made.is_ok() {
        copy_items(from, to, &mut remarks);
    }
    (remarks, made)
}
fn copy_items(from: &Path, to: &Path, remarks: &mut Vec<Fault>) {
    for (path, is_folder) in items(from, remarks) {
        let place = to.join(path.file_name().unwrap_or_default());
        if is_folder {
            let (more, made) = copy_folder(&path, &place);
            remarks.extend(more);
            remarks.extend(made.err());
        } else if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_file()) {
            remarks.extend(copy_file(&path, &place).err());
        }
    }
    let time = fs::metadata(from).and_then(|stat| stat.modified());
    let _ = time.and_then(|time| File::open(to)?.set_modified(time));
}

/// Moves a file; the way there is made, and other file systems are no hindrance.
pub(super) fn move_file(from: &Path, to: &Path, mode: u32) -> Result<(), Fault> {
    make_way(to, mode)?;
    match fs::rename(from, to) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
            copy_file(from, to)?;
            fs::remove_file(from).map_err(|error| Fault::new("unlink()", from, error))
        }
        moved => moved.map_err(|error| Fault::rename(from, to, error)),
    }
}
