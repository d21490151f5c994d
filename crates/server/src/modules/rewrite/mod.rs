//! `rewrite`, `return`, `set`, `if` and `break`: a small program that runs before a location's other phases.
//!
//! What is written in one server or location becomes one flat [`Script`], in the order of the file; an `if` is a
//! test that jumps over what its block says. Entering an `if` of a location puts the block's own plan in force
//! and the script goes on, so that of several true conditions the last one's settings hold, as in nginx.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use conf::{
    Args, Error, HTTP, IF_LOCATION, IF_SERVER, Inherit, LOCATION, SERVER, Scope, Within, at_least, between,
    block, directive, exactly, flag,
};

use super::Module;
use crate::http::request::Request;
use crate::http::variables::{self, Defined, Index, Names, Template};
use crate::worker::generation::Compiler;

mod condition;
mod replace;
mod reply;
mod script;

pub use script::{Script, compile};

use self::condition::Condition;
use self::replace::Rewrite;
use self::reply::Return;

const IN: Within = SERVER.or(LOCATION).or(IF_SERVER).or(IF_LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "rewrite",
    directives: &[
        block("if", SERVER, at_least(1), IF_SERVER, condition::open),
        block("if", LOCATION, at_least(1), IF_LOCATION, condition::open),
        directive("rewrite", IN, between(2, 3), |at, a| {
            let step = Rewrite::read(at, a)?;
            add(at, Step::Rewrite(step))
        }),
        directive("return", IN, between(1, 2), |at, a| {
            let step = Return::read(at, a)?;
            add(at, Step::Return(step))
        }),
        directive("break", IN, exactly(0), |at, _| add(at, Step::Break)),
        directive("set", IN, exactly(2), set),
        directive("rewrite_log", HTTP.or(IN), flag(), |at, a| at.own::<Conf>().rewrite_log.set(a.flag(0)?)),
        directive("uninitialized_variable_warn", HTTP.or(IN), flag(), |at, a| {
            at.own::<Conf>().uninitialized_variable_warn.set(a.flag(0)?)
        }),
    ],
    variables: &[],
};

settings! {
    /// What is inherited.
    struct Conf {
        rewrite_log: bool,
        uninitialized_variable_warn: bool,
    }
}

/// What one block says, in order; nothing of it is inherited.
#[derive(Default)]
struct Steps {
    all: Vec<(u32, Step)>,
    /// The condition of an `if` block, and where that stands among the steps around it.
    condition: Option<(u32, Condition)>,
}
impl Inherit for Steps {
    fn inherit(&mut self, _: &Steps) {}
    fn reaches(_: Within) -> bool {
        false
    }
}
#[derive(Clone)]
enum Step {
    Set(Index, Template),
    Rewrite(Rewrite),
    Return(Return),
    Break,
}

/// Counts the steps of a file: an `if` is a block of its own, but keeps its place among its neighbours.
#[derive(Default)]
struct Order(AtomicU32);

fn next_place(at: &Scope) -> u32 {
    at.shared::<Order>().0.fetch_add(1, Ordering::Relaxed)
}
fn add(at: &mut Scope, step: Step) -> Result<(), Error> {
    let place = next_place(at);
    at.own::<Steps>().all.push((place, step));
    Ok(())
}

/// `set $variable value;`
fn set(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let name = variables::new_name(a, 0)?;
    let value = Template::compile(at, a, 1)?;
    let index = at.shared::<Names>().assign_or(name, || Arc::new(Unset { name: name.into() }));
    add(at, Step::Set(index, value))
}

/// A variable of `set` before anything was assigned to it: empty, and worth a warning.
struct Unset {
    name: Box<[u8]>,
}
impl Defined for Unset {
    fn get(&self, request: &mut Request, _: &mut Vec<u8>) -> bool {
        if request.plan().warns_unset() {
            let doing = if request.logging { " while logging request" } else { "" };
            log_warn!(
                request,
                "using uninitialized \"{}\" variable{doing}",
                String::from_utf8_lossy(&self.name)
            );
        }
        true
    }
    fn cached(&self) -> bool {
        true
    }
}

/// Whether a variable used before it was set is logged here.
pub(crate) fn warns_unset(at: &Scope, _: &mut Compiler<'_>) -> bool {
    at.conf::<Conf>().is_none_or(|c| c.uninitialized_variable_warn.or(true))
}
