//! `limit_conn`: how many requests of one key at once.

use std::sync::Arc;

use conf::{Args, Error, HTTP, Inherit, Scope};

use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::variables::{Template, Variable, variable};
use crate::worker::generation::Compiler;
use crate::worker::zones::decision::{self, decide, decided};
use crate::worker::zones::keyed::{self, Declared, Manner, Refusal, limit_directives};
use crate::worker::zones::{self, Id, Lru, Zone};

pub(crate) static MODULE: Module =
    Module { name: "limit_conn", directives: DIRECTIVES, variables: VARIABLES };

static DIRECTIVES: &[conf::Directive] = limit_directives!(
    "limit_conn",
    Conf,
    [
        directive("limit_conn_zone", HTTP, exactly(2), zone),
        directive("limit_conn", IN_HTTP, exactly(2), limit),
    ]
);

static VARIABLES: &[Variable] = &[variable("limit_conn_status", |request, out| {
    let taken = decided::<Taken>(request);
    taken.map(|taken| out.extend_from_slice(taken.status.name())).is_some()
})];

/// As written.
#[derive(Default)]
struct Conf {
    limits: conf::List<(String, u32)>,
    manner: Manner,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.limits.inherit(&outer.limits);
        self.manner.inherit(&outer.manner);
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
type Zones = keyed::Zones<Counts, ()>;

/// `limit_conn_zone key zone=name:size`
fn zone(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let text = a.str(1);
    let value = text.strip_prefix("zone=").ok_or_else(|| a.invalid_parameter(1))?;
    let (name, size) = zones::name_and_size(a, text, value)?;
    if name.is_empty() {
        return Err(a.error("\"limit_conn_zone\" must have \"zone\" parameter"));
    }
    zones::declare(at, a, "limit_conn", name, size)?;
    let declared = Declared::new(at, a, size, ())?;
    at.shared::<Zones>().add(a, name, declared)
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
    _places: Places,
}
/// The first is where no vector is needed: most have one limit.
#[derive(Default)]
struct Places {
    first: Option<Place>,
    others: Vec<Place>,
}
impl Places {
    fn push(&mut self, place: Place) {
        match self.first {
            None => self.first = Some(place),
            Some(_) => self.others.push(place),
        }
    }
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
    refusal: Refusal,
}
struct Limit {
    zone: ZoneOfCounts,
    key: Template,
    most: u32,
}

pub(crate) fn preaccess(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>().filter(|conf| !conf.limits.is_empty()) else { return Ok(None) };
    let zones = at.shared::<Zones>();
    let limit = |(name, most): &(String, u32)| {
        let declared = zones.find(at, name)?;
        let zone = declared.living("limit_conn_zone", name, Counts::new)?;
        Ok(Limit { zone, key: declared.key.clone(), most: *most })
    };
    let limits = conf.limits.iter().map(limit).collect::<Result<_, Error>>()?;
    Ok(Some(Box::new(Gate { limits, refusal: conf.manner.refusal() })))
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
                let (name, key) = (&self.zone.key, crate::log::shown(&key));
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

/// A request and those within it are counted once.
pub(crate) fn descend(request: &mut Request, sub: &mut Request) {
    decision::share::<Taken>(request, sub);
}

impl Step for Gate {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        if decided::<Taken>(request).is_some() {
            return Verdict::Next.into();
        }
        let mut places = Places::default();
        for limit in &self.limits {
            match limit.ask(request) {
                Asked::NoKey => {}
                Asked::Taken(place) => places.push(place),
                Asked::Full => return self.reject(request).into(),
                Asked::Over => {
                    let dry = if self.refusal.dry_run { ", dry run," } else { "" };
                    let name = &limit.zone.name;
                    let text = format_args!("limiting connections{dry} by zone \"{name}\"");
                    request.note(self.refusal.log_level, text);
                    return self.reject(request).into();
                }
            }
        }
        if places.first.is_some() {
            decide(request, Taken { status: Status::Passed, _places: places });
        }
        Verdict::Next.into()
    }
}

impl Gate {
    fn reject(&self, request: &mut Request) -> Verdict {
        let status = if self.refusal.dry_run { Status::RejectedDryRun } else { Status::Rejected };
        decide(request, Taken { status, _places: Places::default() });
        if self.refusal.dry_run { Verdict::Next } else { Verdict::Reject(self.refusal.status) }
    }
}
