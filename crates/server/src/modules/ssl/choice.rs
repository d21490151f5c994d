//! What is spoken with clients and with servers: protocols, cipher suites, groups, and the commands that OpenSSL calls
//! `SSL_CONF_cmd`.

use conf::{Error, Scope};
use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

use super::ciphers;
use super::written::Protocols;

impl Protocols {
    /// All, where there are none.
    fn or_all(self) -> Protocols {
        match self {
            Protocols { tls12: false, tls13: false } => Protocols { tls12: true, tls13: true },
            some => some,
        }
    }
    /// As rustls has them.
    pub fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(self.tls13, &TLS13), (self.tls12, &TLS12)];
        all.into_iter().filter(|version| version.0).map(|version| version.1).collect()
    }
}

/// What is offered.
pub struct Choice {
    /// The versions.
    pub protocols: Protocols,
    suites: Vec<rustls::SupportedCipherSuite>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    /// The server's order of suites counts.
    pub server_order: bool,
    /// A certificate and a key that a command names, by their paths as written.
    pub certificate: Option<String>,
    /// See `certificate`.
    pub key: Option<String>,
}

impl Choice {
    /// What these directives choose.
    ///
    /// # Errors
    /// In nginx's words: lists and commands with nothing that can be had.
    pub fn of(
        at: &Scope,
        protocols: Protocols,
        ciphers: Option<&str>,
        curves: Option<&str>,
        commands: &[(String, String)],
    ) -> Result<Choice, Error> {
        let provider = aws_lc_rs::default_provider();
        let mut choice = Choice {
            protocols: protocols.or_all(),
            suites: provider.cipher_suites,
            groups: provider.kx_groups,
            server_order: false,
            certificate: None,
            key: None,
        };
        if let Some(list) = ciphers {
            choice.ciphers(at, list)?;
        }
        if let Some(list) = curves {
            choice.curves(at, list)?;
        }
        commands.iter().try_for_each(|(name, value)| command(at, &mut choice, name, value))?;
        Ok(choice)
    }
    /// The cryptography that rustls is to use.
    pub fn provider(&self) -> CryptoProvider {
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
        "certificate" => {
            choice.certificate = Some(value.into());
            Ok(())
        }
        "privatekey" => {
            choice.key = Some(value.into());
            Ok(())
        }
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
