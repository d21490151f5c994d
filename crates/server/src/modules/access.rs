//! `allow` and `deny`: by the client's address, first match wins.

use std::net::IpAddr;

use conf::{Args, Error, HTTP, Inherit, LIMIT_EXCEPT, LOCATION, SERVER, Scope, Within, directive};

use super::Module;
use crate::flow::{Check, Flow, Verdict};
use crate::http::steps::Step;
use crate::log::Level;
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION).or(LIMIT_EXCEPT);

pub(crate) static MODULE: Module = Module {
    name: "access",
    directives: &[
        directive("allow", IN, conf::exactly(1), |at, a| at.own::<Rules>().add(a, true)),
        directive("deny", IN, conf::exactly(1), |at, a| at.own::<Rules>().add(a, false)),
    ],
    variables: &[],
};

/// The rules of one level; a level that has any takes none from above.
#[derive(Clone, Default)]
struct Rules(Vec<(Who, bool)>);
impl Inherit for Rules {
    fn inherit(&mut self, outer: &Rules) {
        if self.0.is_empty() {
            self.0.clone_from(&outer.0);
        }
    }
}
impl Rules {
    fn add(&mut self, a: &Args<'_>, allow: bool) -> Result<(), Error> {
        let text = a.str(0);
        let who = Who::read(text).ok_or_else(|| a.error(format!("invalid parameter \"{text}\"")))?;
        self.0.push((who, allow));
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    All,
    Unix,
    /// An IPv4 network: address and mask.
    V4(u32, u32),
    /// An IPv6 network.
    V6(u128, u128),
}
impl Who {
    fn read(text: &str) -> Option<Who> {
        match text {
            "all" => return Some(Who::All),
            "unix:" => return Some(Who::Unix),
            _ => {}
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32u32.checked_sub(bits.unwrap_or(32))?).unwrap_or(0);
                Some(Who::V4(u32::from(ip) & mask, mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128u32.checked_sub(bits.unwrap_or(128))?).unwrap_or(0);
                Some(Who::V6(u128::from(ip) & mask, mask))
            }
        }
    }
    fn includes(self, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Who::All, _) | (Who::Unix, None) => true,
            (Who::V4(net, mask), Some(IpAddr::V4(ip))) => u32::from(ip) & mask == net,
            (Who::V6(net, mask), Some(IpAddr::V6(ip))) => u128::from(ip) & mask == net,
            _ => false,
        }
    }
}

pub(crate) fn access(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let rules = at.conf::<Rules>().filter(|rules| !rules.0.is_empty());
    Ok(rules.map(|rules| Box::new(rules.clone()) as _))
}

impl Check for Rules {
    fn check(&self, flow: &mut dyn Flow) -> Verdict {
        // An IPv4 client of an IPv6 socket is matched by IPv4 rules.
        let ip = flow.client_ip().map(|ip| ip.to_canonical());
        match self.0.iter().find(|(who, _)| who.includes(ip)) {
            Some((_, true)) => Verdict::Allow,
            Some((_, false)) => {
                flow.log(Level::Error, format_args!("access forbidden by rule"));
                Verdict::Reject(403)
            }
            None => Verdict::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let includes =
            |rule: &str, ip: &str| Who::read(rule).is_some_and(|who| who.includes(ip.parse().ok()));
        assert!(includes("10.0.0.0/8", "10.255.1.2"));
        assert!(!includes("10.0.0.0/8", "11.0.0.1"));
        assert!(includes("192.168.1.77/24", "192.168.1.1"), "host bits are ignored");
        assert!(includes("0.0.0.0/0", "8.8.8.8"));
        assert!(!includes("0.0.0.0/0", "::1"));
        assert!(includes("2001:db8::/32", "2001:db8:1::1"));
        assert!(includes("127.0.0.1", "127.0.0.1"));
        assert!(includes("unix:", "not an address"));
        assert_eq!(Who::read("10.0.0.0/33"), None);
        assert_eq!(Who::read("10.0.0"), None);
    }
}
