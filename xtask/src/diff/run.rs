//! One case on one server: what every connection was answered with, and what the logs say.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

use regex::Regex;

use testkit::{Binary, Exit, Origin, Port, Server, Site, normal};

/// Longer than every timeout in the configurations.
const PATIENCE: Duration = Duration::from_secs(4);

/// What everything outside the servers is; the same for both.
pub struct World {
    origin: Origin,
    second: Origin,
    down: Port,
}

impl World {
    /// Two origins that live, and an address where nobody is.
    pub fn new() -> World {
        World { origin: super::peer::origin(), second: super::peer::origin(), down: Port::free() }
    }

    /// The configuration with its files and addresses.
    pub fn site(&self, text: &str) -> Site {
        let down = format!("127.0.0.1:{}", self.down.number());
        Site::new(text)
            .with("ORIGIN2", self.second.address())
            .with("ORIGIN", self.origin.address())
            .with("DOWN", down)
            .file("users", "a:{PLAIN}b\n")
            .file("html/index.html", "<p>one text, text one</p>\n")
            .file("html/a/x.html", "<p>one x text</p>\n")
            .file("html/a/index.html", "<p>index of a</p>\n")
            .file("html/a/deep/x.html", "deep x\n")
            .file("html/deep/a/x.html", "deep root x\n")
            .file("html/deep/x.html", "alias x\n")
            .file("html/dir/x.txt", "dir x one\n")
            .file("html/found.txt", "found: one text\n")
            .file("html/50x.html", "five hundred\n")
            .file("html/empty.txt", "")
            .file("html/pic.png", "png")
            .file("html/a b/index.html", "a b\n")
            .file("html/big.txt", "one line of text\n".repeat(3000))
    }

    /// What differs from run to run, replaced.
    fn blind(&self, text: &str, server: &Server) -> String {
        /// The built-in pages have the server's name in them, and so another length.
        static PAGE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"(HTTP/1.1 [345]\d\d [^\r]*\r\n(?:[^\r\n]+\r\n)*?Content-Length: )\d+")
                .expect("a pattern of ours")
        });
        static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^([^|]*\|400\|.*\|)\d+(\|[^|]*\|[^|]*\|[^|]*)$").expect("a pattern of ours")
        });
        /// Where a body is cut into chunks is nobody's concern.
        static CHUNK: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\r\n[0-9a-f]+\r\n").expect("a pattern of ours"));
        static LINE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^([^|]*\|[345]\d\d\|)[1-9]\d+").expect("a pattern of ours"));
        // What is not there and what is empty; how much of a refused request was read.
        let text = text.replace("||", "|-|").replace("||", "|-|");
        let text = REFUSED.replace(&text, "${1}N${2}");
        let text = CHUNK.replace_all(&text, "");
        let text = LINE.replace(&text, "${1}N");
        let text = PAGE.replace_all(&text, "${1}N");
        let mut text = text.replace(&server.path("").to_string_lossy().into_owned(), "DIR/");
        for (port, name) in
            [(self.origin.port(), ":ORIGIN"), (self.second.port(), ":ORIGIN2"), (self.down.number(), ":DOWN")]
        {
            text = text.replace(&format!(":{port}"), name);
        }
        static SOON: LazyLock<Regex> = LazyLock::new(|| {
            // What is counted from now, as against what is counted from a file's age.
            Regex::new(r"Expires: \w+, \d\d \w+ 20[23]\d [0-9:]+ GMT").expect("a pattern of ours")
        });
        SOON.replace_all(&text.replace(&format!(":{}", server.port()), ":PORT"), "Expires: SOON").into_owned()
    }
}

/// What one server made of a case.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It refused the configuration with this.
    Refused(String),
    /// Answers by connection, lines of the access log, messages of the error log.
    Served { answers: Vec<String>, access: Vec<String>, errors: Vec<String> },
}

impl Outcome {
    /// Whether it started, and why not.
    pub fn start(&self) -> &str {
        match self {
            Outcome::Refused(why) => why,
            Outcome::Served { .. } => "starts",
        }
    }
}

/// Runs the case on this server.
pub fn run(binary: Binary, world: &World, text: &str, traffic: &[Vec<u8>]) -> Outcome {
    let server = match binary.try_serve(world.site(text)) {
        Ok(server) => server,
        Err(exit) => return Outcome::Refused(first_error(&exit)),
    };
    set_times(&server.path("html"));
    let mut answers = Vec::new();
    for bytes in traffic {
        let answer = converse(server.port(), bytes);
        answers.push(world.blind(&normal(&answer, server.port()), &server));
    }
    let access = access_log(&server).iter().map(|line| world.blind(line, &server)).collect();
    let mut errors: Vec<String> = server
        .error_log()
        .lines()
        .iter()
        .filter_map(|line| message(line))
        .map(|line| world.blind(&line, &server))
        .collect();
    errors.sort();
    Outcome::Served { answers, access, errors }
}

/// All files the same age on both: 2026 began.
fn set_times(folder: &Path) {
    let then = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            set_times(&path);
        }
        if let Ok(file) = fs::File::open(&path) {
            let _ = file.set_times(fs::FileTimes::new().set_modified(then));
        }
    }
}

/// Sends the bytes; everything that comes back until the server closes, at most for [`PATIENCE`].
fn converse(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return b"NOT CONNECTED".to_vec() };
    let _ = stream.set_nodelay(true);
    // A server that refused the first bytes may have closed already: what it said counts.
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.write_all(bytes);
    let end = Instant::now() + PATIENCE;
    let mut block = [0; 16 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let _ = stream.set_read_timeout(Some(left));
        match stream.read(&mut block) {
            Ok(0) => return answer,
            Ok(n) => answer.extend_from_slice(&block[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                answer.extend_from_slice(b"[NOTHING MORE IN TIME]");
                return answer;
            }
            Err(_) => return answer,
        }
    }
}

/// All lines, once the one of a last request is there.
fn access_log(server: &Server) -> Vec<String> {
    let last = "GET /end?last HTTP/1.1|";
    converse(server.port(), b"GET /end?last HTTP/1.1\r\nHost: main.example\r\nConnection: close\r\n\r\n");
    let log = server.log("logs/diff.log");
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = log.lines();
        if lines.iter().any(|line| line.starts_with(last)) || Instant::now() > end {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The message of a line that says something went wrong, without time, process and connection numbers.
fn message(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" [")?;
    let (level, rest) = rest.split_once("] ")?;
    if !matches!(level, "warn" | "error" | "crit" | "alert" | "emerg") {
        return None;
    }
    let (_, rest) = rest.split_once(": ")?;
    // Advice about nginx's own tables.
    if rest.starts_with("could not build optimal") {
        return None;
    }
    // Said of the same bytes while one thing is read, or the next.
    let rest =
        &rest.replace("header while reading response header from upstream", "header while reading upstream");
    let text = match rest.strip_prefix('*') {
        Some(numbered) => numbered.split_once(' ')?.1,
        None => rest,
    };
    // What clients sent and no terminal should see is not shown here.
    let text: String = text.chars().map(|c| if c.is_ascii_control() { '?' } else { c }).collect();
    Some(format!("[{level}] {text}"))
}

/// What the configuration was refused with.
fn first_error(exit: &Exit) -> String {
    let line = exit.stderr.lines().find(|line| line.contains("[emerg]")).unwrap_or(&exit.stderr);
    let text = line.split_once("[emerg] ").map_or(line, |(_, text)| text);
    text.split_once(": ")
        .map_or(text, |(number, rest)| match number.contains('#') {
            true => rest,
            false => text,
        })
        .to_owned()
}
