//! `geo`: a variable whose value depends on the client's address.

use std::net::IpAddr;
use std::sync::Arc;

use conf::{Args, Error, HTTP, Scope, between, free};

use self::networks::Networks;
use self::ranges::Ranges;
use self::values::Values;
use super::Module;
use crate::http::request::Request;
use crate::http::variables::{Defined, Index, Names, new_name};
use crate::network::{self, Network};

mod networks;
mod ranges;
mod values;

pub(crate) static MODULE: Module =
    Module { name: "geo", directives: &[free("geo", HTTP, between(1, 2), geo)], variables: &[] };

/// Where nginx looks for clients that have no address, or none that fits.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);

/// As run.
struct Geo {
    /// The variable with the address; the client's own without one.
    source: Option<Index>,
    proxies: Vec<Network>,
    proxy_recursive: bool,
    volatile: bool,
    values: Values,
    places: Places,
}
enum Places {
    Networks(networks::Found),
    Ranges(ranges::Found),
}

/// While a block is read.
#[derive(Default)]
struct Block {
    values: Values,
    networks: Networks,
    ranges: Option<Ranges>,
    proxies: Vec<Network>,
    proxy_recursive: bool,
    volatile: bool,
}

/// `geo [$address] $variable {`
fn geo(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let source = match a.len() {
        2 => Some(at.shared::<Names>().index(variable(a, 0)?.as_bytes())),
        _ => None,
    };
    let name = new_name(a, a.len() - 1)?;
    let mut block = Block::default();
    for line in a.entries() {
        block.line(at, &line)?;
    }
    let places = match block.ranges {
        Some(ranges) => Places::Ranges(ranges.build()),
        None => Places::Networks(block.networks.build()),
    };
    let (proxies, proxy_recursive, volatile) = (block.proxies, block.proxy_recursive, block.volatile);
    let geo = Geo { source, proxies, proxy_recursive, volatile, values: block.values, places };
    at.shared::<Names>().define(name, Arc::new(geo));
    Ok(())
}

fn variable<'a>(a: &Args<'a>, i: usize) -> Result<&'a str, Error> {
    let name = a.str(i).strip_prefix('$').filter(|name| !name.is_empty());
    name.ok_or_else(|| a.error(format!("invalid variable name \"{}\"", a.str(i))))
}

impl Block {
    fn line(&mut self, at: &Scope, line: &Args<'_>) -> Result<(), Error> {
        match (line.directive, line.len()) {
            ("ranges", 0) if !self.networks.is_empty() => {
                let text = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                return Err(line.error(text));
            }
            ("ranges", 0) => self.ranges = Some(self.ranges.take().unwrap_or_default()),
            ("proxy_recursive", 0) => self.proxy_recursive = true,
            ("volatile", 0) => self.volatile = true,
            ("proxy", 1) => self.proxies.push(network(at, line, line.str(0))?),
            (key, 1) => return self.entry(at, line, key),
            _ => return Err(line.error("invalid number of the geo parameters")),
        }
        Ok(())
    }
    fn entry(&mut self, at: &Scope, line: &Args<'_>, key: &str) -> Result<(), Error> {
        let Some(ranges) = &mut self.ranges else { return self.network(at, line, key) };
        match key {
            "default" => {
                let value = self.values.number(line.bytes(0));
                if let Some(old) = ranges.default.replace(value) {
                    let (new, old) = (line.str(0), self.values.text(old));
                    at.warn(line.warning(format!(
                        "duplicate default geo range value: \"{new}\", old value: \"{old}\""
                    )));
                }
                Ok(())
            }
            "delete" => {
                let (start, end) = range(line, line.str(0))?;
                if !ranges.delete(start, end) {
                    let text = format!("no address range \"{}\" to delete", line.str(0));
                    at.warn(line.warning(text));
                }
                Ok(())
            }
            text => {
                let (start, end) = range(line, text)?;
                let value = self.values.number(line.bytes(0));
                match ranges.add(start, end, value) {
                    Ok(None) => Ok(()),
                    Ok(Some(old)) => {
                        let (new, old) = (line.str(0), self.values.text(old));
                        at.warn(line.warning(format!(
                            "duplicate range \"{text}\", value: \"{new}\", old value: \"{old}\""
                        )));
                        Ok(())
                    }
                    Err((start, end)) => {
                        Err(line.error(format!("range \"{text}\" overlaps \"{start}-{end}\"")))
                    }
                }
            }
        }
    }
    fn network(&mut self, at: &Scope, line: &Args<'_>, key: &str) -> Result<(), Error> {
        if key == "delete" {
            if !self.networks.delete(network(at, line, line.str(0))?) {
                at.warn(line.warning(format!("no network \"{}\" to delete", line.str(0))));
            }
            return Ok(());
        }
        let everywhere = [Network::V4(0, 0), Network::V6(0, 0)];
        let one;
        let networks: &[Network] = match key {
            "default" => &everywhere,
            key => {
                one = [network(at, line, key)?];
                &one
            }
        };
        let value = self.values.number(line.bytes(0));
        for network in networks {
            if let Some(old) = self.networks.add(*network, value) {
                let (new, old) = (line.str(0), self.values.text(old));
                at.warn(
                    line.warning(format!(
                        "duplicate network \"{key}\", value: \"{new}\", old value: \"{old}\""
                    )),
                );
            }
        }
        Ok(())
    }
}

fn network(at: &Scope, line: &Args<'_>, text: &str) -> Result<Network, Error> {
    let network = Network::read(at, line, text).filter(|network| *network != Network::Unix);
    network.ok_or_else(|| line.error(format!("invalid network \"{text}\"")))
}

fn range(line: &Args<'_>, text: &str) -> Result<(u32, u32), Error> {
    let read = || {
        let (start, end) = text.split_once('-')?;
        let ip = |text: &str| text.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
        // nginx takes the last address for a mistake.
        let (start, end) = (ip(start)?, ip(end)?);
        (start <= end && end != u32::MAX).then_some((start, end))
    };
    read().ok_or_else(|| line.error(format!("invalid range \"{text}\"")))
}

impl Geo {
    fn address(&self, request: &mut Request) -> IpAddr {
        let peer = match self.source {
            None => Some(request.client.peer),
            Some(index) => {
                let mut text = request.thread.buffer();
                let found = request.variable(index, &mut text);
                let ip = std::str::from_utf8(&text).ok().filter(|_| found).and_then(|t| t.parse().ok());
                request.thread.give_buffer(text);
                ip.map(|ip: IpAddr| std::net::SocketAddr::new(ip, 0).into())
            }
        };
        let Some(peer) = peer else { return NOWHERE };
        let behind = match self.proxies.is_empty() {
            true => None,
            false => {
                let headers = request.head.headers.iter();
                let mut lines: Vec<&[u8]> = headers
                    .filter(|h| request.text(h.name).eq_ignore_ascii_case(b"x-forwarded-for"))
                    .map(|h| request.text(h.value))
                    .collect();
                lines.reverse();
                network::forwarded(peer, lines.into_iter(), &self.proxies, self.proxy_recursive)
            }
        };
        behind.unwrap_or(peer).ip().map_or(NOWHERE, |ip| ip.to_canonical())
    }
}

impl Defined for Geo {
    fn get(&self, request: &mut Request, out: &mut Vec<u8>) -> bool {
        let ip = self.address(request);
        let value = match &self.places {
            Places::Networks(networks) => networks.find(ip),
            Places::Ranges(ranges) => ranges.find(match ip {
                IpAddr::V4(ip) => ip.into(),
                IpAddr::V6(_) => u32::MAX,
            }),
        };
        if let Some(value) = value {
            out.extend_from_slice(self.values.bytes(value));
        }
        true
    }
    fn cached(&self) -> bool {
        !self.volatile
    }
}
