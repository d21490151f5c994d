//! Certificates and keys: any bytes, read and told of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use x509::ocsp::{CertId, Response, Subject};
use x509::{Certificate, EncryptedKey};

fuzz_target!(|der: &[u8]| {
    if let Some(certificate) = Certificate::read(der) {
        let mut out = Vec::new();
        certificate.subject.push_rfc2253(&mut out);
        certificate.issuer.push_oneline(&mut out);
        let _ = (certificate.not_after.unix(), certificate.not_before.to_string());
        let _ = (certificate.serial(), certificate.ocsp_responder());
        let _ = (certificate.is_commonly_named("a.test"), certificate.constrains_names());
    }
    let _ = EncryptedKey::read(der);
    let _ = Subject::of(der, der);
    let id = CertId { name: [0; 20], key: [0; 20], serial: der.into() };
    if let Some(basic) = Response::read(der).and_then(|response| response.basic) {
        let _ = (basic.find(&id), basic.certificates().count());
    }
    if der.len() < 1000 {
        let _ = id.request();
    }
});
