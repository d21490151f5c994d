//! Questions to name servers, and their answers: bytes in, bytes out; no socket, no clock, no cache.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::{Name, ParsedName, ToName};
use domain::base::{Message, MessageBuilder};
use domain::rdata::{A, Aaaa, Cname, Srv};

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
    fn rtype(self) -> Rtype {
        match self {
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Srv => Rtype::SRV,
        }
    }
}

/// A question on its way: what its answer must match.
#[derive(Clone, Debug)]
pub struct Question {
    id: u16,
    name: Name<Vec<u8>>,
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
    /// It has no answer: the code, as in the message; 3 also where the name is known, but not for what was asked.
    Failed(u8),
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
/// The longest datagram without extensions.
pub const DATAGRAM: usize = 512;

impl Question {
    /// A question; `None` if no such name can exist. A dot at the end of the name makes no difference.
    pub fn new(id: u16, name: &str, kind: Kind) -> Option<Question> {
        let name = name.strip_suffix('.').unwrap_or(name);
        // What a configuration may escape, a host's name never has.
        if name.is_empty() || name.contains(['\\', '"', ' ']) {
            return None;
        }
        Some(Question { id, name: name.parse().ok()?, kind })
    }
    /// As sent to the server.
    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(self.id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        // A vector has room for every name.
        let _ = builder.push((&self.name, self.kind.rtype(), Class::IN));
        builder.finish()
    }
    /// Reads a message; `None` if it is not the answer to this question.
    pub fn read(&self, bytes: &[u8]) -> Option<Reply> {
        let message = Message::from_octets(bytes).ok()?;
        let header = message.header();
        if !header.qr() || header.id() != self.id {
            return None;
        }
        let code = header.rcode().to_int();
        if header.rcode() == Rcode::FORMERR && message.header_counts().qdcount() == 0 {
            return Some(Reply::Failed(code));
        }
        let question = message.sole_question().ok()?;
        if question.qtype() != self.kind.rtype() || !question.qname().name_eq(&self.name) {
            return None;
        }
        if header.tc() {
            return Some(Reply::Truncated);
        }
        if header.rcode() != Rcode::NOERROR {
            return Some(Reply::Failed(code));
        }
        Some(self.answer(&message).unwrap_or(Reply::Failed(1)))
    }

    /// Follows the aliases among the records to the one that was asked for.
    fn answer(&self, message: &Message<&[u8]>) -> Option<Reply> {
        let mut ttl = u32::MAX;
        let mut owner: Option<ParsedName<&[u8]>> = None;
        for _ in 0..MOST_ALIASES {
            let is_owner = |name: &ParsedName<&[u8]>| match &owner {
                Some(alias) => name.name_eq(alias),
                None => name.name_eq(&self.name),
            };
            let alias = message
                .answer()
                .ok()?
                .limit_to_in::<Cname<_>>()
                .flatten()
                .find(|record| is_owner(record.owner()));
            let found = self.records(message, is_owner)?;
            if !found.addresses.is_empty() || !found.services.is_empty() {
                return Some(Reply::Found(Found { ttl: found.ttl.min(ttl), ..found }));
            }
            match alias {
                Some(record) => {
                    ttl = ttl.min(record.ttl().as_secs());
                    owner = Some(*record.data().cname());
                }
                None => break,
            }
        }
        match owner {
            Some(name) => Some(Reply::Alias { name: name.to_string(), ttl }),
            None => Some(Reply::Failed(NO_SUCH_NAME)),
        }
    }

    fn records(
        &self,
        message: &Message<&[u8]>,
        is_owner: impl Fn(&ParsedName<&[u8]>) -> bool,
    ) -> Option<Found> {
        let mut found = Found { ttl: u32::MAX, ..Found::default() };
        let section = message.answer().ok()?;
        match self.kind {
            Kind::A => {
                for record in section.limit_to_in::<A>().flatten().filter(|r| is_owner(r.owner())) {
                    found.ttl = found.ttl.min(record.ttl().as_secs());
                    found.addresses.push(record.data().addr().into());
                }
            }
            Kind::Aaaa => {
                for record in section.limit_to_in::<Aaaa>().flatten().filter(|r| is_owner(r.owner())) {
                    found.ttl = found.ttl.min(record.ttl().as_secs());
                    found.addresses.push(record.data().addr().into());
                }
            }
            Kind::Srv => {
                for record in section.limit_to_in::<Srv<_>>().flatten().filter(|r| is_owner(r.owner())) {
                    found.ttl = found.ttl.min(record.ttl().as_secs());
                    let data = record.data();
                    found.services.push(Service {
                        host: data.target().to_string(),
                        port: data.port(),
                        priority: data.priority(),
                        weight: data.weight(),
                    });
                }
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
