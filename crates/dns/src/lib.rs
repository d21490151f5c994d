//! Questions to name servers, and their answers: bytes in, bytes out; no socket, no clock, no cache.
//!
//! What is read is read as nginx reads it, and what is wrong with a message is said in its words: whoever looks for the
//! cause of a failure knows them.
#![forbid(unsafe_code)]

use std::net::IpAddr;

mod complaint;
mod message;

pub use complaint::{Complaint, meaning};

/// What is asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Hosts and ports of a service.
    Srv,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Kind::A => message::A,
            Kind::Aaaa => message::AAAA,
            Kind::Srv => message::SRV,
        }
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// In a datagram.
    Udp,
    /// In a stream.
    Tcp,
}

/// A question on its way: what its answer must match.
#[derive(Clone, Debug)]
pub struct Question {
    id: u16,
    /// In lower case.
    name: String,
    kind: Kind,
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It found these.
    Found(Found),
    /// The name is another's, about whom nothing is said here.
    Alias {
        /// The other name.
        name: String,
        /// For so many seconds.
        ttl: u32,
    },
    /// It has no answer: the code, as in the message.
    Failed(u8),
    /// The name is known, but not for what was asked.
    Empty,
    /// There are records, none of them of use.
    Useless,
    /// The answer is longer than a datagram: ask over TCP.
    Truncated,
}

/// The answer's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// For [`Kind::A`] and [`Kind::Aaaa`].
    pub addresses: Vec<IpAddr>,
    /// For [`Kind::Srv`].
    pub services: Vec<Service>,
    /// They hold for so many seconds.
    pub ttl: u32,
}

/// Where a service is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The host's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The lowest are asked first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
}

/// The code for a name that does not exist.
pub const NO_SUCH_NAME: u8 = 3;
/// How many aliases may lead to an answer.
pub const MOST_ALIASES: usize = 50;
/// The longest part of a name.
const LABEL: usize = 63;
/// The longest name, as written.
const NAME: usize = 253;
/// "Please ask others, too."
const RECURSION: u16 = 0x0100;

impl Question {
    /// A question; `None` if no such name can exist. A dot at the end of the name makes no difference.
    pub fn new(id: u16, name: &str, kind: Kind) -> Option<Question> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let possible = |label: &str| (1..=LABEL).contains(&label.len());
        let fits = name.len() <= NAME && name.split('.').all(possible);
        fits.then(|| Question { id, name: name.to_ascii_lowercase(), kind })
    }
    /// As sent to the server.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.name.len() + 18);
        for word in [self.id, RECURSION, 1, 0, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        for label in self.name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(self.kind.number().to_be_bytes());
        bytes.extend(message::INTERNET.to_be_bytes());
        bytes
    }
    /// Reads a message; `None` if it is not the answer to this question. What is wrong with it is said to `say`.
    pub fn read(&self, bytes: &[u8], over: Over, say: &mut dyn FnMut(&Complaint)) -> Option<Reply> {
        match message::read(self, bytes, over, say) {
            Ok(reply) => Some(reply),
            Err(complaint) => {
                say(&complaint);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
