//! Directive tables: what a module's directives are called, where they may stand, and what reads them.

use std::collections::HashMap;
use std::fmt;
use std::ops::BitOr;

use crate::advice::advice;
use crate::nginx::{self, Known};
use crate::print::list;
use crate::{Args, Error, Result, Scope, Word};

/// The kinds of block a directive may stand in; one kind, or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Within(u32);

/// Outside all blocks.
pub const MAIN: Within = Within(1);
/// `events {}`
pub const EVENTS: Within = Within(1 << 1);
/// `http {}`
pub const HTTP: Within = Within(1 << 2);
/// `server {}` in `http`.
pub const SERVER: Within = Within(1 << 3);
/// `location {}`
pub const LOCATION: Within = Within(1 << 4);
/// `upstream {}` in `http`.
pub const UPSTREAM: Within = Within(1 << 5);
/// `if {}` in a server.
pub const IF_SERVER: Within = Within(1 << 6);
/// `if {}` in a location.
pub const IF_LOCATION: Within = Within(1 << 7);
/// `limit_except {}`
pub const LIMIT_EXCEPT: Within = Within(1 << 8);
/// `stream {}`
pub const STREAM: Within = Within(1 << 9);
/// `server {}` in `stream`.
pub const STREAM_SERVER: Within = Within(1 << 10);
/// `upstream {}` in `stream`.
pub const STREAM_UPSTREAM: Within = Within(1 << 11);
/// The three levels most http directives stand in.
pub const IN_HTTP: Within = HTTP.or(SERVER).or(LOCATION);
/// The levels of http and of stream.
pub const ANYWHERE: Within = IN_HTTP.or(STREAM).or(STREAM_SERVER);

const NAMES: [&str; 12] = [
    "main",
    "events",
    "http",
    "server",
    "location",
    "upstream",
    "if in server",
    "if in location",
    "limit_except",
    "stream",
    "server in stream",
    "upstream in stream",
];

impl Within {
    /// Whether a block of this kind is among them.
    pub fn allows(self, block: Within) -> bool {
        self.0 & block.0 != 0
    }
    /// Both.
    pub const fn or(self, other: Within) -> Within {
        Within(self.0 | other.0)
    }
    fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }
}

impl BitOr for Within {
    type Output = Within;
    fn bitor(self, other: Within) -> Within {
        self.or(other)
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(self.names()))
    }
}

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    least: usize,
    most: usize,
}

impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        match (self.least, self.most) {
            (0, 0) => f.write_str("no arguments"),
            (least, usize::MAX) => write!(f, "{least} argument{} or more", s(least)),
            (least, most) if least == most => write!(f, "{least} argument{}", s(least)),
            (least, most) => write!(f, "{least} to {most} arguments"),
        }
    }
}

/// This many.
pub const fn exactly(n: usize) -> Arity {
    Arity { least: n, most: n }
}
/// From `least` to `most`, both included.
pub const fn between(least: usize, most: usize) -> Arity {
    Arity { least, most }
}
/// This many or more.
pub const fn at_least(least: usize) -> Arity {
    Arity { least, most: usize::MAX }
}
/// One: `on` or `off`.
pub const fn flag() -> Arity {
    exactly(1)
}

/// What stands after a directive's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `;`
    None,
    /// A block of directives of this kind.
    Opens(Within),
    /// A block whose statements are the directive's own affair: `types`, `map`.
    Free,
}

/// Reads a directive into a block's configuration.
pub type Set = fn(&mut Scope, &Args<'_>) -> Result<()>;

/// One row of a module's table.
#[derive(Debug)]
pub struct Directive {
    /// As written.
    pub name: &'static str,
    /// Where it may stand.
    pub within: Within,
    /// How many arguments it takes.
    pub arity: Arity,
    /// What follows them.
    pub body: Body,
    /// Reads it. For a [`block`], called with the new block's scope, before what is in it.
    pub set: Set,
    /// For a [`block`], called with its scope once everything in it is read.
    pub closed: Option<Set>,
    /// Whether arguments may be other than UTF-8; `set` then asks for [`Args::bytes`].
    pub any_bytes: bool,
}

impl Directive {
    /// With something to do when the block is complete (`no servers are inside upstream`).
    #[must_use]
    pub const fn on_close(mut self, closed: Set) -> Directive {
        self.closed = Some(closed);
        self
    }

    /// With arguments of any bytes, not only UTF-8.
    #[must_use]
    pub const fn any_bytes(mut self) -> Directive {
        self.any_bytes = true;
        self
    }
}

/// A directive that ends with `;`.
pub const fn directive(name: &'static str, within: Within, arity: Arity, set: Set) -> Directive {
    Directive { name, within, arity, body: Body::None, set, closed: None, any_bytes: false }
}

/// A directive that opens a block of kind `opens`. Where the kind depends on where it stands (`if`), write two rows.
pub const fn block(name: &'static str, within: Within, arity: Arity, opens: Within, set: Set) -> Directive {
    Directive { body: Body::Opens(opens), ..directive(name, within, arity, set) }
}

/// A directive with a block of its own making, handed over as [`Args::entries`].
pub const fn free(name: &'static str, within: Within, arity: Arity, set: Set) -> Directive {
    Directive { body: Body::Free, ..directive(name, within, arity, set) }
}

/// All modules' rows, by name.
pub struct Tables {
    rows: HashMap<&'static [u8], Vec<&'static Directive>>,
}

impl Tables {
    /// From each module's table.
    pub fn new(modules: &[&'static [Directive]]) -> Tables {
        let mut rows: HashMap<&'static [u8], Vec<&'static Directive>> = HashMap::new();
        for row in modules.iter().copied().flatten() {
            rows.entry(row.name.as_bytes()).or_default().push(row);
        }
        Tables { rows }
    }

    /// The rows of a name: several if it means different things in different blocks.
    pub fn rows(&self, name: &str) -> &[&'static Directive] {
        self.rows.get(name.as_bytes()).map_or(&[], Vec::as_slice)
    }

    /// Every row, in no order.
    pub fn all(&self) -> impl Iterator<Item = &'static Directive> {
        self.rows.values().flatten().copied()
    }

    /// The row for a statement with `args` arguments in a block of kind `here`, or nginx's error without its place.
    pub(crate) fn row(
        &self,
        name: &Word,
        args: usize,
        opens: bool,
        here: Within,
    ) -> Result<&'static Directive> {
        let rows = self.rows.get(name.bytes()).map_or(&[][..], Vec::as_slice);
        let Some(row) = rows.iter().find(|row| row.within.allows(here)) else {
            return Err(self.refusal(&name.to_string(), rows, here));
        };
        let name = row.name;
        if opens && row.body == Body::None {
            return Err(Error::emerg(format!("directive \"{name}\" is not terminated by \";\"")));
        }
        if !opens && row.body != Body::None {
            return Err(Error::emerg(format!("directive \"{name}\" has no opening \"{{\"")));
        }
        if args < row.arity.least || args > row.arity.most {
            let error = Error::emerg(format!("invalid number of arguments in \"{name}\" directive"));
            return Err(error.help(format!("\"{name}\" takes {}, not {args}", row.arity)));
        }
        Ok(row)
    }

    #[cold]
    fn refusal(&self, name: &str, rows: &[&'static Directive], here: Within) -> Error {
        let known = nginx::known(name).filter(|known| rows.is_empty() || known.allowed_in(here));
        if let Some(known) = nginx::best(known, here) {
            return unsupported(name, &known);
        }
        if rows.is_empty() {
            if let Some(instead) = advice(name) {
                let error = Error::emerg(format!("directive \"{name}\" is not supported by plimsoll"));
                return error.help(format!("\"{name}\" belongs to a third party's module: {instead}"));
            }
            let error = Error::emerg(format!("unknown directive \"{name}\""));
            return match self.nearest(name, here) {
                _ if name.starts_with('\u{feff}') => error.help("the file begins with a byte order mark"),
                Some(near) => error.help(format!("did you mean \"{near}\"?")),
                None => error,
            };
        }
        let within = rows.iter().fold(Within(0), |all, row| all | row.within);
        Error::emerg(format!("\"{name}\" directive is not allowed here"))
            .help(format!("\"{name}\" is allowed in: {within}"))
    }

    fn nearest(&self, name: &str, here: Within) -> Option<&'static str> {
        let fitting = self.all().filter(|row| row.within.allows(here)).map(|row| row.name);
        nginx::nearest(name, fitting).or_else(|| nginx::nearest(name, self.all().map(|row| row.name)))
    }
}

fn unsupported(name: &str, known: &Known) -> Error {
    let paid = if known.commercial { ", part of nginx's commercial subscription" } else { "" };
    Error::emerg(format!("directive \"{name}\" is not supported by plimsoll")).help(
        match advice(known.module) {
            Some(instead) => format!("\"{name}\" belongs to {}: {instead}", known.module),
            None => format!("\"{name}\" belongs to {}{paid}", known.module),
        },
    )
}
