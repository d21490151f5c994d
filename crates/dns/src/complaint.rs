//! What is wrong with a message, in nginx's words.

use std::fmt;

use crate::Over;

/// Something wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// It ends too early.
    Short,
    /// It is no answer to a question, or one that cannot be.
    Invalid(Over, u16, u16),
    /// The server does not like the question: its code, the number, the name if the number is ours.
    Refused(u8, u16, Option<String>),
    /// The question is of a class that nobody asks for.
    QueryClass(u16),
    /// The question is of a type that nobody asks for.
    QueryType(u16),
    /// Nobody asked about this name.
    Unexpected(String),
    /// It has not the question's number: its own, the name, the question's.
    WrongIdent(u16, String, u16),
    /// A record is of another class.
    RecordClass(u16),
    /// A record is of a type that was not asked for; it is passed over.
    RecordType(u16),
    /// What needs no number to be said.
    Other(&'static str),
}

/// What the code of an answer means.
pub fn meaning(code: u8) -> &'static str {
    match code {
        1 => "Format error",
        2 => "Server failure",
        3 => "Host not found",
        4 => "Unimplemented",
        5 => "Operation refused",
        110 => "Operation timed out",
        _ => "Unknown error",
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Complaint::Short => f.write_str("short DNS response"),
            Complaint::Invalid(over, id, flags) => {
                let over = if *over == Over::Tcp { "TCP" } else { "UDP" };
                write!(f, "invalid {over} DNS response {id} fl:{flags:04X}")
            }
            Complaint::Refused(code, id, name) => {
                write!(f, "DNS error ({code}: {}), query id:{id}", meaning(*code))?;
                name.iter().try_for_each(|name| write!(f, ", name:\"{name}\""))
            }
            Complaint::QueryClass(class) => write!(f, "unknown query class {class} in DNS response"),
            Complaint::QueryType(kind) => write!(f, "unknown query type {kind} in DNS response"),
            Complaint::Unexpected(name) => write!(f, "unexpected DNS response for {name}"),
            Complaint::WrongIdent(id, name, expected) => {
                write!(f, "wrong ident {id} in DNS response for {name}, expect {expected}")
            }
            Complaint::RecordClass(class) => write!(f, "unexpected RR class {class} in DNS response"),
            Complaint::RecordType(kind) => write!(f, "unexpected RR type {kind} in DNS response"),
            Complaint::Other(text) => f.write_str(text),
        }
    }
}
