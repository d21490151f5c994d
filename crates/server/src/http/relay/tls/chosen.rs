//! The certificate that is shown to upstream servers (`.._ssl_certificate`).

use std::sync::Arc;

use conf::{Error, Scope};
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::SslWritten;
use crate::http::request::Request;
use crate::modules::ssl::certificates;
use crate::modules::ssl::choice::Choice;
use crate::modules::ssl::dynamic::{Recent, path_of};
use crate::modules::ssl::written::{Keep, Named};
use crate::worker::generation::Compiler;

/// What a block shows its servers.
pub(super) enum Shown {
    /// No certificate.
    Nothing,
    /// The same to all.
    Always(Arc<dyn ResolvesClientCert>),
    /// What variables say.
    Chosen(Box<Chosen>),
}

/// A certificate that is read when a request comes, and kept for a while (`.._ssl_certificate_cache`).
pub(super) struct Chosen {
    certificate: Named,
    key: Named,
    passwords: Vec<String>,
    provider: CryptoProvider,
    kept: Recent<(String, String), Arc<ClientConfig>>,
}

/// What is in force in a block.
///
/// # Errors
/// In nginx's words: files that cannot be read or do not fit.
pub(super) fn compile(
    at: &Scope,
    written: &SslWritten,
    prefix: &str,
    choice: &Choice,
    with: &mut Compiler<'_>,
) -> Result<Shown, Error> {
    let here = |what: String| Error::emerg(what).at(at.at.clone());
    let passwords = match written.password_file.written() {
        Some(file) => certificates::passwords_in(file, with)?,
        None => Vec::new(),
    };
    let provider = choice.provider();
    let load = |certificate: &str, key: &str| {
        let reads: certificates::Reads<'_> = &|path| with.inputs.read(path.as_ref());
        let pair = certificates::pair(certificate, key, &passwords, &provider, reads)?;
        Ok::<_, Error>(Shown::Always(Arc::new(SingleCertAndKey::from(pair))))
    };
    if let (Some(certificate), Some(key)) = (&choice.certificate, &choice.key) {
        return load(certificate, key);
    }
    let Some(certificate) = written.certificate.written().filter(|file| !file.written.is_empty()) else {
        return Ok(Shown::Nothing);
    };
    let Some(key) = written.certificate_key.written() else {
        let name = &certificate.path;
        let what = format!("no \"{prefix}_ssl_certificate_key\" is defined for certificate \"{name}\"");
        return Err(here(what));
    };
    if certificate.template.is_none() && key.template.is_none() {
        return load(&certificate.path, &key.path);
    }
    Ok(Shown::Chosen(Box::new(Chosen {
        certificate: certificate.clone(),
        key: key.clone(),
        provider,
        kept: Recent::new(written.certificate_cache.or(Keep::default())),
        passwords,
    })))
}

impl Chosen {
    /// `base` with the certificate for this request; an empty name is none. `None`: it cannot be had, which is logged.
    pub(super) fn load(&self, request: &mut Request, base: &Arc<ClientConfig>) -> Option<Arc<ClientConfig>> {
        let names = (path_of(&self.certificate, request), path_of(&self.key, request));
        if names.0.is_empty() {
            return Some(base.clone());
        }
        let now = request.thread.handle.now();
        if let Some(config) = self.kept.find(&names, now) {
            return Some(config);
        }
        let reads = |path: &str| std::fs::read(path).map(Into::into);
        let pair: Result<CertifiedKey, Error> =
            certificates::pair(&names.0, &names.1, &self.passwords, &self.provider, &reads);
        match pair {
            Ok(pair) => {
                let mut config = ClientConfig::clone(base);
                config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
                let config = Arc::new(config);
                self.kept.store(names, config.clone(), now);
                Some(config)
            }
            Err(error) => {
                log_error!(request, "{error} while SSL handshaking to upstream");
                None
            }
        }
    }
}
