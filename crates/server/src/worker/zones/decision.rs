//! What a limit decided of a request: once for a client's request and all those within it.

use std::any::Any;
use std::cell::OnceCell;
use std::rc::Rc;

use crate::http::request::Request;

/// Attached to a request. As in nginx, whose main request has it, the first decision holds for the whole family, also one
/// that was made for a request within it.
enum Decision<T> {
    /// There is no family, or none that has to ask.
    Own(T),
    /// Made or not, by whoever is counted first.
    Shared(Rc<OnceCell<T>>),
}

/// What was decided, if anything was.
pub fn decided<T: Any>(request: &Request) -> Option<&T> {
    match request.kept::<Decision<T>>()? {
        Decision::Own(decision) => Some(decision),
        Decision::Shared(decision) => decision.get(),
    }
}

/// Decides. What was decided before stays.
pub fn decide<T: Any>(request: &mut Request, decision: T) {
    match request.kept::<Decision<T>>() {
        Some(Decision::Shared(shared)) => drop(shared.set(decision)),
        Some(Decision::Own(_)) => {}
        None => request.keep(Decision::Own(decision)),
    }
}

/// From now on a decision about `request` or about `sub`, which is within it, is one about both.
pub fn share<T: Any>(request: &mut Request, sub: &mut Request) {
    let mut shared = Rc::default();
    match request.kept_mut::<Decision<T>>() {
        Some(Decision::Shared(known)) => shared = known.clone(),
        Some(own) => {
            if let Decision::Own(decision) = std::mem::replace(own, Decision::Shared(shared.clone())) {
                drop(shared.set(decision));
            }
        }
        None => request.keep(Decision::Shared(shared.clone())),
    }
    sub.keep(Decision::Shared(shared));
}
