//! Containers: a server may see another network and other files than we do.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

/// Runs this where it sees the network that the process sees. Where that is our own, or cannot be entered (it takes
/// root), it runs here; `Err` says that it should have run elsewhere.
pub fn in_network_of<T: Send>(pid: u32, look: impl Fn() -> T + Sync) -> (T, io::Result<()>) {
    if is_ours(pid, "net") {
        return (look(), Ok(()));
    }
    // The namespace is a thread's: this one ends with the look.
    let entered = fs::File::open(format!("/proc/{pid}/ns/net")).and_then(|namespace| {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| setns(&namespace, CloneFlags::CLONE_NEWNET).map(|()| look()));
            let looked = thread.join().map_err(|_| io::Error::other("the look ended early"))?;
            looked.map_err(io::Error::from)
        })
    });
    match entered {
        Ok(seen) => (seen, Ok(())),
        Err(error) => (look(), Err(error)),
    }
}

/// Where the files are that the process sees: `/` if it sees ours.
pub fn root_of(pid: u32) -> PathBuf {
    match is_ours(pid, "mnt") {
        true => PathBuf::from("/"),
        false => PathBuf::from(format!("/proc/{pid}/root")),
    }
}

/// Whether the process shares our namespace of this kind. What cannot be read counts as ours.
fn is_ours(pid: u32, kind: &str) -> bool {
    let name = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    name(&pid.to_string()).is_none_or(|theirs| name("self").is_none_or(|ours| ours == theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_home_nothing_is_entered() {
        let me = std::process::id();
        let (seen, entered) = in_network_of(me, || 7);
        assert!(seen == 7 && entered.is_ok());
        assert_eq!(root_of(me), PathBuf::from("/"));
    }
}
