//! Whatever the doctor is given to read, it ends soon, in little memory, with an answer or a clear refusal.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use testkit::Binary;

const SLOTS: &str = "2026/06/27 18:05:51 [alert] 7#7: 1024 worker_connections are not enough\n";
const QUEUE: &str = "2026/06/27 18:05:40 [error] 7#7: *9 connect() to unix:/run/app.sock failed (11: Resource temporarily unavailable) while connecting to upstream, client: 10.1.1.1, server: , request: \"GET / HTTP/1.1\", upstream: \"http://unix:/run/app.sock:/\", host: \"x\"\n";

/// Runs with this much memory and no more.
const MEMORY: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

struct Bed(TempDir);

impl Bed {
    fn new() -> Bed {
        Bed(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

fn start(args: &[&Path], input: Stdio) -> Child {
    let mut command = Command::new(Binary::Plimsoll.path());
    command.arg("doctor").args(args).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    prlimit(Some(Pid::from_child(&child)), Resource::As, limit).unwrap();
    child
}

fn end(mut child: Child) -> Output {
    let begun = Instant::now();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        stdout.read_to_end(&mut out).unwrap();
        stderr.read_to_end(&mut err).unwrap();
        (out, err)
    });
    testkit::eventually("the doctor is done", || child.try_wait().unwrap().is_some());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let (stdout, stderr) = reader.join().unwrap();
    Output { status: child.wait().unwrap(), stdout, stderr }
}

/// What it says, and what it exits with. All of it fits a terminal and commands none.
#[track_caller]
fn doctor(args: &[&Path]) -> (i32, String) {
    let output = end(start(args, Stdio::null()));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or_else(|| panic!("{:?}: {errors}", output.status));
    assert!(!errors.contains("panicked"), "{errors}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    // Where lines were broken does not matter here.
    (code, (text + &errors).split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn log(bytes: &[u8], code: i32, words: &str) {
    let bed = Bed::new();
    let (found, text) = doctor(&[Path::new("--log"), &bed.file("error.log", bytes)]);
    assert_eq!(found, code, "{text}");
    assert!(text.contains(words), "{words:?} is not in {text}");
}

#[test]
fn exit_codes() {
    log(b"2026/06/27 18:05:51 [notice] 7#7: start worker process 8\n", 0, "Nothing is wrong");
    log(
        b"2026/06/27 18:05:51 [warn] 7#7: 512 worker_connections are not enough, reusing connections\n",
        1,
        "WARNING",
    );
    log(SLOTS.as_bytes(), 2, "CRITICAL");
    let (code, text) = doctor(&[Path::new("--log"), Path::new("/nowhere/error.log")]);
    assert!(code == 3 && text.contains("/nowhere/error.log"), "{text}");
    let (code, text) = doctor(&[Path::new("--nonsense")]);
    assert!(code == 3 && text.contains("--nonsense"), "{text}");
    assert_eq!(doctor(&[Path::new("--help")]).0, 0);
}

#[test]
fn lines_that_are_no_lines() {
    let garbage: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    log(&[&garbage, b"\n".as_slice(), SLOTS.as_bytes(), &garbage].concat(), 2, "All 1024 connection slots");
    // A line that was cut off, before and behind.
    log(&QUEUE.as_bytes()[..QUEUE.len() - 90], 2, "unix:/run/app.sock");
    log(&QUEUE.as_bytes()[30..], 0, "Nothing is wrong");
    let long = format!("2026/06/27 18:05:40 [error] 7#7: *9 {}\n", "x".repeat(3 << 20));
    log(&[long.as_bytes(), SLOTS.as_bytes()].concat(), 2, "2 lines");
    let nested = format!("{{\"msg\":{}1{}}}\n", "[".repeat(1 << 20), "]".repeat(1 << 20));
    log(&[nested.as_bytes(), SLOTS.as_bytes()].concat(), 2, "1024");
    log(&[0; 1 << 20], 0, "");
    log(b"", 0, "Nothing");
}

#[test]
fn other_words_and_other_clothes() {
    log(b"2026/06/27 18:05:51 [crit] 7#7: accept4() failed (24: No file descriptors available)\n", 2, "(24)");
    log(
        b"{\"time\":\"2026-06-27T12:03:12Z\",\"level\":\"crit\",\"errno\":24,\"msg\":\"accept4() failed\"}\n",
        2,
        "(24)",
    );
    log(format!("2026-06-27T18:05:40.000000001Z stderr F {QUEUE}").as_bytes(), 2, "2026-06-27 18:05:40");
    let mut export =
        b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1782576351000000\nSYSLOG_IDENTIFIER=nginx\n_PID=7\nMESSAGE="
            .to_vec();
    export.extend(QUEUE.as_bytes());
    export.extend(b"\n__CURSOR=s=2\nMESSAGE\n");
    export.extend((SLOTS.len() as u64).to_le_bytes());
    export.extend(SLOTS.as_bytes());
    export.extend(b"\n\n");
    log(&export, 2, "All 1024 connection slots");
}

#[test]
fn a_clock_that_goes_back() {
    let earlier = QUEUE.replace("18:05:40", "18:05:10").replace("2026/06/27", "2025/01/01");
    log(format!("{SLOTS}{QUEUE}{earlier}").as_bytes(), 2, "2025-01-01 18:05:10 to 2026-06-27 18:05:40");
    let line = |second: u32| {
        format!(
            "1.1.1.1 - - [27/Jun/2026:18:{:02}:51 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\" 2.000\n",
            second % 60
        )
    };
    let bed = Bed::new();
    let access: String = [30, 10, 50, 20, 20].map(line).concat();
    let (code, text) = doctor(&[Path::new("--access-log"), &bed.file("access.log", access.as_bytes())]);
    assert!(code == 0 && text.contains("5 requests in access logs"), "{text}");
}

#[test]
fn ten_gigabytes_of_nothing() {
    let bed = Bed::new();
    let path = bed.file("error.log", SLOTS.as_bytes());
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(10 << 30)).unwrap();
    file.write_all(format!("\n{QUEUE}").as_bytes()).unwrap();
    let (code, text) = doctor(&[Path::new("--log"), &path]);
    assert!(code == 2 && text.contains("app.sock") && text.contains("1024"), "{text}");
    // Nor is it a configuration, nor what was saved.
    for flag in ["--conf", "--facts"] {
        let (code, text) = doctor(&[Path::new(flag), &path]);
        assert!(code == 3 && text.contains("larger than 64 MiB"), "{text}");
    }
}

#[test]
fn what_unpacks_without_end() {
    let bed = Bed::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(SLOTS.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..66).for_each(|_| packed.write_all(&zeros).unwrap());
    // Many members, one after another, are one file.
    let bomb = packed.finish().unwrap().repeat(40);
    let (code, text) = doctor(&[Path::new("--log"), &bed.file("error.log.2.gz", &bomb)]);
    assert!(code == 2 && text.contains("unpacks to more than a log can"), "{text}");
    // One that was cut off says what it had.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..2000).for_each(|n| packed.write_all(format!("{n}{n:x}\n{SLOTS}").as_bytes()).unwrap());
    let whole = packed.finish().unwrap();
    let (code, text) = doctor(&[Path::new("--log"), &bed.file("cut.gz", &whole[..whole.len() / 2])]);
    assert!(code == 2 && text.contains("not read"), "{text}");
}

#[test]
fn pipes_and_devices() {
    let bed = Bed::new();
    let pipe = bed.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let (code, text) = doctor(&[Path::new("--log"), &pipe]);
    assert!(code == 3 && text.contains("nobody writes to this pipe"), "{text}");
    // With somebody, it is a log.
    let child = start(&[Path::new("--log"), &pipe], Stdio::null());
    File::options().write(true).open(&pipe).unwrap().write_all(SLOTS.as_bytes()).unwrap();
    assert_eq!(end(child).status.code(), Some(2));
    let (code, text) = doctor(&[Path::new("--log"), Path::new("/dev/zero")]);
    assert!(code == 3 && text.contains("neither a file nor a pipe"), "{text}");
    let conf = bed.file("nginx.conf", b"include /dev/zero; events { }");
    let (_, text) = doctor(&[Path::new("--conf"), &conf]);
    assert!(text.contains("The configuration has a mistake"), "{text}");
    let child = start(
        &[Path::new("--log"), Path::new("-")],
        File::open(bed.file("in", QUEUE.as_bytes())).unwrap().into(),
    );
    assert_eq!(end(child).status.code(), Some(2));
}

#[test]
fn configurations_that_include_themselves() {
    let bed = Bed::new();
    let conf = bed.file("nginx.conf", b"events { }\ninclude nginx.conf;\n");
    let (code, text) = doctor(&[Path::new("--conf"), &conf]);
    assert!(code == 1 && text.contains("includes itself"), "{text}");
    let deep = bed.file("deep.conf", format!("http {{ {} ", "server { ".repeat(200_000)).as_bytes());
    doctor(&[Path::new("--conf"), &deep]);
    let facts = bed.file("facts", b"{\"running\": 7}");
    assert_eq!(doctor(&[Path::new("--facts"), &facts]).0, 3);
}

/// What is added, renamed or cut off meanwhile is for the next look.
#[test]
fn a_log_that_is_rotated_while_it_is_read() {
    let bed = Bed::new();
    let path = bed.file("error.log", SLOTS.repeat(200_000).as_bytes());
    let child = start(&[Path::new("--log"), &path], Stdio::null());
    fs::rename(&path, bed.path("error.log.1")).unwrap();
    let mut rotated = File::options().append(true).open(bed.path("error.log.1")).unwrap();
    rotated.write_all(QUEUE.as_bytes()).unwrap();
    let code = end(child).status.code();
    assert!(matches!(code, Some(2 | 3)), "{code:?}");
    let child = start(&[Path::new("--log"), &bed.path("error.log.1")], Stdio::null());
    rotated.set_len(0).unwrap();
    let code = end(child).status.code();
    assert!(matches!(code, Some(0 | 2)), "{code:?}");
}
