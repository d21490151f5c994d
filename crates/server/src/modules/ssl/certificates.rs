//! The certificates of a server, their keys, and what an OCSP responder says of them.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use ::aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use ::aws_lc_rs::iv::FixedLength;
use ::aws_lc_rs::pbkdf2;
use conf::{Error, Scope};
use md5::{Digest, Md5};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::CertifiedKey;
use x509::{Cipher, EncryptedKey, Hash};

use super::choice::Choice;
use super::ocsp::staple::Staple;
use super::written::Conf;
use crate::worker::generation::Compiler;

/// How PEM names a key with a pass phrase.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// More rounds than this would only be there to keep us busy.
const MOST_ROUNDS: u32 = 10_000_000;

/// The certificates of one server: the first that suits what the client can verify.
#[derive(Debug, Default)]
pub struct Certificates(Vec<Shown>);

/// A certificate with its key.
#[derive(Debug)]
enum Shown {
    /// As it is.
    Plain(Arc<CertifiedKey>),
    /// With what a responder says of it.
    Stapled(Arc<Staple>),
}
impl Shown {
    fn bare(&self) -> &CertifiedKey {
        match self {
            Shown::Plain(pair) => pair,
            Shown::Stapled(staple) => staple.bare(),
        }
    }
    fn current(&self) -> Arc<CertifiedKey> {
        match self {
            Shown::Plain(pair) => pair.clone(),
            Shown::Stapled(staple) => staple.current(),
        }
    }
}

/// Reads a file: of those that the configuration was read with, or as it is now.
pub type Reads<'a> = &'a dyn Fn(&str) -> io::Result<Arc<[u8]>>;

impl From<Vec<Arc<CertifiedKey>>> for Certificates {
    fn from(pairs: Vec<Arc<CertifiedKey>>) -> Certificates {
        Certificates(pairs.into_iter().map(Shown::Plain).collect())
    }
}

impl Certificates {
    /// Reads what is configured.
    ///
    /// # Errors
    /// In nginx's words: files that cannot be read, keys that do not fit.
    pub fn load(
        at: &Scope,
        conf: &Conf,
        choice: &Choice,
        provider: &CryptoProvider,
        with: &Compiler<'_>,
    ) -> Result<Certificates, Error> {
        let passwords = passwords(conf, with)?;
        let staple = staple(at, conf, with)?;
        let mut trusted = Vec::new();
        let files = [conf.trusted_certificate.written(), conf.client_certificate.written()];
        for file in files.into_iter().flatten().filter(|_| conf.stapling.or(false)) {
            trusted.extend(chain(&file.path, with)?);
        }
        // What a command names goes before.
        let commanded = choice.certificate.as_ref().zip(choice.key.as_ref());
        let written = conf.certificates.iter().map(|file| &file.path);
        let pairs = commanded.into_iter().chain(written.zip(conf.keys.iter().map(|file| &file.path)));
        let reads: Reads<'_> = &|path| with.inputs.read(path.as_ref());
        let load = |(certificate, key): (&String, &String)| {
            let mut pair = pair(certificate, key, &passwords, provider, reads)?;
            pair.ocsp = staple.clone();
            let pair = Arc::new(pair);
            if !conf.stapling.or(false) || staple.is_some() {
                return Ok::<_, Error>(Shown::Plain(pair));
            }
            let verify = provider.signature_verification_algorithms;
            let verify = conf.stapling_verify.or(false).then_some(verify);
            let url = conf.stapling_responder.written().map(String::as_str);
            Ok(match Staple::new(&pair, certificate, &trusted, url, verify, with) {
                Ok(staple) => Shown::Stapled(Arc::new(staple)),
                Err(what) => {
                    at.warn(Error::warn(what).at(at.at.clone()));
                    Shown::Plain(pair)
                }
            })
        };
        Ok(Certificates(pairs.map(load).collect::<Result<_, _>>()?))
    }
}

impl rustls::server::ResolvesServerCert for Certificates {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suits = |shown: &&Shown| shown.bare().key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(suits).or(self.0.first()).map(Shown::current)
    }
}

/// A certificate with those that signed it, and its key.
///
/// # Errors
/// In nginx's words.
pub fn pair(
    certificate: &str,
    key: &str,
    passwords: &[String],
    provider: &CryptoProvider,
    reads: Reads<'_>,
) -> Result<CertifiedKey, Error> {
    let chain = chain_by(certificate, reads)?;
    let der = key_of(key, passwords, reads)?;
    let cannot = |e: rustls::Error| Error::emerg(format!("cannot load certificate key \"{key}\": {e}"));
    let signer = provider.key_provider.load_private_key(der).map_err(cannot)?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(Error::emerg(format!(
                "SSL_CTX_use_PrivateKey(\"{key}\") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)"
            )))
        }
        _ => Ok(pair),
    }
}

/// The bytes of a file, or those behind `data:`.
///
/// # Errors
/// When the file cannot be read.
pub fn read(kind: &str, path: &str, with: &Compiler<'_>) -> Result<Arc<[u8]>, Error> {
    read_by(kind, path, &|path| with.inputs.read(path.as_ref()))
}
fn read_by(kind: &str, path: &str, reads: Reads<'_>) -> Result<Arc<[u8]>, Error> {
    if let Some(data) = path.strip_prefix("data:") {
        return Ok(data.as_bytes().into());
    }
    reads(path).map_err(|e| {
        Error::emerg(format!("cannot load {kind} \"{path}\": BIO_new_file() failed ({})", unopened(path, &e)))
    })
}

/// A file that has to be there.
///
/// # Errors
/// In nginx's words when it cannot be read.
pub fn readable(path: &str, with: &Compiler<'_>) -> Result<(), Error> {
    let read = with.inputs.read(path.as_ref());
    let failed = |e| Error::emerg(format!("BIO_new_file(\"{path}\") failed ({})", unopened(path, &e)));
    read.map(drop).map_err(failed)
}

/// Why a file could not be opened, in OpenSSL's words.
fn unopened(path: &str, error: &std::io::Error) -> String {
    let code = error.raw_os_error().unwrap_or_default();
    let text = crate::log::Errno(error).to_string();
    let text = text.split_once(": ").map_or(&*text, |(_, text)| text);
    let (bio, what) = match error.kind() {
        std::io::ErrorKind::NotFound => ("10000080", "no such file"),
        _ => ("10080002", "system lib"),
    };
    format!(
        "SSL: error:8{code:07X}:system library::{text}:calling fopen({path}, r) error:{bio}:BIO routines::{what}"
    )
}

/// The certificates in a file.
///
/// # Errors
/// When there are none.
pub fn chain(path: &str, with: &Compiler<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    chain_by(path, &|path| with.inputs.read(path.as_ref()))
}
fn chain_by(path: &str, reads: Reads<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read_by("certificate", path, reads)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Error::emerg(format!(
            "cannot load certificate \"{path}\": PEM_read_bio_X509_AUX() failed \
             (SSL: error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE)"
        ))),
    }
}

/// OpenSSL's words for a file without a key.
const NO_KEY: &str =
    "error:1E08010C:DECODER routines::unsupported:No supported data to decode. Input type: PEM";

/// The private key in a file, opened by one of these pass phrases if it is locked.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn key_of(path: &str, passwords: &[String], reads: Reads<'_>) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read_by("certificate key", path, reads)?;
    let failed = |why: &str| {
        Error::emerg(format!(
            "cannot load certificate key \"{path}\": PEM_read_bio_PrivateKey() failed (SSL: {why})"
        ))
    };
    let text = String::from_utf8_lossy(&pem);
    let old = text.split_once("Proc-Type: 4,ENCRYPTED");
    if old.is_none() && !text.contains(ENCRYPTED) {
        return PrivateKeyDer::from_pem_slice(&pem).map_err(|_| failed(NO_KEY));
    }
    if passwords.is_empty() {
        return Err(failed("it needs a pass phrase").help("\"ssl_password_file\" names a file that has it"));
    }
    if let Some((before, after)) = old {
        let Some(key) = OldKey::read(before, after) else {
            let help = "openssl pkey -aes256 -in OLD -out NEW writes it in the form of PKCS #8";
            return Err(failed("the key's encryption is not supported by plimsoll").help(help));
        };
        let open = passwords.iter().find_map(|password| key.open(password));
        return open.ok_or_else(|| failed("bad decrypt"));
    }
    // Both are Base64 between two lines; the reader of certificates looks at the lines alone.
    let der = CertificateDer::from_pem_slice(text.replace(ENCRYPTED, "CERTIFICATE").as_bytes());
    let der = der.map_err(|e| failed(&e.to_string()))?;
    let Some(key) = EncryptedKey::read(&der) else {
        return Err(failed("the key's encryption is not supported by plimsoll"));
    };
    let open = passwords.iter().find_map(|password| open(&key, password));
    open.map(|key| PrivatePkcs8KeyDer::from(key).into()).ok_or_else(|| failed("bad decrypt"))
}

/// The key inside, if this is its pass phrase.
fn open(key: &EncryptedKey<'_>, password: &str) -> Option<Vec<u8>> {
    let algorithm = match key.hash {
        Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Hash::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    let (cipher, length) = match key.cipher {
        Cipher::Aes128 => (&AES_128, 16),
        Cipher::Aes192 => (&AES_192, 24),
        Cipher::Aes256 => (&AES_256, 32),
    };
    let rounds = NonZeroU32::new(key.iterations).filter(|rounds| rounds.get() <= MOST_ROUNDS)?;
    let mut secret = [0; 32];
    let secret = &mut secret[..length];
    pbkdf2::derive(algorithm, rounds, key.salt, password.as_bytes(), secret);
    decrypt(cipher, secret, key.iv, key.data)
}

fn decrypt(cipher: &'static Algorithm, secret: &[u8], iv: [u8; 16], data: &[u8]) -> Option<Vec<u8>> {
    let opening = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(cipher, secret).ok()?).ok()?;
    let mut data = data.to_vec();
    let opened = opening.decrypt(&mut data, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?;
    // A wrong pass phrase may leave what looks padded by chance, but hardly a key.
    let opened = opened.to_vec();
    opened.starts_with(&[0x30]).then_some(opened)
}

/// A key as OpenSSL encrypted it before PKCS #8: the lines before the Base64 say how.
struct OldKey {
    cipher: &'static Algorithm,
    length: usize,
    iv: [u8; 16],
    data: Vec<u8>,
    elliptic: bool,
}
impl OldKey {
    /// What stands before and after `Proc-Type`.
    fn read(before: &str, after: &str) -> Option<OldKey> {
        let (head, rest) = after.trim_start().split_once("\n\n").or_else(|| after.split_once("\r\n\r\n"))?;
        let (cipher, iv) = head.trim().strip_prefix("DEK-Info:")?.trim().split_once(',')?;
        let (cipher, length) = match cipher {
            "AES-128-CBC" => (&AES_128, 16),
            "AES-192-CBC" => (&AES_192, 24),
            "AES-256-CBC" => (&AES_256, 32),
            _ => return None,
        };
        let iv = u128::from_str_radix(iv, 16).ok().filter(|_| iv.len() == 32)?.to_be_bytes();
        let body = rest.split("-----END").next()?;
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n");
        let data = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?.to_vec();
        Some(OldKey {
            cipher,
            length,
            iv,
            data,
            elliptic: before.trim_end().ends_with("EC PRIVATE KEY-----"),
        })
    }
    fn open(&self, password: &str) -> Option<PrivateKeyDer<'static>> {
        let mut secret = Vec::new();
        let mut last = Vec::new();
        while secret.len() < self.length {
            let hash = Md5::new().chain_update(&last).chain_update(password).chain_update(&self.iv[..8]);
            last = hash.finalize().to_vec();
            secret.extend_from_slice(&last);
        }
        let key = decrypt(self.cipher, &secret[..self.length], self.iv, &self.data)?;
        Some(match self.elliptic {
            true => PrivateSec1KeyDer::from(key).into(),
            false => PrivatePkcs1KeyDer::from(key).into(),
        })
    }
}

/// The lines of `ssl_password_file`: each is tried.
pub fn passwords(conf: &Conf, with: &Compiler<'_>) -> Result<Vec<String>, Error> {
    let file = conf.password_file.written();
    file.map_or(Ok(Vec::new()), |file| passwords_in(&file.path, with))
}
/// The lines of a file of pass phrases.
///
/// # Errors
/// When it cannot be read.
pub fn passwords_in(path: &str, with: &Compiler<'_>) -> Result<Vec<String>, Error> {
    let bytes = with
        .inputs
        .read(path.as_ref())
        .map_err(|e| Error::emerg(format!("open() \"{path}\" failed ({})", crate::log::Errno(&e))))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect())
}

/// What `ssl_stapling_file` holds, where stapling is on.
fn staple(at: &Scope, conf: &Conf, with: &Compiler<'_>) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = conf.stapling_file.written().filter(|_| conf.stapling.or(false)) else {
        return Ok(None);
    };
    let read = with.inputs.read(file.path.as_ref());
    let failed = |what: &str, why: String| Error::emerg(format!("{what}(\"{}\") failed ({why})", file.path));
    let bytes = read.map_err(|e| failed("BIO_new_file", unopened(&file.path, &e)))?;
    match bytes.first() {
        Some(0x30) => Ok(Some(bytes.to_vec())),
        _ => Err(failed("d2i_OCSP_RESPONSE_bio", "SSL: not an OCSP response".into()).at(at.at.clone())),
    }
}
