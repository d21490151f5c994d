//! Certificates and keys: any bytes, read and told of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use x509::{Certificate, EncryptedKey};

fuzz_target!(|der: &[u8]| {
    if let Some(certificate) = Certificate::read(der) {
        let mut out = Vec::new();
        certificate.subject.push_rfc2253(&mut out);
        certificate.issuer.push_oneline(&mut out);
        let _ = (certificate.not_after.unix(), certificate.not_before.to_string());
        let _ = (certificate.serial(), certificate.ocsp_responder());
    }
    let _ = EncryptedKey::read(der);
});
