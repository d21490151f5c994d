//! `error_log`: where messages go, and from which level on.

use std::path::Path;
use std::sync::Arc;

use conf::{Args, Directive, Error, HTTP, Inherit, LOCATION, MAIN, SERVER, Scope, at_least, directive};

use crate::log::{ErrorLog, Level, LogFiles, Memory, Target};
use crate::syslog::Syslog;
use crate::worker::generation::Compiler;

pub(super) const ERROR_LOG: Directive =
    directive("error_log", MAIN.or(HTTP).or(SERVER).or(LOCATION), at_least(1), error_log);

/// As written at one level. A level that has any takes none from around it.
#[derive(Default)]
struct Conf {
    targets: Vec<(Level, Target)>,
    /// All of them together, once the level is complete.
    log: std::sync::OnceLock<ErrorLog>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Self) {
        if self.targets.is_empty() {
            self.targets.clone_from(&outer.targets);
        }
    }
}

fn error_log(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let target = target(at, a)?;
    // The last word; nginx's commercial edition has it.
    let json = a.len() > 1 && a.str(a.len() - 1) == "json";
    let level = level(a, a.len() - usize::from(json))?;
    let target = if json { Target::Json(Box::new(target)) } else { target };
    at.own::<Conf>().targets.push((level, target));
    Ok(())
}

fn target(at: &Scope, a: &Args<'_>) -> Result<Target, Error> {
    let word = a.str(0);
    if let Some(parameters) = word.strip_prefix("syslog:") {
        return Ok(Target::Syslog(Arc::new(Syslog::parse(parameters, a)?)));
    }
    if let Some(size) = word.strip_prefix("memory:") {
        let room = conf::size(size.as_bytes()).and_then(|size| usize::try_from(size).ok());
        let memory = room.and_then(|size| Memory::new(size, &a.at().to_string()));
        let memory = memory.ok_or_else(|| a.error(format!("invalid buffer size \"{size}\"")))?;
        return Ok(Target::Memory(Arc::new(memory)));
    }
    match word {
        // nginx takes a file without a name for standard error.
        "stderr" | "" => Ok(Target::Stderr),
        _ => Ok(Target::File(at.shared::<LogFiles>().file(Path::new(&a.prefix_path(word))))),
    }
}

/// nginx's names for parts of its debugging messages: any of them asks for `debug`.
const DEBUG: [&str; 7] =
    ["debug_core", "debug_alloc", "debug_mutex", "debug_event", "debug_http", "debug_mail", "debug_stream"];

/// The level: `error` unless written.
fn level(a: &Args<'_>, end: usize) -> Result<Level, Error> {
    let mut found = None;
    for i in 1..end {
        let word = a.str(i);
        let part = DEBUG.contains(&word);
        let level = match Level::NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, level)) => *level,
            None if part => Level::Debug,
            None => return Err(a.error(format!("invalid log level \"{word}\""))),
        };
        // Only parts of debugging may stand together.
        match found.replace((level, part)) {
            Some((_, false)) if part => return Err(a.error(format!("invalid log level \"{word}\""))),
            Some(_) if !part => return Err(a.error(format!("duplicate log level \"{word}\""))),
            _ => {}
        }
    }
    Ok(found.map_or(Level::Error, |(level, _)| level))
}

/// The error log in force in a block: as configured, or nginx's default, `logs/error.log` below the prefix.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> ErrorLog {
    match at.conf::<Conf>().filter(|conf| !conf.targets.is_empty()) {
        Some(conf) => conf.log.get_or_init(|| ErrorLog::new(conf.targets.clone())).clone(),
        None => {
            let path = with.error_log_path();
            with.default_error_log.get_or_insert_with(|| default(at, &path)).clone()
        }
    }
}

fn default(at: &Scope, path: &Path) -> ErrorLog {
    let target = match path.to_str() {
        Some("stderr") => Target::Stderr,
        _ => Target::File(at.shared::<LogFiles>().file(path)),
    };
    ErrorLog::new(vec![(Level::Error, target)])
}
