//! The nginx that is asked: what an old one does not know is not asked of it.

use std::process::Command;

use anyhow::{Context, Result};
use testkit::Binary;

/// From here on nginx is as the newest in everything that cases are about.
const NEW: (u32, u32) = (1, 29);

/// What is known of the nginx that is asked.
pub struct Oracle {
    old: bool,
}

impl Oracle {
    /// Asks it for its version.
    pub fn find() -> Result<Oracle> {
        let said = Command::new(Binary::Nginx.path()).arg("-v").output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let version = said.split_once('/').map_or("", |(_, version)| version.trim());
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let found = numbers.next().zip(numbers.next()).with_context(|| format!("no version in {said:?}"))?;
        Ok(Oracle { old: found < NEW })
    }
    /// Since 1.29 a `Host` is always sent upstream, and there are ranges of compressed files.
    pub fn configuration(&self, text: String) -> String {
        if !self.old {
            return text;
        }
        let text = text.replace("gzip_static on;", "").replace("gzip_static always;", "");
        text.replace("proxy_set_header Host '';", "")
    }
    /// Since 1.29 an upstream may give hints first; since 1.23 an upstream's answer with two lengths, or one that is no number, is none; since 1.27 `gzipped` is not
    /// taken for `gzip`.
    fn newer(text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        for word in ["/lengthchunked ", "/badlength ", "/103 ", "gzipped, gzip\r\n"] {
            while let Some(at) = out.windows(word.len()).position(|window| window == word.as_bytes()) {
                let instead: &[u8] = if word.starts_with('/') { b"/ok " } else { b"gzip\r\n" };
                out.splice(at..at + word.len(), instead.iter().copied());
            }
        }
        out
    }
    /// Since 1.29 the target of CONNECT is an authority.
    pub fn traffic(&self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.old {
            return bytes;
        }
        let bytes = Oracle::newer(&bytes);
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = &bytes[..];
        while let Some(at) = rest.windows(8).position(|window| window == b"CONNECT ") {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(b"CONNECTS ");
            rest = &rest[at + 8..];
        }
        out.extend_from_slice(rest);
        out
    }
}
