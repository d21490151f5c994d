//! `plimsoll top`: the capacity chain of a running Plimsoll, live in a terminal. It reads what `capacity_status` shows.

mod room;
mod screen;
mod seen;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use capacity::FULL;

use crate::flags::Words;
use crate::probe::page::Page;
use crate::probe::{self, Wanted, Whom};
use crate::report::text::Colour;

use self::room::Size;
use self::seen::Seen;

/// What `plimsoll top --help` says.
const USAGE: &str = "\
usage: plimsoll top [options] [URL]

Shows the capacity chain of a running plimsoll, live: what is used of each link,
what binds, who was refused, the upstream servers. It asks a location that has
capacity_status; where, the configuration says, or the URL
(http://127.0.0.1:8080/status, unix:/run/p.sock:/status).

  -c, --conf FILE     the configuration; else that of the running server
  -p, --prefix DIR    where relative names in it start from
  --pid WHICH         the server of this process, pid file or systemd service
  --seconds N         between two looks (1)
  --once              one look; exit 2 if a link is full
  --json              everything, one line of JSON a look
  --help              this

Ctrl-C ends it. NO_COLOR is respected.
";

/// What it was asked for.
#[derive(Debug)]
struct Top {
    wanted: Wanted,
    url: Option<String>,
    apart: Duration,
    once: bool,
    json: bool,
    help: bool,
}

/// Runs the command; what the program exits with.
///
/// # Errors
/// When there is nothing to look at.
pub fn command(args: &[String]) -> Result<u8, String> {
    let top = flags(args)?;
    if top.help {
        print!("{USAGE}");
        return Ok(0);
    }
    let page = match &top.url {
        Some(url) => Page::of_url(url),
        None => configured(&top.wanted)?,
    };
    let page = page.with_argument("format=json");
    let (address, look) = (page.address.clone(), || look(&page));
    if top.once {
        let (text, seen) = look().map_err(|error| format!("{address}: {error}"))?;
        let full = seen.links.iter().any(|shown| shown.link.fullness() >= FULL);
        say(&if top.json {
            text
        } else {
            screen::screen(&seen, None, Colour::of_stdout(), Size { rows: usize::MAX, ..terminal() })
        });
        return Ok(if full { 2 } else { 0 });
    }
    live(&top, &address, look)
}

fn flags(args: &[String]) -> Result<Top, String> {
    let mut top = Top {
        wanted: Wanted::default(),
        url: None,
        apart: Duration::from_secs(1),
        once: false,
        json: false,
        help: false,
    };
    let mut words = Words::new(args);
    while let Some(flag) = words.flag() {
        match flag {
            "--conf" | "-c" => top.wanted.conf = Some(words.value()?.into()),
            "--prefix" | "-p" => top.wanted.prefix = Some(PathBuf::from(words.value()?)),
            "--pid" => top.wanted.pid = Some(Whom::of(words.value()?)),
            "--seconds" => top.apart = Duration::from_secs_f64(words.number()?.clamp(0.1, 3600.0)),
            "--once" => top.once = true,
            "--json" => top.json = true,
            "--help" | "-h" | "-?" => top.help = true,
            url if !url.starts_with('-') && top.url.is_none() => top.url = Some(url.to_owned()),
            _ => return Err(words.unknown()),
        }
    }
    Ok(top)
}

/// Where the configuration shows the chain.
fn configured(wanted: &Wanted) -> Result<Page, String> {
    let config = probe::configuration(wanted)?;
    let none = || {
        let path = &config.path;
        format!(
            "no location in {path} has capacity_status; give the address: plimsoll top http://127.0.0.1:8080/"
        )
    };
    config.capacity.clone().ok_or_else(none)
}

fn look(page: &Page) -> io::Result<(String, Seen)> {
    let text = page.body(Path::new("/"))?;
    let seen = serde_json::from_str(&text).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("no capacity_status: {error}"))
    })?;
    Ok((text, seen))
}

/// Looks again and again, until it is ended or nobody reads any more. A server that does not answer is asked on.
fn live(top: &Top, address: &str, look: impl Fn() -> io::Result<(String, Seen)>) -> Result<u8, String> {
    let terminal_here = io::stdout().is_terminal() && !top.json;
    let mut last: Option<(Instant, Seen)> = None;
    loop {
        let text = match look() {
            Ok((text, _)) if top.json => text,
            Ok((_, seen)) => {
                let text = screen::screen(&seen, None, Colour::of_stdout(), terminal());
                last = Some((Instant::now(), seen));
                text
            }
            Err(error) => match &last {
                None => return Err(format!("{address}: {error}")),
                Some((at, seen)) => {
                    let lost = format!("no answer for {} s: {error}", at.elapsed().as_secs());
                    screen::screen(seen, Some(&lost), Colour::of_stdout(), terminal())
                }
            },
        };
        let text = if terminal_here { in_place(&text) } else { text };
        let mut out = io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(0);
        }
        std::thread::sleep(top.apart);
    }
}

/// The room on the terminal, if there is one; its last line is left for the cursor.
fn terminal() -> Size {
    match console::Term::stdout().size_checked() {
        Some((rows, columns)) if columns > 0 && rows > 1 => {
            Size { columns: columns.into(), rows: usize::from(rows) - 1 }
        }
        _ => Size::PAPER,
    }
}

/// Over what was there before, without an empty moment in between.
fn in_place(text: &str) -> String {
    let lines: String = text.lines().flat_map(|line| [line, "\x1b[K\n"]).collect();
    format!("\x1b[H{lines}\x1b[J")
}

/// Whoever reads may stop reading.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(line: &str) -> Result<Top, String> {
        flags(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_an_address() {
        let top = read("--once --seconds=0.01 http://a/b").unwrap();
        assert!(top.once && !top.json && top.apart == Duration::from_millis(100));
        assert_eq!(top.url.as_deref(), Some("http://a/b"));
        assert!(read("a b").is_err() && read("--what").is_err() && read("-c").is_err());
    }
}
