//! A running server: process, prefix, ports, logs.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{self as proc, Pid, Signal, WaitId, WaitIdOptions};
use tempfile::TempDir;

use crate::binary::Binary;
use crate::client::Client;
use crate::gate::{PATIENCE, eventually, within_time};
use crate::log::LogFile;
use crate::message::Response;
use crate::normal::normal;
use crate::ports::Port;
use crate::site::{self, Site};

/// A server in its own temporary prefix. Dropping it ends all its processes and removes the prefix.
pub struct Server {
    binary: Binary,
    site: Site,
    dir: TempDir,
    ports: Vec<Port>,
    child: Child,
}

/// How a server process ended, and what it said.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error, with the prefix replaced by `%%DIR%%`.
    pub stderr: String,
    /// `logs/error.log`, with the prefix replaced by `%%DIR%%`.
    pub log: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n{}{}\nerror log:\n{}", self.code, self.stdout, self.stderr, self.log)
    }
}

/// A place for a server: the prefix with everything in it, and the ports.
struct Place {
    dir: TempDir,
    ports: Vec<Port>,
}

impl Place {
    fn new(binary: Binary, site: &Site) -> Place {
        let dir = tempfile::Builder::new().prefix("plimsoll-test-").tempdir().expect("a temporary folder");
        open_to_workers(dir.path());
        let ports: Vec<Port> = (0..site.ports()).map(|_| Port::free()).collect();
        site.lay_out(binary, dir.path(), &ports);
        Place { dir, ports }
    }

    /// The command line, with output going to files (a pipe would have to be read).
    fn command(&self, binary: Binary, site: &Site, wrapper: &[String], flags: &[&str]) -> Command {
        let dir = self.dir.path();
        let output = |name: &str| File::create(dir.join("logs").join(name)).expect("a file for output");
        let mut command = match wrapper {
            [] => Command::new(binary.path()),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary.path());
                command
            }
        };
        command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
        command.arg("-e").arg(dir.join("logs/error.log"));
        let globals = site.globals();
        if !globals.is_empty() {
            command.arg("-g").arg(globals);
        }
        command.args(flags).stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        not_inheriting(&mut command).process_group(0);
        command
    }

    fn exit(&self, code: Option<i32>) -> Exit {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let read = |name: &str| {
            let bytes = fs::read(self.dir.path().join("logs").join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace(&dir, "%%DIR%%")
        };
        Exit { code, stdout: read("stdout"), stderr: read("stderr"), log: read("error.log") }
    }
}

/// For the servers, these variables list the sockets that an upgrade hands on; for us, they name programs.
fn not_inheriting(command: &mut Command) -> &mut Command {
    command.env_remove("PLIMSOLL").env_remove("NGINX")
}

/// Workers run as another user where the configuration says so; they must be able to read the files.
fn open_to_workers(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("permissions of a temporary folder");
}

/// Runs the server with these flags until it exits.
#[track_caller]
pub(crate) fn run(binary: Binary, site: &Site, flags: &[&str]) -> Exit {
    let place = Place::new(binary, site);
    let mut child = spawn(&mut place.command(binary, site, &[], flags));
    let code = wait(&mut child, PATIENCE).and_then(|status| status.code());
    end(&mut child);
    place.exit(code)
}

/// Starts a server and waits until it accepts, or gives what it said when it did not.
#[track_caller]
pub(crate) fn start(binary: Binary, site: Site, wrapper: &[String]) -> Result<Server, Box<Exit>> {
    let place = Place::new(binary, &site);
    let mut child = spawn(&mut place.command(binary, &site, wrapper, &[]));
    // Under valgrind everything takes some fifty times as long.
    let patience = if wrapper.is_empty() { PATIENCE } else { 20 * PATIENCE };
    match until_ready(&mut child, &place, &site, patience) {
        None => Ok(Server { binary, site, dir: place.dir, ports: place.ports, child }),
        Some(status) => {
            end(&mut child);
            Err(Box::new(place.exit(status.code())))
        }
    }
}

#[track_caller]
fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().to_string_lossy()))
}

/// `None` when the server accepts, else how it ended. The listening sockets are open when the pid file has been
/// written, so no connection is needed to find out, which would show in counters and logs.
fn until_ready(child: &mut Child, place: &Place, site: &Site, patience: Duration) -> Option<ExitStatus> {
    let pid_file = place.dir.path().join("logs/nginx.pid");
    let port = place.ports.first().map_or(0, Port::number);
    let begun = Instant::now();
    let end = within_time(patience, || {
        if fs::read(&pid_file).is_ok_and(|text| !text.is_empty()) {
            return Some(None);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Some(status));
        }
        let ask = site.has_own_pid() || begun.elapsed() > Duration::from_secs(2);
        (ask && TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(None)
    });
    end.unwrap_or_else(|| {
        self::end(child);
        panic!("neither started nor exited within {patience:?}: {}", place.exit(None))
    })
}

/// Waits for the process without reaping it, so that its id stays ours.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_child(child);
    let deadline = Instant::now() + patience;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while Instant::now() < deadline {
        match proc::waitid(WaitId::Pid(pid), options) {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                // Only what is left of its group: the leader is a zombie until it is reaped below.
                let _ = proc::kill_process_group(pid, Signal::KILL);
                return child.wait().ok();
            }
        }
    }
    None
}

/// How often a server is asked to end within [`PATIENCE`].
const ASKED: u32 = 5;

/// Ends the process and everything in its group.
fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let pid = Pid::from_child(child);
    // nginx without a master looks whether it was asked to end and then waits for events: a signal in between is noticed
    // with the next one only. Under valgrind there is much room in between, and what is large takes its time to be taken down.
    for _ in 0..4 * ASKED {
        let _ = proc::kill_process(pid, Signal::TERM);
        if wait(child, PATIENCE / ASKED).is_some() {
            return;
        }
    }
    let _ = proc::kill_process_group(pid, Signal::KILL);
    let _ = child.wait();
}

impl Server {
    /// Which server this is.
    pub fn binary(&self) -> Binary {
        self.binary
    }

    /// The port behind `%%PORT%%`.
    pub fn port(&self) -> u16 {
        self.ports[0].number()
    }

    /// The port behind `%%PORT_n%%`.
    pub fn port_n(&self, index: usize) -> u16 {
        self.ports[index].number()
    }

    /// A path below the prefix.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file below the prefix.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        site::write(&self.path(path), content.as_ref());
    }

    /// Reads a file below the prefix.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// `logs/error.log`.
    pub fn error_log(&self) -> LogFile {
        self.log("logs/error.log")
    }

    /// `logs/access.log`.
    pub fn access_log(&self) -> LogFile {
        self.log("logs/access.log")
    }

    /// A log below the prefix.
    pub fn log(&self, path: &str) -> LogFile {
        LogFile::new(self.path(path))
    }

    /// A connection to `%%PORT%%`.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.client_on(0)
    }

    /// A connection to `%%PORT_n%%`.
    #[track_caller]
    pub fn client_on(&self, index: usize) -> Client {
        self.client_at("127.0.0.1", index)
    }

    /// A connection to `%%PORT_n%%` at another address, such as `::1`.
    #[track_caller]
    pub fn client_at(&self, address: &str, index: usize) -> Client {
        let port = self.port_n(index);
        match TcpStream::connect((address, port)) {
            Ok(stream) => Client::new(stream.into()),
            Err(e) => panic!("connecting to {address}:{port}: {e}"),
        }
    }

    /// A connection to a unix socket below the prefix.
    #[track_caller]
    pub fn client_unix(&self, path: &str) -> Client {
        match UnixStream::connect(self.path(path)) {
            Ok(stream) => Client::new(stream.into()),
            Err(e) => panic!("connecting to {path}: {e}"),
        }
    }

    /// Sends these bytes on a connection of their own; everything that comes back until the server closes. It may
    /// close before it has read everything: a reset after the answer is no failure.
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.client();
        let sent = client.try_send(bytes);
        match client.wire().read_what_comes() {
            (answer, Some(e)) if e.kind() == std::io::ErrorKind::TimedOut => {
                panic!(
                    "sent: {sent:?}; neither closed nor answered fully: {:?}",
                    String::from_utf8_lossy(&answer)
                )
            }
            (answer, _) => answer,
        }
    }

    /// The status these bytes are answered with, on a connection of their own; "" if it is closed without answer.
    #[track_caller]
    pub fn status(&self, bytes: impl AsRef<[u8]>) -> String {
        let answer = self.raw(bytes);
        let line = answer.strip_prefix(b"HTTP/1.1 ").map(|rest| &rest[..rest.len().min(3)]);
        line.map_or_else(
            || String::from_utf8_lossy(&answer).into_owned(),
            |s| String::from_utf8_lossy(s).into_owned(),
        )
    }

    /// Checks many requests, each on a connection of its own, and reports all that are answered with another
    /// status than the one beside them.
    #[track_caller]
    pub fn expect_statuses(&self, table: &[(&str, &str)]) {
        let wrong: Vec<String> = table
            .iter()
            .map(|(bytes, expected)| (bytes, expected, self.status(bytes)))
            .filter(|(_, expected, actual)| actual != *expected)
            .map(|(bytes, expected, actual)| format!("{bytes:?}: expected {expected:?}, got {actual:?}"))
            .collect();
        assert!(wrong.is_empty(), "{}:\n{}", self.binary.name(), wrong.join("\n"));
    }

    /// As [`Server::raw`], made comparable: see [`normal`].
    #[track_caller]
    pub fn normal(&self, bytes: impl AsRef<[u8]>) -> String {
        normal(&self.raw(bytes), self.port())
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// One GET with more header fields (a `Host` among them replaces ours).
    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.request("GET", target, fields, b"")
    }

    /// One POST on a connection of its own.
    #[track_caller]
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", target, &[], body.as_ref())
    }

    /// One request on a connection of its own, which is closed after it.
    #[track_caller]
    pub fn request(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        let mut client = self.client();
        let mut fields = fields.to_vec();
        fields.push(("Connection", "close"));
        client.request(method, target, &fields, body)
    }

    /// The master's process id.
    pub fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// The process ids of the master's children.
    pub fn workers(&self) -> Vec<i32> {
        children(self.pid())
    }

    /// The process ids of all the server's processes, the master first.
    pub fn processes(&self) -> Vec<i32> {
        let mut all = vec![self.pid()];
        let mut next = 0;
        while let Some(pid) = all.get(next).copied() {
            all.extend(children(pid));
            next += 1;
        }
        all
    }

    /// Sends the master a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        proc::kill_process(Pid::from_child(&self.child), signal).expect("a signal to the server");
    }

    /// Writes another configuration, for the same ports and names, without telling the server.
    #[track_caller]
    pub fn rewrite(&self, text: &str) {
        self.site.text(text).lay_out(self.binary, self.dir.path(), &self.ports);
    }

    /// Writes another configuration and tells the server to take it (SIGHUP). When it has, is for the test to see.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        self.rewrite(text);
        self.signal(Signal::HUP);
    }

    /// Ends the server as Drop does, while the prefix stays to be looked at.
    pub fn stop(&mut self) {
        end(&mut self.child);
    }

    /// Waits until the server has exited by itself.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("the server should have exited")
    }

    /// Runs the program again with these flags on the same prefix, as `-s reload` does.
    #[track_caller]
    pub fn again(&self, flags: &[&str]) -> ExitStatus {
        let mut command = Command::new(self.binary.path());
        command.arg("-p").arg(self.dir.path()).arg("-c").arg(self.path("nginx.conf"));
        command.arg("-e").arg(self.path("logs/error.log")).arg("-g").arg(self.site.globals());
        let mut child = spawn(not_inheriting(&mut command).args(flags).stdin(Stdio::null()));
        wait(&mut child, PATIENCE).expect("the second run should exit")
    }

    /// Waits until every worker is one that was not there before.
    #[track_caller]
    pub fn wait_other_workers(&self, before: &[i32]) {
        eventually("other workers", || {
            let now = self.workers();
            !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
        });
    }
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- {}'s error log ----\n{}", self.binary.name(), self.error_log().text());
        }
        end(&mut self.child);
    }
}
