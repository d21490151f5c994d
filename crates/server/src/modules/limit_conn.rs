//! `limit_conn`: how many requests of one key at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use conf::{Args, Error, HTTP, IN_HTTP, Inherit, Level, Scope, Setting, directive};

use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::variables::{Template, Variable, variable};
use crate::worker::generation::Compiler;
use crate::worker::zones::{self, Id, Lru, Zone};

pub(crate) static MODULE: Module = Module {
    name: "limit_conn",
    directives: &[
        directive("limit_conn_zone", HTTP, conf::exactly(2), zone),
        directive("limit_conn", IN_HTTP, conf::exactly(2), limit),
        directive("limit_conn_log_level", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().log_level.set(a.one_of(0, LEVELS)?)
        }),
        directive("limit_conn_status", IN_HTTP, conf::exactly(1), |at, a| {
            at.own::<Conf>().status.set(a.number_within(0, 400, 599)? as u16)
        }),
        directive("limit_conn_dry_run", IN_HTTP, conf::flag(), |at, a| {
            at.own::<Conf>().dry_run.set(a.flag(0)?)
        }),
    ],
    variables: VARIABLES,
};

static VARIABLES: &[Variable] = &[variable("limit_conn_status", |request, out| {
    let taken = request.kept::<Taken>();
    taken.map(|taken| out.extend_from_slice(taken.status.name())).is_some()
})];

const LEVELS: &[(&str, Level)] =
    &[("info", Level::Info), ("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error)];

/// As written.
#[derive(Default)]
struct Conf {
    limits: conf::List<(String, u32)>,
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

/// How many there are of each key now.
type Counts = Lru<u32>;
type ZoneOfCounts = Arc<Zone<Counts>>;
/// What nginx's node takes besides the key.
const NODE: usize = 32 + 6;
/// The longest key.
const LONGEST: usize = 255;

/// The zones of one configuration.
#[derive(Default)]
struct Zones(Mutex<HashMap<String, Declared>>);
struct Declared {
    key: Template,
    text: Box<str>,
    size: u64,
    zone: OnceLock<ZoneOfCounts>,
}

/// `limit_conn_zone key zone=name:size`
fn zone(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let key = Template::compile(at, a, 0)?;
    let text = a.str(1);
    let value = text.strip_prefix("zone=").ok_or_else(|| a.invalid_parameter(1))?;
    let (name, size) = zones::name_and_size(a, text, value)?;
    if name.is_empty() {
        return Err(a.error("\"limit_conn_zone\" must have \"zone\" parameter"));
    }
    zones::declare(at, a, "limit_conn", name, size)?;
    let all = at.shared::<Zones>();
    let mut all = all.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(other) = all.get(name) {
        let text = format!("limit_conn_zone \"{name}\" is already bound to key \"{}\"", other.text);
        return Err(a.error(text));
    }
    all.insert(name.into(), Declared { key, text: a.str(0).into(), size, zone: OnceLock::new() });
    Ok(())
}

/// `limit_conn zone number`
fn limit(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let conf = at.own::<Conf>();
    let (zone, text) = (a.str(0), a.str(1));
    if conf.limits.iter().any(|(other, _)| other == zone) {
        return Err(Error::directive("is duplicate"));
    }
    let number = a.number::<u64>(1).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| a.error(format!("invalid number of connections \"{text}\"")))?;
    if number > 65_535 {
        return Err(a.error("connection limit must be less 65536"));
    }
    conf.limits.push((zone.into(), number as u32));
    Ok(())
}

/// What became of a request.
#[derive(Clone, Copy)]
enum Status {
    Passed,
    Rejected,
    RejectedDryRun,
}
impl Status {
    fn name(self) -> &'static [u8] {
        match self {
            Status::Passed => b"PASSED",
            Status::Rejected => b"REJECTED",
            Status::RejectedDryRun => b"REJECTED_DRY_RUN",
        }
    }
}

/// What a request was given, once, however many locations it passes; given back with it.
struct Taken {
    status: Status,
    _places: Vec<Place>,
}
/// One of the places of a key.
struct Place {
    zone: ZoneOfCounts,
    id: Id,
}
impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.zone.lock();
        let Some(count) = counts.value(self.id) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(self.id);
        }
    }
}

/// As run: exists only where a `limit_conn` is in force.
struct Gate {
    limits: Box<[Limit]>,
    log_level: Level,
    status: u16,
    dry_run: bool,
}
struct Limit {
    zone: ZoneOfCounts,
    key: Template,
    most: u32,
}

pub(crate) fn preaccess(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.limits.is_empty()) else { return Ok(None) };
    let zones = at.shared::<Zones>();
    let zones = zones.0.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = |(name, most): &(String, u32)| {
        let missing = || Error::emerg(format!("zero size shared memory zone \"{name}\"")).nowhere();
        let declared = zones.get(name).ok_or_else(missing)?;
        Ok(Limit { zone: living(name, declared)?, key: declared.key.clone(), most: *most })
    };
    Ok(Some(Box::new(Gate {
        limits: conf.limits.iter().map(limit).collect::<Result<_, Error>>()?,
        log_level: conf.log_level.or(Level::Error),
        status: conf.status.or(503),
        dry_run: conf.dry_run.or(false),
    })))
}

fn living(name: &str, declared: &Declared) -> Result<ZoneOfCounts, Error> {
    if let Some(zone) = declared.zone.get() {
        return Ok(zone.clone());
    }
    let room = zones::room(declared.size);
    let zone = zones::zone("limit_conn_zone", name, &declared.text, declared.size, || Counts::new(room))?;
    Ok(declared.zone.get_or_init(|| Arc::clone(&zone)).clone())
}

/// What asking for a place gave.
enum Asked {
    NoKey,
    Taken(Place),
    Full,
    Over,
}

impl Limit {
    fn ask(&self, request: &mut Request) -> Asked {
        let mut key = request.thread.buffer();
        self.key.render(request, &mut key);
        let asked = match key.len() {
            0 => Asked::NoKey,
            1..=LONGEST => self.enter(&key),
            _ => {
                let (name, key) = (&self.zone.key, String::from_utf8_lossy(&key));
                log_error!(request, "the value of the \"{name}\" key is more than 255 bytes: \"{key}\"");
                Asked::NoKey
            }
        };
        request.thread.give_buffer(key);
        asked
    }
    fn enter(&self, key: &[u8]) -> Asked {
        let mut counts = self.zone.lock();
        let id = match counts.find(key) {
            None => counts.insert(key, 1, zones::cost(NODE + key.len())),
            Some(id) => {
                let Some(count) = counts.value(id) else { return Asked::Full };
                if *count >= self.most {
                    return Asked::Over;
                }
                *count += 1;
                Some(id)
            }
        };
        id.map_or(Asked::Full, |id| Asked::Taken(Place { zone: self.zone.clone(), id }))
    }
}

impl Step for Gate {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if request.kept::<Taken>().is_some() {
            return Verdict::Next.into();
        }
        let mut places = Vec::new();
        for limit in &self.limits {
            match limit.ask(request) {
                Asked::NoKey => {}
                Asked::Taken(place) => places.push(place),
                Asked::Full => return self.reject(request).into(),
                Asked::Over => {
                    let dry = if self.dry_run { ", dry run," } else { "" };
                    let name = &limit.zone.name;
                    request
                        .note(self.log_level, format_args!("limiting connections{dry} by zone \"{name}\""));
                    return self.reject(request).into();
                }
            }
        }
        if !places.is_empty() {
            request.keep(Taken { status: Status::Passed, _places: places });
        }
        Verdict::Next.into()
    }
}

impl Gate {
    fn reject(&self, request: &mut Request) -> Verdict {
        let status = if self.dry_run { Status::RejectedDryRun } else { Status::Rejected };
        request.keep(Taken { status, _places: Vec::new() });
        if self.dry_run { Verdict::Next } else { Verdict::Reject(self.status) }
    }
}
