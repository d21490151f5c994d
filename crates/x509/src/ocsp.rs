//! What an OCSP responder is asked, and what it answers (RFC 6960). Nothing here verifies.

use crate::der::{BIT_STRING, Element, INTEGER, OCTETS, OID, Reader, SEQUENCE};
use crate::time::Time;

/// id-sha1
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
/// id-pkix-ocsp-basic
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// id-kp-OCSPSigning: whom a signer lets speak for itself.
pub const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
const NULL: u8 = 5;
const ENUMERATED: u8 = 0x0a;
const TAG_0: u8 = 0xa0;

/// A certificate as responders know it, before it is hashed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The signer's name.
    pub issuer: &'a [u8],
    /// The signer's key.
    pub key: &'a [u8],
    /// The certificate's number.
    pub serial: &'a [u8],
}

impl<'a> Subject<'a> {
    /// A certificate and who signed it; `None` if they cannot be read, or do not belong together.
    #[must_use]
    pub fn of(certificate: &'a [u8], issuer: &'a [u8]) -> Option<Subject<'a>> {
        let (own, signer) = (Parts::of(certificate)?, Parts::of(issuer)?);
        let fits = own.issuer == signer.subject;
        fits.then_some(Subject { issuer: signer.subject, key: signer.key, serial: own.serial })
    }
}

/// What of a certificate counts here; names with their tags.
struct Parts<'a> {
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    key: &'a [u8],
}
impl<'a> Parts<'a> {
    fn of(der: &'a [u8]) -> Option<Parts<'a>> {
        let mut fields = Reader(der).sequence()?.sequence()?;
        let _version = fields.next(TAG_0);
        let serial = fields.next(INTEGER)?;
        let _signature = fields.sequence()?;
        let issuer = fields.any()?.whole;
        let _validity = fields.sequence()?;
        let subject = fields.any()?.whole;
        let mut key = fields.sequence()?;
        let _algorithm = key.sequence()?;
        // Behind the number of bits that do not count.
        let key = key.next(BIT_STRING)?.get(1..)?;
        Some(Parts { serial, issuer, subject, key })
    }
}

/// The names of a certificate and its signer are known by these hashes (SHA-1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertId {
    /// Of the signer's name.
    pub name: [u8; 20],
    /// Of the signer's key.
    pub key: [u8; 20],
    /// The certificate's number.
    pub serial: Box<[u8]>,
}

impl CertId {
    /// The question about this certificate.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[element(OID, SHA1), element(NULL, &[])].concat());
        let hashes = [element(OCTETS, &self.name), element(OCTETS, &self.key)].concat();
        let id = [algorithm, hashes, element(INTEGER, &self.serial)].concat();
        // The certificate, the request about it, the list of those, what may be signed, and all of it.
        (0..5).fold(id, |inner, _| element(SEQUENCE, &inner))
    }
    fn is(&self, mut id: Reader<'_>) -> Option<bool> {
        let _algorithm = id.sequence()?;
        let (name, key, serial) = (id.next(OCTETS)?, id.next(OCTETS)?, id.next(INTEGER)?);
        Some(name == self.name && key == self.key && *serial == *self.serial)
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            out.push(0x82);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// What is known of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was not revoked.
    Good,
    /// It was.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// The status of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Single {
    /// What is known.
    pub status: Status,
    /// Since when.
    pub this_update: Time,
    /// Until when.
    pub next_update: Option<Time>,
}

/// A responder's answer.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// 0 if it has one.
    pub status: u32,
    /// The answer itself.
    pub basic: Option<Basic<'a>>,
}

/// An answer that is signed.
#[derive(Clone, Copy, Debug)]
pub struct Basic<'a> {
    /// What is signed.
    pub signed: &'a [u8],
    /// How, as the content of an AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    certificates: &'a [u8],
    responses: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads an answer; `None` if it is none.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Response<'a>> {
        let mut fields = Reader(der).sequence()?;
        let status = crate::der::number(fields.next(ENUMERATED)?)?;
        let basic = fields.next(TAG_0).map(|bytes| Basic::read(Reader(bytes)));
        Some(Response { status, basic: basic.flatten() })
    }
}

impl<'a> Basic<'a> {
    fn read(mut bytes: Reader<'a>) -> Option<Basic<'a>> {
        let mut typed = bytes.sequence()?;
        if typed.next(OID)? != BASIC {
            return None;
        }
        let mut basic = Reader(typed.next(OCTETS)?).sequence()?;
        let signed = basic.any().filter(|element| element.tag == SEQUENCE)?;
        let algorithm = basic.next(SEQUENCE)?;
        let signature = basic.next(BIT_STRING)?.get(1..)?;
        let certificates = match basic.next(TAG_0) {
            Some(bytes) => Reader(bytes).next(SEQUENCE)?,
            None => &[],
        };
        let mut data = Reader(signed.content);
        let _version = data.next(TAG_0);
        let (_responder, _produced) = (data.any()?, data.any()?);
        let responses = data.next(SEQUENCE)?;
        Some(Basic { signed: signed.whole, algorithm, signature, certificates, responses })
    }
    /// Certificates that came with the answer.
    pub fn certificates(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Reader(self.certificates);
        std::iter::from_fn(move || rest.any().map(|element| element.whole))
    }
    /// What is said of a certificate.
    #[must_use]
    pub fn find(&self, id: &CertId) -> Option<Single> {
        let mut responses = Reader(self.responses);
        while let Some(mut single) = responses.sequence() {
            let this = single.sequence()?;
            if !id.is(this)? {
                continue;
            }
            let status = match single.any()?.tag & 0x1f {
                0 => Status::Good,
                1 => Status::Revoked,
                _ => Status::Unknown,
            };
            let time = |element: Element<'_>| Time::read(element.tag, element.content);
            let this_update = time(single.any()?)?;
            let next_update = match single.next(TAG_0) {
                Some(bytes) => Some(time(Reader(bytes).any()?)?),
                None => None,
            };
            return Some(Single { status, this_update, next_update });
        }
        None
    }
}
