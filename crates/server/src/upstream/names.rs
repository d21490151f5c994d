//! From the addresses that a configuration writes to peers, and numbers that outlive the configuration.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use conf::Inputs;

use crate::program::Address;

/// The number of a text, the same for the life of the process: idle connections are found by numbers of groups,
/// addresses and places, and a reload must not mix them up.
pub fn number(text: &str) -> u32 {
    static NUMBERS: OnceLock<Mutex<HashMap<Box<str>, u32>>> = OnceLock::new();
    let mut numbers = NUMBERS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = numbers.get(text) {
        return *number;
    }
    let number = numbers.len() as u32;
    numbers.insert(text.into(), number);
    number
}

/// The number of an address.
pub fn key(address: &Address) -> u32 {
    number(&format!("peer {address}"))
}

/// The addresses that `server` means: `host`, `host:port`, `[ipv6]:port`, `unix:path`.
///
/// # Errors
/// nginx's words, without the place: `host not found`, `invalid port`, `no host` ..
pub fn resolve(inputs: &dyn Inputs, server: &str, default_port: u16) -> Result<Vec<Address>, &'static str> {
    if let Some(path) = server.strip_prefix("unix:") {
        // A path may end with a colon, as in a URL.
        let path = path.strip_suffix(':').unwrap_or(path);
        return match path {
            "" => Err("no path in the unix domain socket"),
            _ if path.len() > 107 => Err("too long path in the unix domain socket"),
            _ => Ok(vec![Address::Unix(path.into())]),
        };
    }
    if server.contains('/') {
        return Err("invalid host");
    }
    let (host, port) = split(server)?;
    let port = port.unwrap_or(default_port);
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        if ip.is_ipv6() && !host.starts_with('[') {
            return Err("invalid port");
        }
        return Ok(vec![Address::Tcp((ip, port).into())]);
    }
    if host.starts_with('[') {
        return Err("invalid IPv6 address");
    }
    match inputs.resolve(host, port) {
        Ok(found) if !found.is_empty() => {
            let mut all = Vec::new();
            for address in found.into_iter().map(Address::Tcp) {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
            Ok(all)
        }
        _ => Err("host not found"),
    }
}

/// Splits host and port.
///
/// # Errors
/// `no host`, `invalid port`.
pub fn split(server: &str) -> Result<(&str, Option<u16>), &'static str> {
    if server.contains(['/', '?']) {
        return Err("invalid host");
    }
    let end = match server.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|i| i + 2).ok_or("invalid host")?,
        None => server.find(':').unwrap_or(server.len()),
    };
    let (host, rest) = server.split_at(end);
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && !digits.starts_with('+') => Some(port),
            _ => return Err("invalid port"),
        },
        None => return Err("invalid host"),
    };
    if host.is_empty() {
        return Err("no host");
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split("a").unwrap(), ("a", None));
        assert_eq!(split("a:80").unwrap(), ("a", Some(80)));
        assert_eq!(split("[::1]:80").unwrap(), ("[::1]", Some(80)));
        assert_eq!(split("[::1]").unwrap(), ("[::1]", None));
        for bad in [":80", "a:", "a:0", "a:65536", "a:+1", "a:b", "[::1]80", "[::1", ""] {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert_eq!(split(":80"), Err("no host"));
        assert_eq!(split("::1"), Err("invalid port"), "an IPv6 address without its brackets");
    }

    #[test]
    fn numbers_last() {
        let a = number("test: some text");
        assert_ne!(a, number("test: another"));
        assert_eq!(a, number("test: some text"));
    }
}
