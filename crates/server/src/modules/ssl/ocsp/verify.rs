//! Whether an answer is one, about the certificate that was asked for, and from somebody who may say that.

use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509::ocsp::{Basic, OCSP_SIGNING, Response, Status};

use super::ask::Question;

/// Clocks may differ by so many seconds.
const SKEW: i64 = 300;

/// What an answer says, and until when; or what is wrong with it, in nginx's words.
pub fn judge(der: &[u8], question: &Question<'_>, now: i64) -> Result<(Status, i64), String> {
    let response = Response::read(der).ok_or("d2i_OCSP_RESPONSE() failed")?;
    if response.status != 0 {
        let words = words(response.status);
        return Err(format!("OCSP response not successful ({}: {words})", response.status));
    }
    let basic = response.basic.ok_or("OCSP_response_get1_basic() failed")?;
    if let Some(algorithms) = &question.verify
        && !is_signed(&basic, question.issuer, algorithms, now)
    {
        return Err("OCSP_basic_verify() failed".into());
    }
    let single = basic.find(question.id).ok_or("certificate status not found in the OCSP response")?;
    let until = single.next_update.map_or(i64::MAX, x509::Time::unix);
    if single.this_update.unix() > now + SKEW || until < now - SKEW {
        return Err("OCSP_check_validity() failed".into());
    }
    Ok((single.status, until))
}

/// OpenSSL's words.
fn words(status: u32) -> &'static str {
    match status {
        1 => "malformedrequest",
        2 => "internalerror",
        3 => "trylater",
        5 => "sigrequired",
        6 => "unauthorized",
        _ => "(UNKNOWN)",
    }
}

/// Whether the certificate's signer signed, or somebody whom it lets do that.
fn is_signed(
    basic: &Basic<'_>,
    issuer: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
    now: i64,
) -> bool {
    let signed_by = |der: &CertificateDer<'_>| {
        let Ok(certificate) = EndEntityCert::try_from(der) else { return false };
        let fitting = algorithms.all.iter().filter(|a| a.signature_alg_id().as_ref() == basic.algorithm);
        fitting.into_iter().any(|a| certificate.verify_signature(*a, basic.signed, basic.signature).is_ok())
    };
    if signed_by(issuer) {
        return true;
    }
    let others = basic.certificates().map(CertificateDer::from);
    others.filter(signed_by).any(|other| speaks_for(&other, issuer, algorithms, now))
}

fn speaks_for(
    other: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
    now: i64,
) -> bool {
    let (Ok(certificate), Ok(anchor)) =
        (EndEntityCert::try_from(other), webpki::anchor_from_trusted_cert(issuer))
    else {
        return false;
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.max(0).unsigned_abs()));
    let usage = KeyUsage::required(OCSP_SIGNING);
    certificate.verify_for_usage(algorithms.all, &[anchor], &[], now, usage, None, None).is_ok()
}
