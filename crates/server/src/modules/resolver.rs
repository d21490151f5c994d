//! `resolver`, `resolver_timeout`: who is asked for names while requests run.

use conf::{IN_HTTP, UPSTREAM, directive};

use super::Module;
use crate::resolver::Conf;

pub(crate) static MODULE: Module = Module {
    name: "resolver",
    directives: &[
        directive("resolver", IN_HTTP.or(UPSTREAM), conf::at_least(1), Conf::resolver),
        directive("resolver_timeout", IN_HTTP.or(UPSTREAM), conf::exactly(1), Conf::timeout),
    ],
    variables: &[],
};
