//! The configuration as read: one scope for each block, holding what each module wrote there.
//!
//! The only place where modules' types are erased, and only while loading. A block holds just the configurations
//! written in it; once inherited, the rest is shared with the block around it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, MAIN, Position, Within, Word, Words};

/// A module's configuration at one level, completed from the level above.
pub trait Inherit: Default + Send + Sync + 'static {
    /// Takes from the enclosing block what was not written in this one.
    fn inherit(&mut self, outer: &Self);
    /// Whether a block of this kind takes anything from the one around it; where not, a block that wrote nothing has
    /// nothing (`proxy_pass` is not for the locations inside).
    fn reaches(kind: Within) -> bool {
        let _ = kind;
        true
    }
}

trait Slot: Any + Send + Sync {
    fn inherit_from(&mut self, outer: &dyn Slot);
    fn reaches_into(&self, kind: Within) -> bool;
}

impl<C: Inherit> Slot for C {
    fn inherit_from(&mut self, outer: &dyn Slot) {
        if let Some(outer) = (outer as &dyn Any).downcast_ref() {
            self.inherit(outer);
        }
    }
    fn reaches_into(&self, kind: Within) -> bool {
        C::reaches(kind)
    }
}

/// One block: the configurations written in it or above it, and the blocks inside.
pub struct Scope {
    /// What kind of block it is.
    pub kind: Within,
    /// What kind of block it stands in.
    pub outer: Within,
    /// The name of the directive that opened it; empty for the whole file.
    pub name: &'static str,
    /// That directive's arguments (`location`'s pattern, `upstream`'s name).
    pub args: Words,
    /// Where it begins.
    pub at: Position,
    /// The blocks in it, in order.
    pub children: Vec<Scope>,
    slots: Vec<(TypeId, Arc<dyn Slot>)>,
    common: Arc<Common>,
}

#[derive(Default)]
struct Common {
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    warnings: Warnings,
}

/// Remarks made while reading, in order; keep a handle to have them even if reading fails.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<Error>>>);

impl Warnings {
    /// Adds one.
    pub fn push(&self, warning: Error) {
        self.lock().push(warning);
    }
    /// Takes them out.
    pub fn take(&self) -> Vec<Error> {
        std::mem::take(&mut self.lock())
    }
    fn lock(&self) -> MutexGuard<'_, Vec<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Scope {
    fn default() -> Scope {
        Scope::root()
    }
}

impl Scope {
    /// The scope of a whole file, nothing written yet.
    pub fn root() -> Scope {
        Scope {
            kind: MAIN,
            outer: Within::default(),
            name: "",
            args: Words::default(),
            at: Position::default(),
            children: Vec::new(),
            slots: Vec::new(),
            common: Arc::default(),
        }
    }

    /// A block in this one, not yet among its children.
    pub fn child(&self, kind: Within) -> Scope {
        Scope { kind, outer: self.kind, common: self.common.clone(), ..Scope::root() }
    }

    /// Argument `i` of the directive that opened the block; empty if there is none.
    pub fn arg(&self, i: usize) -> &str {
        self.args.get(i).and_then(Word::text).unwrap_or_default()
    }

    /// This module's configuration in this very block; made when first written to.
    ///
    /// To be used while reading. A block that already shares the configuration with the one around it is given one of
    /// its own, fresh.
    pub fn own<C: Inherit>(&mut self) -> &mut C {
        let id = TypeId::of::<C>();
        let i = self.slots.iter().position(|(slot, _)| *slot == id).unwrap_or_else(|| {
            self.slots.push((id, Arc::new(C::default())));
            self.slots.len() - 1
        });
        if Arc::get_mut(&mut self.slots[i].1).is_none() {
            self.slots[i].1 = Arc::new(C::default());
        }
        let slot: &mut dyn Slot = Arc::get_mut(&mut self.slots[i].1).expect("held once, see above");
        (slot as &mut dyn Any).downcast_mut().expect("slots are keyed by type")
    }

    /// The configuration in force here, if this block or one around it wrote any.
    ///
    /// Before [`Scope::inherit_down`], only what this very block wrote.
    pub fn conf<C: Inherit>(&self) -> Option<&C> {
        let id = TypeId::of::<C>();
        let (_, slot) = self.slots.iter().find(|(slot, _)| *slot == id)?;
        let slot: &dyn Slot = &**slot;
        (slot as &dyn Any).downcast_ref()
    }

    /// What the whole configuration shares: zones, upstreams, maps.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.common.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let one = all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        one.clone().downcast().expect("shared values are keyed by type")
    }

    /// A remark: a `[warn]` with these words, or an [`Error`] with its level and place.
    pub fn warn(&self, remark: impl Into<Remark>) {
        self.common.warnings.push(remark.into().0);
    }

    /// The remarks made so far, also on the blocks in and around this one.
    pub fn warnings(&self) -> Warnings {
        self.common.warnings.clone()
    }

    /// Once everything is read: completes every block from the one around it, outermost first.
    pub fn inherit_down(&mut self) {
        for child in &mut self.children {
            let own = child.slots.len();
            for (id, outer) in self.slots.iter().filter(|(_, outer)| outer.reaches_into(child.kind)) {
                match child.slots[..own].iter_mut().find(|(slot, _)| slot == id) {
                    Some((_, slot)) => inherit(slot, outer),
                    None => child.slots.push((*id, outer.clone())),
                }
            }
            child.inherit_down();
        }
    }

    /// This block and all in it, each before the blocks it contains.
    pub fn visit(&self, see: &mut impl FnMut(&Scope)) {
        see(self);
        for child in &self.children {
            child.visit(see);
        }
    }
}

fn inherit(slot: &mut Arc<dyn Slot>, outer: &Arc<dyn Slot>) {
    if let Some(slot) = Arc::get_mut(slot) {
        slot.inherit_from(&**outer);
    }
}

/// What [`Scope::warn`] takes: words, or an error made with care.
pub struct Remark(Error);

impl From<Error> for Remark {
    fn from(error: Error) -> Remark {
        Remark(error)
    }
}
impl From<&str> for Remark {
    fn from(text: &str) -> Remark {
        Remark(Error::warn(text))
    }
}
impl From<String> for Remark {
    fn from(text: String) -> Remark {
        Remark(Error::warn(text))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("name", &self.name)
            .field("args", &self.args)
            .field("kind", &self.kind)
            .field("slots", &self.slots.len())
            .field("children", &self.children)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{HTTP, LOCATION, List, SERVER, Setting};

    #[derive(Default)]
    struct A {
        one: Setting<u8>,
        two: Setting<u8>,
        many: List<u8>,
    }
    impl Inherit for A {
        fn inherit(&mut self, outer: &A) {
            self.one.inherit(&outer.one);
            self.two.inherit(&outer.two);
            self.many.inherit(&outer.many);
        }
    }
    #[derive(Default)]
    struct Own(u8);
    impl Inherit for Own {
        fn inherit(&mut self, _: &Own) {}
        fn reaches(kind: Within) -> bool {
            kind != LOCATION
        }
    }

    /// http, two servers in it, a location in the first.
    fn scopes() -> Scope {
        let mut http = Scope::root().child(HTTP);
        let mut server = http.child(SERVER);
        let location = server.child(LOCATION);
        server.children.push(location);
        http.children.extend([server, Scope::root().child(SERVER)]);
        http
    }

    #[test]
    fn a_block_takes_what_it_did_not_write() {
        let mut http = scopes();
        http.own::<A>().one.set(1).unwrap();
        http.own::<A>().two.set(2).unwrap();
        http.own::<A>().many.push(3);
        http.children[0].own::<A>().two.set(22).unwrap();
        http.children[0].children[0].own::<A>().many.push(33);
        assert!(http.children[1].conf::<A>().is_none());
        http.inherit_down();
        let location = http.children[0].children[0].conf::<A>().unwrap();
        assert_eq!((location.one.or(0), location.two.or(0), location.many.as_slice()), (1, 22, &[33][..]));
        assert_eq!(http.children[0].conf::<A>().unwrap().many.as_slice(), [3]);
        let (outer, inner) = (http.conf::<A>().unwrap(), http.children[1].conf::<A>().unwrap());
        assert!(std::ptr::eq(outer, inner), "what writes nothing shares");
    }

    #[test]
    fn some_configurations_stay_where_they_are() {
        let mut http = scopes();
        http.own::<Own>().0 = 1;
        http.inherit_down();
        assert_eq!(http.children[0].conf::<Own>().map(|own| own.0), Some(1));
        assert!(http.children[0].children[0].conf::<Own>().is_none());
    }

    #[test]
    fn a_second_value_is_a_duplicate() {
        let mut http = scopes();
        http.own::<A>().one.set(1).unwrap();
        let error = http.own::<A>().one.set(1).unwrap_err();
        let error = error.complete("one", Position::default);
        assert_eq!(error.to_string(), "\"one\" directive is duplicate in command line");
    }

    #[test]
    fn shared_values_and_remarks_are_for_all_blocks() {
        let http = scopes();
        let inner = http.children[0].child(LOCATION);
        *inner.shared::<Mutex<u8>>().lock().unwrap() = 7;
        assert_eq!(*http.shared::<Mutex<u8>>().lock().unwrap(), 7);
        inner.warn("conflicting server name");
        inner.warn(Error::notice("has no effect"));
        let said: Vec<_> = http.warnings().take().into_iter().map(|w| (w.level.name(), w.message)).collect();
        assert_eq!(
            said,
            [("warn", "conflicting server name".to_owned()), ("notice", "has no effect".to_owned())]
        );
        assert!(http.warnings().take().is_empty());
    }
}
