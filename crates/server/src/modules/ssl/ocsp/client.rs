//! `ssl_ocsp`: what responders say of the certificates of clients.

use std::collections::HashMap;
use std::sync::Arc;

use conf::{Args, Error, Scope};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use x509::Certificate;
use x509::ocsp::{CertId, Status};

use super::ask::{Question, ask, note};
use super::{Responder, id_of, parse};
use crate::http::request::Request;
use crate::resolver::Names;
use crate::upstream;
use crate::worker::zones::{self, Zone};

/// What an answer takes in a zone, more or less.
const ENTRY: u64 = 256;
/// Eight pages: the least nginx accepts for a zone.
const SMALLEST_ZONE: u64 = 8 * 4096;

/// `ssl_ocsp`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Nobody is asked.
    Off,
    /// Of all certificates but the last signer's.
    All,
    /// Of the client's own.
    Leaf,
}

/// Answers that are still valid: what they say, and until when.
type Known = HashMap<CertId, (Status, i64)>;

/// `ssl_ocsp_cache`
#[derive(Clone)]
pub struct Cache(String, u64);

/// Reads `ssl_ocsp_cache`; `None` is `off`.
///
/// # Errors
/// In nginx's words.
pub fn cache(at: &Scope, a: &Args<'_>) -> Result<Option<Cache>, Error> {
    let word = a.str(0);
    if word == "off" {
        return Ok(None);
    }
    let invalid = || a.error(format!("invalid OCSP cache \"{word}\""));
    let (name, size) =
        word.strip_prefix("shared:").and_then(|rest| rest.split_once(':')).ok_or_else(invalid)?;
    let size = conf::size(size.as_bytes()).filter(|_| !name.is_empty()).ok_or_else(invalid)?;
    if size < SMALLEST_ZONE {
        return Err(a.error(format!("OCSP cache \"{word}\" is too small")));
    }
    zones::declare(at, a, "ssl_ocsp_cache", name, size)?;
    Ok(Some(Cache(name.into(), size)))
}

/// How the certificates of clients are asked about.
pub struct Check {
    which: Which,
    /// `None`: the one that the certificate names.
    responder: Option<Responder>,
    cache: Option<Arc<Zone<Known>>>,
    most: usize,
    names: Names,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Check {
    /// What is configured.
    ///
    /// # Errors
    /// None that is not a mistake of this program.
    pub fn new(
        at: &Scope,
        which: Which,
        responder: Option<Responder>,
        cache: Option<&Cache>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Check, Error> {
        let most = cache.map_or(0, |cache| (cache.1 / ENTRY) as usize);
        let zone = |cache: &Cache| zones::zone("ssl_ocsp_cache", &cache.0, "", cache.1, Known::new);
        let cache = cache.map(zone).transpose()?;
        Ok(Check { which, responder, cache, most, names: Names::of(at), algorithms })
    }
    /// What is wrong with a chain of certificates, each signed by the next.
    pub async fn judge(
        &self,
        request: &mut Request,
        chain: &[CertificateDer<'static>],
    ) -> Option<&'static str> {
        let most = if self.which == Which::Leaf { 1 } else { usize::MAX };
        for pair in chain.windows(2).take(most) {
            match self.one(request, &pair[0], &pair[1]).await {
                Some(Status::Good) => {}
                Some(Status::Revoked) => return Some("certificate revoked"),
                Some(Status::Unknown) => return Some("certificate status unknown"),
                None => return Some("certificate status request failed"),
            }
        }
        None
    }
    async fn one(
        &self,
        request: &mut Request,
        certificate: &CertificateDer<'static>,
        issuer: &CertificateDer<'static>,
    ) -> Option<Status> {
        let id = id_of(certificate, issuer)?;
        let now = i64::try_from(request.thread.handle.unix_time().as_secs()).unwrap_or(i64::MAX);
        let known = self.cache.as_ref().and_then(|zone| zone.lock().get(&id).copied());
        if let Some((status, _)) = known.filter(|(_, valid)| *valid >= now) {
            return Some(status);
        }
        let responder = match &self.responder {
            Some(responder) => responder.clone(),
            None => self.named(request, certificate).await?,
        };
        let question = Question { id: &id, issuer, name: "", verify: Some(self.algorithms) };
        let thread = request.thread.clone();
        let answer = ask(&thread, &responder, &question).await?;
        if let Some(zone) = &self.cache {
            let mut known = zone.lock();
            if known.len() >= self.most {
                known.retain(|_, (_, valid)| *valid >= now);
            }
            if known.len() < self.most {
                known.insert(id, (answer.status, answer.valid));
            }
        }
        Some(answer.status)
    }
    /// The responder that a certificate names.
    async fn named(&self, request: &mut Request, certificate: &CertificateDer<'_>) -> Option<Responder> {
        let url = Certificate::read(certificate).and_then(|certificate| certificate.ocsp_responder());
        let fail =
            |request: &Request, what: &str| note(&request.thread, what, url.unwrap_or_default(), "", "");
        let Some(url) = url else {
            fail(request, "no OCSP responder URL in certificate");
            return None;
        };
        match parse(url) {
            Ok((host, port, uri)) => {
                let group = upstream::find(request, &self.names, host, port, Some(80), false).await.ok()?;
                Some(Responder {
                    host: host.into(),
                    uri: uri.into(),
                    peers: group.peers().iter().map(|peer| (**peer).clone()).collect(),
                })
            }
            Err(what) => {
                fail(request, &format!("{what} in OCSP responder \"{url}\" in certificate"));
                None
            }
        }
    }
}
