//! The steps of one location as they run.

use conf::{Error, IF_LOCATION, IF_SERVER, Scope};

use super::condition::Condition;
use super::replace::{Outcome, Rewrite};
use super::reply::Return;
use super::{Conf, Step, Steps};
use crate::http::phases::Next;
use crate::http::plan::PlanId;
use crate::http::regex::{GivenUp, Regex};
use crate::http::request::Request;
use crate::http::variables::{Index, Template};
use crate::log::Level;
use crate::worker::generation::Compiler;

/// As run: the steps of a server or a location, those of its `if` blocks among them.
pub struct Script {
    operations: Box<[Operation]>,
    trace: Trace,
}
enum Operation {
    Set(Index, Template),
    Rewrite(Rewrite),
    Return(Return),
    Break,
    If {
        condition: Condition,
        /// What is in force from here on; an `if` of a server changes no settings.
        plan: Option<PlanId>,
        /// Where the script goes on if the condition does not hold.
        end: usize,
    },
}

/// How texts are filled in.
pub(super) type Fill = fn(&Template, &mut Request, &mut Vec<u8>);

/// Whether matches are logged (`rewrite_log`).
#[derive(Clone, Copy)]
pub(super) struct Trace(bool);
impl Trace {
    /// Matches a text, whose groups become the captures in force; without a match there are none.
    pub(super) fn capture(self, regex: &Regex, text: &[u8], request: &mut Request) -> Result<bool, GivenUp> {
        let matched = regex.try_capture(text, request)?;
        if !matched {
            request.captures.clear();
        }
        self.matched(regex, text, matched, request);
        Ok(matched)
    }
    /// Logs whether a text matched.
    pub(super) fn matched(self, regex: &Regex, text: &[u8], matched: bool, request: &Request) {
        if self.0 {
            let verb = if matched { "matches" } else { "does not match" };
            let text = crate::log::shown(text);
            request.note(Level::Notice, format_args!("\"{}\" {verb} \"{text}\"", regex.pattern()));
        }
    }
    /// Logs what a rewrite made.
    pub(super) fn rewritten(self, request: &Request, what: std::fmt::Arguments<'_>) {
        if self.0 {
            request.note(Level::Notice, format_args!("rewritten {what}"));
        }
    }
}

/// The script of a block, if it says anything. An `if` block has none: its steps are part of the script around it.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Script>, Error> {
    if at.kind == IF_SERVER || at.kind == IF_LOCATION {
        return Ok(None);
    }
    let mut operations = Vec::new();
    for line in lines(at) {
        match line {
            Line::Step(step) => operations.push(operation(step)),
            Line::If(condition, block) => open_if(condition, block, &mut operations, with)?,
        }
    }
    if operations.is_empty() {
        return Ok(None);
    }
    let trace = Trace(at.conf::<Conf>().is_some_and(|c| c.rewrite_log.or(false)));
    Ok(Some(Script { operations: operations.into(), trace }))
}

enum Line<'a> {
    Step(&'a Step),
    If(&'a Condition, &'a Scope),
}
/// Steps and `if` blocks in the order of the file.
fn lines(at: &Scope) -> impl Iterator<Item = Line<'_>> {
    let own = at.conf::<Steps>().into_iter().flat_map(|s| &s.all);
    let blocks = at.children.iter().filter_map(|child| {
        let (place, condition) = child.conf::<Steps>()?.condition.as_ref()?;
        Some((*place, Line::If(condition, child)))
    });
    let mut all: Vec<(u32, Line<'_>)> =
        own.map(|(place, step)| (*place, Line::Step(step))).chain(blocks).collect();
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, line)| line)
}

fn operation(step: &Step) -> Operation {
    match step.clone() {
        Step::Set(index, value) => Operation::Set(index, value),
        Step::Rewrite(rewrite) => Operation::Rewrite(rewrite),
        Step::Return(reply) => Operation::Return(reply),
        Step::Break => Operation::Break,
    }
}

fn open_if(
    condition: &Condition,
    block: &Scope,
    operations: &mut Vec<Operation>,
    with: &mut Compiler<'_>,
) -> Result<(), Error> {
    let plan = if block.kind == IF_LOCATION { Some(with.plan(block)?) } else { None };
    let steps = block.conf::<Steps>().map_or(&[][..], |s| &s.all);
    let end = operations.len() + 1 + steps.len();
    operations.push(Operation::If { condition: condition.clone(), plan, end });
    operations.extend(steps.iter().map(|(_, step)| operation(step)));
    Ok(())
}

impl Script {
    /// Runs it: [`Next::Go`] goes on in the plan now in force, [`Next::Locate`] looks for the new path's location.
    pub fn run(&self, request: &mut Request) -> Next {
        // As in nginx, texts have captures escaped as long as no `rewrite` of this script has matched.
        let mut fill: Fill = Template::render_escaped;
        let mut at = 0;
        while let Some(operation) = self.operations.get(at) {
            at += 1;
            match operation {
                Operation::Set(index, value) => assign(request, *index, value, fill),
                Operation::Break => {
                    end_rewriting(request);
                    break;
                }
                Operation::Return(reply) => return reply.run(request),
                Operation::Rewrite(rewrite) => match rewrite.run(request, self.trace) {
                    Outcome::GoOn => {}
                    Outcome::Changed => fill = Template::render,
                    Outcome::End => break,
                    Outcome::Answer(status) => return Next::Status(status),
                },
                Operation::If { condition, plan, end } => match condition.holds(request, fill, self.trace) {
                    Ok(true) => request.plan = plan.unwrap_or(request.plan),
                    Ok(false) => at = *end,
                    Err(GivenUp) => return Next::Status(500),
                },
            }
        }
        if std::mem::take(&mut request.uri_changed) { Next::Locate } else { Next::Go }
    }
}

fn assign(request: &mut Request, index: Index, value: &Template, fill: Fill) {
    let mut text = request.thread.buffer();
    fill(value, request, &mut text);
    request.assign(index, &text);
    request.thread.give_buffer(text);
}

/// `break`: a path that was changed stays in this location, whose name is no longer its prefix.
fn end_rewriting(request: &mut Request) {
    if std::mem::take(&mut request.uri_changed) {
        request.location_left = true;
    }
}
