//! OpenSSL's names for what rustls has, and the lists of `ssl_ciphers`.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::{CipherSuite, SupportedCipherSuite};

/// TLS 1.2 suites, in OpenSSL's default order.
static TLS12: &[(&str, SupportedCipherSuite)] = &[
    ("ECDHE-ECDSA-AES256-GCM-SHA384", TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
];
/// TLS 1.3 suites: a list of `ssl_ciphers` does not touch them, as in OpenSSL.
static TLS13: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", TLS13_AES_128_GCM_SHA256),
];

/// OpenSSL's name of a suite; empty for one it is not asked about here.
pub fn openssl_name(suite: CipherSuite) -> &'static str {
    TLS12.iter().chain(TLS13).find(|(_, known)| known.suite() == suite).map_or("", |(name, _)| name)
}

/// The suites of TLS 1.3 that a list names, in its order, and the names without counterpart.
pub fn read_tls13(list: &str) -> (Vec<SupportedCipherSuite>, Vec<&str>) {
    let mut suites = Vec::new();
    let mut unknown = Vec::new();
    for name in list.split(':').filter(|name| !name.is_empty()) {
        match TLS13.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => suites.push(*suite),
            None => unknown.push(name),
        }
    }
    (suites, unknown)
}

/// A group of the key exchange by any of OpenSSL's names for it.
pub fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    Some(match name.to_ascii_lowercase().as_str() {
        "x25519" => kx_group::X25519,
        "prime256v1" | "p-256" | "secp256r1" => kx_group::SECP256R1,
        "secp384r1" | "p-384" => kx_group::SECP384R1,
        "x25519mlkem768" => kx_group::X25519MLKEM768,
        "secp256r1mlkem768" => kx_group::SECP256R1MLKEM768,
        _ => return None,
    })
}

/// What a list means: the suites, TLS 1.3's first, and the elements that nothing here corresponds to.
pub struct List<'a> {
    /// The suites.
    pub suites: Vec<SupportedCipherSuite>,
    /// Elements without counterpart.
    pub unknown: Vec<&'a str>,
    /// OpenSSL would find something in it: a suite, or some of those that are not here and nobody is to have.
    pub means_any: bool,
}

/// Keywords of suites that only those name who want none at all (`ssl_ciphers aNULL` beside `ssl_reject_handshake`).
const NONE: [&str; 4] = ["aNULL", "ADH", "AECDH", "kDHEPSK"];

/// Reads a list in OpenSSL's notation: names, keywords, `!`, `-`, `+`, and `@STRENGTH`, which changes nothing here.
pub fn read(list: &str) -> List<'_> {
    let mut chosen: Vec<&(&str, SupportedCipherSuite)> = Vec::new();
    let mut banned: Vec<&str> = Vec::new();
    let mut unknown = Vec::new();
    for element in list.split([':', ',', ' ']).filter(|e| !e.is_empty() && !e.starts_with('@')) {
        let (sign, name) = match element.as_bytes()[0] {
            b'!' | b'-' | b'+' => element.split_at(1),
            _ => ("", element),
        };
        let meant: Vec<_> = TLS12.iter().filter(|(suite, _)| matches(suite, name)).collect();
        match sign {
            "!" => {
                banned.extend(meant.iter().map(|(suite, _)| *suite));
                chosen.retain(|(suite, _)| !banned.contains(suite));
            }
            "-" => chosen.retain(|(suite, _)| !meant.iter().any(|m| m.0 == *suite)),
            "+" => {}
            _ if meant.is_empty() && !TLS13.iter().any(|(suite, _)| *suite == name) => unknown.push(element),
            _ => {
                let fresh = meant.into_iter().filter(|(suite, _)| !banned.contains(suite));
                let fresh: Vec<_> = fresh.filter(|m| !chosen.iter().any(|c| c.0 == m.0)).collect();
                chosen.extend(fresh);
            }
        }
    }
    let none = NONE.contains(&list);
    if none {
        unknown.clear();
    }
    let means_any = !chosen.is_empty() || list.contains("TLS_") || none;
    let suites = TLS13.iter().chain(chosen).map(|(_, suite)| *suite).collect();
    List { suites, unknown, means_any }
}

/// Whether a suite is meant by a name, a keyword, or keywords joined by `+`.
fn matches(suite: &str, name: &str) -> bool {
    name.split('+').all(|word| match word {
        "ALL"
        | "DEFAULT"
        | "HIGH"
        | "COMPLEMENTOFDEFAULT"
        | "TLSv1.2"
        | "AEAD"
        | "ECDHE"
        | "EECDH"
        | "kECDHE"
        | "kEECDH"
        | "FIPS"
        | "SECLEVEL" => !(word == "FIPS" && suite.contains("CHACHA20")),
        "ECDSA" | "aECDSA" => suite.contains("-ECDSA-"),
        "RSA" | "aRSA" => suite.contains("-RSA-"),
        "AES" | "AESGCM" => suite.contains("-AES"),
        "AES128" => suite.contains("-AES128-"),
        "AES256" => suite.contains("-AES256-"),
        "CHACHA20" => suite.contains("-CHACHA20-"),
        "SHA256" => suite.ends_with("-SHA256"),
        "SHA384" => suite.ends_with("-SHA384"),
        _ => suite == word,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        read(list).suites.iter().map(|s| openssl_name(s.suite())).filter(|n| !n.starts_with("TLS_")).collect()
    }

    #[test]
    fn lists() {
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(names("ECDHE-RSA-AES128-GCM-SHA256"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("EECDH+AESGCM:!AES256").len(), 2);
        assert_eq!(names("ALL:-CHACHA20:!ECDSA").len(), 2);
        let list = read("AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256:DES-CBC3-SHA");
        assert_eq!(list.unknown, ["AES128-SHA", "DES-CBC3-SHA"]);
        assert_eq!(list.suites.len(), 4, "three of TLS 1.3 and one");
        assert!(read("aNULL").means_any && !read("nonsense").means_any && !read("HIGH:!ALL").means_any);
    }
}
