//! What an HTTP request and a stream session share, so that one module serves both.

use std::net::IpAddr;

/// A request or a session, from its first byte to its log line.
pub trait Flow {
    /// The client's address; `None` for a client on a unix-domain socket.
    fn client_ip(&self) -> Option<IpAddr>;
    /// Writes to the error log in force for this flow, with the flow's context behind the message.
    fn log(&self, level: crate::log::Level, message: std::fmt::Arguments<'_>);
}

/// A configured step that decides at once whether the flow goes on.
pub trait Check: Send + Sync {
    /// Looks at the flow. A check is never run twice for one pass through a location.
    fn check(&self, flow: &mut dyn Flow) -> Verdict;
}

/// What a check decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it: the next step looks.
    Next,
    /// Decided in favour of the flow: what remains of the phase is not asked.
    Allow,
    /// Answered with this status.
    Reject(u16),
}
