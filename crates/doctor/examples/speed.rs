//! What reading logs costs, in time of processors, beside what `grep -c` of one fixed string costs on the same file:
//! `cargo run --release -p doctor --example speed -- error FILE`, or `access FILE [FORMAT]`.
//!
//! Wall clocks are not asked: what else runs on the machine is not meant.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::process::Command;

use doctor::logs::Source;
use doctor::logs::access::Reader;
use doctor::logs::error::{Scanner, Window};

/// Both are run so often, in turn; the least of each counts.
const TIMES: usize = 3;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (read, words): (Box<dyn Fn() -> io::Result<u64>>, _) = match &args[..] {
        [kind, file] if kind == "error" => (Box::new(|| error(file.as_ref())), "failed (11"),
        [kind, file, rest @ ..] if kind == "access" => {
            (Box::new(|| access(file.as_ref(), rest.first())), "\" 502 ")
        }
        _ => return Err(io::Error::other("error FILE, or access FILE [FORMAT]")),
    };
    let (mut ours, mut grep, mut bytes) = (f64::MAX, f64::MAX, 0);
    for _ in 0..TIMES {
        let begun = spent()?;
        Command::new("grep").args(["-c", words, &args[1]]).output()?;
        let between = spent()?;
        bytes = read()?;
        let end = spent()?;
        (grep, ours) = (grep.min(between.1 - begun.1), ours.min(end.0 - between.0));
    }
    println!(
        "{:.0} MB, {ours:.2} s of processor time: {:.0} MB/s; grep -c {grep:.2} s: {:.2} of its speed",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / ours,
        grep / ours
    );
    Ok(())
}

fn error(file: &Path) -> io::Result<u64> {
    let mut scanner = Scanner::new(Window::default());
    scanner.read("log", &mut Source::open(file)?.blocks())?;
    let read = scanner.finish();
    eprintln!(
        "{} lines, {:?}",
        read.lines,
        read.events.iter().map(|e| (e.cause, e.count)).collect::<Vec<_>>()
    );
    Ok(read.bytes)
}

fn access(file: &Path, format: Option<&String>) -> io::Result<u64> {
    let mut reader = format.map_or_else(Reader::guess, |text| Reader::new(text));
    reader.read(&mut Source::open(file)?.blocks())?;
    let read = reader.finish();
    let peak = read.concurrency.map_or(0, |found| found.peak);
    eprintln!("{} requests, {} unread, peak {peak}", read.requests, read.unread);
    Ok(file.metadata()?.len())
}

/// Seconds of processor time of this process, and of those it waited for.
fn spent() -> io::Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(4).filter_map(|n| n.parse().ok()).collect();
    match ticks[..] {
        [user, kernel, users, kernels] => Ok(((user + kernel) / 100.0, (users + kernels) / 100.0)),
        _ => Err(io::Error::other("/proc/self/stat is not as it was")),
    }
}
