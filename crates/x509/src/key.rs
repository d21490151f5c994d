//! Private keys behind a pass phrase (PKCS #8 with PBES2, RFC 8018): what is needed to open them.

use crate::der::{INTEGER, OCTETS, OID, Reader, number};

/// An encrypted key.
#[derive(Clone, Copy, Debug)]
pub struct EncryptedKey<'a> {
    /// Of the key derivation.
    pub salt: &'a [u8],
    /// How often it is repeated.
    pub iterations: u32,
    /// What it is made of.
    pub hash: Hash,
    /// What encrypts.
    pub cipher: Cipher,
    /// The cipher's first block.
    pub iv: [u8; 16],
    /// The encrypted key.
    pub data: &'a [u8],
}

/// The hash of PBKDF2's HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// AES in CBC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// What the HMACs have in common, before their number.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2];
/// What AES's modes have in common, before their number.
const AES: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1];

impl<'a> EncryptedKey<'a> {
    /// Reads one; `None` where it is none, or encrypted in another way.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<EncryptedKey<'a>> {
        let mut info = Reader(der).sequence()?;
        let mut scheme = info.sequence()?;
        let data = info.next(OCTETS)?;
        if scheme.next(OID)? != PBES2 {
            return None;
        }
        let mut parameters = scheme.sequence()?;
        let mut derivation = parameters.sequence()?;
        let mut encryption = parameters.sequence()?;
        if derivation.next(OID)? != PBKDF2 {
            return None;
        }
        let mut pbkdf2 = derivation.sequence()?;
        let salt = pbkdf2.next(OCTETS)?;
        let iterations = number(pbkdf2.next(INTEGER)?)?;
        let _key_length = pbkdf2.next(INTEGER);
        let hash = match pbkdf2.sequence() {
            None => Hash::Sha1,
            Some(mut prf) => match prf.next(OID)?.strip_prefix(HMAC)? {
                [7] => Hash::Sha1,
                [9] => Hash::Sha256,
                [10] => Hash::Sha384,
                [11] => Hash::Sha512,
                _ => return None,
            },
        };
        let cipher = match encryption.next(OID)?.strip_prefix(AES)? {
            [2] => Cipher::Aes128,
            [22] => Cipher::Aes192,
            [42] => Cipher::Aes256,
            _ => return None,
        };
        let iv = encryption.next(OCTETS)?.try_into().ok()?;
        Some(EncryptedKey { salt, iterations, hash, cipher, iv, data })
    }
}
