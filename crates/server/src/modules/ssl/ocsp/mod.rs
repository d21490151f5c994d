//! OCSP: what responders say of certificates, our own (`ssl_stapling`) and those of clients (`ssl_ocsp`).
//!
//! Nobody waits for an answer about our own: it is fetched beside, kept while it is valid, and handshakes until then have
//! none. A client waits for the answer about its certificate before its first request is served.

mod ask;
pub mod client;
pub mod staple;
mod verify;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use conf::Error;
use x509::ocsp::{CertId, Subject};

use crate::upstream::{Peer, resolve, split};
use crate::worker::generation::Compiler;

/// The number by which responders know a certificate.
fn id_of(certificate: &[u8], issuer: &[u8]) -> Option<CertId> {
    let hash = |bytes: &[u8]| <[u8; 20]>::try_from(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref()).ok();
    let subject = Subject::of(certificate, issuer)?;
    Some(CertId { name: hash(subject.issuer)?, key: hash(subject.key)?, serial: subject.serial.into() })
}

/// Who is asked, by its URL.
#[derive(Clone)]
pub struct Responder {
    /// The host as written.
    pub host: String,
    uri: String,
    peers: Vec<Peer>,
}

/// A URL taken apart: host, port, path. The error has nginx's words.
fn parse(url: &str) -> Result<(&str, Option<u16>, &str), &'static str> {
    const PREFIX: &str = "http://";
    let rest = url.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
    let rest = rest.map(|_| &url[PREFIX.len()..]).ok_or("invalid URL prefix")?;
    let (server, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split(server)?;
    Ok((host, port, if uri.is_empty() { "/" } else { uri }))
}

impl Responder {
    /// The responder of a URL, found when the configuration is read.
    ///
    /// # Errors
    /// What is wrong with it, in nginx's words.
    pub fn find(url: &str, with: &Compiler<'_>) -> Result<Responder, String> {
        let (host, port, uri) = parse(url)?;
        let port = port.unwrap_or(80);
        let addresses = resolve(with.inputs, &format!("{host}:{port}"), port)?;
        let peers = addresses.into_iter().map(|address| Peer::new(address, host, 0)).collect();
        Ok(Responder { host: host.into(), uri: uri.into(), peers })
    }
    /// A responder that `ssl_ocsp_responder` names.
    ///
    /// # Errors
    /// An `[emerg]` in nginx's words.
    pub fn named(url: &str, with: &Compiler<'_>) -> Result<Responder, Error> {
        Responder::find(url, with).map_err(|what| {
            let url = if what == "invalid URL prefix" { url } else { &url["http://".len()..] };
            Error::emerg(format!("{what} in OCSP responder \"{url}\" in \"ssl_ocsp_responder\""))
        })
    }
}
