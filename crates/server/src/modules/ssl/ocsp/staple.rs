//! `ssl_stapling`: what a responder says of our own certificate goes out with it.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509::Certificate;
use x509::ocsp::{CertId, Status};

use super::ask::{Question, ask, note};
use super::{Responder, id_of};
use crate::worker::generation::Compiler;
use crate::worker::thread::{Thread, with_current};

/// An answer is asked for anew so many seconds before it ends, after an hour at the latest, and never earlier than this.
const PAUSE: i64 = 300;
const HOUR: i64 = 3600;

/// A certificate, and what is known of it.
pub struct Staple {
    /// Without an answer.
    bare: Arc<CertifiedKey>,
    name: String,
    id: CertId,
    issuer: CertificateDer<'static>,
    responder: Responder,
    verify: Option<WebPkiSupportedAlgorithms>,
    state: Mutex<State>,
}

/// The answer at hand. Times are seconds since 1970.
struct State {
    with_answer: Arc<CertifiedKey>,
    valid: i64,
    refresh: i64,
    loading: bool,
}

impl std::fmt::Debug for Staple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staple").field("name", &self.name).finish()
    }
}

impl Staple {
    /// A certificate whose responder is asked about it; what stands in the way otherwise, in nginx's words.
    ///
    /// # Errors
    /// Nothing that keeps the server from starting.
    pub fn new(
        pair: &Arc<CertifiedKey>,
        name: &str,
        trusted: &[CertificateDer<'static>],
        url: Option<&str>,
        verify: Option<WebPkiSupportedAlgorithms>,
        with: &Compiler<'_>,
    ) -> Result<Staple, String> {
        let ignored = |what: String| format!("\"ssl_stapling\" ignored, {what} certificate \"{name}\"");
        let leaf = pair.cert.first().and_then(|der| Some((der, Certificate::read(der)?)));
        let Some((der, leaf)) = leaf else { return Err(ignored("cannot read".into())) };
        let mut signers = pair.cert.iter().skip(1).chain(trusted);
        let found = signers.find_map(|signer| Some((id_of(der, signer)?, signer.clone().into_owned())));
        let Some((id, issuer)) = found else {
            return Err(ignored("issuer certificate not found for".into()));
        };
        let Some(url) = url.or(leaf.ocsp_responder()) else {
            return Err(ignored("no OCSP responder URL in the".into()));
        };
        let responder = Responder::find(url, with)
            .map_err(|what| ignored(format!("{what} in OCSP responder \"{url}\" in the")))?;
        let state = State { with_answer: pair.clone(), valid: i64::MIN, refresh: i64::MIN, loading: false };
        let (bare, name, state) = (pair.clone(), name.to_owned(), Mutex::new(state));
        Ok(Staple { bare, name, id, issuer, responder, verify, state })
    }
    /// The certificate without an answer.
    pub fn bare(&self) -> &Arc<CertifiedKey> {
        &self.bare
    }
    /// The certificate for a handshake, with the answer where there is one; one that is old is asked for anew.
    pub fn current(self: &Arc<Self>) -> Arc<CertifiedKey> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if state.valid >= now { &state.with_answer } else { &self.bare }.clone();
        if !state.loading && state.refresh < now {
            let staple = self.clone();
            with_current(|thread| {
                state.loading = true;
                thread.handle.spawn(staple.renew(thread.clone()));
            });
        }
        key
    }
    async fn renew(self: Arc<Self>, thread: Rc<Thread>) {
        let question = Question { id: &self.id, issuer: &self.issuer, name: &self.name, verify: self.verify };
        let answer = ask(&thread, &self.responder, &question).await;
        let now = i64::try_from(thread.handle.unix_time().as_secs()).unwrap_or(i64::MAX);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.loading = false;
        state.refresh = now + PAUSE;
        let Some(answer) = answer else { return };
        if answer.status != Status::Good {
            let word = if answer.status == Status::Revoked { "revoked" } else { "unknown" };
            let what = format!("certificate status \"{word}\" in the OCSP response");
            return note(&thread, &what, &self.responder.host, "", &self.name);
        }
        let mut key = CertifiedKey::clone(&self.bare);
        key.ocsp = Some(answer.der);
        state.with_answer = Arc::new(key);
        state.valid = answer.valid;
        state.refresh = answer.valid.saturating_sub(PAUSE).min(now + HOUR).max(now + PAUSE);
    }
}
