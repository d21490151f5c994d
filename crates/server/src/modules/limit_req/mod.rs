//! `limit_req`: how often, as a leaking bucket for each key; what is too early waits, or is rejected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use conf::{Args, Error, HTTP, IN_HTTP, Inherit, Level, Scope, Setting, directive};

use self::rates::{Found, Held, Limit, Rates, ZoneOfRates};
use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{self, Outcome, Step};
use crate::http::variables::{Template, Variable, variable};
use crate::worker::generation::Compiler;
use crate::worker::zones;

mod rates;

pub(crate) static MODULE: Module = Module {
    name: "limit_req",
    directives: &[
        directive("limit_req_zone", HTTP, conf::exactly(3), zone),
        directive("limit_req", IN_HTTP, conf::between(1, 3), limit),
        directive("limit_req_log_level", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().log_level.set(a.one_of(0, LEVELS)?)
        }),
        directive("limit_req_status", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().status.set(a.number_within(0, 400, 599)? as u16)
        }),
        directive("limit_req_dry_run", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Conf>().dry_run.set(a.flag(0)?)
        }),
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("limit_req_status", |request, out| {
    let status = request.kept::<Status>();
    status.map(|status| out.extend_from_slice(status.name())).is_some()
})];

const LEVELS: &[(&str, Level)] =
    &[("info", Level::Info), ("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error)];

/// As written.
#[derive(Default)]
struct Conf {
    limits: conf::List<Written>,
    log_level: Setting<Level>,
    status: Setting<u16>,
    dry_run: Setting<bool>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.limits.inherit(&outer.limits);
        self.log_level.inherit(&outer.log_level);
        self.status.inherit(&outer.status);
        self.dry_run.inherit(&outer.dry_run);
    }
}
#[derive(Clone)]
struct Written {
    zone: String,
    /// In thousandths of a request.
    burst: u64,
    /// From which excess on requests wait, in thousandths.
    delay: u64,
}

/// The zones of one configuration.
#[derive(Default)]
struct Zones(Mutex<HashMap<String, Declared>>);
struct Declared {
    key: Template,
    text: Box<str>,
    size: u64,
    rate: u64,
    zone: OnceLock<ZoneOfRates>,
}

/// `limit_req_zone key zone=name:size rate=rate`
fn zone(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let key = Template::compile(at, a, 0)?;
    let (mut place, mut rate) = (None, 1000);
    for text in a.iter().skip(1) {
        if let Some(value) = text.strip_prefix("zone=") {
            place = Some(zones::name_and_size(a, text, value)?);
        } else if let Some(value) = text.strip_prefix("rate=") {
            rate = read_rate(value).ok_or_else(|| a.error(format!("invalid rate \"{text}\"")))?;
        } else {
            return Err(a.error(format!("invalid parameter \"{text}\"")));
        }
    }
    let Some((name, size)) = place.filter(|(name, _)| !name.is_empty()) else {
        return Err(a.error("\"limit_req_zone\" must have \"zone\" parameter"));
    };
    zones::declare(at, a, "limit_req", name, size)?;
    let all = at.shared::<Zones>();
    let mut all = all.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(other) = all.get(name) {
        let text = format!("limit_req_zone \"{name}\" is already bound to key \"{}\"", other.text);
        return Err(a.error(text));
    }
    let declared = Declared { key, text: a.str(0).into(), size, rate, zone: OnceLock::new() };
    all.insert(name.into(), declared);
    Ok(())
}

/// `10r/s`, `30r/m`: thousandths of a request in a second.
fn read_rate(text: &str) -> Option<u64> {
    let (digits, scale) = match (text.strip_suffix("r/s"), text.strip_suffix("r/m")) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 60),
        _ => (text, 1),
    };
    Some(positive(digits)?.checked_mul(1000)? / scale)
}

/// What a number may be at most so that its thousandths are one.
const MOST: u64 = i64::MAX as u64 / 1000;
fn positive(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && (1..=MOST).contains(number))
}

/// `limit_req zone=name [burst=number] [nodelay | delay=number]`
fn limit(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for text in a.iter() {
        match text.split_once('=') {
            Some(("zone", name)) => zone = Some(name),
            Some(("burst", value)) => {
                burst = positive(value).ok_or_else(|| a.error(format!("invalid burst value \"{text}\"")))?;
            }
            Some(("delay", value)) => {
                delay = positive(value).ok_or_else(|| a.error(format!("invalid delay value \"{text}\"")))?;
            }
            None if text == "nodelay" => delay = MOST,
            _ => return Err(a.error(format!("invalid parameter \"{text}\""))),
        }
    }
    let zone = zone.ok_or_else(|| a.error("\"limit_req\" must have \"zone\" parameter"))?;
    let conf = at.own::<Conf>();
    if conf.limits.iter().any(|limit| limit.zone == zone) {
        return Err(Error::directive("is duplicate"));
    }
    conf.limits.push(Written { zone: zone.into(), burst: burst * 1000, delay: delay * 1000 });
    Ok(())
}

/// What became of a request; decided once, however many locations it passes.
#[derive(Clone, Copy)]
enum Status {
    Passed,
    Delayed,
    Rejected,
    DelayedDryRun,
    RejectedDryRun,
}
impl Status {
    fn name(self) -> &'static [u8] {
        match self {
            Status::Passed => b"PASSED",
            Status::Delayed => b"DELAYED",
            Status::Rejected => b"REJECTED",
            Status::DelayedDryRun => b"DELAYED_DRY_RUN",
            Status::RejectedDryRun => b"REJECTED_DRY_RUN",
        }
    }
}

/// As run: exists only where a `limit_req` is in force.
struct Gate {
    limits: Box<[Limit]>,
    log_level: Level,
    status: u16,
    dry_run: bool,
}

pub(crate) fn preaccess(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.limits.is_empty()) else { return Ok(None) };
    let zones = at.shared::<Zones>();
    let zones = zones.0.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = |written: &Written| {
        let missing = || Error::emerg(format!("zero size shared memory zone \"{}\"", written.zone)).nowhere();
        let declared = zones.get(&written.zone).ok_or_else(missing)?;
        let (burst, delay) = (written.burst, written.delay);
        let zone = living(&written.zone, declared)?;
        Ok(Limit { zone, key: declared.key.clone(), rate: declared.rate, burst, delay })
    };
    Ok(Some(Box::new(Gate {
        limits: conf.limits.iter().map(limit).collect::<Result<_, Error>>()?,
        log_level: conf.log_level.or(Level::Error),
        status: conf.status.or(503),
        dry_run: conf.dry_run.or(false),
    })))
}

fn living(name: &str, declared: &Declared) -> Result<ZoneOfRates, Error> {
    if let Some(zone) = declared.zone.get() {
        return Ok(zone.clone());
    }
    let room = zones::room(declared.size);
    let zone = zones::zone("limit_req", name, &declared.text, declared.size, || Rates::new(room))?;
    Ok(declared.zone.get_or_init(|| Arc::clone(&zone)).clone())
}

impl Step for Gate {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if request.kept::<Status>().is_some() {
            return Verdict::Next.into();
        }
        let now = request.thread.handle.now();
        let mut held = Held::new(&self.limits);
        let mut excess = None;
        for (i, limit) in self.limits.iter().enumerate() {
            let found = self.look(request, limit, i + 1 == self.limits.len(), now);
            match found {
                Found::NoKey => {}
                Found::Held(id) => held.push(i, id),
                Found::Counted(counted) => excess = Some((i, counted)),
                Found::Over(_) | Found::Full => {
                    held.let_go();
                    return self.reject(request, limit, found).into();
                }
            }
        }
        if excess.is_none() && held.is_empty() {
            return Verdict::Next.into();
        }
        match held.count(excess, now) {
            None => {
                request.keep(Status::Passed);
                Verdict::Next.into()
            }
            Some((limit, excess, delay)) => self.delay(request, limit, excess, delay),
        }
    }
}

impl Gate {
    fn look(&self, request: &mut Request, limit: &Limit, last: bool, now: std::time::Instant) -> Found {
        let mut key = request.thread.buffer();
        limit.key.render(request, &mut key);
        let found = match key.len() {
            0 => Found::NoKey,
            1..=65_535 => limit.zone.lock().look(&key, limit, last, now),
            _ => {
                let (name, key) = (&limit.zone.key, String::from_utf8_lossy(&key));
                log_error!(request, "the value of the \"{name}\" key is more than 65535 bytes: \"{key}\"");
                Found::NoKey
            }
        };
        request.thread.give_buffer(key);
        found
    }

    fn reject(&self, request: &mut Request, limit: &Limit, found: Found) -> Verdict {
        let name = &limit.zone.name;
        match found {
            Found::Over(excess) => {
                let dry = if self.dry_run { ", dry run" } else { "" };
                let text = format_args!(
                    "limiting requests{dry}, excess: {}.{:03} by zone \"{name}\"",
                    excess / 1000,
                    excess % 1000
                );
                request.note(self.log_level, text);
            }
            _ => {
                let text = format_args!("could not allocate node in limit_req zone \"{name}\"");
                request.thread.process.log(Level::Alert, text);
            }
        }
        if self.dry_run {
            request.keep(Status::RejectedDryRun);
            return Verdict::Next;
        }
        request.keep(Status::Rejected);
        Verdict::Reject(self.status)
    }

    fn delay<'a>(
        &self,
        request: &'a mut Request,
        limit: usize,
        excess: u64,
        delay: Duration,
    ) -> Outcome<'a, Verdict> {
        let dry = if self.dry_run { ", dry run" } else { "" };
        let name = self.limits.get(limit).map_or("", |limit| &limit.zone.name);
        let text = format_args!(
            "delaying request{dry}, excess: {}.{:03}, by zone \"{name}\"",
            excess / 1000,
            excess % 1000
        );
        request.note(below(self.log_level), text);
        if self.dry_run {
            request.keep(Status::DelayedDryRun);
            return Verdict::Next.into();
        }
        request.keep(Status::Delayed);
        Outcome::wait(steps::pause(request, delay))
    }
}

/// Delays are logged one level below rejections.
fn below(level: Level) -> Level {
    match level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_thousandths_of_a_request() {
        assert_eq!(read_rate("10r/s"), Some(10_000));
        assert_eq!(read_rate("1r/m"), Some(16));
        assert_eq!(read_rate("5"), Some(5000));
        for bad in ["", "0r/s", "-1r/s", "+1r/s", "1r/h", "99999999999999999999r/s"] {
            assert_eq!(read_rate(bad), None, "{bad}");
        }
    }
}
