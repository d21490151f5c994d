//! `resolver` and `resolver_timeout` as written.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use conf::{Args, Error, Inherit, Scope, Setting};

use super::Resolver;
use crate::program::Address;
use crate::upstream::resolve;

/// The directives of one block.
#[derive(Default)]
pub struct Conf {
    resolver: Setting<Arc<Resolver>>,
    timeout: Setting<u64>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.resolver.inherit(&outer.resolver);
        self.timeout.inherit(&outer.timeout);
    }
}

/// How names are looked up somewhere.
#[derive(Clone, Debug)]
pub struct Names {
    /// Whom to ask; `None` where no resolver is configured.
    pub resolver: Option<Arc<Resolver>>,
    /// `resolver_timeout`
    pub timeout: Duration,
}

impl Names {
    /// What is in force in a block.
    pub fn of(scope: &Scope) -> Names {
        let conf = scope.conf::<Conf>();
        let timeout = conf.map_or(30_000, |conf| conf.timeout.or(30_000));
        let resolver = conf.and_then(|conf| conf.resolver.written().cloned());
        Names {
            resolver: resolver.filter(|resolver| !resolver.servers.is_empty()),
            timeout: Duration::from_millis(timeout),
        }
    }
}

/// The port of name servers.
const PORT: u16 = 53;

impl Conf {
    /// `resolver address ... [valid=time] [ipv4=on|off] [ipv6=on|off]`
    ///
    /// # Errors
    /// nginx's.
    pub fn resolver(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        let (mut servers, mut valid) = (Vec::new(), None);
        let (mut ipv4, mut ipv6) = (true, true);
        for word in a.iter() {
            let invalid = || a.error(format!("invalid parameter: {word}"));
            let flag = |text: &str| match text {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err(invalid()),
            };
            if let Some(time) = word.strip_prefix("valid=") {
                let seconds = conf::sec(time.as_bytes()).ok_or_else(invalid)?;
                valid = (seconds > 0).then_some(Duration::from_secs(seconds));
            } else if let Some(on) = word.strip_prefix("ipv4=") {
                ipv4 = flag(on)?;
            } else if let Some(on) = word.strip_prefix("ipv6=") {
                ipv6 = flag(on)?;
            } else if word.starts_with("status_zone=") {
                return Err(a.error("parameter \"status_zone\" is not supported by plimsoll"));
            } else {
                let found = resolve(a.inputs(), word, PORT);
                let found = found.map_err(|what| a.error(format!("{what} in resolver \"{word}\"")))?;
                servers.extend(found.into_iter().filter_map(|address| match address {
                    Address::Tcp(address) => Some(address),
                    Address::Unix(_) => None,
                }));
            }
        }
        if !ipv4 && !ipv6 {
            return Err(a.error("\"ipv4\" and \"ipv6\" cannot both be \"off\""));
        }
        if servers.is_empty() {
            return Err(a.error("no name servers defined"));
        }
        at.own::<Conf>().resolver.set(shared(servers.into(), valid, ipv4, ipv6))
    }
    /// `resolver_timeout time`
    ///
    /// # Errors
    /// nginx's.
    pub fn timeout(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
        at.own::<Conf>().timeout.set(a.msec(0)?)
    }
}

/// The resolver with these settings, the same for all who write the same: what it learned outlives a reload.
fn shared(
    servers: Box<[std::net::SocketAddr]>,
    valid: Option<Duration>,
    ipv4: bool,
    ipv6: bool,
) -> Arc<Resolver> {
    static ALL: Mutex<Vec<Weak<Resolver>>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|resolver| resolver.strong_count() > 0);
    let same = |r: &Arc<Resolver>| (&r.servers, r.valid, r.ipv4, r.ipv6) == (&servers, valid, ipv4, ipv6);
    if let Some(resolver) = all.iter().filter_map(Weak::upgrade).find(same) {
        return resolver;
    }
    let resolver = Arc::new(Resolver {
        servers,
        valid,
        ipv4,
        ipv6,
        next: Default::default(),
        cache: Default::default(),
    });
    all.push(Arc::downgrade(&resolver));
    resolver
}
