//! Scopes.
use std::any::{Any, TypeId}; use std::collections::HashMap; use std::sync::{Arc, Mutex};
use crate::*;
pub trait Inherit: Default + Send + Sync + 'static { fn inherit(&mut self, outer: &Self); fn reaches(_kind: Within) -> bool { true } }
trait Slot: Any + Send + Sync { fn inherit_from(&mut self, outer: &dyn Slot); fn reaches_kind(&self, kind: Within) -> bool; }
impl<C: Inherit> Slot for C {
    fn inherit_from(&mut self, outer: &dyn Slot) { if let Some(o) = (outer as &dyn Any).downcast_ref() { self.inherit(o) } }
    fn reaches_kind(&self, kind: Within) -> bool { C::reaches(kind) }
}
#[derive(Default)]
struct Common { shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>, warnings: Mutex<Vec<Error>> }
pub struct Scope { pub kind: Within, pub children: Vec<Scope>, pub at: Position, slots: Vec<(TypeId, Arc<dyn Slot>)>, common: Arc<Common> }
impl Scope {
    pub fn root(kind: Within) -> Scope { Scope { kind, children: Vec::new(), at: Position::default(), slots: Vec::new(), common: Arc::default() } }
    pub fn child(&self, kind: Within, at: Position) -> Scope { Scope { kind, children: Vec::new(), at, slots: Vec::new(), common: self.common.clone() } }
    pub fn own<C: Inherit>(&mut self) -> &mut C {
        let id = TypeId::of::<C>();
        let i = match self.slots.iter().position(|s| s.0 == id) { Some(i) => i, None => { self.slots.push((id, Arc::new(C::default()))); self.slots.len() - 1 } };
        let slot: &mut dyn Slot = Arc::get_mut(&mut self.slots[i].1).expect("blocks are shared only once read");
        (slot as &mut dyn Any).downcast_mut().expect("slots are keyed by type")
    }
    pub fn conf<C: Inherit>(&self) -> Option<&C> { let s = &self.slots.iter().find(|s| s.0 == TypeId::of::<C>())?.1; (&**s as &dyn Any).downcast_ref() }
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> { let mut all = self.common.shared.lock().expect("x"); all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone().downcast().expect("keyed by type") }
    pub fn warn(&self, e: Error) { self.common.warnings.lock().expect("x").push(e) }
    pub fn warnings(&self) -> Vec<Error> { self.common.warnings.lock().expect("x").clone() }
    pub fn inherit_down(&mut self) {
        for child in &mut self.children {
            for (id, outer) in &self.slots {
                if !outer.reaches_kind(child.kind) { continue }
                match child.slots.iter_mut().find(|s| s.0 == *id) { Some(s) => Arc::get_mut(&mut s.1).expect("x").inherit_from(&**outer), None => child.slots.push((*id, outer.clone())) }
            }
            child.inherit_down();
        }
    }
}
