//! `listen .. ssl`: certificates, protocols, ciphers and sessions, on rustls.

use std::io;

use conf::{Error, HTTP, SERVER, Within, directive};

use super::Module;
use crate::http::phases;
use crate::http::request::Request;
use crate::http::variables::{Variable, variable};
use crate::log::Level;
use crate::log::openssl::Words;

pub(crate) mod certificates;
pub(crate) mod choice;
pub mod ciphers;
mod client_variables;
pub(crate) mod clients;
mod compile;
pub(crate) mod dynamic;
mod engine;
pub(crate) mod ocsp;
mod offered;
mod records;
mod sessions;
mod tls;
pub(crate) mod trust;
pub(crate) mod written;

pub use self::clients::refusal;
pub use self::compile::{Configured, compile};
use self::ocsp::client::Which;
use self::offered::Offered;
pub use self::tls::{Agreed, Tls};
use self::tls::{Chosen, Failure};
pub use self::written::is_on;
use self::written::{Conf, named};

const IN: Within = HTTP.or(SERVER);

pub(crate) static MODULE: Module = Module {
    name: "ssl",
    directives: &[
        directive("ssl", IN, conf::flag(), written::ssl),
        directive("ssl_certificate", IN, conf::exactly(1), |at, a| {
            let file = written::certificate(at, a)?;
            at.own::<Conf>().certificates.push(file);
            Ok(())
        }),
        directive("ssl_certificate_key", IN, conf::exactly(1), |at, a| {
            let file = written::certificate(at, a)?;
            at.own::<Conf>().keys.push(file);
            Ok(())
        }),
        directive("ssl_certificate_cache", IN, conf::between(1, 3), |at, a| {
            let keep = written::certificate_cache(a)?;
            at.own::<Conf>().keep.set(keep)
        }),
        directive("ssl_password_file", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().password_file.set(written::pass_phrases(a)?)
        }),
        directive("ssl_dhparam", IN, conf::exactly(1), |at, a| {
            let message = "\"ssl_dhparam\" has no effect: every cipher here uses elliptic curves";
            at.warn(Error::notice(message).at(a.at()));
            at.own::<Conf>().dhparam.set(named(a))
        }),
        directive("ssl_ecdh_curve", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().curves.set(a.str(0).into())
        }),
        directive("ssl_buffer_size", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().buffer_size.set(a.size(0)?)
        }),
        directive("ssl_conf_command", IN, conf::exactly(2), |at, a| {
            at.own::<Conf>().commands.push(written::command(a));
            Ok(())
        }),
        directive("ssl_reject_handshake", IN, conf::flag(), |at, a| {
            at.own::<Conf>().reject_handshake.set(a.flag(0)?)
        }),
        directive("ssl_certificate_compression", IN, conf::flag(), |at, a| {
            at.own::<Conf>().compression.set(a.flag(0)?)
        }),
        directive("ssl_early_data", IN, conf::flag(), |at, a| at.own::<Conf>().early_data.set(a.flag(0)?)),
        directive("ssl_stapling", IN, conf::flag(), |at, a| at.own::<Conf>().stapling.set(a.flag(0)?)),
        directive("ssl_stapling_file", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().stapling_file.set(named(a))
        }),
        directive("ssl_stapling_responder", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().stapling_responder.set(a.str(0).into())
        }),
        directive("ssl_ocsp", IN, conf::exactly(1), |at, a| {
            let values = [("off", Which::Off), ("on", Which::All), ("leaf", Which::Leaf)];
            let which = a.one_of(0, &values)?;
            at.own::<Conf>().ocsp.set(which)
        }),
        directive("ssl_ocsp_responder", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().ocsp_responder.set(a.str(0).into())
        }),
        directive("ssl_ocsp_cache", IN, conf::exactly(1), |at, a| {
            let cache = ocsp::client::cache(at, a)?;
            at.own::<Conf>().ocsp_cache.set(cache)
        }),
        directive("ssl_stapling_verify", IN, conf::flag(), |at, a| {
            at.own::<Conf>().stapling_verify.set(a.flag(0)?)
        }),
        directive("ssl_session_ticket_key", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().ticket_keys.push(named(a));
            Ok(())
        }),
        directive("ssl_trusted_certificate", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().trusted_certificate.set(named(a))
        }),
        directive("ssl_verify_client", IN, conf::exactly(1), written::verify_client),
        directive("ssl_verify_depth", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().verify_depth.set(a.number(0)?)
        }),
        directive("ssl_client_certificate", IN, conf::exactly(1), |at, a| {
            at.own::<Conf>().client_certificate.set(named(a))
        }),
        directive("ssl_crl", IN, conf::exactly(1), |at, a| at.own::<Conf>().crl.set(named(a))),
        directive("ssl_protocols", IN, conf::at_least(1), written::protocols),
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
    variable(OFFERS[0], |r, out| offered(r, |offered| offered.put_ciphers(out))),
    variable(OFFERS[1], |r, out| offered(r, |offered| offered.put_curves(out))),
    variable("ssl_alpn_protocol", |r, out| text(r, out, |tls| tls.alpn_protocol.as_deref())),
    variable("ssl_server_name", |r, out| match &r.client.asked_for {
        Some(name) => {
            out.extend_from_slice(name.as_bytes());
            true
        }
        None => text(r, out, |tls| tls.server_name.as_deref()),
    }),
    client_variables::CERT,
    client_variables::RAW_CERT,
    client_variables::ESCAPED_CERT,
    client_variables::S_DN,
    client_variables::I_DN,
    client_variables::S_DN_LEGACY,
    client_variables::I_DN_LEGACY,
    client_variables::SERIAL,
    client_variables::V_START,
    client_variables::V_END,
    client_variables::V_REMAIN,
    client_variables::FINGERPRINT,
    client_variables::VERIFY,
    variable(OFFERS[2], |r, out| offered(r, |offered| offered.put_schemes(out))),
    variable(OFFERS[3], |r, out| offered(r, |offered| offered.put_signed(false, out))),
    variable(OFFERS[4], |r, out| offered(r, |offered| offered.put_signed(true, out))),
    variable(OFFERS[5], |r, out| offered(r, |offered| offered.put_session(out))),
    // ECH is not spoken: as in an nginx whose OpenSSL does not.
    variable("ssl_ech_status", |_, _| false),
    variable("ssl_ech_outer_server_name", |_, _| false),
    variable("ssl_early_data", |r, out| text(r, out, |tls| tls.early.get().then_some("1"))),
    variable("ssl_session_reused", |r, out| text(r, out, |tls| Some(if tls.resumed { "r" } else { "." }))),
];
/// The variables that tell what was offered and signed: it is only remembered where one of them is used.
pub const OFFERS: [&str; 6] =
    ["ssl_ciphers", "ssl_curves", "ssl_sigalgs", "ssl_sigalg", "ssl_client_sigalg", "ssl_session_id"];

fn offered(request: &mut Request, put: impl FnOnce(&Offered)) -> bool {
    let agreed = request.client.agreed();
    let offered = agreed.as_deref().and_then(|agreed| agreed.offered.as_deref());
    offered.map(put).is_some()
}
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

/// A TLS record of a handshake begins with this byte; no HTTP request does.
const HANDSHAKE: u8 = 0x16;

/// What SSL 2 begins with has this bit; it is told as a handshake that failed.
const SSL2: u8 = 0x80;

/// The handshake of a connection to a `listen .. ssl`. Plain HTTP is answered with 497.
pub async fn handshake(request: &mut Request) -> Result<(), ()> {
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    request.server = listener.default_server;
    request.plan = generation.shared.server(request.server).plan;
    let timeout = generation.shared.plan(request.plan).core.client_header.timeout;
    request.client.set_deadline(Some(request.thread.handle.now() + timeout));
    if request.buffer.is_empty() {
        let failure = match request.receive().await {
            Ok(0) => Some(Failure::Silent),
            Ok(_) => None,
            Err(error) => Some(Failure::Io(error)),
        };
        if let Some(failure) = failure {
            note(request, &failure);
            return Err(());
        }
    }
    if request.buffer[0] != HANDSHAKE && request.buffer[0] & SSL2 == 0 {
        request.client.plain_on_ssl = true;
        return Ok(());
    }
    match tls::accept(request, choose).await {
        Ok(mut tls) => {
            if let Some((clients, chain)) = tls.to_be_asked_about() {
                tls.note_ocsp(clients.ask(request, &chain).await);
            }
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
fn choose(request: &mut Request, name: Option<&str>) -> Result<Chosen, Failure> {
    let generation = request.generation.clone();
    let listener = generation.shared.listener(request.client.listener);
    let names = listener.names_for(request.client.local_address());
    let host = name.map(|n| n.to_ascii_lowercase().into_bytes()).unwrap_or_default();
    let found = names.names.find(&host, None).unwrap_or(names.default_server);
    let mut of = |id| {
        let server = generation.shared.server(id);
        let configured = server.tls.as_ref()?;
        let http2 = server.http2.enabled || listener.http2;
        let config = if http2 { &configured.http2 } else { &configured.http1 };
        let clients = configured.clients.clone();
        Some(match (configured.rejects, &configured.dynamic) {
            (true, _) => Err(Failure::Rejected),
            (false, None) => Ok(Chosen { config: config.clone(), clients }),
            (false, Some(dynamic)) => {
                request.client.asked_for = name.map(Into::into);
                dynamic.load(request, config, http2).map(|config| Chosen { config, clients })
            }
        })
    };
    of(found).or_else(|| of(names.default_server)).unwrap_or(Err(Failure::NoCertificate))
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
        // It is rustls that would not read on.
        Failure::Io(e) if e.raw_os_error().is_none() => {
            note(Level::Info, format_args!("SSL_do_handshake() failed (SSL: {e})"));
        }
        Failure::Io(e) => note(
            Level::Info,
            format_args!("peer closed connection in SSL handshake ({})", crate::log::Errno(e)),
        ),
        Failure::Refused(e) => {
            note(Level::Info, format_args!("SSL_do_handshake() failed (SSL: {})", Words(e)));
        }
        Failure::Silent => note(Level::Info, format_args!("client closed connection")),
        Failure::Unreadable(e) => note(Level::Error, format_args!("{e}")),
        Failure::Rejected => note(Level::Info, format_args!("handshake rejected")),
        Failure::NoCertificate => note(
            Level::Error,
            format_args!("no \"ssl_certificate\" is defined in server listening on SSL port"),
        ),
    }
}

/// What a plain request to an encrypted port gets.
pub async fn refuse_plain(request: &mut Request) {
    log_info!(request, "client sent plain HTTP request to HTTPS port");
    phases::refuse(request, 497).await;
}
