//! What the first word of `listen` means: addresses with a port or a range of ports, or a path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use conf::{Args, Error};

use crate::program::Address;

/// As long as the kernel lets the path of a socket be.
const LONGEST_PATH: usize = 107;

/// The addresses that the first word means: a name may have several, and there may be several ports.
pub(super) fn addresses(a: &Args<'_>) -> Result<Vec<Address>, Error> {
    let text = a.str(0);
    if let Some(path) = text.strip_prefix("unix:") {
        let length = match path.len() {
            0 => "no",
            1..=LONGEST_PATH => "",
            _ => "too long",
        };
        if !length.is_empty() {
            return Err(bad(a, &format!("{length} path in the unix domain socket"), text));
        }
        return Ok(vec![Address::Unix(a.prefix_path(path).into())]);
    }
    let (hosts, ports) = if text.starts_with('[') { ipv6(a, text)? } else { named_or_ipv4(a, text)? };
    let at = |ip: IpAddr| ports.clone().map(move |port| Address::Tcp(SocketAddr::new(ip, port)));
    Ok(hosts.into_iter().flat_map(at).collect())
}

type Place = (Vec<IpAddr>, RangeInclusive<u16>);

const DEFAULT: RangeInclusive<u16> = 80..=80;

fn named_or_ipv4(a: &Args<'_>, text: &str) -> Result<Place, Error> {
    if text.contains('/') {
        return Err(bad(a, "invalid host", text));
    }
    let any = || vec![Ipv4Addr::UNSPECIFIED.into()];
    let (host, ports) = match text.split_once(':') {
        None if is_ports(text) => return Ok((any(), ports(a, text, text)?)),
        None => (text, DEFAULT),
        Some((host, written)) => (host, ports(a, text, written)?),
    };
    if host.is_empty() {
        return Err(bad(a, "no host", text));
    }
    if host == "*" {
        return Ok((any(), ports));
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok((vec![ip.into()], ports));
    }
    match a.inputs().resolve(host, *ports.start()) {
        Ok(found) if !found.is_empty() => Ok((found.iter().map(SocketAddr::ip).collect(), ports)),
        _ => Err(bad(a, "host not found", text)),
    }
}

fn ipv6(a: &Args<'_>, text: &str) -> Result<Place, Error> {
    let (ip, tail) = text[1..].split_once(']').ok_or_else(|| bad(a, "invalid host", text))?;
    let ip: Ipv6Addr = ip.parse().map_err(|_| bad(a, "invalid IPv6 address", text))?;
    let ports = match tail.strip_prefix(':') {
        None if tail.is_empty() => DEFAULT,
        None => return Err(bad(a, "invalid host", text)),
        Some(written) => ports(a, text, written)?,
    };
    Ok((vec![ip.into()], ports))
}

/// Whether a word without a colon is meant as a port or as a range of ports.
fn is_ports(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').map_or_else(|| is_number(text), |(first, last)| is_number(first) && is_number(last))
}

/// `port` or `first-last`
fn ports(a: &Args<'_>, text: &str, written: &str) -> Result<RangeInclusive<u16>, Error> {
    let port = |digits: &str| {
        let number = if is_ports(digits) { digits.parse().unwrap_or(0) } else { 0 };
        if number == 0 { Err(bad(a, "invalid port", text)) } else { Ok(number) }
    };
    let Some((first, last)) = written.split_once('-') else { return port(written).map(|port| port..=port) };
    let last = port(last)?;
    let first = port(first)?;
    if first > last { Err(bad(a, "invalid port range", text)) } else { Ok(first..=last) }
}

fn bad(a: &Args<'_>, what: &str, text: &str) -> Error {
    a.error(format!("{what} in \"{text}\" of the \"listen\" directive"))
}
