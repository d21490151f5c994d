//! What a web server tells of certificates and keys: names, times and numbers out of DER, in OpenSSL's words.
//!
//! Whether a certificate is to be trusted is decided elsewhere; nothing here verifies.
#![forbid(unsafe_code)]

mod certificate;
mod der;
mod key;
mod name;
pub mod ocsp;
mod time;

pub use certificate::Certificate;
pub use key::{Cipher, EncryptedKey, Hash};
pub use name::Name;
pub use time::Time;

#[cfg(test)]
mod tests;
