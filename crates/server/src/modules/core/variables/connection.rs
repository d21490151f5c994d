//! Variables of the connection, the process and the time.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{number, seconds};
use crate::http::request::Request;
use crate::network::push_ip;
use crate::proxy_protocol::{BadTlv, Proxied};

pub fn remote_addr(request: &mut Request, out: &mut Vec<u8>) -> bool {
    request.client.push_address(out);
    true
}
pub fn binary_remote_addr(request: &mut Request, out: &mut Vec<u8>) -> bool {
    match request.client.peer.ip() {
        Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        None => out.extend_from_slice(b"unix:"),
    }
    true
}
pub fn remote_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    push_port(request.client.peer.address().map_or(0, |address| address.port()), out)
}
/// The address that a client connected to; on a unix socket its path.
pub fn server_addr(request: &mut Request, out: &mut Vec<u8>) -> bool {
    match request.client.local() {
        Some(local) => push_ip(local.ip(), out),
        None => {
            let listener = request.generation.shared.listener(request.client.listener);
            drop(write!(out, "{}", listener.address));
        }
    }
    true
}
pub fn server_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    push_port(request.client.local_port(), out)
}

/// `$tcpinfo_*`: what the kernel knows of the client's connection, where it is one over TCP.
pub fn tcp(request: &mut Request, out: &mut Vec<u8>, value: fn(&sys::net::TcpInfo) -> u32) -> bool {
    let information = request.client.tcp_information();
    information.is_some_and(|information| number(value(&information).into(), out))
}

/// A unix socket has no port: the value is empty.
fn push_port(port: u16, out: &mut Vec<u8>) -> bool {
    port == 0 || number(port.into(), out)
}
fn proxied(
    request: &Request,
    address: fn(&Proxied) -> SocketAddr,
    out: &mut Vec<u8>,
    push: fn(SocketAddr, &mut Vec<u8>),
) -> bool {
    let proxied = request.client.proxied.as_deref();
    proxied.map(|proxied| push(address(proxied), out)).is_some()
}
/// The client's address (0), or the one it connected to (1).
fn proxied_ip(request: &Request, which: usize, out: &mut Vec<u8>) -> bool {
    let Some(proxied) = request.client.proxied.as_deref() else { return false };
    match &proxied.written {
        Some(written) => out.extend_from_slice(written[which].as_bytes()),
        None => push_ip([proxied.source, proxied.destination][which].ip(), out),
    }
    true
}
fn port_of(address: SocketAddr, out: &mut Vec<u8>) {
    push_port(address.port(), out);
}
pub fn proxy_protocol_addr(request: &mut Request, out: &mut Vec<u8>) -> bool {
    proxied_ip(request, 0, out)
}
pub fn proxy_protocol_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    proxied(request, |p| p.source, out, port_of)
}
pub fn proxy_protocol_server_addr(request: &mut Request, out: &mut Vec<u8>) -> bool {
    proxied_ip(request, 1, out)
}
pub fn proxy_protocol_server_port(request: &mut Request, out: &mut Vec<u8>) -> bool {
    proxied(request, |p| p.destination, out, port_of)
}

/// `$proxy_protocol_tlv_name`: what a load balancer added, by nginx's names or numbers (`0x..`).
pub fn proxy_protocol_tlv(request: &mut Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(proxied) = request.client.proxied.as_deref() else { return false };
    let found = proxied.tlvs.find(name, out);
    if let Err(error) = found {
        let name = String::from_utf8_lossy(name);
        match error {
            BadTlv::Broken => log_error!(request, "broken PROXY protocol TLV"),
            BadTlv::Unknown => log_error!(request, "unknown PROXY protocol TLV \"{name}\""),
            BadTlv::Invalid => log_error!(request, "invalid PROXY protocol TLV \"{name}\""),
        }
    }
    found.unwrap_or(false)
}

pub fn connection(request: &mut Request, out: &mut Vec<u8>) -> bool {
    number(request.client.id, out)
}
pub fn connection_requests(request: &mut Request, out: &mut Vec<u8>) -> bool {
    number(request.client.requests.into(), out)
}
pub fn connection_time(request: &mut Request, out: &mut Vec<u8>) -> bool {
    seconds(request.thread.handle.now().saturating_duration_since(request.client.opened), out)
}
pub fn pipe(request: &mut Request, out: &mut Vec<u8>) -> bool {
    out.push(if request.pipelined { b'p' } else { b'.' });
    true
}
pub fn scheme(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let scheme: &[u8] = if request.client.is_encrypted() { b"https" } else { b"http" };
    out.extend_from_slice(scheme);
    true
}
pub fn https(request: &mut Request, out: &mut Vec<u8>) -> bool {
    if request.client.is_encrypted() {
        out.extend_from_slice(b"on");
    }
    true
}

pub fn hostname(_: &mut Request, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(crate::syslog::hostname().as_bytes());
    true
}
pub fn pid(_: &mut Request, out: &mut Vec<u8>) -> bool {
    number(std::process::id().into(), out)
}
pub fn msec(request: &mut Request, out: &mut Vec<u8>) -> bool {
    seconds(request.thread.clock.unix(), out)
}
pub fn time_local(request: &mut Request, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&request.thread.clock.log_local.get());
    true
}
pub fn time_iso8601(request: &mut Request, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(&request.thread.clock.iso8601.get());
    true
}
/// With milliseconds behind the seconds.
pub fn time_iso8601_ms(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let text = request.thread.clock.iso8601.get();
    let (time, zone) = text.split_at(text.len().min("2026-01-01T00:00:00".len()));
    let milliseconds = request.thread.clock.unix().subsec_millis();
    out.extend_from_slice(time);
    // Writing to memory cannot fail.
    let _ = write!(out, ".{milliseconds:03}");
    out.extend_from_slice(zone);
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_read_back(ip: IpAddr) {
            let mut out = Vec::new();
            push_ip(ip, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap().parse::<IpAddr>().unwrap(), ip);
        }
    }
}
