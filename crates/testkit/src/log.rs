//! A log file that a server writes while the test reads it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::gate::within;

/// One log file of a running server.
#[derive(Clone, Debug)]
pub struct LogFile(PathBuf);

impl LogFile {
    pub(crate) fn new(path: PathBuf) -> LogFile {
        LogFile(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All of it, as of now; empty if there is no such file.
    pub fn text(&self) -> String {
        fs::read(&self.0).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The complete lines written so far.
    pub fn lines(&self) -> Vec<String> {
        self.text().split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// Waits for a line that contains this text and gives it.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |line| line.contains(text))
    }

    /// Waits for a line that matches this regular expression and gives it.
    #[track_caller]
    pub fn wait_match(&self, pattern: &str) -> String {
        let regex = regex::Regex::new(pattern).expect("the pattern of a test");
        self.wait_until(pattern, |line| regex.is_match(line))
    }

    /// Waits until there are this many lines and gives them all.
    #[track_caller]
    pub fn wait_lines(&self, count: usize) -> Vec<String> {
        match within(|| Some(self.lines()).filter(|lines| lines.len() >= count)) {
            Some(lines) => lines,
            None => panic!("{} never had {count} lines:\n{}", self.0.display(), self.text()),
        }
    }

    #[track_caller]
    fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        match within(|| self.lines().into_iter().find(|line| wanted(line))) {
            Some(line) => line,
            None => panic!("no line `{what}` in {}:\n{}", self.0.display(), self.text()),
        }
    }
}
