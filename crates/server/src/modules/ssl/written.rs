//! The directives of TLS, as written.

use std::io;
use std::time::Duration;

use conf::{Args, Error, Inherit, Position, Scope, Setting};

use super::ocsp::client::{Cache as OcspCache, Which};
use super::sessions::Cache;
use crate::http::variables::Template;
use crate::log::Errno;

/// A file's name as written, for messages, and its path.
#[derive(Clone)]
pub struct Named {
    pub written: String,
    pub path: String,
    /// With variables: the path is known when a client comes.
    pub template: Option<Template>,
}

/// Which versions are offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protocols {
    pub tls12: bool,
    pub tls13: bool,
}

impl Protocols {
    /// Adds those that the statement names. What only names protocols that are broken stands for the others.
    pub fn add(&mut self, at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        for i in 0..a.words.len() {
            let name = a.str(i);
            let known = match name {
                "TLSv1.2" => &mut self.tls12,
                "TLSv1.3" => &mut self.tls13,
                "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {
                    at.warn(
                        a.warning(format!("\"{name}\" is not offered by plimsoll: it is broken, ignored")),
                    );
                    continue;
                }
                _ => return Err(a.error(format!("invalid value \"{name}\""))),
            };
            if std::mem::replace(known, true) {
                at.warn(a.warning(format!("duplicate value \"{name}\"")));
            }
        }
        Ok(())
    }
}

/// `ssl_verify_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// No certificate is asked for.
    Off,
    /// There must be one, and it must be good.
    On,
    /// If there is one, it must be good.
    Optional,
    /// If there is one, nobody need have signed it.
    OptionalNoCa,
}

/// As written.
#[derive(Default)]
pub struct Conf {
    /// `ssl on`, and where it is written.
    pub on: Setting<(bool, Position)>,
    pub certificates: Vec<Named>,
    pub keys: Vec<Named>,
    pub protocols: Setting<Protocols>,
    pub ciphers: Setting<String>,
    pub prefer_server_ciphers: Setting<bool>,
    pub curves: Setting<String>,
    pub buffer_size: Setting<u64>,
    pub reject_handshake: Setting<bool>,
    pub early_data: Setting<bool>,
    pub compression: Setting<bool>,
    pub ocsp: Setting<Which>,
    pub ocsp_responder: Setting<String>,
    pub ocsp_cache: Setting<Option<OcspCache>>,
    pub keep: Setting<Keep>,
    pub password_file: Setting<Named>,
    pub session_cache: Option<Cache>,
    pub session_timeout: Setting<u64>,
    pub session_tickets: Setting<bool>,
    pub ticket_keys: Vec<Named>,
    pub stapling: Setting<bool>,
    pub stapling_file: Setting<Named>,
    pub stapling_responder: Setting<String>,
    pub stapling_verify: Setting<bool>,
    pub commands: Vec<(String, String)>,
    pub dhparam: Setting<Named>,
    pub verify_client: Setting<Verify>,
    pub verify_depth: Setting<u32>,
    pub client_certificate: Setting<Named>,
    pub trusted_certificate: Setting<Named>,
    pub crl: Setting<Named>,
}

impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        for (list, outer) in [
            (&mut self.certificates, &outer.certificates),
            (&mut self.keys, &outer.keys),
            (&mut self.ticket_keys, &outer.ticket_keys),
        ] {
            if list.is_empty() {
                list.clone_from(outer);
            }
        }
        if self.commands.is_empty() {
            self.commands.clone_from(&outer.commands);
        }
        if self.session_cache.is_none() {
            self.session_cache.clone_from(&outer.session_cache);
        }
        self.on.inherit(&outer.on);
        self.protocols.inherit(&outer.protocols);
        self.ciphers.inherit(&outer.ciphers);
        self.prefer_server_ciphers.inherit(&outer.prefer_server_ciphers);
        self.curves.inherit(&outer.curves);
        self.buffer_size.inherit(&outer.buffer_size);
        self.reject_handshake.inherit(&outer.reject_handshake);
        self.early_data.inherit(&outer.early_data);
        self.compression.inherit(&outer.compression);
        self.ocsp.inherit(&outer.ocsp);
        self.ocsp_responder.inherit(&outer.ocsp_responder);
        self.ocsp_cache.inherit(&outer.ocsp_cache);
        self.keep.inherit(&outer.keep);
        self.password_file.inherit(&outer.password_file);
        self.session_timeout.inherit(&outer.session_timeout);
        self.session_tickets.inherit(&outer.session_tickets);
        self.stapling.inherit(&outer.stapling);
        self.stapling_file.inherit(&outer.stapling_file);
        self.stapling_responder.inherit(&outer.stapling_responder);
        self.stapling_verify.inherit(&outer.stapling_verify);
        self.dhparam.inherit(&outer.dhparam);
        self.verify_client.inherit(&outer.verify_client);
        self.verify_depth.inherit(&outer.verify_depth);
        self.client_certificate.inherit(&outer.client_certificate);
        self.trusted_certificate.inherit(&outer.trusted_certificate);
        self.crl.inherit(&outer.crl);
    }
}

/// One `.._conf_command`; files are relative to the configuration.
pub fn command(a: &Args<'_>) -> (String, String) {
    let (name, value) = (a.str(0), a.str(1));
    let is_file = name.eq_ignore_ascii_case("certificate") || name.eq_ignore_ascii_case("privatekey");
    (name.into(), if is_file { a.conf_path(value) } else { value.into() })
}

/// A file by its name, relative to the configuration.
pub fn named(a: &Args<'_>) -> Named {
    Named { written: a.str(0).into(), path: a.conf_path(a.str(0)), template: None }
}

/// A file of pass phrases. It is read at once: one that cannot be is an error of this line, needed or not.
pub fn pass_phrases(a: &Args<'_>) -> Result<Named, Error> {
    let file = named(a);
    let read = a.inputs().read(file.path.as_ref());
    read.map_err(|error| {
        let call = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
        a.error(format!("{call}() \"{}\" failed ({})", file.path, Errno(&error)))
    })?;
    Ok(file)
}

/// A certificate's or key's file; `data:` is the thing itself.
pub fn certificate(at: &mut Scope, a: &Args<'_>) -> Result<Named, Error> {
    let name = a.str(0);
    if name.starts_with("engine:") || name.starts_with("store:") {
        return Err(a.error(format!("\"{name}\" is not supported by plimsoll in \"{}\"", a.directive)));
    }
    let template = match name.contains('$') {
        true => Some(Template::compile(at, a, 0)?),
        false => None,
    };
    let path = match name.starts_with("data:") {
        true => name.into(),
        // What the value of a variable is relative to.
        false if template.is_some() => a.conf_path("."),
        false => a.conf_path(name),
    };
    Ok(Named { written: name.into(), path, template })
}

/// `ssl`, as nginx had it until 1.25.1.
pub fn ssl(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let instead = "the \"ssl\" directive is deprecated, use the \"listen ... ssl\" directive instead";
    at.own::<Conf>().on.set((a.flag(0)?, a.at()))?;
    at.warn(a.warning(instead));
    Ok(())
}

/// Whether `ssl on` holds for a server: then all addresses that it is the default of are encrypted.
///
/// # Errors
/// It has no certificate.
pub fn is_on(server: &Scope) -> Result<bool, Error> {
    let Some(conf) = server.conf::<Conf>() else { return Ok(false) };
    let Some((true, place)) = conf.on.written() else { return Ok(false) };
    match conf.certificates.is_empty() {
        true => {
            Err(Error::emerg("no \"ssl_certificate\" is defined for the \"ssl\" directive").at(place.clone()))
        }
        false => Ok(true),
    }
}

/// `ssl_protocols`, which may be written several times.
pub fn protocols(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let mut protocols = at.own::<Conf>().protocols.written().copied().unwrap_or_default();
    protocols.add(at, a)?;
    at.own::<Conf>().protocols.put(protocols);
    Ok(())
}

/// `ssl_verify_client`
pub fn verify_client(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let values = [
        ("off", Verify::Off),
        ("on", Verify::On),
        ("optional", Verify::Optional),
        ("optional_no_ca", Verify::OptionalNoCa),
    ];
    let verify = a.one_of(0, &values)?;
    at.own::<Conf>().verify_client.set(verify)
}

/// How long certificates whose names have variables are kept; by default not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// So many; none where there is no cache.
    pub most: usize,
    /// Unless nobody asked for that long.
    pub inactive: Duration,
    /// Then they are read again.
    pub valid: Duration,
}

/// `ssl_certificate_cache` and its likes.
pub fn certificate_cache(a: &Args<'_>) -> Result<Keep, Error> {
    let seconds = |time: &str| conf::sec(time.as_bytes()).map(Duration::from_secs);
    let mut keep = Keep { most: 0, inactive: Duration::from_secs(10), valid: Duration::from_secs(60) };
    for i in 0..a.words.len() {
        let word = a.str(i);
        let read = match word.split_once('=') {
            Some(("max", n)) => n.parse().ok().filter(|n| *n > 0).map(|n| keep.most = n),
            Some(("inactive", time)) => seconds(time).map(|time| keep.inactive = time),
            Some(("valid", time)) => seconds(time).map(|time| keep.valid = time),
            _ => (word == "off" && a.words.len() == 1).then_some(()),
        };
        if read.is_none() {
            return Err(a.error(format!("invalid parameter \"{word}\"")));
        }
    }
    if keep.most == 0 && a.str(0) != "off" {
        return Err(a.error(format!("\"{}\" must have the \"max\" parameter", a.directive)));
    }
    Ok(keep)
}
