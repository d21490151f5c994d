//! What the modules that limit requests by a key have in common: zones declared with their keys, and what becomes of
//! those that are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use conf::{Args, Error, Level, Scope};

use super::{Zone, elsewhere, room, zone};
use crate::http::variables::Template;
use crate::modules::settings;

settings! {
    /// `.._log_level`, `.._status`, `.._dry_run`
    #[allow(missing_docs)]
    pub struct Manner {
        log_level: Level,
        status: u16,
        dry_run: bool,
    }
}

/// A module's table of directives: its own rows before those that all such modules have. `$prefix` is what the names begin
/// with, `$own` the module's settings, which have a `manner`.
macro_rules! limit_directives {
    ($prefix:literal, $own:ident, [$($row:expr,)*]) => {{
        use conf::{IN_HTTP, directive, exactly, flag};
        &[
            $($row,)*
            directive(concat!($prefix, "_log_level"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().manner.log_level.set(a.one_of(0, $crate::worker::zones::keyed::LEVELS)?)
            }),
            directive(concat!($prefix, "_status"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().manner.status.set(a.number_within(0, 400, 599)? as u16)
            }),
            directive(concat!($prefix, "_dry_run"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().manner.dry_run.set(a.flag(0)?)
            }),
        ]
    }};
}
pub(crate) use limit_directives;

/// What may be said of refusals.
pub const LEVELS: &[(&str, Level)] =
    &[("info", Level::Info), ("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error)];

/// [`Manner`] as run.
#[derive(Clone, Copy)]
pub struct Refusal {
    /// How grave it is in the log.
    pub log_level: Level,
    /// What the client is answered.
    pub status: u16,
    /// Nobody is refused, it is only logged.
    pub dry_run: bool,
}
impl Manner {
    /// With nginx's defaults.
    pub fn refusal(&self) -> Refusal {
        Refusal {
            log_level: self.log_level.or(Level::Error),
            status: self.status.or(503),
            dry_run: self.dry_run.or(false),
        }
    }
}

/// A zone as declared; `More` is what a module declares with it, `State` what it keeps there.
pub struct Declared<State, More> {
    /// What the state is kept for.
    pub key: Template,
    text: Box<str>,
    size: u64,
    /// What else was said.
    pub more: More,
    zone: OnceLock<Arc<Zone<State>>>,
}
impl<State: Send + 'static, More> Declared<State, More> {
    /// A zone of `size` bytes; its key is the directive's first word.
    ///
    /// # Errors
    /// Variables that cannot be.
    pub fn new(at: &Scope, a: &Args<'_>, size: u64, more: More) -> Result<Self, Error> {
        let key = Template::compile(at, a, 0)?;
        Ok(Declared { key, text: a.str(0).into(), size, more, zone: OnceLock::new() })
    }
    /// The zone itself, living or made for its room.
    ///
    /// # Errors
    /// See [`zone`].
    pub fn living(
        &self,
        directive: &str,
        name: &str,
        make: fn(u64) -> State,
    ) -> Result<Arc<Zone<State>>, Error> {
        if let Some(zone) = self.zone.get() {
            return Ok(zone.clone());
        }
        let zone = zone(directive, name, &self.text, self.size, || make(room(self.size)))?;
        Ok(self.zone.get_or_init(|| zone).clone())
    }
}

/// The zones that one configuration declares for a module.
pub struct Zones<State, More>(Mutex<HashMap<String, Arc<Declared<State, More>>>>);
impl<State, More> Default for Zones<State, More> {
    fn default() -> Self {
        Zones(Mutex::default())
    }
}
impl<State, More> Zones<State, More> {
    /// Adds one.
    ///
    /// # Errors
    /// nginx's words where there is one of this name.
    pub fn add(&self, a: &Args<'_>, name: &str, declared: Declared<State, More>) -> Result<(), Error> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = all.get(name) {
            let (directive, key) = (&a.directive, &other.text);
            return Err(a.error(format!("{directive} \"{name}\" is already bound to key \"{key}\"")));
        }
        all.insert(name.into(), Arc::new(declared));
        Ok(())
    }
    /// The one of this name.
    ///
    /// # Errors
    /// nginx's words where nobody declared it, or something else has the name.
    pub fn find(&self, at: &Scope, name: &str) -> Result<Arc<Declared<State, More>>, Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || Error::emerg(format!("zero size shared memory zone \"{name}\"")).nowhere();
        all.get(name).cloned().ok_or_else(|| elsewhere(at, name).unwrap_or_else(missing))
    }
}
