//! What is being done for a request: the error log says it behind a message that does not say it itself.

use memchr::memmem;

/// nginx's words for it follow ` while `.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing that is said: the phases.
    #[default]
    None,
    /// The first line of a connection's first request.
    RequestLine,
    /// That of one that came right behind another.
    PipelinedLine,
    /// What stands before the body.
    RequestHeaders,
    /// What a client sends behind it.
    RequestBody,
    /// A file's answer.
    Sending,
    /// An upstream's head.
    UpstreamHead,
    /// An upstream's body.
    Upstream,
    /// An upstream's answer, or what stands for one.
    SendingUpstream,
    /// The lines of the access log.
    Logging,
}

impl Action {
    /// Its words.
    pub fn text(self) -> Option<&'static str> {
        Some(match self {
            Action::None => return None,
            Action::RequestLine => "reading client request line",
            Action::PipelinedLine => "reading client pipelined request line",
            Action::RequestHeaders => "reading client request headers",
            Action::RequestBody => "reading client request body",
            Action::Sending => "sending response to client",
            Action::UpstreamHead => "reading response header from upstream",
            Action::Upstream => "reading upstream",
            Action::SendingUpstream => "sending to client",
            Action::Logging => "logging request",
        })
    }
    /// Its words, where the message does not end in such words of its own.
    pub(super) fn behind(self, message: &[u8]) -> Option<&'static str> {
        let text = self.text()?;
        let own = memmem::rfind(message, b" while ").map(|at| &message[at + 7..]);
        (!own.is_some_and(says_what)).then_some(text)
    }
}

/// What messages say to have been doing.
fn says_what(words: &[u8]) -> bool {
    const DOINGS: [&[u8]; 8] = [
        b"reading ",
        b"sending ",
        b"connecting to upstream",
        b"SSL handshaking",
        b"logging ",
        b"waiting for ",
        b"proxying ",
        b"resolving",
    ];
    DOINGS.iter().any(|doing| words.starts_with(doing))
}
