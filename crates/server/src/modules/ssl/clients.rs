//! Clients that show certificates (`ssl_verify_client`).
//!
//! As with nginx, a bad certificate does not end the handshake: it is judged afterwards, and answered with 495.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conf::{Error, Scope};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, ExtendedKeyUsageValidator, KeyUsage,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::certificates;
use super::ocsp::Responder;
use super::ocsp::client::{Check, Which};
use super::written::{Conf, Verify};
use crate::http::request::Request;
use crate::worker::generation::Compiler;

/// Whom a server trusts, and what it asks of its clients.
pub struct Clients {
    /// What is asked.
    pub verify: Verify,
    depth: usize,
    trusted: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    /// The signers that clients are told of.
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether responders are asked (`ssl_ocsp`), and how.
    ocsp: Option<Check>,
    /// The files all this is from: servers with the same judge alike.
    files: [Option<String>; 3],
}

/// What is wrong with a certificate: OpenSSL's number and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub i32, pub &'static str);

const NOT_YET: Fault = Fault(9, "certificate is not yet valid");
const EXPIRED: Fault = Fault(10, "certificate has expired");
const NO_LIST: Fault = Fault(3, "unable to get certificate CRL");
const OLD_LIST: Fault = Fault(12, "CRL has expired");
const BAD_SIGNATURE: Fault = Fault(7, "certificate signature failure");
const SELF_SIGNED: Fault = Fault(18, "self-signed certificate");
const SELF_SIGNED_ROOT: Fault = Fault(19, "self-signed certificate in certificate chain");
const NO_ISSUER: Fault = Fault(20, "unable to get local issuer certificate");
const ALONE: Fault = Fault(21, "unable to verify the first certificate");
const TOO_LONG: Fault = Fault(22, "certificate chain too long");
const REVOKED: Fault = Fault(23, "certificate revoked");
const PURPOSE: Fault = Fault(26, "unsuitable certificate purpose");
const UNSPECIFIED: Fault = Fault(1, "unspecified certificate verification error");

impl Fault {
    /// Whether it is only that nobody trusted signed it (`optional_no_ca`).
    fn is_of_signer(self) -> bool {
        [SELF_SIGNED, SELF_SIGNED_ROOT, NO_ISSUER, ALONE].contains(&self)
    }
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
        conf.crl.written().map(|file| lists(&file.path, with, |_, _| ())).transpose()?;
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
    let anchor = |der: &CertificateDer<'static>| {
        webpki::anchor_from_trusted_cert(der).ok().map(|anchor| anchor.to_owned())
    };
    let anchors: Vec<_> = all.iter().filter_map(anchor).collect();
    let subject = |anchor: &TrustAnchor<'_>| DistinguishedName::in_sequence(&anchor.subject);
    let subjects = all[..named].iter().filter_map(anchor).map(|anchor| subject(&anchor)).collect();
    let crl = conf.crl.written();
    let lists =
        crl.map(|file| lists(&file.path, with, |_, list| list.into())).transpose()?.unwrap_or_default();
    let path = |file: Option<&super::written::Named>| file.map(|file| file.path.clone());
    Ok(Some(Arc::new(Clients {
        verify,
        depth: conf.verify_depth.or(1) as usize,
        trusted: all,
        anchors,
        lists,
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

/// The lists of revoked certificates in a file: of each what is kept of it, as written and as read.
///
/// # Errors
/// In nginx's words when there is none, or one that is not understood.
pub fn lists<T>(
    path: &str,
    with: &Compiler<'_>,
    keep: impl Fn(CertificateRevocationListDer<'static>, OwnedCertRevocationList) -> T,
) -> Result<Vec<T>, Error> {
    let pem = certificates::read("CRL", path, with)?;
    let failed = |why: &str| {
        Error::emerg(format!("cannot load CRL \"{path}\": PEM_read_bio_X509_CRL() failed (SSL: {why})"))
    };
    let list = |der: Result<CertificateRevocationListDer<'static>, _>| {
        let der = der.map_err(|_| failed("no start line"))?;
        let list = OwnedCertRevocationList::from_der(&der).map_err(|e| failed(&e.to_string()))?;
        Ok::<T, Error>(keep(der, list))
    };
    let lists: Vec<T> =
        CertificateRevocationListDer::pem_slice_iter(&pem).map(list).collect::<Result<_, _>>()?;
    if lists.is_empty() { Err(failed("no start line")) } else { Ok(lists) }
}

impl Clients {
    /// Judges what a client showed: its certificate first, then those that signed it.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<Shown> {
        let (leaf, others) = chain.split_first()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let fault = self.fault(leaf, others, UnixTime::since_unix_epoch(now)).err();
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
        let all: Vec<CertificateDer<'static>> =
            shown.iter().map(|der| der.clone().into_owned()).chain(self.trusted.iter().cloned()).collect();
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
        self.files == other.files && self.depth == other.depth
    }
    fn fault(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Fault> {
        if self.trusted.iter().any(|trusted| trusted.as_ref() == leaf.as_ref()) {
            return in_time(leaf, now);
        }
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| UNSPECIFIED)?;
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        // OpenSSL is as strict where it has lists: each certificate must be covered by one that is not over.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let others: Vec<_> = others.to_vec();
        let usage: &dyn ExtendedKeyUsageValidator = &KeyUsage::client_auth();
        let path = certificate.verify_for_usage(
            self.algorithms.all,
            &self.anchors,
            &others,
            now,
            Usage(usage),
            revocation,
            None,
        );
        match path {
            Ok(path) if path.intermediate_certificates().count() > self.depth => Err(TOO_LONG),
            Ok(_) => Ok(()),
            Err(error) => Err(fault_of(&error, leaf, &others)),
        }
    }
}

/// A usage behind a reference.
struct Usage<'a>(&'a dyn ExtendedKeyUsageValidator);
impl ExtendedKeyUsageValidator for Usage<'_> {
    fn validate(&self, iter: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        self.0.validate(iter)
    }
}

/// The times of a certificate that is trusted by itself.
fn in_time(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Fault> {
    let certificate = x509::Certificate::read(leaf).ok_or(UNSPECIFIED)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match () {
        () if now < certificate.not_before.unix() => Err(NOT_YET),
        () if now > certificate.not_after.unix() => Err(EXPIRED),
        () => Ok(()),
    }
}

fn fault_of(error: &webpki::Error, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Fault {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } | E::InvalidCertValidity => EXPIRED,
        E::CertNotValidYet { .. } => NOT_YET,
        E::CertRevoked => REVOKED,
        E::UnknownRevocationStatus => NO_LIST,
        E::CrlExpired { .. } => OLD_LIST,
        E::MaximumPathDepthExceeded => TOO_LONG,
        E::InvalidSignatureForPublicKey => BAD_SIGNATURE,
        E::RequiredEkuNotFoundContext(_) => PURPOSE,
        E::UnknownIssuer | E::CaUsedAsEndEntity => unknown_signer(leaf, others),
        _ => UNSPECIFIED,
    }
}

/// OpenSSL tells apart how nobody is known to have signed a certificate.
pub fn unknown_signer(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Fault {
    let signs_itself = |der: &CertificateDer<'_>| {
        let certificate = x509::Certificate::read(der);
        certificate.is_some_and(|certificate| certificate.issuer == certificate.subject)
    };
    match others {
        _ if signs_itself(leaf) => SELF_SIGNED,
        _ if others.iter().any(signs_itself) => SELF_SIGNED_ROOT,
        [] => ALONE,
        _ => NO_ISSUER,
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
