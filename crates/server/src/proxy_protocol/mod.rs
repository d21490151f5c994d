//! The PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt): who a load balancer connects for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

mod tlv;

pub use tlv::{BadTlv, Tlvs};

use crate::connection::note_waiting;
use crate::http::request::Request;
use crate::log::Level;

/// The longest header of version 1.
const LONGEST_V1: usize = 107;
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest version 2 header taken: addresses and a few extensions.
const LONGEST_V2: usize = 4096;

/// What the header said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client's address.
    pub source: SocketAddr,
    /// The address it connected to.
    pub destination: SocketAddr,
    /// How a header of version 1 wrote both addresses, where that is not the shortest form.
    pub written: Option<Box<[Box<str>; 2]>>,
    /// What else a header of version 2 says.
    pub tlvs: Tlvs,
}

/// What a look at the first bytes shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// More bytes are needed.
    Partial,
    /// It is not one.
    Broken,
    /// It is of another version.
    Version(u8),
    /// It is longer than any that is taken.
    TooLarge,
    /// It has no room for the addresses.
    Short,
    /// It is complete: its length, and the addresses unless it has none (`UNKNOWN`, `LOCAL`).
    Complete(usize, Option<Proxied>),
}

/// Reads the header that a connection begins with.
pub async fn receive(request: &mut Request) -> Result<(), ()> {
    loop {
        match read(&request.buffer) {
            Header::Complete(length, proxied) => {
                request.client.proxied = proxied.map(Box::new);
                request.buffer.drain(..length);
                return Ok(());
            }
            Header::Partial => {}
            wrong => {
                refuse(request, &wrong);
                return Err(());
            }
        }
        match request.receive().await {
            Ok(1..) => {}
            _ => return Err(()),
        }
    }
}

fn refuse(request: &Request, wrong: &Header) {
    let what = match wrong {
        Header::Version(version) => format!("unknown PROXY protocol version: {version}"),
        Header::TooLarge => "header is too large".to_owned(),
        // nginx has no word for it.
        Header::Short => return,
        _ => {
            let text = &request.buffer[..request.buffer.len().min(LONGEST_V2)];
            let line = &text[..memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len())];
            format!("broken header: \"{}\"", String::from_utf8_lossy(line).escape_debug())
        }
    };
    note_waiting(request, Level::Error, format_args!("{what} while reading PROXY protocol"));
}

/// Looks at the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Header {
    let n = bytes.len().min(SIGNATURE_V2.len());
    if bytes[..n] == SIGNATURE_V2[..n] {
        return if n == SIGNATURE_V2.len() { version_2(bytes) } else { Header::Partial };
    }
    let n = bytes.len().min(6);
    if bytes[..n] != b"PROXY "[..n] {
        return Header::Broken;
    }
    // What is unknown may be said at length.
    let longest = if bytes.starts_with(b"PROXY UNKNOWN") { LONGEST_V2 } else { LONGEST_V1 };
    match memchr::memchr(b'\n', &bytes[..bytes.len().min(longest)]) {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => version_1(&bytes[6..end - 1], end + 1),
        Some(_) => Header::Broken,
        None if bytes.len() >= longest => Header::Broken,
        None => Header::Partial,
    }
}

fn version_1(text: &[u8], length: usize) -> Header {
    if text.starts_with(b"UNKNOWN") {
        return Header::Complete(length, None);
    }
    match addresses(text) {
        Some(proxied) => Header::Complete(length, Some(proxied)),
        None => Header::Broken,
    }
}
fn addresses(text: &[u8]) -> Option<Proxied> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let family = words.next()?;
    let written = [words.next()?, words.next()?];
    let (source, destination): (IpAddr, IpAddr) = (written[0].parse().ok()?, written[1].parse().ok()?);
    let (from, to) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // As in nginx, which family it says is not held against the addresses.
    let whole = matches!(family, "TCP4" | "TCP6") && words.next().is_none();
    let shortest = written == [source.to_string(), destination.to_string()];
    whole.then(|| Proxied {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        written: (!shortest).then(|| Box::new(written.map(Box::from))),
        tlvs: Tlvs::default(),
    })
}

fn version_2(bytes: &[u8]) -> Header {
    let Some(fixed) = bytes.get(12..16) else { return Header::Partial };
    let length = 16 + usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    match fixed[0] >> 4 {
        2 if length > LONGEST_V2 => return Header::TooLarge,
        2 => {}
        other => return Header::Version(other),
    }
    let Some(body) = bytes.get(16..length) else { return Header::Partial };
    match (fixed[0] & 15, fixed[1]) {
        (1, 0x11) => with_tlvs(length, body, 12, ipv4),
        (1, 0x21) => with_tlvs(length, body, 36, ipv6),
        // The balancer speaks for itself, or says what nobody knows: nginx takes either as the former.
        _ => Header::Complete(length, None),
    }
}
/// The addresses are the first bytes of a body; what follows them is not looked at before somebody asks.
fn with_tlvs(length: usize, body: &[u8], size: usize, addresses: fn(&[u8]) -> Addresses) -> Header {
    let Some((fixed, rest)) = body.split_at_checked(size) else { return Header::Short };
    let (source, destination) = addresses(fixed);
    Header::Complete(length, Some(Proxied { source, destination, written: None, tlvs: Tlvs::new(rest) }))
}
/// Of the client, and the one it connected to.
type Addresses = (SocketAddr, SocketAddr);

fn port(b: &[u8]) -> u16 {
    u16::from_be_bytes([b[0], b[1]])
}
fn ipv4(b: &[u8]) -> Addresses {
    let ip = |b: &[u8]| Ipv4Addr::new(b[0], b[1], b[2], b[3]);
    let source = SocketAddr::new(ip(&b[..4]).into(), port(&b[8..10]));
    (source, SocketAddr::new(ip(&b[4..8]).into(), port(&b[10..12])))
}
fn ipv6(b: &[u8]) -> Addresses {
    let ip = |b: &[u8]| {
        let mut octets = [0; 16];
        octets.copy_from_slice(b);
        Ipv6Addr::from(octets)
    };
    let source = SocketAddr::new(ip(&b[..16]).into(), port(&b[32..34]));
    (source, SocketAddr::new(ip(&b[16..32]).into(), port(&b[34..36])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_lines() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET";
        let Header::Complete(45, Some(proxied)) = read(line) else { panic!("{:?}", read(line)) };
        assert_eq!(proxied.source.to_string(), "192.0.2.1:56324");
        assert_eq!(proxied.written, None);
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Header::Complete(15, None));
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
        assert_eq!(read(&long), Header::Complete(216, None));
        assert!(matches!(read(b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n"), Header::Complete(30, Some(_))));
        assert_eq!(read(b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"), Header::Broken);
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Header::Broken);
        assert_eq!(read(b"PRO"), Header::Partial);
        assert_eq!(read(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()), Header::Broken);
    }

    #[test]
    fn version_2_headers() {
        let mut bytes = SIGNATURE_V2.to_vec();
        bytes.extend_from_slice(&[0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0, 80, 1, 187]);
        let Header::Complete(28, Some(proxied)) = read(&bytes) else { panic!("{:?}", read(&bytes)) };
        assert_eq!(proxied.destination.to_string(), "198.51.100.2:443");
        for n in 0..bytes.len() {
            assert_eq!(read(&bytes[..n]), Header::Partial, "{n} bytes");
        }
        let with = |at: usize, byte: u8| {
            let mut other = bytes.clone();
            other[at] = byte;
            read(&other)
        };
        assert_eq!(with(12, 0x20), Header::Complete(28, None), "LOCAL");
        assert_eq!(with(12, 0x31), Header::Version(3));
        assert_eq!(with(14, 16), Header::TooLarge);
        assert_eq!(with(15, 11), Header::Short);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read(&bytes);
        }
    }
}
