//! COPY and MOVE.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::io::Errno;
use wire::Method;

use super::tree::{self, Fault};
use super::{Dav, Depth, elsewhere, empty, errno, failed, field, refuse_body, remove};
use crate::http::phases::Next;
use crate::http::request::Request;

/// Where to.
struct Destination {
    uri: Vec<u8>,
    /// As the client wrote it.
    said: String,
}

impl Dav {
    pub(super) async fn transfer(&self, request: &mut Request) -> Result<Next, u16> {
        refuse_body(request, "COPY and MOVE with body are unsupported")?;
        let to = destination(request)?;
        let slash = request.uri.ends_with(b"/");
        if slash != to.uri.ends_with(b"/") {
            let (uri, said) = (crate::log::shown(&request.uri), &to.said);
            log_error!(
                request,
                "both URI \"{uri}\" and \"Destination\" URI \"{said}\" \
                should be either collections or non-collections"
            );
            return Err(409);
        }
        let plan = request.plan();
        if plan.core.root.alias && to.uri.len() < plan.core.root.prefix {
            return Err(invalid(request, &to.said));
        }
        check_depth(request)?;
        let overwrite = overwrite(request)?;
        let from = place(request)?;
        let own = std::mem::replace(&mut request.uri, to.uri.clone());
        let there = place(request);
        request.uri = own;
        let there = there?;
        check_places(request, &from, &there, slash, &to)?;
        let old = self.look_at_old(request, &there, slash, overwrite, &to)?;
        let stat = fs::symlink_metadata(&from);
        let stat = stat.map_err(|error| {
            failed(request, &Fault::new("lstat()", &super::named(request, from.clone()), error), 404)
        })?;
        if !stat.is_dir() && slash {
            return Err(failed(request, &Fault::new("lstat()", &from, Errno::NOTDIR.into()), 404));
        }
        if !stat.is_dir() {
            return self.file(request, from, there).await;
        }
        if !slash {
            log_error!(request, "\"{}\" is collection", crate::log::shown(&request.uri));
            return Err(400);
        }
        if let Some(is_folder) = old {
            remove(request, there.clone(), is_folder).await?;
        }
        folder(request, from, there).await
    }

    /// What stands where it is to go: whether that is a folder; `None` if there is nothing.
    fn look_at_old(
        &self,
        request: &Request,
        there: &PathBuf,
        slash: bool,
        overwrite: bool,
        to: &Destination,
    ) -> Result<Option<bool>, u16> {
        let old = match fs::symlink_metadata(there) {
            Ok(stat) => stat.is_dir(),
            Err(error) if errno(&error) == Errno::NOENT => return Ok(None),
            Err(error) => return Err(failed(request, &Fault::new("lstat()", there, error), 404)),
        };
        if old && !slash {
            cannot(request, to);
            return Err(409);
        }
        if !overwrite {
            log_error!(
                request,
                "\"{}\" could not be created (17: File exists)",
                crate::log::shown_path(there)
            );
            return Err(412);
        }
        Ok(Some(old))
    }

    async fn file(&self, request: &mut Request, from: PathBuf, to: PathBuf) -> Result<Next, u16> {
        let mode = self.access.folder();
        let moves = request.method == Method::Move;
        let work = move || match moves {
            true => tree::move_file(&from, &to, mode),
            false => tree::copy_file(&from, &to),
        };
        match elsewhere(request, work).await? {
            Ok(()) => Ok(empty(request, 204)),
            Err(fault) => {
                failed(request, &fault, 500);
                Err(500)
            }
        }
    }
}

async fn folder(request: &mut Request, from: PathBuf, to: PathBuf) -> Result<Next, u16> {
    let moves = request.method == Method::Move;
    let source = from.clone();
    let work = move || match moves && fs::rename(&from, &to).is_ok() {
        true => None,
        false => Some(tree::copy_folder(&from, &to)),
    };
    let Some((remarks, made)) = elsewhere(request, work).await? else { return Ok(empty(request, 201)) };
    for fault in &remarks {
        let _ = failed(request, fault, 0);
    }
    made.map_err(|fault| failed(request, &fault, 404))?;
    if moves {
        remove(request, source, true).await?;
    }
    Ok(empty(request, 201))
}

/// The file of the path in force, with single slashes and none behind it.
fn place(request: &mut Request) -> Result<PathBuf, u16> {
    let path = super::path(request)?.into_os_string().into_vec();
    let mut merged = Vec::with_capacity(path.len());
    for byte in path {
        if byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(byte);
        }
    }
    Ok(OsString::from_vec(merged).into())
}

fn cannot(request: &Request, to: &Destination) {
    let method = if request.method == Method::Copy { "COPY" } else { "MOVE" };
    let uri = crate::log::shown(&request.uri);
    log_error!(request, "\"{uri}\" could not be {method}ed to collection \"{}\"", to.said);
}

/// Neither onto itself nor into itself.
fn check_places(
    request: &Request,
    from: &PathBuf,
    to: &PathBuf,
    slash: bool,
    said: &Destination,
) -> Result<(), u16> {
    if from == to {
        let uri = crate::log::shown(&request.uri);
        let said = &said.said;
        log_error!(
            request,
            "both URI \"{uri}\" and \"Destination\" URI \"{said}\" point to the same location"
        );
        return Err(403);
    }
    let inside = |outer: &PathBuf, inner: &PathBuf| {
        let rest = inner.as_os_str().as_bytes().strip_prefix(outer.as_os_str().as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    };
    if slash && (inside(from, to) || inside(to, from)) {
        cannot(request, said);
        return Err(403);
    }
    Ok(())
}

fn check_depth(request: &Request) -> Result<(), u16> {
    let copies = request.method == Method::Copy;
    match super::depth(request, Depth::Infinity)? {
        Depth::Infinity => Ok(()),
        Depth::Zero if copies => Ok(()),
        _ => {
            let which = if copies { "0 or infinity" } else { "infinity" };
            log_error!(request, "\"Depth\" header must be {which}");
            Err(400)
        }
    }
}

fn overwrite(request: &Request) -> Result<bool, u16> {
    match field(request, b"Overwrite") {
        None | Some(b"T" | b"t") => Ok(true),
        Some(b"F" | b"f") => Ok(false),
        Some(other) => {
            let other = crate::log::shown(other);
            log_error!(request, "client sent invalid \"Overwrite\" header: \"{other}\"");
            Err(400)
        }
    }
}

fn invalid(request: &Request, said: &str) -> u16 {
    log_error!(request, "client sent invalid \"Destination\" header: \"{said}\"");
    400
}

/// `Destination`: a path, or a URL of this host.
fn destination(request: &Request) -> Result<Destination, u16> {
    let Some(value) = field(request, b"Destination") else {
        log_error!(request, "client sent no \"Destination\" header");
        return Err(400);
    };
    let said = crate::log::shown(value).into_owned();
    let path = match value.starts_with(b"/") {
        true => value,
        false => {
            if request.host.is_empty() {
                log_error!(request, "client sent no \"Host\" header");
                return Err(400);
            }
            let scheme: &[u8] = if request.client.is_encrypted() { b"https://" } else { b"http://" };
            let Some(rest) = value.strip_prefix(scheme) else { return Err(invalid(request, &said)) };
            let Some(rest) = rest.strip_prefix(&request.host[..]) else {
                log_error!(
                    request,
                    "\"Destination\" URI \"{said}\" is handled by different repository than the source URI"
                );
                return Err(400);
            };
            let slash = rest.iter().position(|byte| *byte == b'/');
            &rest[slash.ok_or_else(|| invalid(request, &said))?..]
        }
    };
    let (path, _) = wire::uri::split_args(path);
    let mut uri = Vec::new();
    wire::uri::unescape(path, &mut uri);
    if uri.contains(&0) || uri.split(|byte| *byte == b'/').any(|part| part == b"..") {
        log_error!(request, "unsafe URI \"{}\" was detected", crate::log::shown(&uri));
        return Err(invalid(request, &said));
    }
    Ok(Destination { uri, said })
}
