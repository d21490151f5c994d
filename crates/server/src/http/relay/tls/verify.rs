//! Whether an upstream server is whom it says it is (`.._ssl_verify`).

use std::io;
use std::sync::Arc;

use conf::{Error, Scope};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::SslWritten;
use crate::http::relay::failure::Failure;
use crate::modules::ssl::certificates;
use crate::modules::ssl::clients::{Fault, lists, unknown_signer};
use crate::worker::generation::Compiler;

/// What a block asks of its servers.
pub(super) fn verifier(
    at: &Scope,
    written: &SslWritten,
    prefix: &str,
    provider: &Arc<rustls::crypto::CryptoProvider>,
    with: &Compiler<'_>,
) -> Result<Verifier, Error> {
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    if !written.verify.or(false) {
        return Ok(Verifier { schemes, strict: None });
    }
    let here = |what: String| Error::emerg(what).at(at.at.clone());
    let Some(path) = written.trusted_certificate.written() else {
        return Err(here(format!("no {prefix}_ssl_trusted_certificate for {prefix}_ssl_verify")));
    };
    let trusted = certificates::chain(path, with)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let lists = match written.crl.written() {
        Some(path) => lists(path, with, |list, _| list).map_err(|e| e.at(at.at.clone()))?,
        None => Vec::new(),
    };
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(lists)
        .build()
        .map_err(|e| here(format!("cannot load certificate \"{path}\" (SSL: {e})")))?;
    let strict = Strict { inner, trusted, depth: written.verify_depth.or(1) };
    Ok(Verifier { schemes, strict: Some(strict) })
}

/// Whom a server's certificate has to be from: nobody in particular, unless it is to be verified.
#[derive(Debug)]
pub(super) struct Verifier {
    schemes: Vec<SignatureScheme>,
    strict: Option<Strict>,
}

#[derive(Debug)]
struct Strict {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    depth: usize,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.strict else { return Ok(ServerCertVerified::assertion()) };
        let between = others.iter().filter(|der| !strict.trusted.contains(der)).count();
        if between > strict.depth {
            return Err(rustls::Error::General(TOO_LONG.into()));
        }
        strict.inner.verify_server_cert(leaf, others, name, ocsp, now).map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let Fault(number, words) = unknown_signer(leaf, others);
                rustls::Error::General(format!("{number}:{words}"))
            }
            error => error,
        })
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.strict {
            Some(strict) => strict.inner.verify_tls12_signature(message, certificate, signed),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.strict {
            Some(strict) => strict.inner.verify_tls13_signature(message, certificate, signed),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// What a chain longer than `.._ssl_verify_depth` is called: OpenSSL's number and words.
const TOO_LONG: &str = "22:certificate chain too long";

/// A handshake that failed, in nginx's words.
pub(super) fn failure(error: io::Error, name: &str) -> Failure {
    if error.kind() == io::ErrorKind::TimedOut {
        return Failure::TlsTimeout;
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Failure::Tls("peer closed connection in SSL handshake".into());
    }
    let error = match error.downcast::<rustls::Error>() {
        Ok(error) => error,
        Err(error) => {
            let what = format!("SSL_do_handshake() failed ({})", crate::log::Errno(&error));
            return Failure::Tls(what);
        }
    };
    let verify =
        |number: i32, words: &str| format!("upstream SSL certificate verify error: ({number}:{words})");
    use CertificateError as C;
    Failure::Tls(match &error {
        rustls::Error::General(what) if what.starts_with(|first: char| first.is_ascii_digit()) => {
            format!("upstream SSL certificate verify error: ({what})")
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            format!("upstream SSL certificate does not match \"{name}\"")
        }
        rustls::Error::InvalidCertificate(bad) => match bad {
            C::Expired | C::ExpiredContext { .. } => verify(10, "certificate has expired"),
            C::NotValidYet | C::NotValidYetContext { .. } => verify(9, "certificate is not yet valid"),
            C::Revoked => verify(23, "certificate revoked"),
            C::UnknownRevocationStatus => verify(3, "unable to get certificate CRL"),
            other => verify(1, &format!("{other}")),
        },
        other => format!("SSL_do_handshake() failed (SSL: {other})"),
    })
}
