//! `plimsoll size`: what to configure, from traffic figures or from an access log, with the working shown.

use std::fmt::Write;
use std::path::PathBuf;

use capacity::draw;

use crate::flags::{self, Words};
use crate::logs::access::{Access, Reader};
use crate::logs::error::Window;
use crate::logs::{Source, moment};
use crate::report::text;

mod sum;

use sum::HELD;
pub use sum::{Load, Size, size};

const USAGE: &str = "\
usage: plimsoll size --access-log FILE [--format TEXT] [options]
       plimsoll size --rate N --seconds T [options]

  --access-log FILE   measured: how many requests were served at once; may be
                      repeated
  --format TEXT       its log_format, if it is none of the well-known ones
  --since T, --until T  only requests from then, until then: 2h, 30m, 1d ago, or
                      \"2026-11-22 12:00:00\"
  --rate N            guessed: requests a second at the peak ..
  --seconds T         .. and how long one takes on average
  --proxied PERCENT   how many of them are passed on (100)
  --idle N            idle keep-alive clients at the peak
  --keepalive T       keepalive_timeout in seconds (75)
  --headroom N        how many times the peak must fit (2; of averages 3 to 5)
  --workers N         worker_processes (auto: the processors here)
  --listens N         listening sockets (2)
";

/// What is asked.
#[derive(Clone, Debug)]
struct Wanted {
    logs: Vec<PathBuf>,
    format: Option<String>,
    window: Window,
    rate: Option<f64>,
    seconds: Option<f64>,
    proxied: Option<f64>,
    idle: Option<f64>,
    keepalive: f64,
    headroom: f64,
    workers: Option<f64>,
    listens: f64,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            logs: Vec::new(),
            format: None,
            window: Window::default(),
            rate: None,
            seconds: None,
            proxied: None,
            idle: None,
            keepalive: 75.0,
            headroom: 2.0,
            workers: None,
            listens: 2.0,
        }
    }
}

/// Runs `plimsoll size`.
pub fn command(args: &[String]) -> Result<String, String> {
    let mut wanted = Wanted::default();
    let mut words = Words::new(args);
    while let Some(flag) = words.flag() {
        match flag {
            "--access-log" => wanted.logs.push(words.value()?.into()),
            "--format" => wanted.format = Some(words.value()?.to_owned()),
            "--since" => wanted.window.since = Some(flags::time(words.value()?, flags::now())?),
            "--until" => wanted.window.until = Some(flags::time(words.value()?, flags::now())?),
            "--rate" => wanted.rate = Some(words.number()?),
            "--seconds" => wanted.seconds = Some(words.number()?),
            "--proxied" => wanted.proxied = Some(words.number()?.min(100.0) / 100.0),
            "--idle" => wanted.idle = Some(words.number()?),
            "--keepalive" => wanted.keepalive = words.number()?,
            "--headroom" => wanted.headroom = words.number()?.max(1.0),
            "--workers" => wanted.workers = Some(words.number()?.max(1.0)),
            "--listens" => wanted.listens = words.number()?,
            "--help" | "-h" | "-?" => return Ok(USAGE.to_owned()),
            _ => return Err(words.unknown()),
        }
    }
    match (wanted.rate, wanted.seconds) {
        _ if !wanted.logs.is_empty() => from_log(&wanted),
        (Some(rate), Some(seconds)) => Ok(from_figures(&wanted, rate, seconds)),
        _ => Err(format!("either an access log or --rate and --seconds\n\n{USAGE}")),
    }
}

fn from_figures(wanted: &Wanted, rate: f64, seconds: f64) -> String {
    let mut guessed = vec!["how many at once, from rate x time: bursts are more".to_owned()];
    if wanted.idle.is_none() {
        guessed.push("no idle keep-alive clients (--idle)".to_owned());
    }
    if wanted.proxied.is_none() {
        guessed.push("all requests are passed on (--proxied)".to_owned());
    }
    let load = load(wanted, rate * seconds, wanted.proxied.unwrap_or(1.0), wanted.idle.unwrap_or(0.0));
    let first = format!("{rate} requests/s x {seconds} s = {:.0} at once", load.at_once);
    told(&first, &load, &guessed)
}

fn load(wanted: &Wanted, at_once: f64, proxied: f64, idle: f64) -> Load {
    let workers = wanted.workers.unwrap_or_else(|| sys::proc::usable_cpus() as f64);
    Load { at_once, proxied, idle, headroom: wanted.headroom, workers, listens: wanted.listens }
}

fn from_log(wanted: &Wanted) -> Result<String, String> {
    let reader = wanted.format.as_deref().map_or_else(Reader::guess, Reader::new);
    let mut reader = reader.within(wanted.window);
    if !reader.has_times() {
        return Err(
            "the format has no $request_time and no time of day: it cannot tell what overlaps".to_owned()
        );
    }
    for log in &wanted.logs {
        let read = Source::open(log).and_then(|source| reader.read(&mut source.blocks()));
        read.map_err(|error| format!("{}: {error}", log.display()))?;
    }
    let access = reader.finish();
    let Some(found) = access.concurrency.as_ref().filter(|found| found.peak > 0) else {
        return Err(match access.unread {
            0 => "no request with a $request_time in this time".to_owned(),
            unread => format!("no line of {unread} is of the format; give it with --format"),
        });
    };
    let mut guessed = Vec::new();
    let proxied = wanted.proxied.unwrap_or_else(|| match access.upstreams.is_empty() {
        true => {
            guessed.push("all requests are passed on: the log has no $upstream_addr (--proxied)".to_owned());
            1.0
        }
        false => access.proxied as f64 / access.requests as f64,
    });
    let idle = wanted.idle.unwrap_or_else(|| {
        let clients = idle_clients(&access, wanted.keepalive);
        guessed.push(format!("{clients:.0} idle keep-alive clients, from keepalive_timeout {} and {} distinct clients a minute", wanted.keepalive, access.clients));
        clients
    });
    if !access.exact {
        guessed.push("when in its second a request ended: log $msec to know".to_owned());
    }
    let first = format!(
        "peak concurrency {} at {} UTC (p99 {}, median {}), mean hold {:.3} s, {:.0}% proxied",
        found.peak,
        moment::words(found.peak_at.div_euclid(1000)),
        found.at_once.at(0.99),
        found.at_once.at(0.5),
        access.took.mean() / 1000.0,
        proxied * 100.0
    );
    Ok(told(&first, &load(wanted, found.peak as f64, proxied, idle), &guessed))
}

/// Clients stay for the timeout after their last request.
fn idle_clients(access: &Access, keepalive: f64) -> f64 {
    (access.clients as f64 * (keepalive / 60.0).min(5.0)).ceil()
}

fn told(first: &str, load: &Load, guessed: &[String]) -> String {
    let size = size(load);
    let mut out = String::new();
    text::wrapped(&mut out, "", first);
    out.push('\n');
    settings(&mut out, load, &size);
    out.push('\n');
    working(&mut out, load, &size);
    picture(&mut out, load, &size);
    out.push('\n');
    for guess in guessed {
        text::wrapped(&mut out, "  guessed  ", guess);
    }
    out
}

fn settings(out: &mut String, load: &Load, size: &Size) {
    let here = sys::proc::usable_cpus() as f64;
    let workers = if load.workers == here { "auto".to_owned() } else { load.workers.to_string() };
    let mut line = |setting: String, place: &str| {
        let _ = writeln!(out, "{}", format!("  {setting:46} {place}").trim_end());
    };
    line(format!("worker_processes {workers};"), "");
    line(format!("worker_rlimit_nofile {};", size.descriptors), "");
    line(format!("events {{ worker_connections {}; }}", size.connections), "");
    line(format!("listen .. backlog={};", size.backlog), "");
    if size.keepalive > 0 {
        line(format!("keepalive {};", size.keepalive), "in the upstream group");
    }
    line(format!("net.core.somaxconn = {}", size.backlog), "in /etc/sysctl.d/");
    line(format!("LimitNOFILE={}", size.limit), "in the service's unit");
    line(format!("MemoryMax={}M", size.memory.div_ceil(1 << 20)), "or more; buffers filled");
}

fn working(out: &mut String, load: &Load, size: &Size) {
    let files = 1.0 - load.proxied;
    let mut why = |text: String| text::wrapped(out, "  why      ", &text);
    why(format!(
        "{:.0} at once x {:.2} slots + {:.0} idle, x {} headroom = {} slots; / {} workers + {} listens + 1 -> \
         worker_connections {}",
        load.at_once,
        1.0 + load.proxied,
        load.idle,
        load.headroom,
        size.slots,
        load.workers,
        load.listens,
        size.connections
    ));
    why(format!(
        "+ {:.0} files served at once and {HELD:.0} held -> worker_rlimit_nofile {}",
        load.at_once * files * load.headroom / load.workers.max(1.0),
        size.descriptors
    ));
    why(format!(
        "for plimsoll the same: its threads share all {} slots, so that none is full beside an idle one, and idle \
         clients give way",
        size.connections.saturating_mul(load.workers as u64)
    ));
}

/// How full the slots are at the peak, and at more than that.
fn picture(out: &mut String, load: &Load, size: &Size) {
    let fits = size.connections as f64 * load.workers;
    let peak = load.at_once * (1.0 + load.proxied) + load.idle;
    out.push('\n');
    for (times, name) in [
        (0.5, "half the peak"),
        (1.0, "the peak"),
        (1.5, "1.5 x the peak"),
        (2.0, "2 x the peak"),
        (3.0, "3 x the peak"),
    ] {
        let used = peak * times;
        let mark = if used > fits { " too much" } else { "" };
        let _ =
            writeln!(out, "  {name:15} {} {used:.0} of {fits:.0}{mark}", draw::bar(used / fits.max(1.0), 30));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn from_the_command_line() {
        let run = |line: &str| command(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let said = run("--rate 100 --seconds 2 --workers 2 --headroom 3").unwrap();
        assert!(said.contains("200 at once") && said.contains("worker_connections 768;"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        assert!(run("--rate 5").is_err() && run("--access-log /nowhere").is_err());
    }

    #[test]
    fn from_a_log() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let line = |s: u32| {
            format!("1.1.1.{s} - - [27/Jun/2026:18:05:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\" 2.000\n")
        };
        std::fs::write(log.path(), (0..40).map(line).collect::<String>()).unwrap();
        let said = command(&["--access-log".to_owned(), log.path().display().to_string()]).unwrap();
        assert!(said.contains("peak concurrency 40") && said.contains("guessed"), "{said}");
        let log = |since: &str| {
            let args = ["--access-log", log.path().to_str().unwrap(), "--since", since];
            command(&args.map(str::to_owned))
        };
        assert!(log("2026-06-25").is_ok());
        assert_eq!(log("2026-06-30"), Err("no request with a $request_time in this time".to_owned()));
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    }
}
