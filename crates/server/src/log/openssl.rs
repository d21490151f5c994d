//! What rustls says of a peer's messages, in OpenSSL's words: logs are searched for these.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// An error as OpenSSL writes it; in rustls' words where OpenSSL has none.
pub struct Words<'a>(pub &'a Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Error::AlertReceived(alert) = self.0 {
            return write_alert(u8::from(*alert), *alert, out);
        }
        match reason(self.0) {
            Some((number, words)) => write!(out, "error:0A{number:06X}:SSL routines::{words}"),
            None => write!(out, "{}", self.0),
        }
    }
}

/// A read that failed, in nginx's words.
pub struct ReadFailed<'a>(pub &'a io::Error);

impl fmt::Display for ReadFailed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match of_tls(self.0) {
            Some(error) => write!(out, "SSL_read() failed (SSL: {})", Words(error)),
            None => write!(out, "recv() failed ({})", super::Errno(self.0)),
        }
    }
}

/// What rustls says, if it is that which failed.
pub fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// OpenSSL counts the alerts it received from here on.
const ALERTS: u32 = 1000;

fn write_alert(number: u8, alert: AlertDescription, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(words) = alert_words(number) else { return write!(out, "{}", Error::AlertReceived(alert)) };
    let code = ALERTS + u32::from(number);
    write!(out, "error:0A{code:06X}:SSL routines::{words}:SSL alert number {number}")
}

fn alert_words(number: u8) -> Option<&'static str> {
    Some(match number {
        10 => "sslv3 alert unexpected message",
        20 => "sslv3 alert bad record mac",
        21 => "tlsv1 alert decryption failed",
        22 => "tlsv1 alert record overflow",
        30 => "sslv3 alert decompression failure",
        40 => "sslv3 alert handshake failure",
        41 => "sslv3 alert no certificate",
        42 => "sslv3 alert bad certificate",
        43 => "sslv3 alert unsupported certificate",
        44 => "sslv3 alert certificate revoked",
        45 => "sslv3 alert certificate expired",
        46 => "sslv3 alert certificate unknown",
        47 => "sslv3 alert illegal parameter",
        48 => "tlsv1 alert unknown ca",
        49 => "tlsv1 alert access denied",
        50 => "tlsv1 alert decode error",
        51 => "tlsv1 alert decrypt error",
        60 => "tlsv1 alert export restriction",
        70 => "tlsv1 alert protocol version",
        71 => "tlsv1 alert insufficient security",
        80 => "tlsv1 alert internal error",
        86 => "tlsv1 alert inappropriate fallback",
        90 => "tlsv1 alert user cancelled",
        100 => "tlsv1 alert no renegotiation",
        109 => "tlsv13 alert missing extension",
        110 => "tlsv1 unsupported extension",
        111 => "tlsv1 certificate unobtainable",
        112 => "tlsv1 unrecognized name",
        113 => "tlsv1 bad certificate status response",
        114 => "tlsv1 bad certificate hash value",
        115 => "tlsv1 alert unknown psk identity",
        116 => "tlsv13 alert certificate required",
        120 => "tlsv1 alert no application protocol",
        _ => return None,
    })
}

const UNEXPECTED: (u32, &str) = (244, "unexpected message");
const MISMATCH: (u32, &str) = (159, "length mismatch");
const BAD_EXTENSION: (u32, &str) = (110, "bad extension");

/// OpenSSL's number and words.
fn reason(error: &Error) -> Option<(u32, &'static str)> {
    Some(match error {
        Error::DecryptError => (281, "decryption failed or bad record mac"),
        Error::NoApplicationProtocol => (235, "no application protocol"),
        Error::NoCertificatesPresented => (199, "peer did not return a certificate"),
        Error::InvalidCertificate(CertificateError::BadSignature) => (123, "bad signature"),
        Error::InvalidCertificate(_) => (134, "certificate verify failed"),
        Error::PeerSentOversizedRecord => (150, "encrypted length too long"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => UNEXPECTED,
        Error::InvalidMessage(what) => invalid(what)?,
        Error::PeerIncompatible(what) => incompatible(what)?,
        Error::PeerMisbehaved(what) => misbehaved(what)?,
        _ => return None,
    })
}

fn invalid(what: &InvalidMessage) -> Option<(u32, &'static str)> {
    Some(match what {
        InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge => {
            (152, "excessive message size")
        }
        InvalidMessage::MessageTooLarge => (198, "packet length too long"),
        InvalidMessage::MessageTooShort => (160, "length too short"),
        InvalidMessage::UnknownProtocolVersion | InvalidMessage::InvalidContentType => {
            (267, "wrong version number")
        }
        InvalidMessage::InvalidCcs => (103, "bad change cipher spec"),
        InvalidMessage::InvalidKeyUpdate => (122, "bad key update"),
        InvalidMessage::UnexpectedMessage(_) | InvalidMessage::InvalidEmptyPayload => UNEXPECTED,
        InvalidMessage::UnsupportedCompression => (341, "invalid compression algorithm"),
        InvalidMessage::IllegalEmptyList("CipherSuites") => (183, "no ciphers specified"),
        InvalidMessage::DuplicateExtension(_)
        | InvalidMessage::PreSharedKeyIsNotFinalExtension
        | InvalidMessage::InvalidServerName => BAD_EXTENSION,
        InvalidMessage::MissingData(_)
        | InvalidMessage::TrailingData(_)
        | InvalidMessage::IllegalEmptyList(_)
        | InvalidMessage::IllegalEmptyValue => MISMATCH,
        _ => return None,
    })
}

fn incompatible(what: &PeerIncompatible) -> Option<(u32, &'static str)> {
    Some(match what {
        // Who shares no group or no way to sign with us shares no cipher, to OpenSSL.
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::EcPointsExtensionRequired => (193, "no shared cipher"),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            (118, "no suitable signature algorithm")
        }
        // Clients of TLS 1.1 and before have no such list.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => (258, "unsupported protocol"),
        PeerIncompatible::KeyShareExtensionRequired => (101, "no suitable key share"),
        PeerIncompatible::NullCompressionRequired => (187, "no compression specified"),
        _ => return None,
    })
}

fn misbehaved(what: &PeerMisbehaved) -> Option<(u32, &'static str)> {
    Some(match what {
        PeerMisbehaved::InvalidKeyShare | PeerMisbehaved::OfferedDuplicateKeyShares => (108, "bad key share"),
        PeerMisbehaved::SelectedUnofferedCipherSuite
        | PeerMisbehaved::SelectedDifferentCipherSuiteAfterRetry
        | PeerMisbehaved::SelectedUnusableCipherSuiteForVersion => (261, "wrong cipher returned"),
        PeerMisbehaved::IncorrectBinder => (253, "binder does not verify"),
        PeerMisbehaved::TooManyWarningAlertsReceived => (409, "too many warn alerts"),
        PeerMisbehaved::TooMuchEarlyDataReceived => (164, "too much early data"),
        PeerMisbehaved::TooManyKeyUpdateRequests => (132, "too many key updates"),
        PeerMisbehaved::TooManyRenegotiationRequests => (339, "no renegotiation"),
        PeerMisbehaved::IllegalMiddleboxChangeCipherSpec => UNEXPECTED,
        PeerMisbehaved::MessageInterleavedWithHandshakeMessage => {
            (293, "mixed handshake and non handshake data")
        }
        PeerMisbehaved::TooManyEmptyFragments => (298, "record too small"),
        PeerMisbehaved::DuplicateClientHelloExtensions | PeerMisbehaved::PskExtensionMustBeLast => {
            BAD_EXTENSION
        }
        PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme
        | PeerMisbehaved::SignedKxWithWrongAlgorithm => (370, "wrong signature type"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: &Error) -> String {
        Words(error).to_string()
    }

    #[test]
    fn as_openssl_writes_them() {
        assert_eq!(
            words(&Error::AlertReceived(AlertDescription::UnknownCA)),
            "error:0A000418:SSL routines::tlsv1 alert unknown ca:SSL alert number 48"
        );
        assert_eq!(
            words(&PeerIncompatible::NoCipherSuitesInCommon.into()),
            "error:0A0000C1:SSL routines::no shared cipher"
        );
        assert_eq!(
            words(&Error::DecryptError),
            "error:0A000119:SSL routines::decryption failed or bad record mac"
        );
        assert_eq!(words(&Error::FailedToGetRandomBytes), Error::FailedToGetRandomBytes.to_string());
    }
}
