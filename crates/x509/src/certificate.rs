//! Certificates.

use crate::der::{BIT_STRING, INTEGER, OCTETS, OID, Reader, SEQUENCE};
use crate::name::Name;
use crate::time::Time;

/// A certificate's fields, as places in its DER.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    serial: &'a [u8],
    /// Who signed it.
    pub issuer: Name<'a>,
    /// Whom it is about.
    pub subject: Name<'a>,
    /// When it begins to be valid.
    pub not_before: Time,
    /// When it ends to be valid.
    pub not_after: Time,
    extensions: &'a [u8],
}

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 1;
/// authorityInfoAccess, and the kind of access that is OCSP.
const ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];
/// subjectAltName and nameConstraints.
const ALTERNATIVES: &[u8] = &[0x55, 29, 17];
const CONSTRAINTS: &[u8] = &[0x55, 29, 30];
/// A general name that is a host's.
const HOST: u8 = 0x82;
/// A general name that is a URI.
const URI: u8 = 0x86;

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` if it is none.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut signed = Reader(der).sequence()?;
        let mut fields = signed.sequence()?;
        let _version = fields.next(VERSION);
        let serial = fields.next(INTEGER)?;
        let _signature = fields.sequence()?;
        let issuer = Name(fields.next(SEQUENCE)?);
        let mut validity = fields.sequence()?;
        let mut time = || validity.any().and_then(|time| Time::read(time.tag, time.content));
        let (not_before, not_after) = (time()?, time()?);
        let subject = Name(fields.next(SEQUENCE)?);
        let _key = fields.sequence()?;
        let mut extensions: &[u8] = &[];
        while let Some(field) = fields.any() {
            if field.tag == EXTENSIONS {
                extensions = Reader(field.content).next(SEQUENCE)?;
            }
        }
        let _algorithm = signed.sequence()?;
        let _signature = signed.next(BIT_STRING)?;
        Some(Certificate { serial, issuer, subject, not_before, not_after, extensions })
    }
    /// The serial number in hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> String {
        let digits = match self.serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        digits.iter().map(|byte| format!("{byte:02X}")).collect()
    }
    /// Where to ask whether it was revoked.
    #[must_use]
    pub fn ocsp_responder(&self) -> Option<&'a str> {
        let mut accesses = Reader(self.extension(ACCESS)?).sequence()?;
        while let Some(mut access) = accesses.sequence() {
            if access.next(OID)? == OCSP
                && let Some(uri) = access.next(URI)
            {
                return std::str::from_utf8(uri).ok();
            }
        }
        None
    }
    /// Whether its subject is a host's name that fits; as with OpenSSL it does not count where an alternative name is one.
    #[must_use]
    pub fn is_commonly_named(&self, host: &str) -> bool {
        let mut others = self.extension(ALTERNATIVES).and_then(|names| Reader(names).sequence());
        let mut others = std::iter::from_fn(|| others.as_mut()?.any());
        !others.any(|name| name.tag == HOST) && self.subject.common().iter().any(|name| fits(name, host))
    }
    /// Whether it says which names those that it signed may have.
    #[must_use]
    pub fn constrains_names(&self) -> bool {
        self.extension(CONSTRAINTS).is_some()
    }
    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = Reader(self.extensions);
        while let Some(mut extension) = extensions.sequence() {
            if extension.next(OID)? == wanted {
                let _critical = extension.next(BOOLEAN);
                return extension.next(OCTETS);
            }
        }
        None
    }
}

/// Whether a name is this host's, or that of all hosts of its domain.
fn fits(name: &str, host: &str) -> bool {
    let domain = name.strip_prefix("*.").filter(|domain| domain.contains('.'));
    let wild = domain
        .zip(host.split_once('.'))
        .is_some_and(|(domain, (label, rest))| !label.is_empty() && domain.eq_ignore_ascii_case(rest));
    wild || name.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_is_one_label() {
        for (name, host, does) in [
            ("a.test", "A.test", true),
            ("a.test", "b.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "c.b.a.test", false),
            ("*.a.test", ".a.test", false),
            ("*.test", "a.test", false),
        ] {
            assert_eq!(fits(name, host), does, "{name} {host}");
        }
    }
}
