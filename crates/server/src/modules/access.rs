//! `allow` and `deny`: by the client's address, first match wins.

use std::net::IpAddr;

use conf::{Args, Error, HTTP, Inherit, LIMIT_EXCEPT, LOCATION, SERVER, Scope, Within, directive};

use super::Module;
use crate::flow::{Check, Flow, Verdict};
use crate::http::steps::Step;
use crate::log::Level;
use crate::network::Network;
use crate::worker::generation::Compiler;

const IN: Within = HTTP.or(SERVER).or(LOCATION).or(LIMIT_EXCEPT);

pub(crate) static MODULE: Module = Module {
    name: "access",
    directives: &[
        directive("allow", IN, conf::exactly(1), |at, a| rule(at, a, true)),
        directive("deny", IN, conf::exactly(1), |at, a| rule(at, a, false)),
    ],
    variables: &[],
};

/// The rules of one level; a level that has any takes none from above.
#[derive(Clone, Default)]
struct Rules(Vec<(Who, bool)>);

/// As run.
struct Gate {
    rules: Rules,
    /// Another step may still allow what is denied here: it is said in the end.
    silent: bool,
}

impl Inherit for Rules {
    fn inherit(&mut self, outer: &Rules) {
        if self.0.is_empty() {
            self.0.clone_from(&outer.0);
        }
    }
}

fn rule(at: &mut Scope, a: &Args<'_>, allow: bool) -> Result<(), Error> {
    let who = match a.str(0) {
        "all" => None,
        text => Some(Network::read(at, a, text).ok_or_else(|| a.invalid_parameter(0))?),
    };
    at.own::<Rules>().0.push((who, allow));
    Ok(())
}

/// `None`: all clients.
type Who = Option<Network>;

fn includes(who: Who, ip: Option<IpAddr>) -> bool {
    who.is_none_or(|network| network.includes(ip))
}

pub(crate) fn access(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let rules = at.conf::<Rules>().filter(|rules| !rules.0.is_empty());
    let silent = super::core::satisfies_any(at);
    Ok(rules.map(|rules| Box::new(Gate { rules: rules.clone(), silent }) as _))
}

impl Check for Gate {
    fn check(&self, flow: &mut dyn Flow) -> Verdict {
        let ip = flow.client_ip();
        match self.rules.0.iter().find(|(who, _)| includes(*who, ip)) {
            Some((_, true)) => Verdict::Allow,
            Some((_, false)) => {
                if !self.silent {
                    flow.log(Level::Error, format_args!("access forbidden by rule"));
                }
                Verdict::Reject(403)
            }
            None => Verdict::Next,
        }
    }
}
