//! What is wrong with a configuration, in nginx's words: `message in FILE:LINE`, and a second line where we can help.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// nginx's log levels, most severe first: the numbers are syslog's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The configuration cannot be used.
    Emerg,
    /// Something that must be looked at.
    Alert,
    /// An important failure.
    Crit,
    /// Something failed.
    Error,
    /// Works, but hardly as intended.
    Warn,
    /// Worth knowing.
    Notice,
    /// For information.
    Info,
    /// For developers.
    Debug,
}

impl Level {
    /// The levels by their names in a configuration and in log lines.
    pub const NAMES: &'static [(&'static str, Level)] = &[
        ("emerg", Level::Emerg),
        ("alert", Level::Alert),
        ("crit", Level::Crit),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("notice", Level::Notice),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];
    /// Its name.
    pub fn name(self) -> &'static str {
        Level::NAMES[self as usize].0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place in the configuration: a line of a file, or the `-g` option. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The file as named; absent for the `-g` option.
    pub file: Option<Arc<Path>>,
    /// Counted from 1. As in nginx, the line on which the directive's `;` or `{` stands.
    pub line: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None => f.write_str("command line"),
        }
    }
}

/// A mistake in the configuration, or a remark about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// `Emerg` for what makes the file unusable, `Warn` or `Notice` for a remark.
    pub level: Level,
    /// nginx's words, without the place.
    pub message: String,
    /// Where; filled in by [`read`](crate::read()) where the directive's function left it open.
    pub at: Option<Position>,
    /// One more line where we can say more than nginx does.
    pub help: Option<String>,
    /// The message still lacks its beginning, `"x" directive`.
    needs_name: bool,
    /// The place is left out on purpose.
    nowhere: bool,
}

/// What reading a configuration gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An `[emerg]` without a place yet.
    pub fn emerg(message: impl Into<String>) -> Error {
        Error {
            level: Level::Emerg,
            message: message.into(),
            at: None,
            help: None,
            needs_name: false,
            nowhere: false,
        }
    }

    /// A `[warn]` without a place.
    pub fn warn(message: impl Into<String>) -> Error {
        Error { level: Level::Warn, ..Error::emerg(message) }
    }

    /// A `[notice]` without a place.
    pub fn notice(message: impl Into<String>) -> Error {
        Error { level: Level::Notice, ..Error::emerg(message) }
    }

    /// An `[emerg]` that reads `"x" directive WHAT`, x being the directive whose function returns it.
    pub fn directive(what: impl Into<String>) -> Error {
        Error { needs_name: true, ..Error::emerg(what) }
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, at: Position) -> Error {
        self.at = Some(at);
        self
    }

    /// Without a place even if a directive's function returns it: nginx prints a few like that
    /// (`unknown "x" variable`).
    #[must_use]
    pub fn nowhere(mut self) -> Error {
        self.nowhere = true;
        self
    }

    /// With a second line.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// Whether a directive stands where it stood before.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.message.ends_with("directive is duplicate")
    }

    /// Fills in what the directive's function did not know: its name and place.
    #[must_use]
    pub(crate) fn complete(mut self, directive: &str, at: impl FnOnce() -> Position) -> Error {
        if self.needs_name {
            self.message = format!("\"{directive}\" directive {}", self.message);
            self.needs_name = false;
        }
        if self.at.is_none() && !self.nowhere {
            self.at = Some(at());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(at) = &self.at {
            write!(f, " in {at}")?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Error {
        Error::emerg(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Error {
        Error::emerg(message)
    }
}

/// An error of the system in nginx's form: `2: No such file or directory`.
pub fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => format!("{code}: {}", text.split(" (os error").next().unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_in_nginx() {
        let at = Position { file: Some(Path::new("/etc/nginx/nginx.conf").into()), line: 7 };
        let error = Error::emerg("unknown directive \"x\"").at(at.clone()).help("did you mean \"y\"?");
        assert_eq!(
            error.to_string(),
            "unknown directive \"x\" in /etc/nginx/nginx.conf:7\ndid you mean \"y\"?"
        );
        let error = Error::directive("is duplicate").complete("user", Position::default);
        assert_eq!(error.to_string(), "\"user\" directive is duplicate in command line");
        let error = Error::emerg("unknown \"x\" variable").nowhere().complete("root", || at);
        assert_eq!(error.to_string(), "unknown \"x\" variable");
    }

    #[test]
    fn a_system_error_has_its_number_first() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(2)), "2: No such file or directory");
        assert_eq!(os_error(&io::Error::other("odd")), "odd");
    }
}
