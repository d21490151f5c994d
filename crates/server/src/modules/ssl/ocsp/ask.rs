//! One question, and its answer.

use std::rc::Rc;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use wire::{Progress, ResponseHead, ResponseParser};
use x509::ocsp::{CertId, Status};

use super::{Responder, verify};
use crate::log::Level;
use crate::upstream::{NoLink, Peer, open};
use crate::worker::thread::Thread;

/// How long a responder may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer, with its head.
const LONGEST: usize = 64 * 1024;

/// A question about a certificate.
pub struct Question<'a> {
    /// Which certificate.
    pub id: &'a CertId,
    /// Who signed it.
    pub issuer: &'a CertificateDer<'static>,
    /// Its name, for the log.
    pub name: &'a str,
    /// With what a signature is judged; `None`: it is not.
    pub verify: Option<WebPkiSupportedAlgorithms>,
}

/// What was answered.
pub struct Answer {
    /// The response itself.
    pub der: Vec<u8>,
    /// What it says.
    pub status: Status,
    /// Until when.
    pub valid: i64,
}

/// Asks a responder; what goes wrong is logged.
pub async fn ask(thread: &Rc<Thread>, responder: &Responder, question: &Question<'_>) -> Option<Answer> {
    let path = path(&responder.uri, &question.id.request());
    let text = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", responder.host);
    let mut failed = "no addresses".to_owned();
    let mut asked = "";
    for peer in &responder.peers {
        asked = &peer.name;
        match fetch(thread, peer, &text).await {
            Ok(der) => {
                let now = i64::try_from(thread.handle.unix_time().as_secs()).unwrap_or(i64::MAX);
                match verify::judge(&der, question, now) {
                    Ok((status, valid)) => return Some(Answer { der, status, valid }),
                    Err(what) => failed = what,
                }
                break;
            }
            Err(what) => failed = what,
        }
    }
    note(thread, &failed, &responder.host, asked, question.name);
    None
}

/// Writes to the error log as nginx does of a question to a responder.
pub fn note(thread: &Thread, what: &str, host: &str, peer: &str, certificate: &str) {
    let peer = if peer.is_empty() { String::new() } else { format!(", peer: {peer}") };
    let certificate = match certificate {
        "" => String::new(),
        name => format!(", certificate: \"{name}\""),
    };
    thread.process.log(
        Level::Error,
        format_args!("{what} while requesting certificate status, responder: {host}{peer}{certificate}"),
    );
}

/// The question is part of the path, in Base64.
fn path(uri: &str, request: &[u8]) -> String {
    let mut text = Vec::new();
    formats::base64::encode(request, &mut text);
    let text = String::from_utf8_lossy(&text);
    let text = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("{uri}{}{text}", if uri.ends_with('/') { "" } else { "/" })
}

async fn fetch(thread: &Rc<Thread>, peer: &Peer, text: &str) -> Result<Vec<u8>, String> {
    const INVALID: &str = "OCSP responder sent invalid response";
    let failed = |what: &str, error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::TimedOut => "OCSP responder timed out (110: Connection timed out)".to_owned(),
        _ => format!("{what}() failed ({})", crate::log::Errno(error)),
    };
    let link = open(thread, peer, TIMEOUT).await.map_err(|error| match error {
        NoLink::Full => "no free worker_connections for an OCSP responder".into(),
        NoLink::Unbound(why) => failed("bind", &why.1),
        NoLink::Failed(error) | NoLink::Refused(error) => failed("connect", &error),
        _ => "connect() failed".into(),
    })?;
    link.socket.write_all(text.as_bytes()).await.map_err(|error| failed("send", &error))?;
    let (mut head, mut parser, mut got) = (ResponseHead::default(), ResponseParser::new(), Vec::new());
    let mut part = vec![0; 8 * 1024];
    loop {
        let n = link.socket.read(&mut part).await.map_err(|error| failed("recv", &error))?;
        got.extend_from_slice(&part[..n]);
        let done = parser.parse(&got, &mut head, LONGEST).map_err(|_| INVALID)? == Progress::Done;
        let length = head.content_length(&got).ok().flatten().map(|length| length as usize);
        let whole = done && length.is_some_and(|length| got.len() - head.length >= length);
        match (whole || n == 0, done) {
            (true, true) => return body(&head, &got),
            (true, false) => return Err("OCSP responder prematurely closed connection".into()),
            (false, _) if got.len() > LONGEST => return Err(INVALID.into()),
            (false, _) => {}
        }
    }
}

fn body(head: &ResponseHead, got: &[u8]) -> Result<Vec<u8>, String> {
    let kind = head.headers.iter().find(|h| h.name.of(got).eq_ignore_ascii_case(b"content-type"));
    let kind = kind.map(|header| header.value.of(got)).unwrap_or_default();
    if !kind.eq_ignore_ascii_case(b"application/ocsp-response") {
        let kind = String::from_utf8_lossy(kind);
        return Err(format!("OCSP responder sent invalid \"Content-Type\" header: \"{kind}\""));
    }
    Ok(got[head.length..].to_vec())
}
