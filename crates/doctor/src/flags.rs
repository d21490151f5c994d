//! The command lines of the subcommands, as written, then as what they ask for.

use std::path::PathBuf;
use std::time::Duration;

use crate::logs::error::Window;
use crate::logs::moment::{self, Moment};
use crate::probe::{Wanted, Whom};

/// What `plimsoll doctor --help` says.
pub const DOCTOR_USAGE: &str = "\
usage: plimsoll doctor [options]

Looks at the running nginx (or plimsoll) and at its logs, or at files of one,
and says which link of its capacity chain is full and what to change. Changes
nothing.

  --pid WHICH         the server of this process, of this pid file or of this
                      systemd service; else the one with most workers
  --conf FILE         a configuration, or what `nginx -T` printed
  --prefix DIR        where relative names in it start from
  --log FILE          an error log (plain, .gz, JSON, - for standard input);
                      also those of the application; may be repeated
  --access-log FILE   an access log; may be repeated
  --format F          its log_format: a name in the configuration, or the text
  --stub-status URL   the page of stub_status, where it is not found by itself
  --since T, --until T  lines from then, until then: 2h, 30m, 1d ago,
                      or \"2026-11-22 12:00:00\"; a running server: the last day
  --seconds N         how long counters are watched (1)
  --watch             look again and again; what fills up is named above
  --listen ADDRESS    serve metrics for Prometheus, e.g. 127.0.0.1:9113
  --json              the report for programs (schema 1)
  --markdown          the report for a ticket
  --html              the report as a page with pictures, in one file
  --save FILE         write what was seen; --facts FILE reads it, and takes logs
                      and a configuration from other flags, where given
  --explain CODE      what a finding means
  --fix DIR           write the changes as files (sysctl, systemd drop-in, a
                      diff of the configuration); nothing is applied

With --conf or logs and without --pid, the running servers are not looked at.
Exit: 0 healthy, 1 warnings, 2 a link is full or was, 3 could not look.
";

/// How to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For a ticket.
    Markdown,
    /// A page with pictures.
    Html,
}

/// What `plimsoll doctor` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Doctor {
    /// Where to look.
    pub wanted: Wanted,
    /// How to say it.
    pub output: Output,
    /// `--watch`
    pub watch: bool,
    /// `--listen`
    pub listen: Option<String>,
    /// `--save`
    pub save: Option<PathBuf>,
    /// `--facts`
    pub facts: Option<PathBuf>,
    /// `--fix`
    pub fix: Option<PathBuf>,
    /// `--explain`
    pub explain: Option<String>,
    /// `--help`
    pub help: bool,
}

/// Words of a command line: `--name value` or `--name=value`.
pub(crate) struct Words<'a> {
    words: std::slice::Iter<'a, String>,
    inline: Option<&'a str>,
    name: &'a str,
}

impl<'a> Words<'a> {
    pub(crate) fn new(args: &'a [String]) -> Words<'a> {
        Words { words: args.iter(), inline: None, name: "" }
    }

    /// The next flag's name.
    pub(crate) fn flag(&mut self) -> Option<&'a str> {
        let word = self.words.next()?;
        let (name, inline) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        (self.name, self.inline) = (name, inline);
        Some(name)
    }

    /// The value of the flag just read.
    pub(crate) fn value(&mut self) -> Result<&'a str, String> {
        let next = self.inline.take().or_else(|| self.words.next().map(String::as_str));
        next.ok_or_else(|| format!("{} needs a value", self.name))
    }

    /// Its value as a number, of processes, requests or seconds: finite and not negative.
    pub(crate) fn number(&mut self) -> Result<f64, String> {
        let text = self.value()?;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| format!("{} needs a number, not \"{text}\"", self.name))
    }

    /// What is said of a flag that does not exist.
    pub(crate) fn unknown(&self) -> String {
        format!("unknown option \"{}\"; --help lists them", self.name)
    }
}

/// Reads the arguments of `plimsoll doctor`.
pub fn doctor(args: &[String]) -> Result<Doctor, String> {
    let mut flags = Doctor::default();
    let mut seconds = 1.0;
    let now = now();
    let mut words = Words::new(args);
    while let Some(flag) = words.flag() {
        let wanted = &mut flags.wanted;
        match flag {
            "--pid" => wanted.pid = Some(Whom::of(words.value()?)),
            "--conf" | "-c" => wanted.conf = Some(words.value()?.into()),
            "--prefix" | "-p" => wanted.prefix = Some(words.value()?.into()),
            "--log" => wanted.logs.push(words.value()?.into()),
            "--access-log" => wanted.access_logs.push(words.value()?.into()),
            "--format" => wanted.format = Some(words.value()?.to_owned()),
            "--stub-status" => wanted.status = Some(words.value()?.to_owned()),
            "--since" => wanted.window.since = Some(time(words.value()?, now)?),
            "--until" => wanted.window.until = Some(time(words.value()?, now)?),
            "--seconds" => seconds = words.number()?,
            "--watch" => flags.watch = true,
            "--listen" => flags.listen = Some(words.value()?.to_owned()),
            "--markdown" => flags.output = Output::Markdown,
            "--html" => flags.output = Output::Html,
            "--json" => flags.output = Output::Json,
            "--save" => flags.save = Some(words.value()?.into()),
            "--facts" => flags.facts = Some(words.value()?.into()),
            "--fix" => flags.fix = Some(words.value()?.into()),
            "--explain" => flags.explain = Some(words.value()?.to_owned()),
            "--help" | "-h" | "-?" => flags.help = true,
            _ => return Err(words.unknown()),
        }
    }
    flags.wanted.watch = Duration::from_secs_f64(seconds.min(3600.0));
    let wanted = &flags.wanted;
    let files = wanted.only_files() || !wanted.logs.is_empty() || !wanted.access_logs.is_empty();
    if flags.wanted.window == Window::default() && !files {
        flags.wanted.window.since = Some(now - 86_400);
    }
    Ok(flags)
}

/// Now, on the clock of the wall here, as error logs have it.
pub(crate) fn now() -> Moment {
    let now = jiff::Zoned::now();
    now.timestamp().as_second() + i64::from(now.offset().seconds())
}

/// A time of day as logs write it, or how long ago.
pub(crate) fn time(text: &str, now: Moment) -> Result<Moment, String> {
    let written = text.replace(['-', '/'], "/").replace('T', " ");
    let padded = match written.len() {
        10 => format!("{written} 00:00:00"),
        16 => format!("{written}:00"),
        _ => written,
    };
    let at = moment::of_error_log(padded.as_bytes());
    let ago = || conf::msec(text.as_bytes()).and_then(|ms| now.checked_sub(i64::try_from(ms / 1000).ok()?));
    at.or_else(ago).ok_or_else(|| format!("\"{text}\" is no time: 2h, 30m, 1d, or \"2026-11-22 12:00:00\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(line: &str) -> Result<Doctor, String> {
        doctor(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read() {
        let flags = read("--pid 7 --log=a --log b --json --seconds 0.5").unwrap();
        assert_eq!(
            (flags.wanted.pid, flags.wanted.logs.len(), flags.output),
            (Some(Whom::Process(7)), 2, Output::Json)
        );
        assert_eq!(flags.wanted.watch, Duration::from_millis(500));
        assert_eq!(flags.wanted.window, Window::default());
        assert!(read("").unwrap().wanted.window.since.is_some());
        for bad in ["--pid", "--nothing", "--since never", "--seconds -1", "--seconds inf"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_day_and_ago() {
        let noon = moment::of_error_log(b"2026/11/22 12:00:00").unwrap();
        for text in ["2026-11-22 12:00:00", "2026/11/22 12:00", "2026-11-22T12:00"] {
            assert_eq!(time(text, 0), Ok(noon));
        }
        assert_eq!(time("2h", noon), Ok(noon - 7200));
    }
}
