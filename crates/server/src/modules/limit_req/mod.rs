//! `limit_req`: how often, as a leaking bucket for each key; what is too early waits, or is rejected.

use std::time::Duration;

use conf::{Args, Error, HTTP, Inherit, Level, Scope};

use self::rates::{Found, Held, Limit, Rates};
use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{self, Outcome, Step};
use crate::http::variables::{Variable, variable};
use crate::worker::generation::Compiler;
use crate::worker::zones;
use crate::worker::zones::decision::{self, decide, decided};
use crate::worker::zones::keyed::{self, Declared, Manner, Refusal, limit_directives};

mod rates;

pub(crate) static MODULE: Module = Module { name: "limit_req", directives: DIRECTIVES, variables: VARIABLES };

static DIRECTIVES: &[conf::Directive] = limit_directives!(
    "limit_req",
    Conf,
    [
        directive("limit_req_zone", HTTP, exactly(3), zone),
        directive("limit_req", IN_HTTP, conf::between(1, 3), limit),
    ]
);

static VARIABLES: &[Variable] = &[variable("limit_req_status", |request, out| {
    let status = decided::<Status>(request);
    status.map(|status| out.extend_from_slice(status.name())).is_some()
})];

/// As written.
#[derive(Default)]
struct Conf {
    limits: conf::List<Written>,
    manner: Manner,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.limits.inherit(&outer.limits);
        self.manner.inherit(&outer.manner);
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

/// The zones of one configuration, and each one's rate.
type Zones = keyed::Zones<Rates, u64>;

/// `limit_req_zone key zone=name:size rate=rate`
fn zone(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
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
    let declared = Declared::new(at, a, size, rate)?;
    at.shared::<Zones>().add(a, name, declared)
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
    refusal: Refusal,
}

pub(crate) fn preaccess(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.limits.is_empty()) else { return Ok(None) };
    let zones = at.shared::<Zones>();
    let limit = |written: &Written| {
        let declared = zones.find(at, &written.zone)?;
        let zone = declared.living("limit_req", &written.zone, Rates::new)?;
        let (burst, delay) = (written.burst, written.delay);
        Ok(Limit { zone, key: declared.key.clone(), rate: declared.more, burst, delay })
    };
    let limits = conf.limits.iter().map(limit).collect::<Result<_, Error>>()?;
    Ok(Some(Box::new(Gate { limits, refusal: conf.manner.refusal() })))
}

/// A request and those within it are counted once.
pub(crate) fn descend(request: &mut Request, sub: &mut Request) {
    decision::share::<Status>(request, sub);
}

impl Step for Gate {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if decided::<Status>(request).is_some() {
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
                decide(request, Status::Passed);
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
                let (name, key) = (&limit.zone.key, crate::log::shown(&key));
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
                let dry = if self.refusal.dry_run { ", dry run" } else { "" };
                let text = format_args!(
                    "limiting requests{dry}, excess: {}.{:03} by zone \"{name}\"",
                    excess / 1000,
                    excess % 1000
                );
                request.note(self.refusal.log_level, text);
            }
            _ => {
                let text = format_args!("could not allocate node in limit_req zone \"{name}\"");
                request.thread.process.log(Level::Alert, text);
            }
        }
        if self.refusal.dry_run {
            decide(request, Status::RejectedDryRun);
            return Verdict::Next;
        }
        decide(request, Status::Rejected);
        Verdict::Reject(self.refusal.status)
    }

    fn delay<'a>(
        &self,
        request: &'a mut Request,
        limit: usize,
        excess: u64,
        delay: Duration,
    ) -> Outcome<'a, Verdict> {
        let dry = if self.refusal.dry_run { ", dry run" } else { "" };
        let name = self.limits.get(limit).map_or("", |limit| &limit.zone.name);
        let text = format_args!(
            "delaying request{dry}, excess: {}.{:03}, by zone \"{name}\"",
            excess / 1000,
            excess % 1000
        );
        request.note(below(self.refusal.log_level), text);
        if self.refusal.dry_run {
            decide(request, Status::DelayedDryRun);
            return Verdict::Next.into();
        }
        decide(request, Status::Delayed);
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
