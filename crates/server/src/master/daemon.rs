//! Going to the background, as nginx does: a session of its own, nothing to read, nothing to write to.

use std::fs::File;
use std::io;

use crate::log::ErrorLog;

/// Goes on in a child of its own session; the process that was started ends. Before any thread exists.
///
/// # Errors
/// When no process can be made.
pub fn detach() -> io::Result<()> {
    // Folder and standard error stay: paths may be relative to one, and the start may still have to complain.
    nix::unistd::daemon(true, true)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    // What is created from now on gets the mode it is given.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    Ok(())
}

/// Standard error is the error log from now on, unless the log is standard error.
pub fn leave_terminal(log: &ErrorLog) {
    if log.is_stderr() {
        return;
    }
    if let Some(file) = log.first_file().and_then(|file| file.current()) {
        // Whatever still writes there, e.g. a panic, is better in the log than nowhere; and nowhere does no harm.
        let _ = nix::unistd::dup2_stderr(&*file);
    }
}
