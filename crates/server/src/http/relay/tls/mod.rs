//! Encrypted connections to servers: `.._ssl_verify` and its companions.

use std::sync::Arc;
use std::task::Poll;

use conf::{Error, Scope};
use rustls::client::Resumption;
use rustls::pki_types::{IpAddr, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::failure::{During, Failure};
use super::settings::Settings;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::modules::ssl::choice::Choice;
use crate::modules::ssl::written::Protocols;
use crate::upstream::Link;
use crate::worker::generation::Compiler;

mod chosen;
mod verify;
pub(crate) mod written;

use self::chosen::{Chosen, Shown};
pub use self::written::SslWritten;
pub(crate) use self::written::ssl_directives;

/// How a location's connections are encrypted.
pub struct Tls {
    config: Arc<ClientConfig>,
    /// A certificate whose name has variables.
    chosen: Option<Box<Chosen>>,
    /// `.._ssl_name`
    name: Option<Template>,
}

/// An encryption, and the name of the server it is for.
pub struct Secured {
    tls: Arc<Tls>,
    /// `None`: the certificate cannot be had.
    config: Option<Arc<ClientConfig>>,
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
    let none = Vec::new();
    let choice = Choice::of(
        at,
        written.protocols.or(Protocols::default()),
        written.ciphers.written().map(String::as_str).filter(|list| *list != "DEFAULT"),
        None,
        written.conf_command.written().unwrap_or(&none),
    )?;
    let provider = Arc::new(choice.provider());
    let verifier = verify::verifier(at, written, prefix, &provider, with)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&choice.protocols.versions())
        .map_err(|e| here(format!("{prefix}_ssl_protocols and {prefix}_ssl_ciphers do not fit: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (mut config, chosen) = match chosen::compile(at, written, prefix, &choice, with)? {
        Shown::Nothing => (builder.with_no_client_auth(), None),
        Shown::Always(resolver) => (builder.with_client_cert_resolver(resolver), None),
        Shown::Chosen(chosen) => (builder.with_no_client_auth(), Some(chosen)),
    };
    if http2 {
        config.alpn_protocols = vec![crate::http2::ALPN.to_vec()];
    }
    config.enable_sni = written.server_name.or(false);
    if !written.session_reuse.or(true) {
        config.resumption = Resumption::disabled();
    }
    // As nginx asks: certificates come as they are.
    config.cert_decompressors.clear();
    Ok(Arc::new(Tls { config: Arc::new(config), chosen, name: written.name.written().cloned() }))
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
        let config = match &self.chosen {
            None => Some(self.config.clone()),
            Some(chosen) => chosen.load(request, &self.config),
        };
        Secured { tls: self.clone(), config, name: without_port(&name).to_owned() }
    }
}
impl Secured {
    /// Whether one server may be asked by several names, or shown several certificates.
    pub(super) fn varies(&self) -> bool {
        self.tls.chosen.is_some() || self.tls.name.as_ref().is_some_and(|name| name.as_literal().is_none())
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
    // Why it cannot be had is in the log.
    let config = secured.config.clone().ok_or(Failure::Client(500))?;
    let connection = ClientConnection::new(config, name)
        .map_err(|error| Failure::Tls(format!("SSL_new() failed (SSL: {error})")))?;
    link.secure(connection);
    link.socket.set_deadline(Some(request.thread.handle.now() + settings.connect_timeout));
    let link = &*link;
    std::future::poll_fn(|cx| {
        let minds = !settings.ignore_client_abort && !request.upstream.cache.keeps;
        if minds && request.client.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone(During::Connecting)));
        }
        link.poll_handshake(cx).map_err(|error| verify::failure(error, &secured.name))
    })
    .await
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
