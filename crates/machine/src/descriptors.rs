//! What a process has open.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process's descriptors, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Sockets, by their inodes.
    pub sockets: Vec<u32>,
    /// Files that have a name.
    pub files: usize,
    /// Files that were deleted while open: temporary ones, or logs that were rotated and not reopened.
    pub deleted: usize,
    /// epoll, eventfd, pipes and the like.
    pub other: usize,
}

impl Descriptors {
    /// All together.
    pub fn total(&self) -> usize {
        self.sockets.len() + self.files + self.deleted + self.other
    }

    fn add(&mut self, target: &str) {
        match target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
            Some(inode) => self.sockets.push(inode),
            None if target.ends_with(" (deleted)") => self.deleted += 1,
            None if target.starts_with('/') => self.files += 1,
            None => self.other += 1,
        }
    }
}

/// Those of a process. Takes its user's rights, or root's.
pub fn of(pid: u32) -> io::Result<Descriptors> {
    let mut descriptors = Descriptors::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        // It may have been closed since it was listed.
        if let Ok(target) = fs::read_link(entry.path()) {
            descriptors.add(&target.to_string_lossy());
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kinds() {
        let mut found = Descriptors::default();
        for target in ["socket:[17]", "/a/b", "/tmp/x (deleted)", "anon_inode:[eventpoll]", "pipe:[3]"] {
            found.add(target);
        }
        assert_eq!(found, Descriptors { sockets: vec![17], files: 1, deleted: 1, other: 2 });
        assert_eq!(found.total(), 5);
    }

    #[test]
    fn ours_can_be_read() {
        let _held = fs::File::open("/proc/self/exe").unwrap();
        assert!(of(std::process::id()).unwrap().files >= 1);
        assert!(of(u32::MAX).is_err());
    }
}
