//! A server's TLS, from what is written to what rustls works with.

use std::sync::Arc;

use conf::{Error, Scope};
use rustls::server::ServerConfig;

use super::certificates::{self, Certificates};
use super::choice::Choice;
use super::clients::{self, Clients};
use super::dynamic::Dynamic;
use super::sessions;
use super::written::{Conf, Protocols};
use crate::worker::generation::Compiler;

/// How much a client may send before the handshake is complete: what OpenSSL allows.
const MOST_EARLY: u32 = 16_384;

/// How a server speaks TLS.
#[derive(Clone)]
pub struct Configured {
    /// With HTTP/1 alone.
    pub http1: Arc<ServerConfig>,
    /// With HTTP/2 too.
    pub http2: Arc<ServerConfig>,
    /// Handshakes that ask for this server are refused (`ssl_reject_handshake`).
    pub rejects: bool,
    /// Who judges the certificates of clients.
    pub clients: Option<Arc<Clients>>,
    /// Certificates that are looked for when a client comes.
    pub dynamic: Option<Arc<Dynamic>>,
}

/// The TLS configuration of a server; `None` where it has neither certificate nor a refusal.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Configured>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let rejects = conf.reject_handshake.or(false);
    if conf.certificates.is_empty() && !rejects {
        return Ok(None);
    }
    let here = |error: Error| error.at(at.at.clone());
    if conf.keys.len() < conf.certificates.len() {
        let last = conf.certificates.last().map_or("", |c| &c.written);
        let message = format!("no \"ssl_certificate_key\" is defined for certificate \"{last}\"");
        return Err(here(Error::emerg(message)));
    }
    if let Some(file) = conf.dhparam.written() {
        certificates::readable(&file.path, with)?;
    }
    let mut choice = Choice::of(
        at,
        conf.protocols.or(Protocols::default()),
        conf.ciphers.written().map(String::as_str),
        conf.curves.written().map(String::as_str).filter(|list| *list != "auto"),
        &conf.commands,
    )?;
    choice.server_order |= conf.prefer_server_ciphers.or(false);
    let provider = Arc::new(choice.provider());
    let dynamic = Dynamic::compile(conf, &provider, with)?.map(Arc::new);
    let resolver = match &dynamic {
        Some(_) => Certificates::default(),
        None => Certificates::load(at, conf, &choice, &provider, with)?,
    };
    let clients = clients::compile(at, conf, provider.signature_verification_algorithms, with)?;
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&choice.protocols.versions());
    let builder =
        builder.map_err(|e| here(Error::emerg(format!("ssl_protocols and ssl_ciphers do not fit: {e}"))))?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(clients.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.ignore_client_order = choice.server_order;
    config.max_fragment_size = conf.buffer_size.written().map(|size| (*size).clamp(32, 16_384) as usize + 5);
    if !conf.compression.or(false) {
        config.cert_compressors.clear();
    }
    config.cert_decompressors.clear();
    resumption(at, conf, &mut config, with)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec(), b"http/0.9".to_vec()];
    let mut http2 = config.clone();
    http2.alpn_protocols.insert(0, crate::http2::ALPN.to_vec());
    Ok(Some(Configured { http1: Arc::new(config), http2: Arc::new(http2), rejects, clients, dynamic }))
}

/// Sessions that are taken up again: from a cache, from tickets.
fn resumption(at: &Scope, conf: &Conf, config: &mut ServerConfig, with: &Compiler<'_>) -> Result<(), Error> {
    let timeout = conf.session_timeout.or(300);
    config.session_storage = sessions::storage(conf.session_cache.as_ref(), timeout)?;
    if conf.early_data.or(false) {
        // A session that a client keeps could be taken up twice, and what it sent early be played back.
        if !config.session_storage.can_cache() {
            config.session_storage = sessions::own(timeout);
        }
        config.max_early_data_size = MOST_EARLY;
        config.send_half_rtt_data = true;
        return Ok(());
    }
    if !conf.session_tickets.or(true) {
        if !config.session_storage.can_cache() {
            config.send_tls13_tickets = 0;
        }
        return Ok(());
    }
    config.ticketer = match conf.ticket_keys.is_empty() {
        true => sessions::tickets(conf.session_cache.as_ref(), timeout)?,
        false => {
            let read = |file: &super::written::Named| {
                let bytes = certificates::read("session ticket key", &file.path, with)?;
                sessions::TicketKey::read(&bytes).ok_or_else(|| {
                    Error::emerg(format!("\"{}\" must be 48 or 80 bytes", file.path)).at(at.at.clone())
                })
            };
            let keys = conf.ticket_keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            sessions::Tickets::given(keys, timeout)
        }
    };
    Ok(())
}
