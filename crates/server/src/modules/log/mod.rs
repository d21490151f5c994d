//! `access_log`, `log_format`: a line for each request, when it is over.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conf::{
    Args, Error, HTTP, IF_LOCATION, Inherit, LIMIT_EXCEPT, LOCATION, SERVER, Scope, at_least, between,
    directive,
};

use super::Module;
use crate::http::open_files::Use;
use crate::http::request::Request;
use crate::http::variables::Template;
use crate::log::{Errno, Level, LogFile, LogFiles};
use crate::syslog::Syslog;
use crate::worker::generation::Compiler;

mod buffered;
mod by_path;
mod escape;
#[cfg(test)]
mod folder;
mod format;
mod gathered;

use self::format::{Format, Formats};

const UPPER: conf::Within = HTTP.or(SERVER).or(LOCATION);

pub(crate) static MODULE: Module = Module { name: "log", directives: DIRECTIVES, variables: &[] };

static DIRECTIVES: &[conf::Directive] = &[
    directive("log_format", HTTP, at_least(2), format::log_format).any_bytes(),
    directive("access_log", UPPER.or(IF_LOCATION).or(LIMIT_EXCEPT), at_least(1), access_log),
    directive("open_log_file_cache", UPPER, between(1, 4), by_path::open_log_file_cache),
];

/// As written at one level. A level that has any, `off` included, takes none from around it.
#[derive(Default)]
struct Conf {
    logs: Vec<Arc<Log>>,
    off: bool,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Self) {
        if self.logs.is_empty() && !self.off {
            self.logs.clone_from(&outer.logs);
            self.off = outer.off;
        }
    }
}

/// The logs in force in a block.
pub struct AccessLogs {
    logs: Box<[Arc<Log>]>,
    /// For those whose path has variables.
    cache: Option<Use>,
}

/// One `access_log`.
struct Log {
    target: Target,
    format: Arc<Format>,
    /// `if=`: no line where this is empty or `0`.
    condition: Option<Template>,
}

enum Target {
    /// Opened by the master.
    File(Arc<LogFile>),
    /// As `File`, written in bigger portions.
    Buffered(Arc<LogFile>, Buffer),
    /// A path with variables: opened for each line, as the worker's user.
    Path(Template),
    Syslog(Syslog),
}

/// `buffer=` and `flush=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer {
    /// In bytes, for each thread.
    size: usize,
    /// How long a line may wait.
    flush: Option<Duration>,
    /// Each portion is compressed, at this level.
    gzip: Option<u32>,
}

/// The logs in force in a block; `None` where nothing is logged. Without any `access_log`, nginx's default.
pub fn compile(at: &Scope, with: &mut Compiler<'_>) -> Result<Option<AccessLogs>, Error> {
    match at.conf::<Conf>() {
        Some(conf) if conf.off => Ok(None),
        Some(conf) if !conf.logs.is_empty() => {
            Ok(Some(AccessLogs { logs: conf.logs.as_slice().into(), cache: by_path::cache(at) }))
        }
        _ => default(at, with).map(Some),
    }
}

fn default(at: &Scope, with: &Compiler<'_>) -> Result<AccessLogs, Error> {
    let file = at.shared::<LogFiles>().file(Path::new(&with.prefix_path("logs/access.log")));
    let format = combined(at).ok_or_else(|| Error::emerg("unknown log format \"combined\""))?;
    let log = Log { target: Target::File(file), format, condition: None };
    Ok(AccessLogs { logs: Box::new([Arc::new(log)]), cache: None })
}
fn combined(at: &Scope) -> Option<Arc<Format>> {
    at.shared::<Formats>().find(at, b"combined")
}

/// `access_log path [format [buffer=size] [gzip[=level]] [flush=time] [if=condition]]` or `access_log off`
fn access_log(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    if a.bytes(0) == b"off" {
        if a.words.len() > 1 {
            return Err(a.error(format!("invalid parameter \"{}\"", a.str(1))));
        }
        at.own::<Conf>().off = true;
        return Ok(());
    }
    let name = if a.words.len() > 1 { a.bytes(1) } else { b"combined" };
    let format = at.shared::<Formats>().find(at, name);
    let unknown = || a.error(format!("unknown log format \"{}\"", String::from_utf8_lossy(name)));
    let format = format.ok_or_else(unknown)?;
    let Parameters { buffer, condition } = parameters(at, a)?;
    let target = target(at, a, buffer)?;
    at.own::<Conf>().logs.push(Arc::new(Log { target, format, condition }));
    Ok(())
}

struct Parameters {
    buffer: Option<Buffer>,
    condition: Option<Template>,
}

fn parameters(at: &Scope, a: &Args<'_>) -> Result<Parameters, Error> {
    let (mut size, mut flush, mut gzip, mut condition) = (None, None, None, None);
    for i in 2..a.words.len() {
        let word = a.str(i);
        if let Some(value) = word.strip_prefix("buffer=") {
            let bytes = conf::size(value.as_bytes()).filter(|bytes| *bytes > 0);
            let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
            size = Some(bytes.ok_or_else(|| a.error(format!("invalid buffer size \"{value}\"")))?);
        } else if let Some(value) = word.strip_prefix("flush=") {
            let msec = conf::msec(value.as_bytes()).filter(|msec| *msec > 0);
            let msec = msec.ok_or_else(|| a.error(format!("invalid flush time \"{value}\"")))?;
            flush = Some(Duration::from_millis(msec));
        } else if word == "gzip" {
            gzip = Some(1);
        } else if let Some(value) = word.strip_prefix("gzip=") {
            let level = value.parse().ok().filter(|level| (1..=9).contains(level));
            gzip = Some(level.ok_or_else(|| a.error(format!("invalid compression level \"{value}\"")))?);
        } else if let Some(value) = word.strip_prefix("if=") {
            condition = Some(Template::parse(at, value).map_err(|e| a.error(e.message))?);
        } else {
            return Err(a.error(format!("invalid parameter \"{word}\"")));
        }
    }
    let size = size.or(gzip.map(|_| 64 << 10));
    match (size, flush) {
        (None, Some(_)) => Err(a.error(format!("no buffer is defined for access_log \"{}\"", a.str(0)))),
        (size, flush) => Ok(Parameters { buffer: size.map(|size| Buffer { size, flush, gzip }), condition }),
    }
}

fn target(at: &mut Scope, a: &Args<'_>, buffer: Option<Buffer>) -> Result<Target, Error> {
    let word = a.str(0);
    if let Some(parameters) = word.strip_prefix("syslog:") {
        let syslog = Syslog::parse(parameters, a)?;
        return match buffer {
            Some(_) => Err(a.error("logs to syslog cannot be buffered")),
            None => Ok(Target::Syslog(syslog)),
        };
    }
    let path = a.prefix_path(word);
    let template = Template::parse(at, &path).map_err(|e| a.error(e.message))?;
    if template.as_literal().is_none() {
        return match buffer {
            Some(_) => Err(a.error("buffered logs cannot have variables in name")),
            None => Ok(Target::Path(template)),
        };
    }
    // nginx takes a file without a name for standard error.
    let path = if word.is_empty() { "/dev/stderr" } else { &path };
    let file = at.shared::<LogFiles>().file(Path::new(path));
    let Some(buffer) = buffer else { return Ok(Target::File(file)) };
    match at.shared::<buffered::Declared>().agrees(Path::new(path), buffer) {
        true => Ok(Target::Buffered(file, buffer)),
        false => Err(a.error(format!("access_log \"{word}\" already defined with conflicting parameters"))),
    }
}

impl AccessLogs {
    /// Writes the lines for a request that is over.
    pub fn write(&self, request: &mut Request) {
        for log in &self.logs {
            if log.wants(request) {
                log.write(request, self.cache.as_ref());
            }
        }
    }
}

impl Log {
    fn wants(&self, request: &mut Request) -> bool {
        let Some(condition) = &self.condition else { return true };
        let mut value = request.thread.buffer();
        condition.render(request, &mut value);
        let wants = !matches!(&*value, b"" | b"0");
        request.thread.give_buffer(value);
        wants
    }
    fn write(&self, request: &mut Request, cache: Option<&Use>) {
        let mut line = request.thread.buffer();
        if let Target::Syslog(syslog) = &self.target {
            syslog.begin(syslog.severity(), &request.thread.clock.syslog.get(), &mut line);
            self.format.write(request, &mut line);
            if let Err(error) = syslog.send(&line) {
                lost(syslog, &error, request);
            }
        } else {
            self.format.write(request, &mut line);
            line.push(b'\n');
        }
        match &self.target {
            Target::File(file) => {
                if let Err(error) = gathered::append(&request.thread, file, &line) {
                    complain(file, &error, request);
                }
            }
            Target::Buffered(file, buffer) => {
                if let Err(error) = buffered::append(&request.thread, file, *buffer, &line) {
                    complain(file, &error, request);
                }
            }
            Target::Path(path) => by_path::write(path, cache, &line, request),
            Target::Syslog(_) => {}
        }
        request.thread.give_buffer(line);
    }
}

/// Says that a message to syslog was lost.
fn lost(syslog: &Syslog, error: &std::io::Error, request: &Request) {
    if !syslog.complains(request.thread.clock.unix().as_secs()) {
        return;
    }
    if let Some((level, fault)) = syslog.fault(error) {
        request.thread.process.log(level, format_args!("{fault}"));
    }
    request.note(Level::Warn, format_args!("send() to syslog failed while logging request"));
}

fn complain(file: &LogFile, error: &std::io::Error, request: &Request) {
    if file.complains(request.thread.clock.unix().as_secs()) {
        let message = format_args!(
            "write() to \"{}\" failed ({}) while logging request",
            file.path.display(),
            Errno(error)
        );
        request.note(Level::Alert, message);
    }
}
