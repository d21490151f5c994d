//! `location` and `limit_except`: where a request's path leads, and what a method may not.

use std::sync::Arc;

use conf::{Args, Error, Inherit, LIMIT_EXCEPT, LOCATION, Scope, Within};
use wire::Method;

use crate::http::plan::PlanId;
use crate::http::regex::Regex;
use crate::http::router::{Location, Locations};
use crate::worker::generation::Compiler;

/// How a location is declared.
#[derive(Default)]
pub struct Place {
    /// The path or pattern as written.
    pub name: Arc<[u8]>,
    kind: Kind,
}
#[derive(Default)]
enum Kind {
    #[default]
    Prefix,
    /// `=`
    Exact,
    /// `^~`
    PrefixOnly,
    /// `~`, `~*`
    Regex(Option<Regex>),
    /// `@name`
    Named,
}
impl Inherit for Place {
    fn inherit(&mut self, _: &Place) {}
    fn reaches(kind: Within) -> bool {
        kind == conf::IF_LOCATION || kind == LIMIT_EXCEPT
    }
}
impl Place {
    /// `@name`: only internal redirects come here.
    pub fn is_named(&self, at: &Scope) -> bool {
        at.kind == LOCATION && matches!(self.kind, Kind::Named)
    }
    /// Length of the location's name where paths here begin with it; else 0.
    pub fn prefix(&self) -> usize {
        match self.kind {
            Kind::Prefix | Kind::Exact | Kind::PrefixOnly => self.name.len(),
            Kind::Regex(_) | Kind::Named => 0,
        }
    }
}

/// `location [= | ~ | ~* | ^~] path {` and `location @name {`
pub fn open(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let place = place(at, a)?;
    *at.own::<Place>() = place;
    Ok(())
}

fn place(at: &Scope, a: &Args<'_>) -> Result<Place, Error> {
    if a.words.len() == 2 {
        return marked(at, a, a.str(0), a.str(1));
    }
    let word = a.str(0);
    if word.starts_with('@') {
        return Ok(plain(word, Kind::Named));
    }
    for mark in ["~*", "^~", "=", "~"] {
        if let Some(rest) = word.strip_prefix(mark) {
            return marked(at, a, mark, rest);
        }
    }
    Ok(plain(word, Kind::Prefix))
}

fn plain(name: &str, kind: Kind) -> Place {
    Place { name: name.as_bytes().into(), kind }
}

fn marked(at: &Scope, a: &Args<'_>, mark: &str, path: &str) -> Result<Place, Error> {
    let regex = |caseless| Regex::new(at, path, caseless).map_err(|e| a.error(e.message));
    let kind = match mark {
        "=" => Kind::Exact,
        "^~" => Kind::PrefixOnly,
        "~" => Kind::Regex(Some(regex(false)?)),
        "~*" => Kind::Regex(Some(regex(true)?)),
        _ => return Err(a.error(format!("invalid location modifier \"{mark}\""))),
    };
    Ok(plain(path, kind))
}

/// Sorts the locations of a server, or inside a location, into what the router looks up.
pub fn compile(
    scope: &Scope,
    named: &mut Vec<(Box<[u8]>, PlanId)>,
    with: &mut Compiler<'_>,
) -> Result<Locations, Error> {
    let mut all = Locations::default();
    for child in scope.children.iter().filter(|c| c.kind == LOCATION) {
        let Some(place) = child.conf::<Place>() else { continue };
        allowed_inside(scope, child, place)?;
        let plan = with.plan(child)?;
        let inner = compile(child, named, with)?;
        let location = Location {
            plan,
            no_regex: matches!(place.kind, Kind::PrefixOnly),
            prefix: place.prefix(),
            auto_redirect: place.name.ends_with(b"/") && with.redirects_to_slash(plan),
            inner: (!inner.is_empty()).then(|| Box::new(inner)),
        };
        let fresh = match &place.kind {
            Kind::Named => {
                // Of several of one name nginx takes the first, and says nothing.
                if named.iter().all(|(name, _)| **name != *place.name) {
                    named.push(((*place.name).into(), plan));
                }
                true
            }
            Kind::Exact => all.add_exact(&place.name, location),
            Kind::Regex(Some(regex)) => {
                all.add_regex(regex.clone(), location);
                true
            }
            _ => all.add_prefix(&place.name, location),
        };
        if !fresh {
            let name = String::from_utf8_lossy(&place.name);
            return Err(Error::emerg(format!("duplicate location \"{name}\"")).at(child.at.clone()));
        }
    }
    all.link();
    Ok(all)
}

/// nginx's rules of nesting.
fn allowed_inside(outer: &Scope, child: &Scope, place: &Place) -> Result<(), Error> {
    let Some(around) = outer.conf::<Place>().filter(|_| outer.kind == LOCATION) else { return Ok(()) };
    let (inner, outer_name) = (String::from_utf8_lossy(&place.name), String::from_utf8_lossy(&around.name));
    let wrong = |text: String| Err(Error::emerg(text).at(child.at.clone()));
    match (&around.kind, &place.kind) {
        (Kind::Exact, _) => {
            wrong(format!("location \"{inner}\" cannot be inside the exact location \"{outer_name}\""))
        }
        (Kind::Named, _) => {
            wrong(format!("location \"{inner}\" cannot be inside the named location \"{outer_name}\""))
        }
        (_, Kind::Named) => wrong(format!("named location \"{inner}\" can be on the server level only")),
        // Of a regular expression the text counts, as in nginx.
        (_, Kind::Prefix | Kind::Exact | Kind::PrefixOnly) if !place.name.starts_with(&around.name) => {
            wrong(format!("location \"{inner}\" is outside location \"{outer_name}\""))
        }
        _ => Ok(()),
    }
}

/// The methods that `limit_except` leaves alone.
#[derive(Default)]
pub struct Except {
    methods: Vec<Method>,
}
impl Inherit for Except {
    fn inherit(&mut self, _: &Except) {}
    fn reaches(_: Within) -> bool {
        false
    }
}

/// `limit_except method .. {`
pub fn open_limit_except(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    const METHODS: &[(&str, Method)] = &[
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("MKCOL", Method::Mkcol),
        ("COPY", Method::Copy),
        ("MOVE", Method::Move),
        ("OPTIONS", Method::Options),
        ("PROPFIND", Method::Propfind),
        ("PROPPATCH", Method::Proppatch),
        ("LOCK", Method::Lock),
        ("UNLOCK", Method::Unlock),
        ("PATCH", Method::Patch),
    ];
    let mut methods = Vec::new();
    for i in 0..a.words.len() {
        let found = METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(a.str(i)));
        let (_, method) = found.ok_or_else(|| a.error(format!("invalid method \"{}\"", a.str(i))))?;
        methods.push(*method);
        if *method == Method::Get {
            methods.push(Method::Head);
        }
    }
    at.own::<Except>().methods = methods;
    Ok(())
}

/// As run: the plan for all other methods.
pub struct LimitExcept {
    methods: Vec<Method>,
    /// What is in force for them.
    pub plan: PlanId,
}
impl LimitExcept {
    /// Whether this method is limited.
    pub fn limits(&self, method: Method) -> bool {
        !self.methods.contains(&method)
    }
}

/// The `limit_except` block of a location.
pub fn limit_except(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<LimitExcept>, Error> {
    let mut blocks = at.children.iter().filter(|c| c.kind == LIMIT_EXCEPT);
    let Some(child) = blocks.next() else { return Ok(None) };
    if let Some(second) = blocks.next() {
        return Err(Error::emerg("\"limit_except\" directive is duplicate").at(second.at.clone()));
    }
    let methods = child.conf::<Except>().map(|e| e.methods.clone()).unwrap_or_default();
    Ok(Some(LimitExcept { methods, plan: with.plan(child)? }))
}
