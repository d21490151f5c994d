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

/// How sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It may be so, or become so: nothing that was seen contradicts it.
    Possible,
    /// What was seen has this cause as a rule, and seldom another.
    Likely,
    /// It was measured, or the server said so.
    #[default]
    Certain,
}

impl Confidence {
    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Possible => "possible",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
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
    /// How sure it is.
    #[serde(default)]
    pub confidence: Confidence,
    /// The link it is about.
    pub link: Option<Kind>,
    /// One line.
    pub title: String,
    /// What was seen, where.
    pub evidence: Vec<String>,
    /// What it means.
    pub means: String,
    /// How many requests fit through the link at once as it is, or can wait in it; `None` where that cannot be said.
    #[serde(default)]
    pub requests: Option<u64>,
    /// What to change, the best first.
    pub changes: Vec<Change>,
    /// The command that shows whether the change took effect.
    #[serde(default)]
    pub verify: String,
    /// What people try and what does not help.
    pub not_this: Vec<String>,
}

impl Finding {
    /// A finding that only says what is wrong so far.
    pub fn new(severity: Severity, code: &str, link: Option<Kind>, title: impl Into<String>) -> Finding {
        Finding {
            severity,
            code: code.to_owned(),
            confidence: Confidence::Certain,
            link,
            title: title.into(),
            evidence: Vec::new(),
            means: String::new(),
            requests: None,
            changes: Vec::new(),
            verify: String::new(),
            not_this: Vec::new(),
        }
    }
    /// How sure it is, where that is not certain.
    pub fn sure(self, confidence: Confidence) -> Finding {
        Finding { confidence, ..self }
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
    /// `means`, and how many requests that leaves room for.
    pub fn consequence(&self) -> String {
        let Some(requests) = self.requests else { return self.means.clone() };
        let fit = match self.link {
            Some(kind) if kind.is_queue() => format!("at most {requests} can wait there at once"),
            _ => format!("at most {requests} requests fit at once"),
        };
        if self.means.is_empty() { fit } else { format!("{}; {fit}", self.means) }
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
