//! Who is believed to be whom: certificates judged by those that are trusted, with what is wrong in OpenSSL's words.

use conf::Error;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::certificates;
use crate::worker::generation::Compiler;

/// What is wrong with a certificate: OpenSSL's number and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub i32, pub &'static str);

const NO_ISSUER_OF_TRUSTED: Fault = Fault(2, "unable to get issuer certificate");
const NO_LIST: Fault = Fault(3, "unable to get certificate CRL");
const BAD_SIGNATURE: Fault = Fault(7, "certificate signature failure");
const NOT_YET: Fault = Fault(9, "certificate is not yet valid");
const EXPIRED: Fault = Fault(10, "certificate has expired");
const OLD_LIST: Fault = Fault(12, "CRL has expired");
const SELF_SIGNED: Fault = Fault(18, "self-signed certificate");
const SELF_SIGNED_ROOT: Fault = Fault(19, "self-signed certificate in certificate chain");
/// nginx lets OpenSSL go on behind "certificate chain too long", and logs what it says last: this.
const NO_ISSUER: Fault = Fault(20, "unable to get local issuer certificate");
const ALONE: Fault = Fault(21, "unable to verify the first certificate");
const REVOKED: Fault = Fault(23, "certificate revoked");
const PURPOSE: Fault = Fault(26, "unsuitable certificate purpose");
const UNSPECIFIED: Fault = Fault(1, "unspecified certificate verification error");
/// OpenSSL takes these; there is no more to be had of them here.
const VERSION: Fault = Fault(1, "certificates before version 3 are not supported");

impl Fault {
    /// Whether it is only that nobody trusted signed it (`optional_no_ca`).
    pub fn is_of_signer(self) -> bool {
        [NO_ISSUER_OF_TRUSTED, SELF_SIGNED, SELF_SIGNED_ROOT, NO_ISSUER, ALONE].contains(&self)
    }
}

/// Certificates that are trusted, and how far.
pub struct Trust {
    all: Vec<CertificateDer<'static>>,
    /// Those of them that sign themselves: where a chain may end, for OpenSSL.
    anchors: Vec<TrustAnchor<'static>>,
    lists: Vec<CertRevocationList<'static>>,
    /// So many certificates may stand between one and its anchor.
    pub depth: usize,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trusts these, but for what the lists say was revoked.
    pub fn new(
        all: Vec<CertificateDer<'static>>,
        lists: Vec<CertRevocationList<'static>>,
        depth: usize,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Trust {
        let anchor = |der| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned());
        let anchors = all.iter().filter(|der| signs_itself(der)).filter_map(anchor).collect();
        Trust { all, anchors, lists, depth, algorithms }
    }
    /// All that are trusted.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.all
    }
    /// Judges a certificate by those that came with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Fault> {
        if signs_itself(leaf) && self.all.iter().any(|trusted| trusted.as_ref() == leaf.as_ref()) {
            return in_time(leaf, now);
        }
        let failed = |error| self.fault(&error, leaf, others);
        let certificate = EndEntityCert::try_from(leaf).map_err(failed)?;
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        // OpenSSL is as strict where it has lists: each certificate must be covered by one that is not over.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let between: Vec<_> = others.iter().chain(&self.all).map(|der| der.as_ref().into()).collect();
        let algorithms = self.algorithms.all;
        let path =
            certificate.verify_for_usage(algorithms, &self.anchors, &between, now, usage, revocation, None);
        match path.map_err(failed)?.intermediate_certificates().count() > self.depth {
            true => Err(NO_ISSUER),
            false => Ok(()),
        }
    }
    fn fault(
        &self,
        error: &webpki::Error,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Fault {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } | E::InvalidCertValidity => EXPIRED,
            E::CertNotValidYet { .. } => NOT_YET,
            E::CertRevoked => REVOKED,
            E::UnknownRevocationStatus => NO_LIST,
            E::CrlExpired { .. } => OLD_LIST,
            E::InvalidSignatureForPublicKey => BAD_SIGNATURE,
            E::CaUsedAsEndEntity if signs_itself(leaf) => SELF_SIGNED,
            E::RequiredEkuNotFoundContext(_) | E::CaUsedAsEndEntity | E::EndEntityUsedAsCa => PURPOSE,
            E::UnsupportedCertVersion if signs_itself(leaf) => SELF_SIGNED,
            E::UnsupportedCertVersion => VERSION,
            E::MaximumPathDepthExceeded => NO_ISSUER,
            E::UnknownIssuer => self.unknown_signer(leaf, others),
            _ => UNSPECIFIED,
        }
    }
    /// OpenSSL tells apart how nobody is known to have signed a certificate.
    fn unknown_signer(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Fault {
        let signed = |from: &CertificateDer<'_>| self.all.iter().any(|signer| signs(signer, from));
        match others {
            _ if signs_itself(leaf) => SELF_SIGNED,
            _ if signed(leaf) || others.iter().any(signed) => NO_ISSUER_OF_TRUSTED,
            _ if others.iter().any(signs_itself) => SELF_SIGNED_ROOT,
            _ if others.iter().any(|other| signs(other, leaf)) => NO_ISSUER,
            _ => ALONE,
        }
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} certificates, depth {}", self.all.len(), self.depth)
    }
}

/// Whether one names the other as who signed it.
fn signs(signer: &CertificateDer<'_>, signed: &CertificateDer<'_>) -> bool {
    let (signer, signed) = (x509::Certificate::read(signer), x509::Certificate::read(signed));
    matches!((signer, signed), (Some(signer), Some(signed)) if signer.subject == signed.issuer)
}
fn signs_itself(der: &CertificateDer<'_>) -> bool {
    signs(der, der)
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

/// The lists of revoked certificates in a file.
///
/// # Errors
/// In nginx's words when there is none, or one that is not understood.
pub fn lists(path: &str, with: &Compiler<'_>) -> Result<Vec<CertRevocationList<'static>>, Error> {
    let pem = certificates::read("CRL", path, with)?;
    let failed = |why: &str| {
        Error::emerg(format!("cannot load CRL \"{path}\": PEM_read_bio_X509_CRL() failed (SSL: {why})"))
    };
    let list = |der: Result<CertificateRevocationListDer<'static>, _>| {
        let der = der.map_err(|_| failed("no start line"))?;
        let list = OwnedCertRevocationList::from_der(&der).map_err(|e| failed(&e.to_string()))?;
        Ok::<_, Error>(list.into())
    };
    let lists: Vec<_> =
        CertificateRevocationListDer::pem_slice_iter(&pem).map(list).collect::<Result<_, _>>()?;
    if lists.is_empty() { Err(failed("no start line")) } else { Ok(lists) }
}
