//! Networks as nginx writes them, and who a client is behind proxies that are trusted.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use conf::{Args, Scope};
use reactor::Peer;

/// Appends an address as logs and headers show it; allocates nothing.
pub fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            wire::push_decimal(out, first.into());
            for octet in rest {
                out.push(b'.');
                wire::push_decimal(out, octet.into());
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Appends a client as logs and headers show it: an IP address without its port, or `unix:`.
pub fn push_client(client: Peer, out: &mut Vec<u8>) {
    match client.ip() {
        Some(ip) => push_ip(ip, out),
        None => out.extend_from_slice(b"unix:"),
    }
}

/// A network, or the clients of unix-domain sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// `unix:`
    Unix,
    /// Address and mask.
    V4(u32, u32),
    /// Address and mask.
    V6(u128, u128),
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, one address, or `unix:`. The flag: whether bits beyond the mask were dropped.
    pub fn parse(text: &str) -> Option<(Network, bool)> {
        if text == "unix:" {
            return Some((Network::Unix, false));
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(ip) => {
                let ip = u32::from(ip);
                let mask = u32::MAX.checked_shl(32u32.checked_sub(bits.unwrap_or(32))?).unwrap_or(0);
                Some((Network::V4(ip & mask, mask), ip & !mask != 0))
            }
            IpAddr::V6(ip) => {
                let ip = u128::from(ip);
                let mask = u128::MAX.checked_shl(128u32.checked_sub(bits.unwrap_or(128))?).unwrap_or(0);
                Some((Network::V6(ip & mask, mask), ip & !mask != 0))
            }
        }
    }
    /// As [`Network::parse`], with nginx's warning for bits beyond the mask.
    pub fn read(at: &Scope, a: &Args<'_>, text: &str) -> Option<Network> {
        let (network, low_bits) = Network::parse(text)?;
        if low_bits {
            at.warn(a.warning(format!("low address bits of {text} are meaningless")));
        }
        Some(network)
    }
    /// A network of one address.
    pub fn of(ip: IpAddr) -> Network {
        match ip {
            IpAddr::V4(ip) => Network::V4(ip.into(), u32::MAX),
            IpAddr::V6(ip) => Network::V6(ip.into(), u128::MAX),
        }
    }
    /// Whether a client is in it; `None`: one of a unix-domain socket. An IPv4 client of an IPv6 socket is an IPv4 client.
    pub fn includes(self, ip: Option<IpAddr>) -> bool {
        match (self, ip.map(|ip| ip.to_canonical())) {
            (Network::Unix, None) => true,
            (Network::V4(net, mask), Some(IpAddr::V4(ip))) => u32::from(ip) & mask == net,
            (Network::V6(net, mask), Some(IpAddr::V6(ip))) => u128::from(ip) & mask == net,
            _ => false,
        }
    }
}

/// An address with or without port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
pub fn read_peer(text: &[u8]) -> Option<Peer> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0).into());
    }
    if let Some(ip) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(SocketAddr::new(ip.parse::<Ipv6Addr>().ok()?.into(), 0).into());
    }
    let address = text.parse::<SocketAddr>().ok()?;
    (address.port() != 0).then_some(address.into())
}

/// Who `peer` speaks for, by the header fields that proxies add to: each the values of one header line, the last line
/// first. Only trusted proxies are believed; recursively, the last address that is none of theirs counts. `None`: the
/// peer itself.
pub fn forwarded<'a>(
    peer: Peer,
    values: impl Iterator<Item = &'a [u8]>,
    trusted: &[Network],
    recursive: bool,
) -> Option<Peer> {
    let mut found = None;
    for value in values {
        let (last, go_on) = forwarded_by(found.unwrap_or(peer), value, trusted, recursive);
        found = last.or(found);
        if !recursive || !go_on {
            break;
        }
    }
    found
}

/// The same for one header line; and whether it was used up to its first address.
fn forwarded_by(peer: Peer, value: &[u8], trusted: &[Network], recursive: bool) -> (Option<Peer>, bool) {
    let is_gap = |byte: &u8| matches!(byte, b' ' | b',');
    let (mut rest, mut found) = (value, None::<Peer>);
    loop {
        let ip = found.unwrap_or(peer).ip();
        if !trusted.iter().any(|network| network.includes(ip)) {
            return (found, false);
        }
        let end = rest.iter().rposition(|byte| !is_gap(byte)).map_or(0, |last| last + 1);
        // As in nginx, a gap that is the first character of all belongs to the address behind it, and spoils it.
        let gap = rest[..end].iter().rposition(is_gap).filter(|gap| *gap > 0);
        let start = gap.map_or(0, |gap| gap + 1);
        let Some(address) = read_peer(&rest[start..end]) else { return (found, false) };
        found = Some(address);
        if !recursive || start == 0 {
            return (found, true);
        }
        rest = &rest[..start - 1];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn includes(network: &str, ip: &str) -> bool {
        Network::parse(network).unwrap().0.includes(ip.parse().ok())
    }

    #[test]
    fn networks() {
        assert!(includes("10.0.0.0/8", "10.255.1.2"));
        assert!(!includes("10.0.0.0/8", "11.0.0.1"));
        assert!(includes("192.168.1.77/24", "192.168.1.1"), "host bits are dropped");
        assert!(includes("0.0.0.0/0", "8.8.8.8"));
        assert!(!includes("0.0.0.0/0", "::1"));
        assert!(includes("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(includes("2001:db8::/32", "2001:db8:1::1"));
        assert!(includes("127.0.0.1", "127.0.0.1"));
        assert!(includes("unix:", "not an address"));
        assert!(Network::parse("10.0.0.1/8").unwrap().1);
        for bad in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/+8", "10.0.0.0/", "all"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    fn real(peer: &str, lines: &[&str], recursive: bool) -> String {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(|text| Network::parse(text).unwrap().0);
        let lines = lines.iter().rev().map(|line| line.as_bytes());
        let found = forwarded(read_peer(peer.as_bytes()).unwrap(), lines, &trusted, recursive);
        found.map_or("-".into(), |peer| peer.address().unwrap().to_string())
    }

    #[test]
    fn clients_behind_proxies() {
        assert_eq!(real("127.0.0.1", &["192.0.2.1"], false), "192.0.2.1:0");
        assert_eq!(real("192.0.2.9", &["192.0.2.1"], false), "-", "not trusted");
        assert_eq!(real("127.0.0.1", &["192.0.2.1, 10.0.0.1"], false), "10.0.0.1:0");
        assert_eq!(real("127.0.0.1", &["192.0.2.2, 192.0.2.1 ,10.0.0.1, "], true), "192.0.2.1:0");
        assert_eq!(real("127.0.0.1", &["192.0.2.1", "10.0.0.1"], true), "192.0.2.1:0");
        assert_eq!(real("127.0.0.1", &["192.0.2.1", "10.0.0.1"], false), "10.0.0.1:0");
        assert_eq!(real("127.0.0.1", &["10.0.0.2, 10.0.0.1"], true), "10.0.0.2:0");
        assert_eq!(real("127.0.0.1", &["unknown, 10.0.0.1"], true), "10.0.0.1:0");
        assert_eq!(real("127.0.0.1", &["[2001:db8::1]:99"], true), "[2001:db8::1]:99");
        assert_eq!(real("127.0.0.1", &["192.0.2.1:80"], true), "192.0.2.1:80");
        assert_eq!(real("127.0.0.1", &["", "nonsense", "1.2.3.4:0"], false), "-");
        assert_eq!(real("127.0.0.1", &[",192.0.2.1"], false), "-", "not even an address behind a comma");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4), recursive: bool) {
            let trusted = [Network::V4(0, 0), Network::V6(0, 0), Network::Unix];
            forwarded(Peer::Unix, lines.iter().map(Vec::as_slice), &trusted, recursive);
        }
        #[test]
        fn a_list_of_trusted_proxies_is_gone_through(ips in prop::collection::vec(any::<IpAddr>(), 1..6)) {
            let trusted = [Network::V4(0, 0), Network::V6(0, 0)];
            let text = ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            let peer = read_peer(b"127.0.0.1").unwrap();
            let found = forwarded(peer, std::iter::once(text.as_bytes()), &trusted, true);
            prop_assert_eq!(found.unwrap().ip().unwrap(), ips[0]);
        }
    }
}
