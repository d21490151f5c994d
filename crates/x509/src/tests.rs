use proptest::prelude::*;

use crate::ocsp::{CertId, Response, Status};
use crate::{Certificate, Cipher, EncryptedKey, Hash};

/// Made by OpenSSL, which also says what is to be seen in it.
const CERTIFICATE: &[u8] = include_bytes!("tests/certificate.der");
const KEY: &[u8] = include_bytes!("tests/key.der");

fn rfc2253(name: crate::Name<'_>) -> String {
    let mut out = Vec::new();
    name.push_rfc2253(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn what_openssl_says() {
    let certificate = Certificate::read(CERTIFICATE).expect("a certificate");
    let name = r#"emailAddress=a@b,CN=\C3\9Cn\C3\AF \<a\>,OU=x,O=A\, \"B\" \+ C,C=DE"#;
    assert_eq!(rfc2253(certificate.subject), name);
    let mut line = Vec::new();
    certificate.issuer.push_oneline(&mut line);
    assert_eq!(line, br#"/C=DE/O=A, "B" + C/OU=x/CN=\xC3\x9Cn\xC3\xAF <a>/emailAddress=a@b"#);
    assert_eq!(certificate.serial(), "0102FE");
    assert_eq!(certificate.not_before.to_string(), "Nov 22 02:36:00 2026 GMT");
    assert_eq!(certificate.not_after.unix() - certificate.not_before.unix(), 30 * 86_400);
    assert_eq!(certificate.not_before.unix(), 1_795_314_960);
    assert_eq!(certificate.ocsp_responder(), Some("http://ocsp.test/x"));
}

#[test]
fn an_encrypted_key() {
    let key = EncryptedKey::read(KEY).expect("a key");
    assert_eq!((key.hash, key.cipher, key.iterations), (Hash::Sha256, Cipher::Aes256, 2048));
    assert_eq!((key.salt.len(), key.data.len() % 16), (8, 0));
    assert!(EncryptedKey::read(CERTIFICATE).is_none());
}

#[test]
fn what_is_cut_is_no_certificate() {
    for end in 0..CERTIFICATE.len() {
        assert!(Certificate::read(&CERTIFICATE[..end]).is_none(), "{end} bytes");
    }
}

fn id(serial: &[u8]) -> CertId {
    CertId { name: [1; 20], key: [2; 20], serial: serial.into() }
}

/// An answer of openssl's has the same form as this one, which says that a certificate is good.
#[test]
fn responders_answer() {
    let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let asked = id(b"\x07").request();
    // The question holds the certificate as the answer does.
    let one = &asked[8..];
    let single = element(0x30, &[one, &[0x80, 0], &element(0x18, b"20260101000000Z")].concat());
    let key = element(0xa2, &element(4, &[3; 20]));
    let data = [&key[..], &element(0x18, b"20260101000000Z"), &element(0x30, &single)].concat();
    let data = element(0x30, &data);
    let long = |tag: u8, content: &[u8]| [&[tag, 0x81, content.len() as u8], content].concat();
    let basic = [&data[..], &element(0x30, b"\x06\x01\x01"), &element(3, b"\0sig")].concat();
    let oid = element(6, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]);
    let typed = [&oid[..], &long(4, &long(0x30, &basic))].concat();
    let answer = long(0x30, &[&element(0x0a, &[0])[..], &long(0xa0, &long(0x30, &typed))].concat());
    let response = Response::read(&answer).expect("an answer");
    let basic = response.basic.expect("a signed one");
    assert_eq!((response.status, basic.signature, basic.signed), (0, &b"sig"[..], &data[..]));
    let single = basic.find(&id(b"\x07")).expect("a certificate");
    assert_eq!((single.status, single.next_update), (Status::Good, None));
    assert_eq!(single.this_update.to_string(), "Jan  1 00:00:00 2026 GMT");
    assert!(basic.find(&id(b"\x08")).is_none());
}

proptest! {
    #[test]
    fn nothing_panics(place in 0..CERTIFICATE.len(), byte: u8, tail in any::<Vec<u8>>()) {
        let mut der = CERTIFICATE.to_vec();
        der[place] = byte;
        let texts = |der: &[u8]| {
            if let Some(certificate) = Certificate::read(der) {
                let mut out = Vec::new();
                certificate.subject.push_rfc2253(&mut out);
                certificate.issuer.push_oneline(&mut out);
                let _ = certificate.not_after.unix();
                let _ = (certificate.serial(), certificate.ocsp_responder());
                let _ = (certificate.is_commonly_named("a.test"), certificate.constrains_names());
            }
            let _ = EncryptedKey::read(der);
            if let Some(basic) = Response::read(der).and_then(|response| response.basic) {
                let _ = (basic.find(&id(b"\x01")), basic.certificates().count());
            }
        };
        texts(&der);
        texts(&tail);
    }
}
