//! Real applications to stand behind the server: the samples in `tests/apps`, run by the peers.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{self as proc, Pid, Signal};
use tempfile::TempDir;

use crate::gate::within;
use crate::peers;
use crate::ports::Port;

/// A running application. Dropping it ends its processes.
pub struct App {
    child: Child,
    address: String,
    dir: TempDir,
    _port: Option<Port>,
}

impl App {
    /// The WSGI sample under gunicorn, on a unix socket. `None` (and a line on standard error) without gunicorn.
    pub fn gunicorn_unix() -> Option<App> {
        let dir = folder();
        let address = format!("unix:{}", dir.path().join("app.sock").display());
        App::gunicorn(dir, address, None, &["--threads", "4"])
    }

    /// The same with one worker that serves one request at a time, and an accept queue of this length.
    pub fn gunicorn_with_backlog(backlog: u32) -> Option<App> {
        let dir = folder();
        let address = format!("unix:{}", dir.path().join("app.sock").display());
        App::gunicorn(dir, address, None, &["--backlog", &backlog.to_string()])
    }

    /// The WSGI sample under gunicorn, on a TCP port.
    pub fn gunicorn_tcp() -> Option<App> {
        let port = Port::free();
        let address = format!("127.0.0.1:{}", port.number());
        App::gunicorn(folder(), address, Some(port), &["--threads", "4"])
    }

    /// The Express sample under Node, on a TCP port.
    pub fn express() -> Option<App> {
        App::node("express", "express.js")
    }

    /// A websocket server that sends every message back, under Node.
    pub fn websocket_echo() -> Option<App> {
        App::node("ws", "websocket.js")
    }

    /// A server of gRPC under Node; over TLS with these files of a key and a certificate.
    pub fn grpc(tls: Option<(&Path, &Path)>) -> Option<App> {
        let port = Port::free();
        let mut command = Command::new(peers::require("node")?);
        command.arg(samples().join("grpc.js")).arg(port.number().to_string());
        if let Some((key, certificate)) = tls {
            command.args([key, certificate]);
        }
        Some(App::start(command, folder(), format!("127.0.0.1:{}", port.number()), Some(port)))
    }

    /// PHP's FastCGI server on a unix socket; its sample scripts are in [`App::php_scripts`].
    pub fn php_unix() -> Option<App> {
        let dir = folder();
        let address = format!("unix:{}", dir.path().join("app.sock").display());
        App::php(dir, address, None)
    }

    /// PHP's FastCGI server on a TCP port.
    pub fn php_tcp() -> Option<App> {
        let port = Port::free();
        App::php(folder(), format!("127.0.0.1:{}", port.number()), Some(port))
    }

    /// The folder of the sample scripts for PHP.
    pub fn php_scripts() -> PathBuf {
        samples().join("php")
    }

    /// What to write into `proxy_pass http://..`, or `fastcgi_pass ..`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn gunicorn(dir: TempDir, address: String, port: Option<Port>, flags: &[&str]) -> Option<App> {
        let mut command = peers::gunicorn()?;
        command.args(["--workers", "1"]).args(flags);
        command.args(["--bind", &address, "wsgi:application"]);
        command.arg("--chdir").arg(samples()).env("PYTHONDONTWRITEBYTECODE", "1");
        Some(App::start(command, dir, address, port))
    }

    fn php(dir: TempDir, address: String, port: Option<Port>) -> Option<App> {
        let mut command = Command::new(peers::require_php()?);
        let listen = address.strip_prefix("unix:").unwrap_or(&address);
        let user = if rustix::process::geteuid().is_root() { "user = root\ngroup = root\n" } else { "" };
        let text = format!(
            "[global]\nerror_log = {}\ndaemonize = no\n[app]\n{user}listen = {listen}\npm = static\n\
             pm.max_children = 2\nphp_admin_flag[log_errors] = on\nphp_admin_flag[display_errors] = off\n",
            dir.path().join("log").display()
        );
        let file = dir.path().join("fpm.conf");
        fs::write(&file, text).expect("a configuration for php-fpm");
        command.args(["-n", "-F", "-R", "-y"]).arg(file);
        Some(App::start(command, dir, address, port))
    }

    fn node(package: &str, sample: &str) -> Option<App> {
        let port = Port::free();
        let mut command = Command::new(peers::require_node(package)?);
        command.arg(samples().join(sample)).arg(port.number().to_string());
        command.env("NODE_PATH", peers::peers().join("node_modules"));
        Some(App::start(command, folder(), format!("127.0.0.1:{}", port.number()), Some(port)))
    }

    #[track_caller]
    fn start(mut command: Command, dir: TempDir, address: String, port: Option<Port>) -> App {
        let output = File::create(dir.path().join("output")).expect("a file for an application's output");
        let errors = output.try_clone().expect("a second handle on it");
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = command.spawn().expect("an application should start");
        let mut app = App { child, address, dir, _port: port };
        app.wait_ready();
        app
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let ready = within(|| match self.child.try_wait() {
            Ok(Some(_)) => Some(false),
            _ => self.accepts().then_some(true),
        });
        if ready != Some(true) {
            panic!("the application did not start:\n{}", self.output());
        }
    }

    fn accepts(&self) -> bool {
        match self.address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => TcpStream::connect(&self.address).is_ok(),
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = proc::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("plimsoll-app-").tempdir().expect("a temporary folder")
}

fn samples() -> PathBuf {
    peers::workspace().join("tests/apps")
}
