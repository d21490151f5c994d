//! The error log: levels, targets, and nginx's line format.
//!
//! `YYYY/MM/DD HH:MM:SS [level] pid#tid: *connection message, client: .., server: .., request: ".."`

mod action;
mod bytes;
mod json;
mod line;
mod memory;
pub mod openssl;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use action::Action;
pub use bytes::{put_back, shown, shown_lines, shown_path};
pub use conf::Level;
pub use line::{Errno, settle};
pub use memory::Memory;
use reactor::Peer;

use crate::http::request::Request;
use crate::program::Address;
use crate::worker::ledger::{Class, Counted, OpenFile};

/// A file that lines are appended to; reopened on USR1 without those who hold it noticing.
#[derive(Debug)]
pub struct LogFile {
    /// Its absolute path.
    pub path: PathBuf,
    file: RwLock<Option<Arc<OpenFile>>>,
    /// When a failed write was last reported, in seconds since 1970.
    reported: AtomicU64,
}
impl LogFile {
    /// Not open yet: lines are dropped until [`LogFile::open`].
    pub fn new(path: PathBuf) -> LogFile {
        LogFile { path, file: RwLock::new(None), reported: AtomicU64::new(0) }
    }
    /// Writes go to `file` from now on.
    pub fn open(&self, file: File) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(Counted::new(Class::Log, file)));
    }
    /// The file in force.
    pub fn current(&self) -> Option<Arc<OpenFile>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Appends whole lines in one write.
    ///
    /// # Errors
    /// What the write says, e.g. a full disk.
    pub fn append(&self, lines: &[u8]) -> std::io::Result<()> {
        match self.current() {
            Some(file) => (&**file).write_all(lines),
            None => Ok(()),
        }
    }
    /// Whether a failed write is to be reported at this second since 1970: nginx does it once a minute for each file.
    pub fn complains(&self, now: u64) -> bool {
        once_in(60, &self.reported, now)
    }
}

/// Whether the last time is so many seconds ago; then it is now.
pub fn once_in(seconds: u64, reported: &AtomicU64, now: u64) -> bool {
    let last = reported.load(Relaxed);
    now.saturating_sub(last) >= seconds && reported.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
}

/// Every log file that a configuration names, once each.
#[derive(Default)]
pub struct LogFiles(Mutex<Files>);
#[derive(Default)]
struct Files {
    all: Vec<Arc<LogFile>>,
    by_path: HashMap<PathBuf, Arc<LogFile>>,
}
impl LogFiles {
    /// The file at an absolute path.
    pub fn file(&self, path: &Path) -> Arc<LogFile> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.by_path.get(path) {
            return file.clone();
        }
        let file = Arc::new(LogFile::new(path.into()));
        files.all.push(file.clone());
        files.by_path.insert(path.into(), file.clone());
        file
    }
    /// All of them, in the order in which they were named.
    pub fn all(&self) -> Vec<Arc<LogFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }
}

/// Where error messages go.
#[derive(Clone, Debug)]
pub enum Target {
    /// `stderr`.
    Stderr,
    /// A file.
    File(Arc<LogFile>),
    /// `syslog:..`.
    Syslog(Arc<crate::syslog::Syslog>),
    /// `memory:..`.
    Memory(Arc<Memory>),
    /// Any of these, in objects.
    Json(Box<Target>),
}

impl Target {
    /// Where lines go, whatever they look like.
    fn plain(&self) -> &Target {
        match self {
            Target::Json(target) => target.plain(),
            plain => plain,
        }
    }
}

/// The `error_log` directives in force somewhere.
#[derive(Clone, Debug)]
pub struct ErrorLog {
    targets: Arc<[(Level, Target)]>,
    most: Level,
}
impl ErrorLog {
    /// Messages at least as grave as each target's level go to it.
    pub fn new(targets: Vec<(Level, Target)>) -> ErrorLog {
        let most = targets.iter().map(|t| t.0).max().unwrap_or(Level::Emerg);
        ErrorLog { targets: targets.into(), most }
    }
    /// Everything of `level` or graver to standard error: before a configuration is read.
    pub fn stderr(level: Level) -> ErrorLog {
        ErrorLog::new(vec![(level, Target::Stderr)])
    }
    /// Whether any of it goes to standard error.
    pub fn is_stderr(&self) -> bool {
        self.targets.iter().any(|(_, target)| matches!(target.plain(), Target::Stderr))
    }
    /// The first file among the targets.
    pub fn first_file(&self) -> Option<&Arc<LogFile>> {
        self.targets.iter().find_map(|(_, target)| match target.plain() {
            Target::File(file) => Some(file),
            _ => None,
        })
    }
    /// Whether anything is written at this level.
    pub fn takes(&self, level: Level) -> bool {
        level <= self.most
    }
    /// Writes a message with its context.
    pub fn write(&self, level: Level, context: &Context<'_>, message: fmt::Arguments<'_>) {
        if !self.takes(level) {
            return;
        }
        if let Some((level, fault)) = self.put(level, context, message, |_| true) {
            let is_other = |target: &Target| !matches!(target, Target::Syslog(_));
            self.put(level, &Context::none(), format_args!("{fault}"), is_other);
        }
    }
    /// Writes to those targets that are wanted; what is to be said of a syslog server that took nothing.
    fn put(
        &self,
        level: Level,
        context: &Context<'_>,
        message: fmt::Arguments<'_>,
        is_wanted: impl Fn(&Target) -> bool,
    ) -> Option<(Level, String)> {
        let (mut text, mut object, mut fault) = (None, None, None);
        for (_, target) in self.targets.iter().filter(|(least, to)| level <= *least && is_wanted(to.plain()))
        {
            let line = match target {
                Target::Json(_) => object.get_or_insert_with(|| json::line(level, context, message)),
                _ => text.get_or_insert_with(|| line::line(level, context, message)),
            };
            fault = deliver(target.plain(), level, line).or(fault);
        }
        text.into_iter().for_each(line::give_back);
        fault
    }
}

/// Writes a line; what is to be said elsewhere of one that was lost. A file that cannot be written has nowhere to complain.
fn deliver(target: &Target, level: Level, line: &[u8]) -> Option<(Level, String)> {
    match target {
        Target::Stderr => drop(std::io::stderr().write_all(line)),
        Target::File(file) => drop(file.append(line)),
        Target::Memory(memory) => memory.write(line),
        Target::Json(_) => {}
        Target::Syslog(syslog) => return crate::syslog::send_error(syslog, level, line),
    }
    None
}

/// What a message is about.
#[derive(Clone, Copy, Default)]
pub struct Context<'a> {
    connection: Option<u64>,
    request: Option<&'a Request>,
    waiting: Option<(Peer, &'a Address)>,
}
impl<'a> Context<'a> {
    /// The process.
    pub fn none() -> Context<'static> {
        Context::default()
    }
    /// A request, and its connection.
    pub fn request(request: &'a Request) -> Context<'a> {
        Context { connection: Some(request.client.id), request: Some(request), waiting: None }
    }
    /// A connection between two requests.
    pub fn connection(id: u64) -> Context<'static> {
        Context { connection: Some(id), request: None, waiting: None }
    }
    /// A connection before its first request, and the address it came to.
    pub fn waiting(id: u64, client: Peer, listener: &'a Address) -> Context<'a> {
        Context { connection: Some(id), request: None, waiting: Some((client, listener)) }
    }
}

/// Writes to the error log of a request.
macro_rules! log_error {
    ($request:expr, $($message:tt)*) => { $request.note($crate::log::Level::Error, format_args!($($message)*)) };
}
/// See [`log_error`].
macro_rules! log_info {
    ($request:expr, $($message:tt)*) => { $request.note($crate::log::Level::Info, format_args!($($message)*)) };
}
/// See [`log_error`].
macro_rules! log_warn {
    ($request:expr, $($message:tt)*) => { $request.note($crate::log::Level::Warn, format_args!($($message)*)) };
}
/// See [`log_error`].
macro_rules! log_crit {
    ($request:expr, $($message:tt)*) => { $request.note($crate::log::Level::Crit, format_args!($($message)*)) };
}
/// See [`log_error`].
macro_rules! log_alert {
    ($request:expr, $($message:tt)*) => { $request.note($crate::log::Level::Alert, format_args!($($message)*)) };
}
