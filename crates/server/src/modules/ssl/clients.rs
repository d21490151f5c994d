//! Clients that show certificates (`ssl_verify_client`).
//!
//! As with nginx, a bad certificate does not end the handshake: it is judged afterwards, and answered with 495.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conf::{Error, Scope};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::KeyUsage;

use super::certificates;
use super::ocsp::Responder;
use super::ocsp::client::{Check, Which};
use super::trust::{Fault, Trust, lists};
use super::written::{Conf, Verify};
use crate::http::request::Request;
use crate::worker::generation::Compiler;

/// Whom a server trusts, and what it asks of its clients.
pub struct Clients {
    /// What is asked.
    pub verify: Verify,
    trust: Trust,
    /// The signers that clients are told of.
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether responders are asked (`ssl_ocsp`), and how.
    ocsp: Option<Check>,
    /// The files all this is from: servers with the same judge alike.
    files: [Option<String>; 3],
}

/// What a client showed.
pub struct Shown {
    /// Its certificate.
    pub der: Vec<u8>,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// What is configured in a server; `None` where clients are not asked.
pub fn compile(
    at: &Scope,
    conf: &Conf,
    algorithms: WebPkiSupportedAlgorithms,
    with: &Compiler<'_>,
) -> Result<Option<Arc<Clients>>, Error> {
    let verify = conf.verify_client.or(Verify::Off);
    let (client, trusted) = (conf.client_certificate.written(), conf.trusted_certificate.written());
    if verify == Verify::Off {
        // As in nginx they have to be there all the same.
        trusted.map(|file| certificates::chain(&file.path, with)).transpose()?;
        conf.crl.written().map(|file| lists(&file.path, with)).transpose()?;
        return Ok(None);
    }
    if verify != Verify::OptionalNoCa && client.is_none() && trusted.is_none() {
        let message = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
        return Err(Error::emerg(message).at(at.at.clone()));
    }
    let read = |file: &super::written::Named| certificates::chain(&file.path, with);
    let mut all = client.map(read).transpose()?.unwrap_or_default();
    let named = all.len();
    all.extend(trusted.map(read).transpose()?.unwrap_or_default());
    let subject = |der| {
        let anchor = webpki::anchor_from_trusted_cert(der).ok()?;
        Some(DistinguishedName::in_sequence(&anchor.subject))
    };
    let subjects = all[..named].iter().filter_map(subject).collect();
    let crl = conf.crl.written();
    let lists = crl.map(|file| lists(&file.path, with)).transpose()?.unwrap_or_default();
    let path = |file: Option<&super::written::Named>| file.map(|file| file.path.clone());
    Ok(Some(Arc::new(Clients {
        verify,
        trust: Trust::new(all, lists, conf.verify_depth.or(1) as usize, algorithms),
        subjects,
        algorithms,
        ocsp: check(at, conf, algorithms, with)?,
        files: [path(client), path(trusted), path(crl)],
    })))
}

/// `ssl_ocsp`
fn check(
    at: &Scope,
    conf: &Conf,
    algorithms: WebPkiSupportedAlgorithms,
    with: &Compiler<'_>,
) -> Result<Option<Check>, Error> {
    let which = conf.ocsp.or(Which::Off);
    if which == Which::Off {
        return Ok(None);
    }
    let here = |error: Error| error.at(at.at.clone());
    if conf.verify_client.written() == Some(&Verify::OptionalNoCa) {
        let what = "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"";
        return Err(here(Error::emerg(what)));
    }
    let url = conf.ocsp_responder.written().filter(|url| !url.is_empty());
    let responder = url.map(|url| Responder::named(url, with)).transpose().map_err(here)?;
    let cache = conf.ocsp_cache.written().and_then(Option::as_ref);
    Check::new(at, which, responder, cache, algorithms).map(Some)
}

impl Clients {
    /// Judges what a client showed: its certificate first, then those that signed it.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<Shown> {
        let (leaf, others) = chain.split_first()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let fault =
            self.trust.judge(leaf, others, UnixTime::since_unix_epoch(now), KeyUsage::client_auth()).err();
        Some(Shown { der: leaf.to_vec(), fault })
    }
    /// Whether responders are asked.
    pub fn asks(&self) -> bool {
        self.ocsp.is_some()
    }
    /// What responders say against a client's certificate, which is the first.
    pub async fn ask(
        &self,
        request: &mut Request,
        chain: &[CertificateDer<'static>],
    ) -> Option<&'static str> {
        self.ocsp.as_ref()?.judge(request, chain).await
    }
    /// A client's certificate, and each time who signed the one before, up to who signs itself.
    pub fn chain(&self, shown: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
        let all: Vec<CertificateDer<'static>> = shown
            .iter()
            .map(|der| der.clone().into_owned())
            .chain(self.trust.certificates().iter().cloned())
            .collect();
        let mut chain: Vec<_> = all.first().cloned().into_iter().collect();
        while let Some(last) = chain.last().and_then(|der| x509::Certificate::read(der)) {
            let signs = |der: &&CertificateDer<'static>| {
                let signer = x509::Certificate::read(der);
                signer.is_some_and(|signer| signer.subject == last.issuer)
            };
            let next =
                all.iter().find(signs).filter(|_| last.issuer != last.subject && chain.len() <= all.len());
            match next.cloned() {
                Some(next) => chain.push(next),
                None => break,
            }
        }
        chain
    }
    /// Whether both judge alike, so that a handshake with one will do for the other.
    fn same(&self, other: &Clients) -> bool {
        self.files == other.files && self.trust.depth == other.trust.depth
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.files)
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Judged when a request comes: see `refusal`.
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        super::offered::note_client(signed.scheme);
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        super::offered::note_client(signed.scheme);
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The status that a request is refused with for the certificate its client showed, or did not show.
pub fn refusal(request: &mut Request) -> Option<u16> {
    let clients = request.generation.shared.server(request.server).tls.as_ref()?.clients.clone()?;
    let agreed = request.client.agreed()?;
    if !agreed.clients.as_ref().is_some_and(|judge| judge.same(&clients)) {
        log_info!(
            request,
            "client attempted to request the server name different from the one that was negotiated"
        );
        return Some(421);
    }
    match &agreed.shown {
        Some(Shown { fault: Some(fault), .. })
            if clients.verify != Verify::OptionalNoCa || !fault.is_of_signer() =>
        {
            let Fault(number, words) = fault;
            log_info!(request, "client SSL certificate verify error: ({number}:{words})");
            Some(495)
        }
        _ if agreed.ocsp.is_some() => {
            log_info!(
                request,
                "client SSL certificate verify error: {} while reading client request headers",
                agreed.ocsp.unwrap_or_default()
            );
            Some(495)
        }
        None if clients.verify == Verify::On => {
            log_info!(request, "client sent no required SSL certificate");
            Some(496)
        }
        _ => None,
    }
}
