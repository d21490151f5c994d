//! A server's TLS, from what is written to what rustls works with.

use std::sync::Arc;

use conf::{Error, Scope};
use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::certificates::{self, Certificates};
use super::clients::{self, Clients};
use super::dynamic::Dynamic;
use super::written::{Conf, Protocols};
use super::{ciphers, sessions};
use crate::worker::generation::Compiler;

/// How a server speaks TLS.
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
    pub dynamic: Option<Dynamic>,
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
    let mut choice = Choice::of(at, conf)?;
    for (name, value) in &conf.commands {
        command(at, &mut choice, name, value)?;
    }
    let provider = Arc::new(choice.provider());
    let dynamic = Dynamic::compile(conf, &provider, with)?;
    let resolver = match &dynamic {
        Some(_) => Certificates::default(),
        None => Certificates::load(at, conf, &provider, with)?,
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
        let message = "\"ssl_early_data\": plimsoll takes no early data, clients send it after the handshake";
        at.warn(Error::warn(message).at(at.at.clone()));
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

impl Protocols {
    /// All, where there are none.
    fn or_all(self) -> Protocols {
        match self {
            Protocols { tls12: false, tls13: false } => Protocols { tls12: true, tls13: true },
            some => some,
        }
    }
    fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(self.tls13, &TLS13), (self.tls12, &TLS12)];
        all.into_iter().filter(|version| version.0).map(|version| version.1).collect()
    }
}

/// What is offered to clients.
struct Choice {
    protocols: Protocols,
    suites: Vec<rustls::SupportedCipherSuite>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    server_order: bool,
}

impl Choice {
    fn of(at: &Scope, conf: &Conf) -> Result<Choice, Error> {
        let provider = aws_lc_rs::default_provider();
        let mut choice = Choice {
            protocols: conf.protocols.or(Protocols::default()).or_all(),
            suites: provider.cipher_suites,
            groups: provider.kx_groups,
            server_order: conf.prefer_server_ciphers.or(false),
        };
        if let Some(list) = conf.ciphers.written() {
            choice.ciphers(at, list)?;
        }
        if let Some(list) = conf.curves.written().filter(|list| *list != "auto") {
            choice.curves(at, list)?;
        }
        Ok(choice)
    }
    fn provider(&self) -> CryptoProvider {
        CryptoProvider {
            cipher_suites: self.suites.clone(),
            kx_groups: self.groups.clone(),
            ..aws_lc_rs::default_provider()
        }
    }
    fn ciphers(&mut self, at: &Scope, list: &str) -> Result<(), Error> {
        let read = ciphers::read(list);
        if !read.means_any {
            let message = format!("SSL_CTX_set_cipher_list(\"{list}\") failed (SSL: no cipher match)");
            return Err(Error::emerg(message).at(at.at.clone()));
        }
        warn_of(at, "ciphers", &read.unknown);
        self.suites = read.suites;
        Ok(())
    }
    /// The suites of TLS 1.3, which `ssl_ciphers` does not reach.
    fn ciphersuites(&mut self, at: &Scope, list: &str) -> Result<(), String> {
        let (mut suites, unknown) = ciphers::read_tls13(list);
        if suites.is_empty() && self.protocols.tls13 {
            return Err("no cipher match".into());
        }
        warn_of(at, "ciphers", &unknown);
        suites.extend(self.suites.iter().filter(|suite| suite.tls13().is_none()));
        self.suites = suites;
        Ok(())
    }
    fn curves(&mut self, at: &Scope, list: &str) -> Result<(), Error> {
        let mut groups = Vec::new();
        let mut unknown = Vec::new();
        for name in list.split(':').filter(|name| !name.is_empty()) {
            match ciphers::group(name.trim_start_matches(['*', '?'])) {
                Some(group) => groups.push(group),
                None => unknown.push(name),
            }
        }
        if groups.is_empty() {
            let message = format!("SSL_CTX_set1_curves_list(\"{list}\") failed (SSL: no usable group)");
            return Err(Error::emerg(message).at(at.at.clone()));
        }
        warn_of(at, "curves", &unknown);
        self.groups = groups;
        Ok(())
    }
}

fn warn_of(at: &Scope, what: &str, unknown: &[&str]) {
    if !unknown.is_empty() {
        let names = unknown.join(":");
        let message = format!("{what} \"{names}\" are not supported by plimsoll, ignored");
        at.warn(Error::warn(message).at(at.at.clone()));
    }
}

/// One `ssl_conf_command`, which OpenSSL calls `SSL_CONF_cmd`.
fn command(at: &Scope, choice: &mut Choice, name: &str, value: &str) -> Result<(), Error> {
    let failed = |why: &str| {
        Error::emerg(format!("SSL_CONF_cmd(\"{name}\", \"{value}\") failed (SSL: {why})")).at(at.at.clone())
    };
    match name.to_ascii_lowercase().as_str() {
        "ciphersuites" => choice.ciphersuites(at, value).map_err(|why| failed(&why)),
        "cipherstring" => choice.ciphers(at, value),
        "curves" | "groups" => choice.curves(at, value),
        "minprotocol" => {
            choice.protocols.tls12 &= value != "TLSv1.3";
            Ok(())
        }
        "maxprotocol" => {
            choice.protocols.tls13 &= !matches!(value, "TLSv1.2");
            Ok(())
        }
        "options" => value.split(',').try_for_each(|option| option_of(choice, option.trim()).map_err(failed)),
        _ => Err(failed("not supported by plimsoll").help("what it knows is in docs/directives.md")),
    }
}

/// One of OpenSSL's options. Most are how rustls always is.
fn option_of(choice: &mut Choice, option: &str) -> Result<(), &'static str> {
    let (on, name) = match option.strip_prefix('-') {
        Some(name) => (false, name),
        None => (true, option.strip_prefix('+').unwrap_or(option)),
    };
    match name.to_ascii_lowercase().as_str() {
        "serverpreference" => choice.server_order = on,
        "norenegotiation" | "extendedmastersecret" | "ecdhsingle" | "dhsingle" if on => {}
        "prioritizechacha" | "ktls" | "middleboxcompat" | "sessionticket" | "bugs" => {}
        "unsafelegacyrenegotiation" | "compression" | "legacyserverconnect" if !on => {}
        _ => return Err("not supported by plimsoll"),
    }
    Ok(())
}
