//! `root` and `alias`: where files are looked for.

use conf::{Args, Directive, Error, IF_LOCATION, LOCATION, Scope, directive};

use super::{ANY, location};
use crate::http::variables::Template;
use crate::worker::generation::Compiler;

pub(super) const DIRECTIVES: &[Directive] = &[
    directive("root", ANY.or(IF_LOCATION), conf::exactly(1), |at, a| root(at, a, false)),
    directive("alias", LOCATION, conf::exactly(1), |at, a| root(at, a, true)),
];

settings! {
    /// As written.
    struct Conf {
        root: Root,
    }
}

/// Where files are looked for.
#[derive(Clone, Debug)]
pub struct Root {
    /// The folder; it may contain variables.
    pub path: Template,
    /// `alias`: the path replaces the prefix of the location where it is written.
    pub alias: bool,
    /// How long that is; 0 for a regular expression, whose `alias` is the whole path.
    pub prefix: usize,
}

/// What is in force: `html` below the prefix where nothing is written.
pub(super) fn compile(at: &Scope, with: &Compiler<'_>) -> Root {
    let written = at.conf::<Conf>().and_then(|conf| conf.root.written());
    written.cloned().unwrap_or_else(|| Root {
        path: Template::literal(with.prefix_path("html").as_bytes()),
        alias: false,
        prefix: 0,
    })
}

fn root(at: &mut Scope, a: &Args<'_>, alias: bool) -> Result<(), Error> {
    let place = at.conf::<location::Place>();
    if alias && place.is_some_and(|place| place.is_named(at)) {
        return Err(a.error("the \"alias\" directive cannot be used inside the named location"));
    }
    let prefix = place.map_or(0, location::Place::prefix);
    if let Some(other) = at.own::<Conf>().root.written() {
        return Err(a.error(duplicate(a.directive, other.alias, alias)));
    }
    refuse_itself(a)?;
    let path = a.str(0);
    let path = if path.starts_with('$') { path.to_owned() } else { a.prefix_path(path) };
    let path = if alias { &path } else { path.strip_suffix('/').unwrap_or(&path) };
    let path = Template::parse(at, path)?;
    at.own::<Conf>().root.set(Root { path, alias, prefix })
}

/// What is said where one of the two stands behind another.
fn duplicate(directive: &str, earlier: bool, alias: bool) -> String {
    match earlier == alias {
        true => format!("\"{directive}\" directive is duplicate"),
        false => format!(
            "\"{directive}\" directive is duplicate, \"{}\" directive was specified earlier",
            if earlier { "alias" } else { "root" }
        ),
    }
}

/// What a root is told by cannot be part of it.
fn refuse_itself(a: &Args<'_>) -> Result<(), Error> {
    let (text, directive) = (a.str(0), a.directive);
    let used = |name: &&str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"));
    match ["document_root", "realpath_root"].iter().find(|name| used(name)) {
        Some(name) => {
            Err(a.error(format!("the ${name} variable cannot be used in the \"{directive}\" directive")))
        }
        None => Ok(()),
    }
}
