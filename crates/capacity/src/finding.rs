//! What is wrong, how that is known, what to change, and what will not help.

use serde::{Deserialize, Serialize};

use crate::link::Kind;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Requests will be lost when load grows.
    Warning,
    /// Requests are being lost.
    Critical,
}

impl Severity {
    /// In capitals, for a heading.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "NOTE",
            Severity::Warning => "WARNING",
            Severity::Critical => "CRITICAL",
        }
    }
}

/// What makes a change take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// At once.
    AtOnce,
    /// When the server reads its configuration anew.
    Reload,
    /// When the server is started anew.
    Restart,
    /// When the application behind it is started anew.
    RestartUpstream,
}

impl Effect {
    /// What to do after the change.
    pub fn words(self) -> &'static str {
        match self {
            Effect::AtOnce => "takes effect at once",
            Effect::Reload => "reload is enough",
            Effect::Restart => "needs a restart",
            Effect::RestartUpstream => "then restart the application",
        }
    }
}

/// A setting to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// As it is to be written: `worker_rlimit_nofile 16384;`.
    pub setting: String,
    /// Where: a file, or a context of the configuration.
    pub place: String,
    /// What makes it take effect.
    pub effect: Effect,
    /// What it does, where that is not plain.
    pub note: String,
}

impl Change {
    /// A change without a note.
    pub fn new(setting: impl Into<String>, place: impl Into<String>, effect: Effect) -> Change {
        Change { setting: setting.into(), place: place.into(), effect, note: String::new() }
    }
    /// What it does.
    pub fn note(self, note: impl Into<String>) -> Change {
        Change { note: note.into(), ..self }
    }
}

/// One thing that is wrong, or will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// A short name that stays the same, for programs: `backlog_clamped`.
    pub code: String,
    /// The link it is about.
    pub link: Option<Kind>,
    /// One line.
    pub title: String,
    /// What was seen, where.
    pub evidence: Vec<String>,
    /// What it means.
    pub means: String,
    /// What to change, the best first.
    pub changes: Vec<Change>,
    /// What people try and what does not help.
    pub not_this: Vec<String>,
}

impl Finding {
    /// A finding that only says what is wrong so far.
    pub fn new(severity: Severity, code: &str, link: Option<Kind>, title: impl Into<String>) -> Finding {
        Finding {
            severity,
            code: code.to_owned(),
            link,
            title: title.into(),
            evidence: Vec::new(),
            means: String::new(),
            changes: Vec::new(),
            not_this: Vec::new(),
        }
    }
    /// What was seen.
    pub fn seen(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }
    /// What it means.
    pub fn means(self, means: impl Into<String>) -> Finding {
        Finding { means: means.into(), ..self }
    }
    /// What to change.
    pub fn change(mut self, change: Change) -> Finding {
        self.changes.push(change);
        self
    }
    /// What will not help.
    pub fn not_this(mut self, wrong: impl Into<String>) -> Finding {
        self.not_this.push(wrong.into());
        self
    }
}
