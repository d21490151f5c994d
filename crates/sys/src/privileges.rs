//! Users, groups, and giving up root.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};

/// A user as the `user` directive needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// All groups of the user, `gid` among them.
    pub groups: Vec<u32>,
}

/// Looks a user up; `None` if there is none of that name.
pub fn user(name: &str) -> io::Result<Option<Account>> {
    let Some(user) = User::from_name(name)? else { return Ok(None) };
    let groups = groups_of(name, user.gid.as_raw())?;
    Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups }))
}

/// Looks a group up; `None` if there is none of that name.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|g| g.gid.as_raw()))
}

/// The supplementary groups of a user together with `gid`, as initgroups(3) would set them.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let groups = unistd::getgrouplist(&name, Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Becomes another user for good: groups, group, then user, since each step gives up the right to the one before.
/// Concerns the whole process (the C library tells its other threads); file descriptors stay open.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
    unistd::setgroups(&groups)?;
    unistd::setgid(Gid::from_raw(gid))?;
    unistd::setuid(Uid::from_raw(uid))?;
    // Who was root and can be it again has dropped nothing.
    if uid != 0 && unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("still root after setuid"));
    }
    Ok(())
}

/// Allows core dumps (and /proc/self for one's own user) again, which a change of user switches off.
pub fn allow_core_dumps() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn root_is_known_and_nobody_else_is_invented() {
        let root = user("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(user("no-such-user-here").unwrap(), None);
        assert_eq!(group("no-such-group-here").unwrap(), None);
    }

    /// Changes the whole process, so it runs in one of its own: this test program, asked for this test alone.
    #[test]
    fn becoming_a_user_is_for_good() {
        const CHILD: &str = "SYS_TEST_BECOMES_USER";
        if !is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        if std::env::var_os(CHILD).is_some() {
            // A second thread, since the change concerns the process.
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let other = std::thread::spawn(move || wait.recv().map(|()| Uid::effective().as_raw()));
            become_user(65534, 65534, &[65534]).unwrap();
            go.send(()).unwrap();
            assert_eq!(other.join().unwrap(), Ok(65534));
            assert_eq!(unistd::getgroups().unwrap(), [Gid::from_raw(65534)]);
            assert!(become_user(0, 0, &[]).is_err());
            allow_core_dumps().unwrap();
            return;
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "privileges::tests::becoming_a_user_is_for_good"]).env(CHILD, "1");
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    fn a_name_with_nul_is_refused() {
        assert!(groups_of("a\0b", 0).is_err());
    }
}
