//! Whether an upstream server is whom it says it is (`.._ssl_verify`).

use std::io;
use std::sync::Arc;

use conf::{Error, Scope};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::SslWritten;
use crate::http::relay::failure::Failure;
use crate::log::openssl::Words;
use crate::modules::ssl::certificates;
use crate::modules::ssl::trust::{Fault, Trust, lists};
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
    let Some(path) = written.trusted_certificate.written() else {
        let what = format!("no {prefix}_ssl_trusted_certificate for {prefix}_ssl_verify");
        return Err(Error::emerg(what).at(at.at.clone()));
    };
    let trusted = certificates::chain(path, with)?;
    let crl = written.crl.written();
    let lists = crl.map(|path| lists(path, with)).transpose().map_err(|e| e.at(at.at.clone()))?;
    let algorithms = provider.signature_verification_algorithms;
    let depth = written.verify_depth.or(1);
    let trust = Trust::new(trusted, lists.unwrap_or_default(), depth, algorithms);
    Ok(Verifier { schemes, strict: Some(Strict { trust, algorithms }) })
}

/// Whom a server's certificate has to be from: nobody in particular, unless it is to be verified.
#[derive(Debug)]
pub(super) struct Verifier {
    schemes: Vec<SignatureScheme>,
    strict: Option<Strict>,
}

#[derive(Debug)]
struct Strict {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.strict else { return Ok(ServerCertVerified::assertion()) };
        let judged = strict.trust.judge(leaf, others, now, KeyUsage::server_auth());
        judged.map_err(|Fault(number, words)| rustls::Error::General(format!("{number}:{words}")))?;
        let constrained =
            |der: &CertificateDer<'_>| x509::Certificate::read(der).is_none_or(|it| it.constrains_names());
        let by_subject = || !others.iter().chain(strict.trust.certificates()).any(constrained);
        match is_named(leaf, name) || by_subject() && is_commonly_named(leaf, name) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.strict {
            Some(Strict { algorithms, .. }) => {
                rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
            }
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
            Some(Strict { algorithms, .. }) => {
                rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
            }
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Whether one of a certificate's alternative names is this server's.
fn is_named(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    EndEntityCert::try_from(leaf).is_ok_and(|it| it.verify_is_valid_for_subject_name(name).is_ok())
}

/// Whether a certificate without alternative names is for this server by its subject. Nothing but the constraints of those
/// who signed it would keep that from being anybody's: who calls sees to those.
fn is_commonly_named(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else { return false };
    x509::Certificate::read(leaf).is_some_and(|it| it.is_commonly_named(host.as_ref()))
}

/// A handshake that failed, in nginx's words.
pub(super) fn failure(error: io::Error, name: &str) -> Failure {
    if error.kind() == io::ErrorKind::TimedOut {
        return Failure::TlsTimeout;
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Failure::Tls("peer closed connection in SSL handshake".into());
    }
    Failure::Tls(match error.downcast::<rustls::Error>() {
        Err(error) => format!("peer closed connection in SSL handshake ({})", crate::log::Errno(&error)),
        // What [`Verifier`] says.
        Ok(rustls::Error::General(what)) => format!("upstream SSL certificate verify error: ({what})"),
        Ok(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)) => {
            format!("upstream SSL certificate does not match \"{name}\"")
        }
        Ok(other) => format!("SSL_do_handshake() failed (SSL: {})", Words(&other)),
    })
}
