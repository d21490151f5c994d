//! Whom `proxy_pass` asks: its URL, the group behind it, and the URI that replaces the location's path.

use std::sync::Arc;

use conf::{Error, Scope};

use super::written::Pass;
use crate::http::relay::target::{Server, group};
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::resolver::Names;
use crate::upstream::{Group, find as find_group, group_number, split};
use crate::worker::generation::Compiler;

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// Host as written, or `unix:path`.
    pub host: &'a str,
    /// The port, if written.
    pub port: Option<u16>,
    /// What follows the host, if anything.
    pub uri: Option<&'a str>,
    /// Over TLS.
    pub https: bool,
}

/// The ports of `http` and `https`.
const PORTS: [u16; 2] = [80, 443];

/// Takes `http://host[:port][uri]` or `http://unix:path[:uri]` apart.
///
/// # Errors
/// nginx's words.
pub(super) fn parse(url: &str) -> Result<Parsed<'_>, String> {
    let has = |scheme: &str| url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let https = has("https://");
    if !https && !has("http://") {
        return Err("invalid URL prefix".into());
    }
    let rest = &url[if https { "https://" } else { "http://" }.len()..];
    if let Some(path) = rest.strip_prefix("unix:") {
        let (path, uri) = path.split_once(':').unwrap_or((path, ""));
        return match path {
            "" => Err(format!("no path in the unix domain socket in upstream \"{rest}\"")),
            _ => Ok(Parsed {
                host: &rest[..5 + path.len()],
                port: None,
                uri: (!uri.is_empty()).then_some(uri),
                https,
            }),
        };
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (server, uri) = rest.split_at(end);
    let (host, port) = split(server).map_err(|what| format!("{what} in upstream \"{rest}\""))?;
    Ok(Parsed { host, port, uri: (!uri.is_empty()).then_some(uri), https })
}

impl Parsed<'_> {
    /// The protocol's port.
    fn default_port(&self) -> u16 {
        PORTS[usize::from(self.https)]
    }
    /// As the error log shows it.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https://" } else { "http://" }
    }
    /// `$proxy_host`, what `Host` says by default.
    fn host_header(&self) -> String {
        match self.port {
            _ if self.host.starts_with("unix:") => "localhost".into(),
            Some(port) if port != self.default_port() => format!("{}:{port}", self.host),
            _ => self.host.into(),
        }
    }
    /// `$proxy_port`
    fn port_text(&self) -> String {
        match self.host.starts_with("unix:") {
            true => String::new(),
            false => self.port.unwrap_or(self.default_port()).to_string(),
        }
    }
}

/// Whom to ask.
pub(super) enum Target {
    /// The same for every request.
    Fixed(Fixed),
    /// Known when the variables are.
    Variable(Template, Names),
}
/// See [`Target`].
pub(super) struct Fixed {
    pub group: Arc<Group>,
    /// The group's number among the pools of connections.
    pub number: u32,
    pub host: Box<[u8]>,
    pub port: Box<[u8]>,
    /// Replaces the location's path.
    pub uri: Option<Box<[u8]>>,
    /// The URL as written, and the location's path: what `proxy_redirect default` turns around.
    pub url: Box<str>,
    pub location: Arc<[u8]>,
    pub https: bool,
}

/// Finds or makes the group behind a URL.
pub(super) fn target(pass: &Pass, scope: &Scope, with: &mut Compiler<'_>) -> Result<Target, Error> {
    if let Some(template) = &pass.template {
        return Ok(Target::Variable(template.clone(), Names::of(scope)));
    }
    let error = |what: String| match &pass.at {
        Some(at) => Error::emerg(what).at(at.clone()),
        None => Error::emerg(what),
    };
    let url = parse(&pass.url).map_err(error)?;
    let group = group(Server { host: url.host, port: url.port, default: Some(url.default_port()) }, with)
        .map_err(error)?;
    Ok(Target::Fixed(Fixed {
        number: group_number(&group),
        group,
        host: url.host_header().into_bytes().into(),
        port: url.port_text().into_bytes().into(),
        uri: url.uri.map(|uri| uri.as_bytes().into()),
        url: pass.url.as_str().into(),
        location: pass.location.clone(),
        https: url.https,
    }))
}

/// What a URL with variables came to for one request.
pub(super) struct Found {
    pub group: Arc<Group>,
    pub number: u32,
    pub uri: Option<Vec<u8>>,
    pub https: bool,
}

/// Fills in the variables of a URL; sets `$proxy_host` and `$proxy_port`.
///
/// # Errors
/// The status to answer with; the cause is logged.
pub(super) async fn find(
    template: &Template,
    names: &Names,
    request: &mut Request,
    minds_client: bool,
) -> Result<Found, u16> {
    let mut text = request.thread.buffer();
    template.render(request, &mut text);
    let url = String::from_utf8_lossy(&text).into_owned();
    request.thread.give_buffer(text);
    let parsed = match parse(&url) {
        Ok(parsed) => parsed,
        Err(what) if what == "invalid URL prefix" || url.ends_with("://") => {
            log_error!(request, "invalid URL prefix in \"{url}\"");
            return Err(500);
        }
        Err(what) => {
            log_error!(request, "{what}");
            return Err(500);
        }
    };
    request.upstream.host.extend_from_slice(parsed.host_header().as_bytes());
    request.upstream.port.extend_from_slice(parsed.port_text().as_bytes());
    let uri = parsed.uri.map(|uri| uri.as_bytes().to_vec());
    let default = Some(parsed.default_port());
    let group = find_group(request, names, parsed.host, parsed.port, default, minds_client).await?;
    request.upstream.set_scheme(parsed.scheme());
    Ok(Found { number: group_number(&group), group, uri, https: parsed.https })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| {
            let p = parse(url).unwrap();
            (p.host, p.port, p.uri)
        };
        assert_eq!(parts("http://a"), ("a", None, None));
        assert_eq!(parts("http://a:81/"), ("a", Some(81), Some("/")));
        assert_eq!(parts("HTTP://a/b?c"), ("a", None, Some("/b?c")));
        assert_eq!(parts("http://[::1]:8080/x"), ("[::1]", Some(8080), Some("/x")));
        assert_eq!(parts("http://unix:/tmp/s:/x"), ("unix:/tmp/s", None, Some("/x")));
        assert_eq!(parts("http://unix:/tmp/s"), ("unix:/tmp/s", None, None));
        for bad in ["a", "http:/a", "https://", "http://", "http://:80", "http://a:b", "http://unix:"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_port_is_not_shown() {
        let host = |url| parse(url).unwrap().host_header();
        assert_eq!(host("http://a:80/"), "a");
        assert_eq!(host("http://a:81/"), "a:81");
        assert_eq!(host("http://unix:/tmp/s"), "localhost");
    }
}
