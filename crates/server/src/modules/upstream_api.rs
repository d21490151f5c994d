//! `upstream_api`: the servers of upstream groups, seen and changed over HTTP and JSON.
//!
//! | request | does |
//! |---|---|
//! | `GET /` | all groups |
//! | `GET /NAME` | one group |
//! | `POST /NAME` | adds a server: `{"server": "10.0.0.1:80", "weight": 2}` |
//! | `PATCH /NAME/ID` | changes one: `{"drain": true}`, `{"down": false}`, `{"weight": 5}` |
//! | `DELETE /NAME/ID` | removes one |

use std::sync::Arc;

use conf::{Args, Error, Inherit, LOCATION, Scope, Within, directive};
use serde::Serialize;
use wire::{Known, Method};

use super::Module;
use crate::http::body;
use crate::http::phases::Next;
use crate::http::request::Request;
use crate::http::response::Body;
use crate::http::steps::{Handler, Outcome};
use crate::log::Level;
use crate::upstream::{Change, Group};
use crate::worker::generation::Compiler;

pub(crate) static MODULE: Module = Module {
    name: "upstream_api",
    directives: &[directive("upstream_api", LOCATION, conf::between(0, 1), configure)],
    variables: &[],
};

/// The directive stands in this block; its locations do not take it over.
#[derive(Default)]
struct Here(Option<Api>);
/// Whether it may change anything.
#[derive(Clone, Copy)]
struct Api {
    write: bool,
}
impl Inherit for Here {
    fn inherit(&mut self, _: &Here) {}
    fn reaches(kind: Within) -> bool {
        kind == conf::IF_LOCATION || kind == conf::LIMIT_EXCEPT
    }
}

/// `upstream_api [write=on|off]`
fn configure(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let write = match a.opt(0) {
        None | Some("write=off") => false,
        Some("write=on") => true,
        Some(_) => return Err(a.invalid_parameter(0)),
    };
    match at.own::<Here>().0.replace(Api { write }) {
        Some(_) => Err(Error::directive("is duplicate")),
        None => Ok(()),
    }
}

pub(crate) fn handler(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Handler>>, Error> {
    let api = at.conf::<Here>().and_then(|here| here.0);
    Ok(api.map(|api| Box::new(api) as _))
}

impl Handler for Api {
    fn answer<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Next> {
        Outcome::wait(self.reply(request))
    }
}

/// What is answered instead of what was asked for.
#[derive(Serialize)]
struct Refusal {
    error: String,
}
fn refuse(request: &mut Request, status: u16, error: impl Into<String>) -> Next {
    reply(request, status, &Refusal { error: error.into() })
}

fn reply(request: &mut Request, status: u16, value: &impl Serialize) -> Next {
    let Ok(mut text) = serde_json::to_vec(value) else { return Next::Status(500) };
    text.push(b'\n');
    let response = &mut request.response;
    response.status = status;
    response.set_content_type(b"application/json");
    response.add(Known::Other, b"Cache-Control", b"no-store");
    response.content_length = Some(text.len() as u64);
    response.body = Body::Memory(text.into());
    Next::Respond
}

/// What the path names.
enum Named {
    All,
    Group(Arc<Group>),
    Server(Arc<Group>, u32),
}

/// What the rest of the path behind the location's prefix names.
fn named(request: &Request) -> Result<Named, String> {
    let path = request.uri.get(request.location_prefix..).unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let Some(name) = parts.next() else { return Ok(Named::All) };
    let group = find(request, name).ok_or_else(|| format!("no upstream \"{name}\""))?;
    match (parts.next(), parts.next()) {
        (None, _) => Ok(Named::Group(group)),
        (Some(id), None) => Ok(Named::Server(group, id.parse().map_err(|_| NO_SERVER)?)),
        (Some(_), Some(_)) => Err("no such path".to_owned()),
    }
}

const NO_SERVER: &str = "no such server";

impl Api {
    async fn reply(&self, request: &mut Request) -> Next {
        let reads = matches!(request.method, Method::Get | Method::Head);
        if !reads && !self.write {
            return refuse(request, 405, "this location is read-only (upstream_api write=on)");
        }
        let named = match named(request) {
            Ok(named) => named,
            Err(what) => return refuse(request, 404, what),
        };
        match (request.method, named) {
            (Method::Get | Method::Head, named) => show(request, &named),
            (Method::Post, Named::Group(group)) => add(request, &group).await,
            (Method::Patch, Named::Server(group, id)) => alter(request, &group, id).await,
            (Method::Delete, Named::Server(group, id)) => remove(request, &group, id),
            _ => refuse(request, 405, "method not allowed here"),
        }
    }
}

fn show(request: &mut Request, named: &Named) -> Next {
    let now = request.thread.handle.unix_time();
    match named {
        Named::All => {
            let groups = &request.generation.shared.upstreams;
            let blocks = groups.iter().filter(|group| group.port.is_none());
            let all: Vec<_> = blocks.map(|group| group.show(now)).collect();
            reply(request, 200, &all)
        }
        Named::Group(group) => reply(request, 200, &group.show(now)),
        Named::Server(group, id) => {
            match group.show(now).servers.into_iter().find(|server| server.id == *id) {
                Some(server) => reply(request, 200, &server),
                None => refuse(request, 404, NO_SERVER),
            }
        }
    }
}

async fn add(request: &mut Request, group: &Group) -> Next {
    let change = match change(request).await {
        Ok(change) => change,
        Err(next) => return next,
    };
    match group.add(&change, request.thread.handle.unix_time()) {
        Ok(server) => {
            note(request, group, "added", &server.server);
            reply(request, 201, &server)
        }
        Err(what) => refuse(request, 400, what),
    }
}

async fn alter(request: &mut Request, group: &Group, id: u32) -> Next {
    let change = match change(request).await {
        Ok(change) => change,
        Err(next) => return next,
    };
    match group.change(id, &change, request.thread.handle.unix_time()) {
        Ok(Some(server)) => {
            note(request, group, "changed", &server.server);
            reply(request, 200, &server)
        }
        Ok(None) => refuse(request, 404, NO_SERVER),
        Err(what) => refuse(request, 400, what),
    }
}

fn remove(request: &mut Request, group: &Group, id: u32) -> Next {
    if !group.remove(id) {
        return refuse(request, 404, NO_SERVER);
    }
    note(request, group, "removed", &id.to_string());
    let now = request.thread.handle.unix_time();
    reply(request, 200, &group.show(now))
}

/// A block of the configuration in force: a request that began before a reload changes what is used now.
fn find(request: &Request, name: &str) -> Option<Arc<Group>> {
    let newest = request.thread.generation();
    let mut groups = newest.shared.upstreams.iter();
    groups.find(|group| group.port.is_none() && group.name.eq_ignore_ascii_case(name)).cloned()
}

/// A change is done: it is noted, and kept where it is to outlive the process.
fn note(request: &Request, group: &Group, what: &str, server: &str) {
    let message = format_args!("upstream \"{}\": server {server} was {what} by request", group.name);
    request.note(Level::Notice, message);
    if let (Err(error), Some(path)) = (group.save(), &group.state) {
        log_crit!(request, "writing \"{}\" failed ({})", path.display(), crate::log::Errno(&error));
    }
}

/// What the client wants changed.
async fn change(request: &mut Request) -> Result<Change, Next> {
    if !request.body.complete {
        body::read_whole(request).await.map_err(Next::Status)?;
    }
    if request.body.file.is_some() {
        return Err(Next::Status(413));
    }
    serde_json::from_slice(&request.body.memory).map_err(|e| refuse(request, 400, e.to_string()))
}
