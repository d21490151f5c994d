//! `valid_referers`: `$invalid_referer` is `1` where the page that a request came from is none of those.

use conf::{Args, Error, Inherit, LOCATION, SERVER, Scope, Within, directive};

use super::Module;
use super::core::server_name::Name;
use crate::hash::Table;
use crate::hosts::{Added, Hosts};
use crate::http::plan::Settings;
use crate::http::regex::Regex;
use crate::http::request::Request;
use crate::http::variables::variable;
use crate::worker::generation::Compiler;

const IN: Within = SERVER.or(LOCATION);

pub(crate) static MODULE: Module = Module {
    name: "referer",
    directives: &[
        directive("valid_referers", IN, conf::at_least(1), valid_referers),
        directive("referer_hash_max_size", IN, conf::exactly(1), needless),
        directive("referer_hash_bucket_size", IN, conf::exactly(1), needless),
    ],
    variables: &[variable("invalid_referer", |request, out| {
        let plan = request.plan();
        if plan.settings::<Referers>().is_some_and(|referers| !referers.include(request)) {
            out.push(b'1');
        }
        true
    })
    .kept()],
};

/// As written; a block that has any takes none from above but, as in nginx, regular expressions if it has none itself.
#[derive(Clone, Default)]
struct Referers {
    written: bool,
    /// A request without a referer is fine.
    none: bool,
    /// One whose referer some firewall has made unreadable is fine.
    blocked: bool,
    server_names: bool,
    /// Names of the server that are regular expressions count, because it says so here or above.
    server_regexes: bool,
    exact: Table<Path>,
    wild: Hosts<Path>,
    /// Against host and path.
    regex: Vec<Regex>,
    /// Against the host.
    hosts: Vec<Regex>,
}
/// What the path has to begin with.
type Path = Box<[u8]>;

impl Inherit for Referers {
    fn inherit(&mut self, outer: &Referers) {
        if !self.written {
            self.clone_from(outer);
            return;
        }
        if self.regex.is_empty() {
            self.regex.clone_from(&outer.regex);
        }
        self.server_regexes |= outer.server_regexes;
    }
}

/// A size that is checked, and needs no setting here: the table grows as it must.
fn needless(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    a.number::<u32>(0)?;
    super::core::process::once_here(at, a)
}

fn valid_referers(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    at.own::<Referers>().written = true;
    for text in a.iter() {
        match text {
            "" => return Err(a.error("invalid referer \"\"")),
            "none" => at.own::<Referers>().none = true,
            "blocked" => at.own::<Referers>().blocked = true,
            "server_names" => {
                let referers = at.own::<Referers>();
                (referers.server_names, referers.server_regexes) = (true, true);
            }
            "~" => return Err(a.error("empty regex in \"~\"")),
            text => match text.strip_prefix('~') {
                Some(pattern) => {
                    let regex = Regex::new(at, pattern, true).map_err(|e| a.error(e.message))?;
                    at.own::<Referers>().regex.push(regex);
                }
                None => at.own::<Referers>().add(text).map_err(|text| a.error(text))?,
            },
        }
    }
    Ok(())
}

impl Referers {
    /// Adds a host with or without a path behind it.
    fn add(&mut self, text: &str) -> Result<(), String> {
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let lower = host.to_ascii_lowercase().into_bytes();
        match self.wild.add(&lower, path.as_bytes().into(), &mut self.exact) {
            Added::Fresh => Ok(()),
            Added::Conflict => Err(format!("conflicting parameter \"{}\"", host.to_ascii_lowercase())),
            Added::Invalid => Err(format!("invalid hostname or wildcard \"{host}\"")),
        }
    }
    fn has_hosts(&self) -> bool {
        !self.exact.is_empty() || !self.wild.is_empty()
    }

    fn include(&self, request: &Request) -> bool {
        let Some(referer) = request.header(wire::Known::Referer) else { return self.none };
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            referer.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        // nginx looks for schemes in what is as long as this at least.
        let Some(scheme) = scheme.filter(|_| referer.len() >= "http://i.ru".len()) else {
            return self.blocked;
        };
        self.include_page(&referer[scheme.len()..])
    }
    fn include_page(&self, page: &[u8]) -> bool {
        let end = page.iter().position(|byte| matches!(byte, b'/' | b':')).unwrap_or(page.len());
        if end > 256 {
            return false;
        }
        let host = page[..end].to_ascii_lowercase();
        if let Some(start) = self.exact.get(&*host).or_else(|| self.wild.find(&host)) {
            let path = &page[memchr::memchr(b'/', page).unwrap_or(page.len())..];
            return path.starts_with(start);
        }
        self.hosts.iter().any(|regex| regex.is_match(&host))
            || self.regex.iter().any(|regex| regex.is_match(page))
    }
}

pub(crate) fn settings(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Settings>, Error> {
    let Some(written) = at.conf::<Referers>().filter(|conf| conf.written) else { return Ok(None) };
    let mut referers = written.clone();
    if referers.server_names && with.server_names.is_empty() {
        // A server without a name has an empty one, as in nginx.
        referers.add("").map_err(|text| Error::emerg(text).at(at.at.clone()))?;
    }
    for name in &with.server_names {
        match name {
            Name::Regex(regex) if referers.server_regexes => referers.hosts.push(regex.clone()),
            Name::Text(text) if referers.server_names => {
                referers.add(text).map_err(|text| Error::emerg(text).at(at.at.clone()))?
            }
            _ => {}
        }
    }
    if (referers.none || referers.blocked) && !referers.has_hosts() {
        let text = "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive \
            without any valid referer";
        return Err(Error::emerg(text).nowhere());
    }
    if !referers.has_hosts() && referers.regex.is_empty() && referers.hosts.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(referers)))
}
