//! Host names, as virtual servers are looked up by.

use crate::bytes;
use crate::error::BadRequest;
use crate::field::Known;
use crate::head::RequestHead;

/// The host named by `host`, a `Host` header's value or the authority of a target: without port and trailing
/// dot, in lower case. `scratch` holds the result where it is not a piece of `host` as it stands.
///
/// The grammar is RFC 3986's (3.2.2, 3.2.3) as nginx has it: what follows a `%`, and what is in brackets, is not
/// looked at closely; two dots in a row are refused, which would let a name climb folders in `root /www/$host`,
/// and ports that are none.
pub fn validate_host<'a>(host: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], BadRequest> {
    if let Some(plain) = plain_name(host) {
        return Ok(plain);
    }
    let length = name_length(host).ok_or(BadRequest::InvalidHost)?;
    let name = &host[..length];
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() {
        return Err(BadRequest::InvalidHost);
    }
    if !name.iter().any(u8::is_ascii_uppercase) {
        return Ok(name);
    }
    scratch.clear();
    scratch.extend(name.iter().map(u8::to_ascii_lowercase));
    Ok(scratch)
}

/// The name in `host` where all is as simple as it mostly is: lower-case letters, digits, hyphens and single
/// dots, none of them last, perhaps a port.
#[inline]
fn plain_name(host: &[u8]) -> Option<&[u8]> {
    let mut before = b'.';
    for (at, &byte) in host.iter().enumerate() {
        if bytes::NOT_PLAIN_HOST.has(byte) {
            match byte {
                b'.' if before != b'.' => {}
                b':' if before != b'.' && port_number(&host[at + 1..]).is_some() => return Some(&host[..at]),
                _ => return None,
            }
        }
        before = byte;
    }
    (before != b'.').then_some(host)
}

/// Length of the name in `host`, if name and port are well-formed.
fn name_length(host: &[u8]) -> Option<usize> {
    let length = if host.first() == Some(&b'[') { literal_length(host)? } else { registered_length(host)? };
    match &host[length..] {
        [] => Some(length),
        [b':', port @ ..] => port_number(port).map(|_| length),
        _ => None,
    }
}

/// The number that these digits are, 0 where there are none; nothing where they are no port's.
pub(crate) fn port_number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |port, &byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        port.checked_mul(10)?.checked_add(digit.into())
    })
}

/// What follows the colon after the name in `host`.
fn port_of(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if host[at] == b':' => &host[at + 1..],
        _ => b"",
    }
}

fn literal_length(host: &[u8]) -> Option<usize> {
    let close = host.iter().position(|&byte| byte == b']')?;
    let inside = &host[1..close];
    let valid = inside.iter().all(|&byte| bytes::HOST.has(byte) || byte == b':');
    (valid && !inside.windows(2).any(|two| two == b"..")).then_some(close + 1)
}

fn registered_length(host: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut before = 0;
    while let Some(&byte) = host.get(at) {
        match byte {
            b'.' if before == b'.' => return None,
            b'%' => {}
            b':' => break,
            byte if !bytes::HOST.has(byte) => return None,
            _ => {}
        }
        before = byte;
        at += 1;
    }
    Some(at)
}

impl RequestHead {
    /// Appends the host that [`RequestHead::host_name`] finds, if there is one.
    #[inline]
    pub fn push_host(&self, buf: &[u8], out: &mut Vec<u8>) -> Result<(), BadRequest> {
        if self.host.is_empty()
            && let Some(plain) = self.headers.value(Known::Host, buf).and_then(plain_name)
        {
            out.extend_from_slice(plain);
            return Ok(());
        }
        self.push_any_host(buf, out)
    }

    #[cold]
    fn push_any_host(&self, buf: &[u8], out: &mut Vec<u8>) -> Result<(), BadRequest> {
        let mut scratch = Vec::new();
        let found = self.host_name(buf, &mut scratch)?;
        out.extend_from_slice(found.unwrap_or_default());
        Ok(())
    }

    /// The port that the target, or else the `Host` header, names: 0 where neither does.
    pub fn port_number(&self, buf: &[u8]) -> u16 {
        let digits = match self.host.is_empty() {
            false => self.port.of(buf),
            true => port_of(self.headers.value(Known::Host, buf).unwrap_or_default()),
        };
        port_number(digits).unwrap_or(0)
    }

    /// The host the request is for, in the form of [`validate_host`]: the target's, else the `Host`
    /// header's. None in HTTP/1.0 without either. Both are checked, as in nginx.
    pub fn host_name<'a>(
        &self,
        buf: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, BadRequest> {
        let header = self.headers.value(Known::Host, buf);
        if self.host.is_empty() {
            return header.map(|host| validate_host(host, scratch)).transpose();
        }
        if let Some(host) = header {
            validate_host(host, scratch)?;
        }
        let host = validate_host(self.host.of(buf), scratch).map_err(|_| BadRequest::InvalidHostInLine)?;
        Ok(Some(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let good = [
            ("a", "a"),
            ("A.b.", "a.b"),
            (".a", ".a"),
            ("a_b", "a_b"),
            ("a,b", "a,b"),
            ("A%20b", "a%20b"),
            ("a:", "a"),
            ("a.:80", "a"),
            ("[::1]", "[::1]"),
            ("[::A]:80", "[::a]"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("a:65535", "a"),
            ("a:000080", "a"),
            ("a%2", "a%2"),
            ("%zz", "%zz"),
            ("[]", "[]"),
        ];
        for (host, want) in good {
            assert_eq!(validate_host(host.as_bytes(), &mut Vec::new()), Ok(want.as_bytes()), "{host}");
        }
    }

    /// nginx 1.22 still served those after the empty one; since 1.29.4 RFC 3986 decides.
    #[test]
    fn no_hosts() {
        for host in ["", ".", "..", "a..b", "a..", "a/b", "a b", "a\tb", "a\0b", ":80", "a\x7fb"] {
            assert_eq!(
                validate_host(host.as_bytes(), &mut Vec::new()),
                Err(BadRequest::InvalidHost),
                "{host}"
            );
        }
        for host in [
            "a@b",
            "a:b",
            "a:80:90",
            "a\\b",
            "[::1",
            "[::1]x",
            "[a/b]",
            "é",
            "a?b",
            "a#b",
            "a:65536",
            "a:99999999999999999999",
            "[..]",
        ] {
            assert_eq!(
                validate_host(host.as_bytes(), &mut Vec::new()),
                Err(BadRequest::InvalidHost),
                "{host}"
            );
        }
    }
}
