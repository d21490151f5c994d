//! `listen .. ssl`: certificates, protocols, ciphers and sessions, on rustls.

use std::io;
use std::sync::Arc;

use conf::{Args, Error, HTTP, Inherit, SERVER, Scope, Setting, Within, directive};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::Module;
use crate::http::phases;
use crate::http::request::Request;
use crate::http::variables::{Variable, variable};
use crate::log::Level;
use crate::worker::generation::Compiler;

pub mod ciphers;
mod sessions;
mod tls;

use self::sessions::Cache;
use self::tls::Failure;
pub use self::tls::{Agreed, Tls};

const IN: Within = HTTP.or(SERVER);

pub(crate) static MODULE: Module = Module {
    name: "ssl",
    directives: &[
        directive("ssl_certificate", IN, conf::exactly(1), |at, a| {
            file(a, &mut at.own::<Conf>().certificates)
        }),
        directive("ssl_certificate_key", IN, conf::exactly(1), |at, a| file(a, &mut at.own::<Conf>().keys)),
        directive("ssl_protocols", IN, conf::at_least(1), protocols),
        directive("ssl_ciphers", IN, conf::exactly(1), |at, a| at.own::<Conf>().ciphers.set(a.str(0).into())),
        directive("ssl_prefer_server_ciphers", IN, conf::flag(), |at, a| {
            at.own::<Conf>().prefer_server_ciphers.set(a.flag(0)?)
        }),
        directive("ssl_session_cache", IN, conf::between(1, 2), |at, a| {
            let cache = sessions::read(at, a)?;
            at.own::<Conf>().session_cache = Some(cache);
            Ok(())
        }),
        directive("ssl_session_timeout", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().session_timeout.set(a.sec(0)?)
        }),
        directive("ssl_session_tickets", IN, conf::flag(), |at, a| {
            at.own::<Conf>().session_tickets.set(a.flag(0)?)
        }),
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[
    variable("ssl_protocol", |r, out| text(r, out, |tls| Some(tls.protocol))),
    variable("ssl_cipher", |r, out| text(r, out, |tls| Some(tls.cipher))),
    variable("ssl_curve", |r, out| text(r, out, |tls| tls.curve)),
    variable("ssl_alpn_protocol", |r, out| text(r, out, |tls| tls.alpn_protocol.as_deref())),
    variable("ssl_server_name", |r, out| text(r, out, |tls| tls.server_name.as_deref())),
    variable("ssl_session_reused", |r, out| text(r, out, |tls| Some(if tls.resumed { "r" } else { "." }))),
];
fn text(
    request: &mut Request,
    out: &mut Vec<u8>,
    of: impl for<'a> Fn(&'a Agreed) -> Option<&'a str>,
) -> bool {
    let agreed = request.client.agreed();
    let Some(text) = agreed.as_deref().and_then(of) else { return false };
    out.extend_from_slice(text.as_bytes());
    true
}

/// A file's name as written, for messages, and its path.
#[derive(Clone)]
struct Named {
    written: String,
    path: String,
}

/// As written.
#[derive(Default)]
struct Conf {
    certificates: Vec<Named>,
    keys: Vec<Named>,
    protocols: Setting<Protocols>,
    ciphers: Setting<String>,
    prefer_server_ciphers: Setting<bool>,
    session_cache: Option<Cache>,
    session_timeout: Setting<u64>,
    session_tickets: Setting<bool>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        if self.certificates.is_empty() {
            self.certificates.clone_from(&outer.certificates);
        }
        if self.keys.is_empty() {
            self.keys.clone_from(&outer.keys);
        }
        self.protocols.inherit(&outer.protocols);
        self.ciphers.inherit(&outer.ciphers);
        self.prefer_server_ciphers.inherit(&outer.prefer_server_ciphers);
        if self.session_cache.is_none() {
            self.session_cache.clone_from(&outer.session_cache);
        }
        self.session_timeout.inherit(&outer.session_timeout);
        self.session_tickets.inherit(&outer.session_tickets);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Protocols {
    tls12: bool,
    tls13: bool,
}

fn file(a: &Args<'_>, list: &mut Vec<Named>) -> Result<(), Error> {
    let name = a.str(0);
    if name.contains('$') {
        return Err(a.error(format!("variables in \"{}\" are not supported by plimsoll", a.directive)));
    }
    if name.starts_with("data:") || name.starts_with("engine:") {
        return Err(a.error(format!("\"{name}\" is not supported by plimsoll in \"{}\"", a.directive)));
    }
    list.push(Named { written: name.into(), path: a.conf_path(name) });
    Ok(())
}

fn protocols(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let mut protocols = Protocols::default();
    for i in 0..a.words.len() {
        match a.str(i) {
            "TLSv1.2" => protocols.tls12 = true,
            "TLSv1.3" => protocols.tls13 = true,
            old @ ("SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1") => {
                at.warn(
                    Error::warn(format!("\"{old}\" is not offered by plimsoll: it is broken, ignored"))
                        .at(a.at()),
                );
            }
            other => return Err(a.error(format!("invalid value \"{other}\""))),
        }
    }
    if !protocols.tls12 && !protocols.tls13 {
        return Err(a.error("no usable protocol in \"ssl_protocols\": add TLSv1.2 or TLSv1.3"));
    }
    at.own::<Conf>().protocols.set(protocols)
}

/// How a server speaks TLS.
pub struct Configured {
    /// With HTTP/1 alone.
    pub http1: Arc<ServerConfig>,
    /// With HTTP/2 too.
    pub http2: Arc<ServerConfig>,
}

/// The TLS configuration of a server; `None` where it has no certificate.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<Configured>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|c| !c.certificates.is_empty()) else { return Ok(None) };
    if conf.keys.len() < conf.certificates.len() {
        let last = conf.certificates.last().map_or("", |c| &c.written);
        return Err(Error::emerg(format!(
            "no \"ssl_certificate_key\" is defined for certificate \"{last}\""
        ))
        .at(at.at.clone()));
    }
    let provider = provider(at, conf)?;
    let resolver = Certificates::load(conf, &provider, with)?;
    let protocols = conf.protocols.or(Protocols { tls12: true, tls13: true });
    let versions: Vec<_> = [(protocols.tls13, &TLS13), (protocols.tls12, &TLS12)]
        .into_iter()
        .filter(|v| v.0)
        .map(|v| v.1)
        .collect();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let builder = builder.map_err(|e| {
        Error::emerg(format!("ssl_protocols and ssl_ciphers do not fit: {e}")).at(at.at.clone())
    })?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.ignore_client_order = conf.prefer_server_ciphers.or(false);
    let timeout = conf.session_timeout.or(300);
    config.session_storage = sessions::storage(at, conf.session_cache.as_ref(), timeout);
    if conf.session_tickets.or(true) {
        config.ticketer = sessions::Tickets::new(timeout)?;
    } else if !config.session_storage.can_cache() {
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec(), b"http/0.9".to_vec()];
    let mut http2 = config.clone();
    http2.alpn_protocols.insert(0, crate::http2::ALPN.to_vec());
    Ok(Some(Configured { http1: Arc::new(config), http2: Arc::new(http2) }))
}

fn provider(at: &Scope, conf: &Conf) -> Result<Arc<CryptoProvider>, Error> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(list) = conf.ciphers.written() {
        let read = ciphers::read(list);
        if read.suites.len() <= 3 && !list.contains("TLS_") {
            let message = format!("SSL_CTX_set_cipher_list(\"{list}\") failed (SSL: no cipher match)");
            return Err(Error::emerg(message).at(at.at.clone()));
        }
        if !read.unknown.is_empty() {
            let names = read.unknown.join(":");
            at.warn(
                Error::warn(format!("ciphers \"{names}\" are not supported by plimsoll, ignored"))
                    .at(at.at.clone()),
            );
        }
        provider.cipher_suites = read.suites;
    }
    Ok(Arc::new(provider))
}

/// The certificates of one server: the first that suits what the client can verify.
#[derive(Debug)]
struct Certificates(Vec<Arc<rustls::sign::CertifiedKey>>);

impl Certificates {
    fn load(conf: &Conf, provider: &CryptoProvider, with: &Compiler<'_>) -> Result<Certificates, Error> {
        let pairs = conf.certificates.iter().zip(&conf.keys);
        let load = |(certificate, key): (&Named, &Named)| {
            let (certificate, key) = (&certificate.path, &key.path);
            let chain = chain(certificate, with)?;
            let der = key_of(key, with)?;
            let cannot =
                |e: rustls::Error| Error::emerg(format!("cannot load certificate key \"{key}\": {e}"));
            let signer = provider.key_provider.load_private_key(der).map_err(cannot)?;
            let pair = rustls::sign::CertifiedKey::new(chain, signer);
            match pair.keys_match() {
                Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                    Err(Error::emerg(format!(
                        "SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: key values mismatch)"
                    )))
                }
                _ => Ok(Arc::new(pair)),
            }
        };
        Ok(Certificates(pairs.map(load).collect::<Result<_, _>>()?))
    }
}

fn read(kind: &str, path: &str, with: &Compiler<'_>) -> Result<Arc<[u8]>, Error> {
    with.inputs.read(path.as_ref()).map_err(|e| {
        Error::emerg(format!(
            "cannot load {kind} \"{path}\": BIO_new_file() failed ({})",
            crate::log::Errno(&e)
        ))
    })
}
fn chain(path: &str, with: &Compiler<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read("certificate", path, with)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(Error::emerg(format!(
            "cannot load certificate \"{path}\": PEM_read_bio_X509_AUX() failed (SSL: no start line)"
        ))),
        Err(e) => Err(Error::emerg(format!(
            "cannot load certificate \"{path}\": PEM_read_bio_X509() failed (SSL: {e})"
        ))),
    }
}
fn key_of(path: &str, with: &Compiler<'_>) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read("certificate key", path, with)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| {
        Error::emerg(format!(
            "cannot load certificate key \"{path}\": PEM_read_bio_PrivateKey() failed (SSL: {e})"
        ))
    })
}

impl rustls::server::ResolvesServerCert for Certificates {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let suits = |pair: &&Arc<rustls::sign::CertifiedKey>| {
            pair.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        self.0.iter().find(suits).or(self.0.first()).cloned()
    }
}

/// A TLS record of a handshake begins with this byte; no HTTP request does.
const HANDSHAKE: u8 = 0x16;

/// The handshake of a connection to a `listen .. ssl`. Plain HTTP is answered with 497.
pub async fn handshake(request: &mut Request) -> Result<(), ()> {
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    request.server = listener.default_server;
    request.plan = generation.shared.server(request.server).plan;
    let timeout = generation.shared.plan(request.plan).core.client_header_timeout;
    request.client.set_deadline(Some(request.thread.handle.now() + timeout));
    if request.buffer.is_empty() {
        let failure = match request.receive().await {
            Ok(0) => Some(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => None,
            Err(error) => Some(Failure::Io(error)),
        };
        if let Some(failure) = failure {
            note(request, &failure);
            return Err(());
        }
    }
    if request.buffer[0] != HANDSHAKE {
        request.client.plain_on_ssl = true;
        return Ok(());
    }
    match tls::accept(request, choose).await {
        Ok(tls) => {
            request.client.set_tls(tls);
            request.received = 0;
            Ok(())
        }
        Err(failure) => {
            note(request, &failure);
            Err(())
        }
    }
}

/// The server by the name in the ClientHello, and its configuration; the default server's where it has none.
fn choose(request: &mut Request, name: Option<&str>) -> Option<Arc<ServerConfig>> {
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    let names = listener.names_for(request.client.local_address());
    let host = name.map(|n| n.to_ascii_lowercase().into_bytes()).unwrap_or_default();
    let found = names.names.find(&host, None).unwrap_or(names.default_server);
    let of = |id| {
        let server = generation.shared.server(id);
        let configured = server.tls.as_ref()?;
        let http2 = server.http2.enabled || listener.http2;
        Some(if http2 { configured.http2.clone() } else { configured.http1.clone() })
    };
    of(found).or_else(|| of(names.default_server))
}

/// Clients' faults are `info`, as in nginx.
fn note(request: &Request, failure: &Failure) {
    let note = |level, message: std::fmt::Arguments<'_>| {
        crate::connection::note_waiting(request, level, format_args!("{message} while SSL handshaking"));
    };
    match failure {
        Failure::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            note(Level::Info, format_args!("peer closed connection in SSL handshake"));
        }
        Failure::Io(e) if e.kind() == io::ErrorKind::TimedOut => {
            note(Level::Info, format_args!("client timed out (110: Connection timed out)"));
        }
        Failure::Io(e) => {
            note(Level::Info, format_args!("SSL_do_handshake() failed ({})", crate::log::Errno(e)))
        }
        Failure::Refused(e) => note(Level::Info, format_args!("SSL_do_handshake() failed (SSL: {e})")),
        Failure::NoCertificate => note(
            Level::Error,
            format_args!("no \"ssl_certificate\" is defined in server listening on SSL port"),
        ),
    }
}

/// What a plain request to an encrypted port gets.
pub async fn refuse_plain(request: &mut Request) {
    log_info!(request, "client sent plain HTTP request to HTTPS port while reading client request headers");
    phases::refuse(request, 497).await;
}
