//! Starting processes: workers from the running binary, and the new master of an upgrade.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::outbox::Outbox;

/// Set for the new master of an upgrade: its standard input is a channel to the one before.
pub const UPGRADE: &str = "PLIMSOLL_UPGRADE";
/// How a worker is told from a master: by its title, which is what `ps` shows.
const WORKER: &str = ": worker process";

/// The program, as it was started.
pub struct Binary {
    /// Its file, held open: a package upgrade must not change what a restart runs.
    file: File,
    /// The arguments, the program's name first.
    args: Vec<OsString>,
    /// For an upgrade: the program's path, so that what is installed there by then is run.
    path: PathBuf,
}

impl Binary {
    /// The running one.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn running() -> io::Result<Binary> {
        let file = File::open("/proc/self/exe")?;
        let args: Vec<OsString> = std::env::args_os().collect();
        let name = args.first().cloned().unwrap_or_else(|| "plimsoll".into());
        // A name without a folder was found through PATH, where the new one will be, too.
        let path = match name.as_bytes().contains(&b'/') {
            true => std::env::current_dir()?.join(name),
            false => name.into(),
        };
        Ok(Binary { file, args, path })
    }

    /// Starts a worker; the channel's other end is its standard input. `environment`: all it gets.
    ///
    /// # Errors
    /// What fork or exec say.
    pub fn start_worker(&self, environment: Vec<(String, OsString)>) -> io::Result<(Child, Outbox)> {
        let (ours, theirs) = sys::fdpass::pair()?;
        let child = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            .arg0(format!("{}{WORKER}", self.name()))
            .env_clear()
            .envs(environment)
            .stdin(Stdio::from(theirs))
            .spawn()?;
        Ok((child, Outbox::new(ours)?))
    }

    /// Starts what is installed as this program now, with the same arguments.
    ///
    /// # Errors
    /// What fork or exec say.
    pub fn start_successor(&self) -> io::Result<(Child, Outbox)> {
        let (ours, theirs) = sys::fdpass::pair()?;
        let mut command = Command::new(&self.path);
        if let Some((name, args)) = self.args.split_first() {
            command.arg0(name).args(args);
        }
        let child = command.env(UPGRADE, "upgrade").stdin(Stdio::from(theirs)).spawn()?;
        Ok((child, Outbox::new(ours)?))
    }

    /// What an upgrade runs.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The program's name without its folder: titles follow it.
    fn name(&self) -> String {
        let name = self.args.first().map(PathBuf::from);
        let name = name.as_ref().and_then(|path| path.file_name()).unwrap_or(OsStr::new("plimsoll"));
        name.to_string_lossy().into_owned()
    }
}

/// The name in the title of a worker; `None` in any other process.
pub fn worker_name(args: &[OsString]) -> Option<String> {
    let [title] = args else { return None };
    title.to_string_lossy().strip_suffix(WORKER).map(str::to_owned)
}

/// Standard input, which is a channel, as a descriptor of its own; nothing is left to read there.
///
/// # Errors
/// When it is no channel.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = std::io::stdin();
    let kind = rustix::net::sockopt::socket_type(&stdin)?;
    if kind != rustix::net::SocketType::SEQPACKET {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let channel = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(channel)
}

/// The environment of a worker: `env NAME` keeps a variable, `env NAME=value` sets it; the time zone is always kept.
pub fn environment(env: &[(String, Option<String>)]) -> Vec<(String, OsString)> {
    let timezone = ("TZ".to_owned(), None);
    let named = std::iter::once(&timezone).chain(env);
    named
        .filter_map(|(name, value)| {
            let value = value.as_ref().map(OsString::from).or_else(|| std::env::var_os(name))?;
            Some((name.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_its_title() {
        let args = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(worker_name(&args(&["nginx: worker process"])), Some("nginx".into()));
        assert_eq!(worker_name(&args(&["plimsoll"])), None);
        assert_eq!(worker_name(&args(&["x: worker process", "-t"])), None);
    }

    #[test]
    fn only_named_variables_are_kept() {
        let env = environment(&[("A".into(), Some("b".into())), ("NO_SUCH_VARIABLE".into(), None)]);
        assert!(env.contains(&("A".into(), "b".into())));
        assert!(env.iter().all(|(name, _)| name == "A" || name == "TZ"));
        let path = environment(&[("PATH".into(), None)]);
        assert_eq!(
            path.iter().find(|(name, _)| name == "PATH").map(|p| p.1.clone()),
            std::env::var_os("PATH")
        );
    }
}
