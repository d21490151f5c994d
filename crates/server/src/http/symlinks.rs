//! `disable_symlinks`: opens a file component by component, and follows no link that must not be followed.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use crate::worker::ledger::{Class, Line};

/// Which links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Any.
    No,
    /// Those whose owner is not that of what they point to.
    NotOwner,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens what is at `path`; the first `from` bytes of it are not looked at.
///
/// # Errors
/// `ELOOP` for a link that is not followed (`ENOTDIR` for one on the way), else the system's.
pub fn open(path: &[u8], from: usize, links: Links, flags: OFlags) -> Result<OwnedFd, Errno> {
    let (start, rest) = path.split_at_checked(from).ok_or(Errno::INVAL)?;
    let _line = Line::new(Class::File);
    let mut at = match (start, rest) {
        ([], [b'/', ..]) => openat(CWD, "/", FOLDER, Mode::empty())?,
        ([], _) => openat(CWD, ".", FOLDER, Mode::empty())?,
        (start, _) => openat(CWD, start, FOLDER, Mode::empty())?,
    };
    let mut components = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = components.next() {
        let last = components.peek().is_none() && !path.ends_with(b"/");
        at = one(&at, name, links, if last { flags } else { FOLDER })?;
        if last {
            return Ok(at);
        }
    }
    openat(&at, ".", flags, Mode::empty())
}

fn one(at: &OwnedFd, name: &[u8], links: Links, flags: OFlags) -> Result<OwnedFd, Errno> {
    match links {
        // A link that is not the last component has a descriptor of its own, and is no folder to go on from.
        Links::No => openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        Links::NotOwner => {
            let fd = openat(at, name, flags, Mode::empty())?;
            let link = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match fstat(&fd)?.st_uid == link.st_uid {
                true => Ok(fd),
                false => Err(Errno::LOOP),
            }
        }
    }
}
