//! Encrypted connections to servers: `.._ssl_verify` and its companions.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use conf::{Args, Error, Scope};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, IpAddr, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::failure::{During, Failure};
use super::settings::Settings;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::modules::settings;
use crate::modules::ssl::clients::{Fault, unknown_signer};
use crate::modules::ssl::{certificates, ciphers};
use crate::upstream::Link;
use crate::worker::generation::Compiler;

settings! {
    /// As written; each field is the directive of its name.
    #[allow(missing_docs)]
    pub struct SslWritten {
        verify: bool,
        verify_depth: usize,
        trusted_certificate: String,
        crl: String,
        certificate: String,
        certificate_key: String,
        password_file: String,
        name: Template,
        server_name: bool,
        session_reuse: bool,
        protocols: (bool, bool),
        ciphers: String,
    }
}

/// A module's `.._ssl_*` directives: `$prefix` is what their names begin with, `$own` a structure around [`SslWritten`].
macro_rules! ssl_directives {
    ($prefix:literal, $own:ident) => {{
        use conf::{IN_HTTP, at_least, directive, exactly, flag};
        use $crate::http::relay::tls::{file, protocols};
        &[
            directive(concat!($prefix, "_ssl_verify"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.verify.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_server_name"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.server_name.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_session_reuse"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.session_reuse.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_verify_depth"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.verify_depth.set(a.number(0)?)
            }),
            directive(concat!($prefix, "_ssl_ciphers"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.ciphers.set(a.str(0).into())
            }),
            directive(concat!($prefix, "_ssl_protocols"), IN_HTTP, at_least(1), |at, a| {
                let offered = protocols(at, a)?;
                let so_far = at.own::<$own>().0.protocols.written().copied().unwrap_or_default();
                at.own::<$own>().0.protocols.put((so_far.0 | offered.0, so_far.1 | offered.1));
                Ok(())
            }),
            directive(concat!($prefix, "_ssl_name"), IN_HTTP, exactly(1), |at, a| {
                let name = $crate::http::variables::Template::compile(at, a, 0)?;
                at.own::<$own>().0.name.set(name)
            }),
            directive(concat!($prefix, "_ssl_trusted_certificate"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.trusted_certificate.set(file(a)?)
            }),
            directive(concat!($prefix, "_ssl_crl"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.crl.set(file(a)?)
            }),
            directive(concat!($prefix, "_ssl_certificate"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.certificate.set(file(a)?)
            }),
            directive(concat!($prefix, "_ssl_certificate_key"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.certificate_key.set(file(a)?)
            }),
            directive(concat!($prefix, "_ssl_password_file"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.password_file.set(file(a)?)
            }),
        ]
    }};
}
pub(crate) use ssl_directives;

/// The path of a file; one that depends on the request is not taken.
///
/// # Errors
/// What cannot be had.
pub(crate) fn file(a: &Args<'_>) -> Result<String, Error> {
    match a.str(0) {
        name if name.contains('$') => {
            Err(a.error(format!("variables in \"{}\" are not supported by plimsoll", a.directive)))
        }
        "" => Ok(String::new()),
        name => Ok(a.conf_path(name)),
    }
}

/// Whether TLS 1.2 and 1.3 are named; where all lists of a block name neither, both are spoken.
///
/// # Errors
/// Unknown protocols.
pub(crate) fn protocols(at: &mut Scope, a: &Args<'_>) -> Result<(bool, bool), Error> {
    let mut protocols = (false, false);
    for i in 0..a.words.len() {
        match a.str(i) {
            "TLSv1.2" => protocols.0 = true,
            "TLSv1.3" => protocols.1 = true,
            old @ ("SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1") => {
                at.warn(a.warning(format!("\"{old}\" is not offered by plimsoll: it is broken, ignored")));
            }
            other => return Err(a.error(format!("invalid value \"{other}\""))),
        }
    }
    Ok(protocols)
}

/// How a location's connections are encrypted.
pub struct Tls {
    config: Arc<ClientConfig>,
    /// `.._ssl_name`
    name: Option<Template>,
}

/// An encryption, and the name of the server it is for.
pub struct Secured {
    tls: Arc<Tls>,
    name: String,
}

/// What is in force in a block.
///
/// # Errors
/// In nginx's words: files that cannot be read or do not fit.
pub fn compile(
    at: &Scope,
    written: &SslWritten,
    prefix: &str,
    http2: bool,
    with: &mut Compiler<'_>,
) -> Result<Arc<Tls>, Error> {
    let here = |what: String| Error::emerg(what).at(at.at.clone());
    let mut provider = aws_lc_rs::default_provider();
    if let Some(list) = written.ciphers.written().filter(|list| *list != "DEFAULT") {
        let read = ciphers::read(list);
        if !read.means_any {
            return Err(here(format!("SSL_CTX_set_cipher_list(\"{list}\") failed (SSL: no cipher match)")));
        }
        provider.cipher_suites = read.suites;
    }
    let provider = Arc::new(provider);
    let (tls12, tls13) = match written.protocols.or((false, false)) {
        (false, false) => (true, true),
        some => some,
    };
    let versions: Vec<_> =
        [(tls13, &TLS13), (tls12, &TLS12)].into_iter().filter(|(on, _)| *on).map(|(_, v)| v).collect();
    let verifier = verifier(at, written, prefix, &provider, with)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|e| here(format!("{prefix}_ssl_protocols and {prefix}_ssl_ciphers do not fit: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match written.certificate.written().filter(|path| !path.is_empty()) {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let Some(key) = written.certificate_key.written() else {
                let what =
                    format!("no \"{prefix}_ssl_certificate_key\" is defined for certificate \"{path}\"");
                return Err(here(what));
            };
            let passwords = match written.password_file.written() {
                Some(file) => certificates::passwords_in(file, with)?,
                None => Vec::new(),
            };
            let chain = certificates::chain(path, with)?;
            let key_der = certificates::key_of(key, &passwords, &|path| with.inputs.read(path.as_ref()))?;
            builder.with_client_auth_cert(chain, key_der).map_err(|_| {
                here(format!("SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: key values mismatch)"))
            })?
        }
    };
    if http2 {
        config.alpn_protocols = vec![crate::http2::ALPN.to_vec()];
    }
    config.enable_sni = written.server_name.or(false);
    if !written.session_reuse.or(true) {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(Tls { config: Arc::new(config), name: written.name.written().cloned() }))
}

fn verifier(
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
        Some(path) => {
            let pem = certificates::read("CRL", path, with)?;
            let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
            lists.map_err(|e| here(format!("cannot load CRL \"{path}\" (SSL: {e})")))?
        }
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
struct Verifier {
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

impl Tls {
    /// The encryption for one request: `host` is the server's name unless the configuration gives another.
    pub fn secured(self: &Arc<Tls>, request: &mut Request, host: &[u8]) -> Secured {
        let mut name = Vec::new();
        match &self.name {
            Some(template) => template.render(request, &mut name),
            None => name.extend_from_slice(host),
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        Secured { tls: self.clone(), name: without_port(&name).to_owned() }
    }
}
impl Secured {
    /// Whether one server may be asked by several names.
    pub(super) fn name_varies(&self) -> bool {
        self.tls.name.as_ref().is_some_and(|name| name.as_literal().is_none())
    }
}

/// A host without brackets and port.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Encrypts a new connection.
pub(super) async fn handshake(
    settings: &Settings,
    request: &mut Request,
    link: &mut Link,
    secured: &Secured,
) -> Result<(), Failure> {
    // Who is not verified may have a name that is none.
    let name = ServerName::try_from(secured.name.clone())
        .unwrap_or(ServerName::IpAddress(IpAddr::V4([0, 0, 0, 0].into())));
    let connection = ClientConnection::new(secured.tls.config.clone(), name)
        .map_err(|error| Failure::Tls(format!("SSL_new() failed (SSL: {error})")))?;
    link.secure(connection);
    link.socket.set_deadline(Some(request.thread.handle.now() + settings.connect_timeout));
    let link = &*link;
    std::future::poll_fn(|cx| {
        let minds = !settings.ignore_client_abort && !request.upstream.cache.keeps;
        if minds && request.client.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone(During::Connecting)));
        }
        link.poll_handshake(cx).map_err(|error| failure(error, &secured.name))
    })
    .await
}

/// What a chain longer than `.._ssl_verify_depth` is called: OpenSSL's number and words.
const TOO_LONG: &str = "22:certificate chain too long";

fn failure(error: io::Error, name: &str) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn names_have_no_port() {
        for (host, name) in [("a.test", "a.test"), ("a.test:8443", "a.test"), ("[::1]:443", "::1")] {
            assert_eq!(without_port(host), name);
        }
    }
}
