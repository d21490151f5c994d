//! How fast error logs are read: `cargo run --release -p doctor --example speed -- FILE`, beside `grep -c`.
//! Without a file it writes one of 1 GB to the temporary folder first, in which one line of a hundred means something;
//! with `access` it writes and reads an access log of 300 MB.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use doctor::logs::Source;
use doctor::logs::access::Reader;
use doctor::logs::error::{Scanner, Window};

const DULL: &str = "2026/06/27 12:03:12 [error] 7#7: *12345 open() \"/srv/www/images/none.png\" failed (2: No such file or directory), client: 203.0.113.7, server: example.com, request: \"GET /images/none.png HTTP/1.1\", host: \"example.com\"\n";
const TELLING: &str = "2026/06/27 12:03:12 [error] 7#7: *9 connect() to unix:/run/g.sock failed (11: Resource temporarily unavailable) while connecting to upstream, client: 203.0.113.7, server: , request: \"GET / HTTP/1.1\", upstream: \"http://unix:/run/g.sock:/\", host: \"x\"\n";

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("access") {
        return access();
    }
    let file = match std::env::args_os().nth(1) {
        Some(file) => PathBuf::from(file),
        None => sample()?,
    };
    // Once for the page cache, then in turn.
    Command::new("grep").args(["-c", "failed (11"]).arg(&file).output()?;
    for _ in 0..3 {
        let begun = Instant::now();
        let count = Command::new("grep").args(["-c", "failed (11"]).arg(&file).output()?;
        let grep = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let mut scanner = Scanner::new(Window::default());
        scanner.read("log", &mut Source::open(&file)?.blocks())?;
        let read = scanner.finish();
        let ours = begun.elapsed().as_secs_f64();
        let events: u64 = read.events.iter().map(|event| event.count).sum();
        let megabytes = read.bytes as f64 / 1e6;
        println!(
            "grep {grep:.2} s ({} lines), doctor {ours:.2} s ({events} events of {} lines, {:.0} MB/s): {:.2} of grep's speed",
            String::from_utf8_lossy(&count.stdout).trim(),
            read.lines,
            megabytes / ours,
            grep / ours
        );
    }
    Ok(())
}

fn sample() -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join("doctor-speed.log");
    let mut file = BufWriter::new(File::create(&path)?);
    let mut written = 0;
    while written < 1_000_000_000 {
        for line in std::iter::repeat_n(DULL, 99).chain([TELLING]) {
            file.write_all(line.as_bytes())?;
            written += line.len();
        }
    }
    file.flush()?;
    Ok(path)
}

/// An hour of requests that took up to two seconds.
fn access() -> io::Result<()> {
    let path = std::env::temp_dir().join("doctor-speed-access.log");
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut written, mut n) = (0u64, 0u64);
    while written < 300_000_000 {
        let (second, took) = (n / 400, n.wrapping_mul(2_654_435_761) % 2000);
        let line = format!(
            "10.{}.{}.{} - - [27/Jun/2026:12:{:02}:{:02} +0000] \"GET /page/{n}?a=b HTTP/1.1\" 200 {} \"https://example.com/\" \
             \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\" {}.{:03} {}.{:03}\n",
            n % 4,
            n / 7 % 250,
            n % 250,
            second / 60 % 60,
            second % 60,
            n % 50_000,
            took / 1000,
            took % 1000,
            took / 1000,
            took % 1000
        );
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
        n += 1;
    }
    file.flush()?;
    for _ in 0..3 {
        let begun = Instant::now();
        let mut reader = Reader::guess();
        reader.read(&mut Source::open(&path)?.blocks())?;
        let (read, seconds) = (reader.finish(), begun.elapsed().as_secs_f64());
        let peak = read.concurrency.map_or(0, |found| found.peak);
        println!(
            "{} requests, peak {peak}, {seconds:.2} s, {:.0} MB/s",
            read.requests,
            written as f64 / 1e6 / seconds
        );
    }
    std::fs::remove_file(path)
}
