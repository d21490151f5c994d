//! What the traffic is made of, and so what one concurrent request costs on average.

use serde::{Deserialize, Serialize};

/// What one request holds while it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Connection slots.
    pub slots: u64,
    /// File descriptors.
    pub descriptors: u64,
    /// Local ports towards an upstream.
    pub ports: u64,
}

impl Need {
    /// A proxied request: the client's connection and the upstream's.
    pub const PROXIED: Need = Need { slots: 2, descriptors: 2, ports: 1 };
    /// A file: the client's connection, and the file.
    pub const FILE: Need = Need { slots: 1, descriptors: 2, ports: 0 };
    /// An answer from memory: the client's connection alone.
    pub const ANSWERED: Need = Need { slots: 1, descriptors: 1, ports: 0 };
    /// A client that keeps its connection and asks nothing.
    pub const IDLE: Need = Need { slots: 1, descriptors: 1, ports: 0 };
}

/// Shares of the traffic, as weights: only their proportions count. Negative and undefined ones are as zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Requests passed to an upstream.
    pub proxied: f64,
    /// Requests answered from files.
    pub files: f64,
    /// Requests answered from memory.
    pub answered: f64,
    /// Idle keep-alive clients that come with them, where the server does not take their place away when it needs one.
    pub idle: f64,
}

impl Mix {
    /// Every request is passed to an upstream.
    pub const PROXIED: Mix = Mix { proxied: 1.0, files: 0.0, answered: 0.0, idle: 0.0 };
    /// Every request is a file.
    pub const FILES: Mix = Mix { proxied: 0.0, files: 1.0, answered: 0.0, idle: 0.0 };

    /// The average over requests of what `of` says each kind costs. A mix without requests counts as proxied.
    pub fn average(&self, of: impl Fn(Need) -> u64) -> f64 {
        let weights = [self.proxied, self.files, self.answered].map(positive);
        let requests: f64 = weights.iter().sum();
        if requests <= 0.0 {
            return of(Need::PROXIED) as f64;
        }
        let kinds = [Need::PROXIED, Need::FILE, Need::ANSWERED];
        let cost: f64 = weights.iter().zip(kinds).map(|(weight, need)| weight * of(need) as f64).sum();
        (cost + positive(self.idle) * of(Need::IDLE) as f64) / requests
    }
    /// The kinds of requests, in words: "proxied requests" where there is only one.
    pub fn words(&self) -> &'static str {
        match [self.proxied, self.files, self.answered].map(|w| positive(w) > 0.0) {
            [true, false, false] | [false, false, false] => "proxied requests",
            [false, true, false] => "requests for files",
            _ => "requests",
        }
    }
}

impl Default for Mix {
    fn default() -> Mix {
        Mix::PROXIED
    }
}

/// Bounded, so that sums and quotients of what anybody says stay finite.
fn positive(weight: f64) -> f64 {
    if weight > 0.0 { weight.min(1e12) } else { 0.0 }
}
