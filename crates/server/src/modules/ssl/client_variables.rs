//! `$ssl_client_*`: the certificate that the client showed.

use ::aws_lc_rs::digest;
use x509::Certificate;

use super::clients::Shown;
use crate::http::request::Request;
use crate::http::variables::{Variable, variable};
use formats::base64;

/// How they are called, and what they hold.
pub const CERT: Variable = variable("ssl_client_cert", |r, out| {
    shown(r, out, |shown, out| {
        let mut pem = Vec::new();
        push_pem(&shown.der, &mut pem);
        pem.pop();
        for byte in pem {
            out.push(byte);
            if byte == b'\n' {
                out.push(b'\t');
            }
        }
    })
});
/// The certificate as PEM.
pub const RAW_CERT: Variable =
    variable("ssl_client_raw_cert", |r, out| shown(r, out, |shown, out| push_pem(&shown.der, out)));
/// The certificate as PEM, encoded for a URL.
pub const ESCAPED_CERT: Variable = variable("ssl_client_escaped_cert", |r, out| {
    shown(r, out, |shown, out| {
        let mut pem = Vec::new();
        push_pem(&shown.der, &mut pem);
        wire::uri::escape_uri_component(&pem, out);
    })
});
/// The names in it.
pub const S_DN: Variable =
    variable("ssl_client_s_dn", |r, out| read(r, out, |c, out| c.subject.push_rfc2253(out)));
/// See [`S_DN`].
pub const I_DN: Variable =
    variable("ssl_client_i_dn", |r, out| read(r, out, |c, out| c.issuer.push_rfc2253(out)));
/// See [`S_DN`].
pub const S_DN_LEGACY: Variable =
    variable("ssl_client_s_dn_legacy", |r, out| read(r, out, |c, out| c.subject.push_oneline(out)));
/// See [`S_DN`].
pub const I_DN_LEGACY: Variable =
    variable("ssl_client_i_dn_legacy", |r, out| read(r, out, |c, out| c.issuer.push_oneline(out)));
/// Its number.
pub const SERIAL: Variable = variable("ssl_client_serial", |r, out| {
    read(r, out, |c, out| out.extend_from_slice(c.serial().as_bytes()))
});
/// When it begins to be valid.
pub const V_START: Variable = variable("ssl_client_v_start", |r, out| {
    read(r, out, |c, out| out.extend_from_slice(c.not_before.to_string().as_bytes()))
});
/// When it ends to be valid.
pub const V_END: Variable = variable("ssl_client_v_end", |r, out| {
    read(r, out, |c, out| out.extend_from_slice(c.not_after.to_string().as_bytes()))
});
/// The days until then.
pub const V_REMAIN: Variable = variable("ssl_client_v_remain", |r, out| {
    let now = i64::try_from(r.thread.handle.unix_time().as_secs()).unwrap_or(i64::MAX);
    read(r, out, |c, out| {
        let days = (c.not_after.unix() - now) / 86_400;
        wire::push_decimal(out, u64::try_from(days).unwrap_or(0));
    })
});
/// SHA-1 of the whole.
pub const FINGERPRINT: Variable = variable("ssl_client_fingerprint", |r, out| {
    shown(r, out, |shown, out| {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &shown.der);
        for byte in hash.as_ref() {
            out.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
    })
});
/// What came of the verification.
pub const VERIFY: Variable = variable("ssl_client_verify", |r, out| {
    let Some(agreed) = r.client.agreed() else { return false };
    match agreed.shown.as_ref().map(|shown| shown.fault) {
        None => out.extend_from_slice(b"NONE"),
        Some(None) => match agreed.ocsp {
            None => out.extend_from_slice(b"SUCCESS"),
            Some(what) => {
                out.extend_from_slice(b"FAILED:");
                out.extend_from_slice(what.as_bytes());
            }
        },
        Some(Some(fault)) => {
            out.extend_from_slice(b"FAILED:");
            out.extend_from_slice(fault.1.as_bytes());
        }
    }
    true
});

/// Without a certificate the value is empty, without TLS there is none.
fn shown(request: &mut Request, out: &mut Vec<u8>, push: impl FnOnce(&Shown, &mut Vec<u8>)) -> bool {
    let Some(agreed) = request.client.agreed() else { return false };
    if let Some(shown) = &agreed.shown {
        push(shown, out);
    }
    agreed.shown.is_some()
}
fn read(request: &mut Request, out: &mut Vec<u8>, push: impl FnOnce(&Certificate<'_>, &mut Vec<u8>)) -> bool {
    shown(request, out, |shown, out| {
        if let Some(certificate) = Certificate::read(&shown.der) {
            push(&certificate, out);
        }
    })
}

fn push_pem(der: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        base64::encode(line, out);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
}
