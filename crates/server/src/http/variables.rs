//! nginx's variables: named at load, indexed, evaluated by appending bytes.
//!
//! A configuration mentions variables in [`Template`]s. Each name becomes an index while the file is read;
//! what an index means is decided when everything is read ([`Names::resolve`]), because a `map` or `set`
//! may stand behind the first use.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use conf::{Args, Error};

use super::request::Request;
pub use super::template::Template;

/// How a variable is computed: appends its value to `out`, or says `false`: it has none ("not found").
pub type Get = fn(&mut Request, out: &mut Vec<u8>) -> bool;
/// As [`Get`], for a family such as `$http_*`: `name` is what follows the prefix.
pub type GetNamed = fn(&mut Request, name: &[u8], out: &mut Vec<u8>) -> bool;
/// Takes a value that the configuration assigns (`set $args ..`).
pub type Put = fn(&mut Request, value: &[u8]);

/// A row in a module's table of variables.
pub struct Variable {
    /// The name without `$`; a prefix if `get` is [`How::Family`].
    pub name: &'static str,
    /// How its value is found.
    pub get: How,
    /// How it takes a value, if `set` may give it one.
    pub put: Option<Put>,
    /// `set` and captures may give it a value that hides its own.
    pub hideable: bool,
    /// The first value found holds for the whole request, also in another location.
    pub kept: bool,
}
impl Variable {
    /// The same, where `set` and captures may give it a value that hides its own.
    pub const fn hideable(self) -> Variable {
        Variable { hideable: true, ..self }
    }
    /// The same, where the first value found holds for the whole request.
    pub const fn kept(self) -> Variable {
        Variable { kept: true, ..self }
    }
}

/// The two kinds of built-in variables.
#[derive(Clone, Copy)]
pub enum How {
    /// One variable.
    One(Get),
    /// Every name that starts with the prefix.
    Family(GetNamed),
}

/// A variable of its own name.
pub const fn variable(name: &'static str, get: Get) -> Variable {
    Variable { name, get: How::One(get), put: None, hideable: false, kept: false }
}
/// A variable that `set` can change.
pub const fn settable(name: &'static str, get: Get, put: Put) -> Variable {
    Variable { name, get: How::One(get), put: Some(put), hideable: false, kept: false }
}
/// A family of variables with a common prefix.
pub const fn family(prefix: &'static str, get: GetNamed) -> Variable {
    Variable { name: prefix, get: How::Family(get), put: None, hideable: false, kept: false }
}

/// A variable that a configuration defines (`map`, `set`, a named capture ..).
pub trait Defined: Send + Sync {
    /// Appends the value to `out`; `false`: not found.
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool;
    /// Whether the first value found holds for the whole request.
    fn cached(&self) -> bool;
}

/// Which variable, in the tables of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Index(pub u32);

/// A module's variable whose first value holds, or one to which `set` gives a value: its own is found until then. A
/// capture takes its place altogether.
struct Own {
    get: Get,
    kept: bool,
}
impl Defined for Own {
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        (self.get)(request, out)
    }
    fn cached(&self) -> bool {
        self.kept
    }
}

/// The names a configuration mentions and defines, while it is read.
#[derive(Default)]
pub struct Names(Mutex<Inner>);
#[derive(Default)]
struct Inner {
    index: HashMap<Vec<u8>, Index>,
    names: Vec<Vec<u8>>,
    defined: HashMap<Vec<u8>, Arc<dyn Defined>>,
    /// Those that need no meaning where there is no server.
    for_servers: HashSet<Index>,
    /// Names that are assigned at run time, with what computes them until then: nothing for captures.
    assigned: HashMap<Vec<u8>, Option<Arc<dyn Defined>>>,
}

impl Names {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    /// The index of a name, now mentioned.
    pub fn index(&self, name: &[u8]) -> Index {
        let index = self.index_for_servers(name);
        self.lock().for_servers.remove(&index);
        index
    }
    /// As [`Names::index`], where it is mentioned: what it means is asked for servers only.
    pub fn index_for_servers(&self, name: &[u8]) -> Index {
        let name = name.to_ascii_lowercase();
        let inner = &mut *self.lock();
        if let Some(index) = inner.index.get(&name) {
            return *index;
        }
        let index = Index(inner.names.len() as u32);
        inner.names.push(name.clone());
        inner.index.insert(name, index);
        inner.for_servers.insert(index);
        index
    }
    /// Defines a variable by what computes it; the last definition of a name holds.
    pub fn define(&self, name: &[u8], defined: Arc<dyn Defined>) {
        // A page may ask for it though no directive mentions it.
        self.index(name);
        self.lock().defined.insert(name.to_ascii_lowercase(), defined);
    }
    /// Declares a variable that is assigned at run time, and is not found until then (a capture).
    pub fn assign(&self, name: &[u8]) -> Index {
        let index = self.index(name);
        self.lock().assigned.insert(name.to_ascii_lowercase(), None);
        index
    }
    /// Declares a variable that is assigned at run time; until then, and if nothing else defines it, `unset` does. One of
    /// a family (`$http_*`) is what it was until it is assigned.
    pub fn assign_or(&self, name: &[u8], unset: impl FnOnce() -> Arc<dyn Defined>) -> Index {
        let index = self.index(name);
        self.lock().assigned.entry(name.to_ascii_lowercase()).or_insert_with(|| Some(unset()));
        index
    }
    /// Once all is read: what each index means. An unknown name is nginx's `unknown "x" variable`.
    ///
    /// # Errors
    /// See there.
    pub fn resolve(&self, builtin: &Builtin, servers: bool) -> Result<Table, Error> {
        let inner = self.lock();
        let meaning = |name: &Vec<u8>| {
            if let Some(defined) = inner.defined.get(name) {
                return Ok(Meaning::Defined(defined.clone()));
            }
            let assigned = inner.assigned.get(name);
            if let Some(row) = builtin.one(name) {
                let kept = builtin.is_kept(name);
                return Ok(match (row, assigned) {
                    (Meaning::One(_, None), Some(None)) => Meaning::Assigned,
                    (Meaning::One(get, None), assigned) if kept || assigned.is_some() => {
                        Meaning::Defined(Arc::new(Own { get, kept }))
                    }
                    (row, _) => row,
                });
            }
            if let Some(None) = assigned {
                return Ok(Meaning::Assigned);
            }
            if let Some(row) = builtin.family(name, assigned.is_some()) {
                return Ok(row);
            }
            if let Some(Some(unset)) = assigned {
                return Ok(Meaning::Defined(unset.clone()));
            }
            if !servers && inner.index.get(name).is_some_and(|index| inner.for_servers.contains(index)) {
                return Ok(Meaning::Assigned);
            }
            Err(Error::emerg(format!("unknown \"{}\" variable", String::from_utf8_lossy(name))))
        };
        let rows = inner.names.iter().map(meaning).collect::<Result<_, _>>()?;
        Ok(Table { rows, names: inner.names.clone() })
    }
}

/// The name in an argument `$name` that defines or assigns a variable.
///
/// # Errors
/// nginx's `invalid variable name`, and `the duplicate "x" variable` for one that is a module's own.
pub fn new_name<'a>(a: &Args<'a>, i: usize) -> Result<&'a [u8], Error> {
    let text = a.str(i);
    let name = text.strip_prefix('$').filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| a.error(format!("invalid variable name \"{text}\"")))?;
    match crate::modules::variables().is_read_only(name.as_bytes()) {
        true => Err(a.error(format!("the duplicate \"{name}\" variable"))),
        false => Ok(name.as_bytes()),
    }
}

/// All modules' variables, by name.
pub struct Builtin {
    one: HashMap<&'static [u8], &'static Variable>,
    families: Vec<&'static Variable>,
}
impl Builtin {
    /// Collects the modules' tables.
    pub fn new(tables: impl Iterator<Item = &'static Variable>) -> Builtin {
        let mut all = Builtin { one: HashMap::new(), families: Vec::new() };
        for row in tables {
            match row.get {
                How::One(_) => drop(all.one.insert(row.name.as_bytes(), row)),
                How::Family(_) => all.families.push(row),
            }
        }
        all.families.sort_by_key(|row| std::cmp::Reverse(row.name.len()));
        all
    }
    fn one(&self, name: &[u8]) -> Option<Meaning> {
        let row = self.one.get(name)?;
        let How::One(get) = row.get else { return None };
        Some(Meaning::One(get, row.put))
    }
    fn is_kept(&self, name: &[u8]) -> bool {
        self.one.get(name).is_some_and(|row| row.kept)
    }
    /// One of a family; `assigned`: by `set`.
    fn family(&self, name: &[u8], assigned: bool) -> Option<Meaning> {
        let row = self.families.iter().find(|row| name.starts_with(row.name.as_bytes()))?;
        let How::Family(get) = row.get else { return None };
        let name = name[row.name.len()..].into();
        Some(match assigned {
            true => Meaning::Defined(Arc::new(OfFamily(get, name))),
            false => Meaning::Family(get, name),
        })
    }
    /// Whether there is a variable of this name that a configuration may not define or assign. Of a family
    /// (`$http_*`) it may define single ones.
    pub fn is_read_only(&self, name: &[u8]) -> bool {
        self.one.get(&*name.to_ascii_lowercase()).is_some_and(|row| row.put.is_none() && !row.hideable)
    }
}

/// What the indices of one configuration mean.
#[derive(Default)]
pub struct Table {
    rows: Vec<Meaning>,
    names: Vec<Vec<u8>>,
}
enum Meaning {
    One(Get, Option<Put>),
    Family(GetNamed, Box<[u8]>),
    Defined(Arc<dyn Defined>),
    Assigned,
}

/// One of a family of variables that `set` may assign.
struct OfFamily(GetNamed, Box<[u8]>);
impl Defined for OfFamily {
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        (self.0)(request, &self.1, out)
    }
    fn cached(&self) -> bool {
        false
    }
}

impl Table {
    /// How many variables the configuration mentions: the size of a request's [`Values`].
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// The name of a variable, without `$`.
    pub fn name(&self, index: Index) -> &[u8] {
        &self.names[index.0 as usize]
    }
    /// Whether the configuration mentions one of this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known == name)
    }
    /// Whether the configuration mentions none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A request's assigned and remembered values.
#[derive(Clone, Default)]
pub struct Values {
    slots: Vec<Slot>,
    text: Vec<u8>,
    /// How many definitions are being computed, each for the one before.
    depth: u8,
}
/// How deep definitions may use one another; nginx's figure.
const MAX_DEPTH: u8 = 100;

#[derive(Clone, Copy, Default)]
enum Slot {
    #[default]
    Unknown,
    Missing,
    Text(u32, u32),
}
impl Values {
    /// Forgets everything; makes room for the variables of a configuration.
    pub fn reset(&mut self, size: usize) {
        self.slots.clear();
        self.slots.resize(size, Slot::Unknown);
        self.text.clear();
        self.depth = 0;
    }
    /// Assigns a value.
    pub fn put(&mut self, index: Index, value: &[u8]) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(value);
        self.slots[index.0 as usize] = Slot::Text(start, self.text.len() as u32);
    }
    fn miss(&mut self, index: Index) {
        self.slots[index.0 as usize] = Slot::Missing;
    }
    fn known(&self, index: Index, out: &mut Vec<u8>) -> Option<bool> {
        match self.slots[index.0 as usize] {
            Slot::Unknown => None,
            Slot::Missing => Some(false),
            Slot::Text(start, end) => {
                out.extend_from_slice(&self.text[start as usize..end as usize]);
                Some(true)
            }
        }
    }
}

impl Request {
    /// Appends a variable's value to `out`; `false` where it has none.
    pub fn variable(&mut self, index: Index, out: &mut Vec<u8>) -> bool {
        let generation = self.generation.clone();
        match &generation.shared.variables.rows[index.0 as usize] {
            Meaning::One(get, _) => get(self, out),
            Meaning::Family(get, name) => get(self, name, out),
            Meaning::Assigned => self.values.known(index, out).unwrap_or(false),
            Meaning::Defined(defined) => self.defined(index, &**defined, out),
        }
    }
    fn defined(&mut self, index: Index, defined: &dyn Defined, out: &mut Vec<u8>) -> bool {
        if let Some(found) = self.values.known(index, out) {
            return found;
        }
        if self.values.depth >= MAX_DEPTH {
            let name = self.generation.shared.variables.name(index);
            log_error!(self, "cycle while evaluating variable \"{}\"", crate::log::shown(name));
            return false;
        }
        let start = out.len();
        self.values.depth += 1;
        let found = defined.get(self, out);
        self.values.depth -= 1;
        if defined.cached() {
            match found {
                true => self.values.put(index, &out[start..]),
                false => self.values.miss(index),
            }
        }
        found
    }
    /// As [`Request::variable`], of a name that only this request mentions.
    pub fn variable_named(&mut self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let name = name.to_ascii_lowercase();
        let generation = self.generation.clone();
        if let Some(at) = generation.shared.variables.names.iter().position(|known| *known == name) {
            return self.variable(Index(at as u32), out);
        }
        let builtin = crate::modules::variables();
        match builtin.one(&name).or_else(|| builtin.family(&name, false)) {
            Some(Meaning::One(get, _)) => get(self, out),
            Some(Meaning::Family(get, name)) => get(self, &name, out),
            _ => false,
        }
    }
    /// Gives a variable a value, as `set` does.
    pub fn assign(&mut self, index: Index, value: &[u8]) {
        let generation = self.generation.clone();
        match &generation.shared.variables.rows[index.0 as usize] {
            Meaning::One(_, Some(put)) => put(self, value),
            _ => self.values.put(index, value),
        }
    }
}
