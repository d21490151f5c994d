//! One case on one server: what every connection was answered with, and what the logs say.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

use regex::Regex;

use testkit::{Binary, Exit, Origin, Port, Server, Site, normal};

use super::way::Way;
use super::{answer, peers, site};

/// Longer than every timeout in the configurations.
const PATIENCE: Duration = Duration::from_secs(4);

/// What everything outside the servers is; the same for both.
pub struct World {
    /// By the names that configurations have for them; those that begin as others do stand before them.
    peers: Vec<(&'static str, Origin)>,
    down: Port,
}

impl World {
    /// Peers that live, and an address where nobody is.
    pub fn new() -> World {
        let peers = vec![
            ("ORIGIN2", peers::origin()),
            ("ORIGIN", peers::origin()),
            ("GOOD", peers::good()),
            ("FASTCGI", peers::fastcgi()),
            ("SCGI", peers::scgi()),
            ("UWSGI", peers::uwsgi()),
            ("MEMCACHED", peers::memcached()),
        ];
        World { peers, down: Port::free() }
    }

    /// The configuration with its files and addresses.
    pub fn site(&self, text: &str) -> Site {
        let down = format!("127.0.0.1:{}", self.down.number());
        let site = site::site(text).with("DOWN", down);
        self.peers.iter().fold(site, |site, (name, peer)| site.with(name, peer.address()))
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
        /// Compressed bodies and those in chunks are of other lengths, and pages with a server's name in them.
        static GZIPPED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^([^|]*\|\d+\|)[1-9]\d*(\|.*\|(?:gzip|chunked|text/html[^|]*)\|)")
                .expect("a pattern of ours")
        });
        static LINE: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^([^|]*\|[345]\d\d\|)[1-9]\d+").expect("a pattern of ours"));
        // What is not there and what is empty; how much of a refused request was read.
        let text = text.replace("||", "|-|").replace("||", "|-|");
        // What is known of a client when it is refused.
        static PADDED: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new("(<!-- a padding to disable [^\r]*\r\n){6}").expect("a pattern of ours")
        });
        let text = PADDED.replace_all(&text, "");
        // Recoded by a map that leaves letters out.
        static SIGNED: LazyLock<Regex> =
            LazyLock::new(|| Regex::new("<cntr>(plimsoll|nginx)[^<]*<").expect("a pattern of ours"));
        let text = SIGNED.replace_all(&text, "<cntr>SERVER<");
        let text = REFUSED.replace(&text, "${1}N${2}");
        /// What is known of a request when it is refused, and what else is known where the length is not asked for.
        static KNOWN: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^([^|]*\|400\|[^|]*\|).*(\|-\|-\|[^|]*\|[^|]*)$").expect("a pattern of ours")
        });
        let text = KNOWN.replace(&text, "${1}..${2}");
        /// nginx has no request line of a path that HTTP/2 brought and that it refuses.
        static REFUSED_PATH: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^[^|]* HTTP/2.0\|400\|").expect("a pattern of ours"));
        let text = REFUSED_PATH.replace(&text, "-|400|");
        let text = GZIPPED.replace(&text, "${1}N${2}");
        let text = LINE.replace(&text, "${1}N");
        let text = PAGE.replace_all(&text, "${1}N");
        let mut text = text.replace(&server.path("").to_string_lossy().into_owned(), "DIR/");
        let down = (self.down.number(), "DOWN");
        for (port, name) in self.peers.iter().map(|(name, peer)| (peer.port(), *name)).chain([down]) {
            text = text.replace(&format!(":{port}"), &format!(":{name}"));
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
    /// Answers by connection, lines of the access log, messages of the error log, the files afterwards.
    Served { answers: Vec<String>, access: Vec<String>, errors: Vec<String>, files: Vec<String> },
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
pub fn run(binary: Binary, world: &World, text: &str, traffic: &[Vec<u8>], way: Way) -> Outcome {
    let server = match binary.try_serve(way.files(world.site(text))) {
        Ok(server) => server,
        Err(exit) => return Outcome::Refused(first_error(&exit)),
    };
    set_times(&server.path("html"));
    let mut answers = Vec::new();
    for bytes in traffic {
        let answer = converse(way, server.port(), bytes);
        answers.push(world.blind(&normal(&answer, server.port()), &server));
    }
    let access = access_log(&server, way).iter().map(|line| world.blind(line, &server)).collect();
    let mut errors: Vec<String> = server
        .error_log()
        .lines()
        .iter()
        .filter_map(|line| message(line))
        .map(|line| world.blind(&line, &server))
        .collect();
    errors.sort();
    let mut files = Vec::new();
    list(&server.path("html"), "", &mut files);
    files.sort();
    Outcome::Served { answers, access, errors, files }
}

/// The files of a folder, with what they hold where that is little, and the folders in it.
fn list(folder: &Path, name: &str, out: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            out.push(format!("{name}/"));
            list(&path, &name, out);
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        out.push(format!("{name}: {} {shown:?}", bytes.len()));
    }
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

/// Sends a connection's requests; all answers, as a reader would have them.
fn converse(way: Way, port: u16, bytes: &[u8]) -> Vec<u8> {
    match way {
        Way::Bytes => answer::readable(&exchange(port, bytes)),
        way => way.curl(port, bytes),
    }
}

/// Sends the bytes; everything that comes back until the server closes, at most for [`PATIENCE`].
fn exchange(port: u16, bytes: &[u8]) -> Vec<u8> {
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
fn access_log(server: &Server, way: Way) -> Vec<String> {
    let last = "GET /end?last HTTP/";
    converse(
        way,
        server.port(),
        b"GET /end?last HTTP/1.1\r\nHost: main.example\r\nConnection: close\r\n\r\n",
    );
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
    let (_, rest) = rest.split_once(": ")?;
    if !matches!(level, "warn" | "error" | "crit" | "alert" | "emerg") {
        return None;
    }
    // Advice about nginx's own tables; what depends on how fast is read.
    if rest.starts_with("the \"listen ... http2\" directive is deprecated") {
        return None;
    }
    if rest.starts_with("could not build optimal") || rest.contains(" is buffered to a temporary file") {
        return None;
    }
    // Said of the same bytes while one thing is read, or the next.
    let rest =
        &rest.replace("header while reading response header from upstream", "header while reading upstream");
    let rest = &rest.replace("connection while sending to client", "connection while reading upstream");
    // What was done last, when nothing was refused yet.
    let rest = &rest.replace("\" while reading client request line,", "\",");
    let text = match rest.strip_prefix('*') {
        Some(numbered) => numbered.split_once(' ')?.1,
        None => rest,
    };
    /// What time has taken from a count; how many files there were before.
    static COUNTED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(excess: |temp/\w+/)[0-9./]+").expect("a pattern of ours"));
    let text = COUNTED.replace_all(text, "${1}N");
    /// What a file is called before it is in its place.
    static RENAMED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"rename\(\) "[^"]*""#).expect("a pattern of ours"));
    let text = RENAMED.replace(&text, "rename() FILE");
    // nginx waits for the body of a request that it has thrown away to be mirrored.
    if text.contains("timed out") && text.contains("subrequest: \"/mirrored\"") {
        return None;
    }
    /// nginx has no request line of what it refuses of HTTP/2.
    static OVER_HTTP2: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#", request: "[^"]* HTTP/2\.0""#).expect("a pattern of ours"));
    let text = OVER_HTTP2.replace(&text, "");
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
