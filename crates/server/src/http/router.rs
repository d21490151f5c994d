//! From a host and a path to the server and the location that answer.

use std::collections::HashMap;

use super::phases::Next;
use super::plan::PlanId;
use super::regex::Regex;
use super::request::Request;
use crate::hash::{Cheap, Table};
use crate::hosts::{Added, Hosts};
use crate::modules::core::Core;

/// How many internal redirects and rewrites one request may take, as in nginx.
pub const MAX_REDIRECTS: u8 = 10;

/// Which server, in the tables of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId(pub u32);

/// A virtual server.
pub struct Server {
    /// Its first name, for `$server_name` and redirects.
    pub name: Box<str>,
    /// What the server level itself does: its rewrite phase, and its settings where there is no location.
    pub plan: PlanId,
    /// Some place of it takes CONNECT (`tunnel_pass`).
    pub tunnels: bool,
    /// How it speaks TLS; `None` without a certificate.
    pub tls: Option<crate::modules::ssl::Configured>,
    /// How it speaks HTTP/2.
    pub http2: crate::modules::http2::Http2,
    /// Its locations.
    pub locations: Locations,
    /// `@name` locations.
    pub named: HashMap<Box<[u8]>, PlanId>,
}

/// The names of the servers behind one listening address.
#[derive(Default)]
pub struct Names {
    exact: Table<ServerId>,
    wild: Hosts<ServerId>,
    regex: Vec<(Regex, ServerId)>,
}

impl Names {
    /// Adds a name as `server_name` writes it (lower case).
    pub fn add(&mut self, name: &[u8], server: ServerId) -> Added {
        self.wild.add(name, server, &mut self.exact)
    }
    /// Adds a regular expression.
    pub fn add_regex(&mut self, regex: Regex, server: ServerId) {
        self.regex.push((regex, server));
    }
    /// Exact name, longest leading wildcard, longest trailing wildcard, first matching regular expression.
    pub fn find(&self, host: &[u8], request: Option<&mut Request>) -> Option<ServerId> {
        if let Some(server) = self.exact.get(host) {
            return Some(*server);
        }
        if host.is_empty() {
            return None;
        }
        self.wild.find(host).copied().or_else(|| self.by_regex(host, request))
    }
    fn by_regex(&self, host: &[u8], request: Option<&mut Request>) -> Option<ServerId> {
        let Some(request) = request else {
            return self.regex.iter().find(|(regex, _)| regex.is_match(host)).map(|(_, server)| *server);
        };
        self.regex.iter().find(|(regex, _)| regex.capture(host, request)).map(|(_, server)| *server)
    }
}

/// The locations of a server, or those inside another location.
#[derive(Default)]
pub struct Locations {
    exact: HashMap<Box<[u8]>, Location, Cheap>,
    /// Sorted by prefix.
    prefixes: Vec<Prefix>,
    regex: Vec<(Regex, Location)>,
}
struct Prefix {
    text: Box<[u8]>,
    /// The longest other prefix that this one starts with.
    shorter: Option<usize>,
    location: Location,
}
/// One location, by what it was declared with.
pub struct Location {
    /// What it does.
    pub plan: PlanId,
    /// `^~`: no regular expression is tried after it.
    pub no_regex: bool,
    /// Length of the prefix, 0 for a regular expression.
    pub prefix: usize,
    /// The path without the final slash is redirected here (`location /app/ { proxy_pass ..; }`).
    pub auto_redirect: bool,
    /// The locations inside.
    pub inner: Option<Box<Locations>>,
}

impl Locations {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.regex.is_empty()
    }
    /// `location = path`; `false`: duplicate.
    pub fn add_exact(&mut self, path: &[u8], location: Location) -> bool {
        self.exact.insert(path.into(), location).is_none()
    }
    /// `location prefix`; `false`: duplicate.
    pub fn add_prefix(&mut self, text: &[u8], location: Location) -> bool {
        match self.prefixes.binary_search_by(|p| (*p.text).cmp(text)) {
            Ok(_) => false,
            Err(i) => {
                self.prefixes.insert(i, Prefix { text: text.into(), shorter: None, location });
                true
            }
        }
    }
    /// `location ~ regex`.
    pub fn add_regex(&mut self, regex: Regex, location: Location) {
        self.regex.push((regex, location));
    }
    /// Once all are added.
    pub fn link(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for i in 0..self.prefixes.len() {
            while open.last().is_some_and(|o| !self.prefixes[i].text.starts_with(&self.prefixes[*o].text)) {
                open.pop();
            }
            self.prefixes[i].shorter = open.last().copied();
            open.push(i);
        }
    }

    fn longest(&self, path: &[u8]) -> Option<&Prefix> {
        let after = self.prefixes.partition_point(|p| *p.text <= *path);
        let mut at = after.checked_sub(1);
        while let Some(i) = at {
            if path.starts_with(&self.prefixes[i].text) {
                return Some(&self.prefixes[i]);
            }
            at = self.prefixes[i].shorter;
        }
        None
    }
    /// The prefix that `path` lacks only the final slash of.
    fn redirecting(&self, path: &[u8]) -> Option<&Location> {
        let with_slash = || path.iter().chain(b"/");
        let i = self.prefixes.binary_search_by(|p| p.text.iter().cmp(with_slash())).ok()?;
        Some(&self.prefixes[i].location).filter(|location| location.auto_redirect)
    }

    /// nginx's rule: exact; else the longest prefix, then inside it; then, unless `^~`, the regular expressions in order.
    fn find<'a>(&'a self, request: &mut Request, best: &mut Option<&'a Location>) -> Found {
        if !self.exact.is_empty()
            && let Some(location) = self.exact.get(&*request.uri)
        {
            *best = Some(location);
            return Found::Final;
        }
        let (mut no_regex, mut whole) = (false, false);
        if let Some(prefix) = self.longest(&request.uri) {
            *best = Some(&prefix.location);
            no_regex = prefix.location.no_regex;
            whole = prefix.text.len() == request.uri.len();
            if whole && self.regex.is_empty() && prefix.location.inner.is_none() {
                return Found::Prefix;
            }
            if let Some(inner) = &prefix.location.inner {
                match inner.find(request, best) {
                    Found::Prefix => {}
                    found => return found,
                }
            }
        }
        // A path with a location of its own is not taken for another's without its slash.
        if let Some(location) = self.redirecting(&request.uri).filter(|_| !whole) {
            *best = Some(location);
            return Found::Redirect;
        }
        if no_regex {
            return Found::Prefix;
        }
        self.by_regex(request, best)
    }
    fn by_regex<'a>(&'a self, request: &mut Request, best: &mut Option<&'a Location>) -> Found {
        for (regex, location) in &self.regex {
            let uri = std::mem::take(&mut request.uri);
            let matched = regex.try_capture(&uri, request);
            request.uri = uri;
            match matched {
                Ok(false) => continue,
                Ok(true) => *best = Some(location),
                Err(_) => return Found::GivenUp,
            }
            let inner = location.inner.as_ref().map(|inner| inner.find(request, best));
            return inner.filter(|found| *found == Found::GivenUp).unwrap_or(Found::Final);
        }
        Found::Prefix
    }
}
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Prefix,
    Final,
    Redirect,
    /// A regular expression was.
    GivenUp,
}

/// What a location's `limit_except` puts in the place of its plan for this method.
fn limited(core: &Core, request: &Request) -> Option<PlanId> {
    core.limit_except.as_ref().filter(|except| except.limits(request.method)).map(|except| except.plan)
}

/// Puts the plan of the location of `request.uri` in force.
pub fn find_location(request: &mut Request) -> Next {
    let generation = request.generation.clone();
    let server = generation.shared.server(request.server);
    let mut best = None;
    let found = server.locations.find(request, &mut best);
    request.plan = best.map_or(server.plan, |l| l.plan);
    request.location_prefix = best.map_or(0, |l| l.prefix);
    if found == Found::GivenUp {
        return Next::Status(500);
    }
    let core = &generation.shared.plan(request.plan).core;
    if let Some(plan) = limited(core, request) {
        request.plan = plan;
    }
    if core.internal && !request.internal {
        return Next::Status(404);
    }
    request.body.limit = core.client_body.max_size;
    if core.client_body.max_size != 0 && request.body.declared() > core.client_body.max_size {
        let declared = request.body.declared();
        log_error!(request, "client intended to send too large body: {declared} bytes");
        return Next::Status(413);
    }
    if found == Found::Redirect {
        request.keep_alive = request.keep_alive && core.keep_alive.allows(request);
        return add_slash(request);
    }
    Next::Go
}

/// Goes to a named location (`@name`) of the request's server, as `error_page` and `try_files` do.
pub fn enter_named(request: &mut Request, name: &[u8]) -> Next {
    request.redirects += 1;
    if request.redirects > MAX_REDIRECTS {
        log_error!(
            request,
            "rewrite or internal redirection cycle while redirect to named location \"{}\"",
            crate::log::shown(name)
        );
        return Next::Status(500);
    }
    if request.uri.is_empty() {
        // The request line was refused.
        log_error!(request, "empty URI in redirect to named location \"{}\"", crate::log::shown(name));
        return Next::Status(500);
    }
    let generation = request.generation.clone();
    let Some(plan) = generation.shared.server(request.server).named.get(name) else {
        log_error!(request, "could not find named location \"{}\"", crate::log::shown(name));
        return Next::Status(500);
    };
    request.internal = true;
    request.leave_location();
    request.location_prefix = 0;
    let core = &generation.shared.plan(*plan).core;
    request.body.limit = core.client_body.max_size;
    Next::Enter(limited(core, request).unwrap_or(*plan))
}

/// 301 to the same path with a slash behind, as for a directory.
pub fn add_slash(request: &mut Request) -> Next {
    let mut location = request.thread.buffer();
    wire::uri::escape_uri(&request.uri, &mut location);
    location.push(b'/');
    if !request.args.is_empty() {
        location.push(b'?');
        location.extend_from_slice(&request.args);
    }
    request.response.set_location(&location);
    request.thread.give_buffer(location);
    Next::Status(301)
}
