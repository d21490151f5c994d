//! Directive tables.
use std::collections::HashMap;
use crate::{Args, Result, Scope};
/// Contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Within(u32);
impl Within {
    /// Union.
    pub const fn or(self, other: Within) -> Within { Within(self.0 | other.0) }
    /// Whether a block of this kind is among these.
    pub const fn allows(self, block: Within) -> bool { self.0 & block.0 != 0 }
}
pub const MAIN: Within = Within(1);
pub const EVENTS: Within = Within(2);
pub const HTTP: Within = Within(4);
pub const SERVER: Within = Within(8);
pub const LOCATION: Within = Within(16);
pub const UPSTREAM: Within = Within(32);
pub const IF_SERVER: Within = Within(64);
pub const IF_LOCATION: Within = Within(128);
pub const LIMIT_EXCEPT: Within = Within(256);
pub const IN_HTTP: Within = HTTP.or(SERVER).or(LOCATION);
/// Number of arguments.
#[derive(Clone, Copy, Debug)]
pub struct Arity { least: usize, most: usize, flag: bool }
pub const fn exactly(n: usize) -> Arity { Arity { least: n, most: n, flag: false } }
pub const fn between(a: usize, b: usize) -> Arity { Arity { least: a, most: b, flag: false } }
pub const fn at_least(n: usize) -> Arity { Arity { least: n, most: usize::MAX, flag: false } }
pub const fn flag() -> Arity { Arity { least: 1, most: 1, flag: true } }
impl Arity {
    pub const fn exactly(n: usize) -> Arity { exactly(n) }
    pub const fn between(a: usize, b: usize) -> Arity { between(a, b) }
    pub const fn at_least(n: usize) -> Arity { at_least(n) }
    pub const fn flag() -> Arity { flag() }
    pub(crate) fn fits(self, n: usize) -> bool { (self.least..=self.most).contains(&n) }
}
/// What follows the words.
#[derive(Clone, Copy, Debug)]
pub enum Body { None, Opens(Within), Free }
pub type Set = fn(&mut Scope, &Args<'_>) -> Result<()>;
/// A row.
#[derive(Clone, Copy)]
pub struct Directive { pub name: &'static str, pub within: Within, pub arity: Arity, pub body: Body, pub set: Set }
pub const fn directive(name: &'static str, within: Within, arity: Arity, set: Set) -> Directive { Directive { name, within, arity, body: Body::None, set } }
pub const fn block(name: &'static str, within: Within, arity: Arity, opens: Within, set: Set) -> Directive { Directive { name, within, arity, body: Body::Opens(opens), set } }
pub const fn free(name: &'static str, within: Within, arity: Arity, set: Set) -> Directive { Directive { name, within, arity, body: Body::Free, set } }
/// By name.
pub struct Tables(pub(crate) HashMap<&'static [u8], Vec<Directive>>);
impl Tables {
    pub fn new(all: &[&'static [Directive]]) -> Tables {
        let mut map: HashMap<&'static [u8], Vec<Directive>> = HashMap::new();
        for row in all.iter().copied().flatten() { map.entry(row.name.as_bytes()).or_default().push(*row); }
        Tables(map)
    }
}
