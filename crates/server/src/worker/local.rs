//! A generation on one thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::generation::Generation;
use crate::http::open_files::Caches;
use crate::http::plan::PlanId;
use crate::http::router::ServerId;

/// A generation, counted without atomics by the requests of this thread.
pub struct LocalGeneration {
    /// The generation.
    pub shared: Arc<Generation>,
    /// Files that this thread found with it.
    pub open_files: Caches,
    /// Its number among the generations of the thread, which what is left of it has, too.
    pub number: u32,
    residues: RefCell<HashMap<Place, Weak<LocalGeneration>>>,
}

/// A server, a plan and a listener.
type Place = (u32, u32, u32);

impl LocalGeneration {
    /// A generation that comes into force.
    pub fn new(shared: Arc<Generation>, number: u32) -> LocalGeneration {
        LocalGeneration { shared, open_files: Caches::default(), number, residues: RefCell::default() }
    }
    /// What is kept of it for those who have only their log line still to write there: the same for all of a place.
    pub fn residue(&self, server: ServerId, plan: PlanId, listener: u32) -> Option<Rc<LocalGeneration>> {
        let mut residues = self.residues.borrow_mut();
        let place = (server.0, plan.0, listener);
        if let Some(known) = residues.get(&place).and_then(Weak::upgrade) {
            return Some(known);
        }
        let residue = Arc::new(self.shared.residue(server, plan, listener)?);
        let residue = Rc::new(LocalGeneration::new(residue, self.number));
        residues.insert(place, Rc::downgrade(&residue));
        Some(residue)
    }
}
