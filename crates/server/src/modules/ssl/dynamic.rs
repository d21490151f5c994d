//! Certificates whose names have variables: read when a client comes, and kept for a while (`ssl_certificate_cache`).

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use conf::Error;
use rustls::crypto::CryptoProvider;
use rustls::server::ServerConfig;

use super::certificates::{self, Certificates};
use super::tls::Failure;
use super::written::{Conf, Keep, Named};
use crate::http::request::Request;
use crate::worker::generation::Compiler;
use crate::worker::ledger::{Class, Line};

/// The certificates of one server.
pub struct Dynamic {
    pairs: Vec<(Named, Named)>,
    passwords: Vec<String>,
    provider: Arc<CryptoProvider>,
    kept: Recent<Key, Arc<ServerConfig>>,
}

/// The names of all files, and whether HTTP/2 is offered.
type Key = (Vec<(String, String)>, bool);

/// What was made for some clients, and may do for others (`.._certificate_cache`).
pub struct Recent<K, V> {
    keep: Keep,
    kept: Mutex<HashMap<K, Kept<V>>>,
}
struct Kept<V> {
    value: V,
    read: Instant,
    used: Instant,
}
impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// Nothing yet.
    pub fn new(keep: Keep) -> Recent<K, V> {
        Recent { keep, kept: Mutex::default() }
    }
    /// What is there, unless it is too old.
    pub fn find(&self, key: &K, now: Instant) -> Option<V> {
        if self.keep.most == 0 {
            return None;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.get_mut(key).filter(|entry| now - entry.read < self.keep.valid)?;
        entry.used = now;
        Some(entry.value.clone())
    }
    /// Keeps it, in the place of what was not used for the longest time.
    pub fn store(&self, key: K, value: V, now: Instant) {
        if self.keep.most == 0 {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, entry| now - entry.used < self.keep.inactive);
        if kept.len() >= self.keep.most
            && let Some(oldest) = kept.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(key, Kept { value, read: now, used: now });
    }
}

impl Dynamic {
    /// What is configured; `None` where no name has variables.
    ///
    /// # Errors
    /// When the pass phrases cannot be read.
    pub fn compile(
        conf: &Conf,
        provider: &Arc<CryptoProvider>,
        with: &Compiler<'_>,
    ) -> Result<Option<Dynamic>, Error> {
        let pairs: Vec<_> = conf.certificates.iter().cloned().zip(conf.keys.iter().cloned()).collect();
        if pairs.iter().all(|(certificate, key)| certificate.template.is_none() && key.template.is_none()) {
            return Ok(None);
        }
        Ok(Some(Dynamic {
            pairs,
            passwords: certificates::passwords(conf, with)?,
            provider: provider.clone(),
            kept: Recent::new(conf.keep.or(Keep::default())),
        }))
    }
    /// The configuration for the client at hand: `base` with its certificates.
    pub fn load(
        &self,
        request: &mut Request,
        base: &Arc<ServerConfig>,
        http2: bool,
    ) -> Result<Arc<ServerConfig>, Failure> {
        request.prepare_values();
        let names = self
            .pairs
            .iter()
            .map(|(certificate, key)| (path_of(certificate, request), path_of(key, request)));
        let key = (names.collect::<Vec<_>>(), http2);
        let now = request.thread.handle.now();
        if let Some(config) = self.kept.find(&key, now) {
            return Ok(config);
        }
        let pair = |(certificate, key): &(String, String)| {
            let _line = Line::new(Class::File);
            let reads = |path: &str| std::fs::read(path).map(Into::into);
            certificates::pair(certificate, key, &self.passwords, &self.provider, &reads).map(Arc::new)
        };
        let pairs = key.0.iter().map(pair).collect::<Result<Vec<_>, _>>().map_err(Failure::Unreadable)?;
        let mut config = ServerConfig::clone(base);
        config.cert_resolver = Arc::new(Certificates::from(pairs));
        let config = Arc::new(config);
        self.kept.store(key, config.clone(), now);
        Ok(config)
    }
}

/// A file's path for the client at hand; `data:` stays what it is.
pub fn path_of(file: &Named, request: &mut Request) -> String {
    let Some(template) = &file.template else { return file.path.clone() };
    let mut text = Vec::new();
    template.render(request, &mut text);
    let text = String::from_utf8_lossy(&text);
    match text.is_empty() || text.starts_with("data:") || text.starts_with('/') {
        true => text.into_owned(),
        false => Path::new(&file.path).join(&*text).to_string_lossy().into_owned(),
    }
}
