//! What a path says of the script: `fastcgi_index`, `fastcgi_split_path_info`.

use conf::{Args, Error, Inherit, Scope, Setting};

use crate::http::regex::Regex;
use crate::http::variables::{Variable, variable};

pub(super) static VARIABLES: &[Variable] = &[
    variable("fastcgi_script_name", |request, out| {
        let plan = request.plan();
        let names = plan.script_names.as_deref();
        let (script, _) = split(names, &request.uri);
        out.extend_from_slice(script);
        if script.ends_with(b"/") {
            out.extend_from_slice(names.map_or(b"", |names| &names.index));
        }
        true
    }),
    variable("fastcgi_path_info", |request, out| {
        let plan = request.plan();
        out.extend_from_slice(split(plan.script_names.as_deref(), &request.uri).1);
        true
    }),
];

/// Script and rest of a path.
fn split<'a>(names: Option<&Names>, uri: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let pattern = names.and_then(|names| names.split.as_ref());
    pattern.and_then(|pattern| pattern.two_groups(uri)).unwrap_or((uri, b""))
}

/// As written.
#[derive(Default)]
struct Conf {
    index: Setting<Box<[u8]>>,
    split: Option<Regex>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.index.inherit(&outer.index);
        if self.split.is_none() {
            self.split.clone_from(&outer.split);
        }
    }
}

pub(super) fn index(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    at.own::<Conf>().index.set(a.bytes(0).into())
}
pub(super) fn split_path_info(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let pattern = Regex::new(at, a.str(0), false).map_err(|e| a.error(e.message))?;
    if pattern.groups() != 2 {
        return Err(a.error(format!("pattern \"{}\" must have 2 captures", a.str(0))));
    }
    at.own::<Conf>().split = Some(pattern);
    Ok(())
}

/// As run.
pub struct Names {
    index: Box<[u8]>,
    split: Option<Regex>,
}

/// What is in force in a block, if anything is.
pub(crate) fn compile(at: &Scope) -> Option<Box<Names>> {
    let conf = at.conf::<Conf>()?;
    Some(Box::new(Names { index: conf.index.or(Box::default()), split: conf.split.clone() }))
}
