//! Accept queues of applications.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use testkit::{Port, eventually, peers};

use crate::bed::{Application, PHP, Report, UWSGI, clients, gunicorn, incident, php, site, uwsgi};

/// Nobody accepts, and the queue holds three.
fn unix_that_never_accepts(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    rustix::net::listen(&listener, 2).unwrap();
    listener
}

#[test]
fn a_unix_upstream_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let _application = unix_that_never_accepts(&path);
    let text = site(64, "location / { proxy_pass http://unix:%%APP%%; }").with("APP", path.display());
    incident(text, |server| {
        let _clients = clients(server, 6);
        server.error_log().wait_for("failed (11:");
        let report = Report::server(server);
        report
            .first("upstream_queue_full", &["live: 3 of 2", "app.sock", "chmod", "more worker_connections"]);
        assert!(report.json["binding"].as_str().unwrap().starts_with("upstream queue unix:"));
    });
}

#[test]
fn a_tcp_upstream_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 2).unwrap();
    let text = site(64, "location / { proxy_connect_timeout 100ms; proxy_pass http://%%APP%%; }");
    incident(text.with("APP", listener.local_addr().unwrap()), |server| {
        let _clients = clients(server, 6);
        server.error_log().wait_for("(110:");
        Report::server(server).first("upstream_queue_full", &["live: 3 of 2", "504"]);
    });
}

/// The story of gunicorn behind a unix socket.
#[test]
fn gunicorn_is_slower_than_what_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_application) = gunicorn(folder.path(), &["--workers", "1", "--backlog", "2"]) else { return };
    let text = site(64, "location / { proxy_pass http://unix:%%FOLDER%%/gunicorn.sock; }");
    incident(text.with("FOLDER", folder.path().display()), |server| {
        // Once its only worker is busy, nothing is taken from the queue any more.
        let _first = clients(server, 1);
        eventually("gunicorn is busy", || folder.path().join("busy").exists());
        let _clients = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        Report::server(server).first(
            "upstream_queue_full",
            &["gunicorn --workers", "gunicorn --backlog 1024", "live: 3 of 2 (its listen())"],
        );
    });
}

#[test]
fn php_fpm_has_too_few_children() {
    let folder = tempfile::tempdir().unwrap();
    let pool = "listen.backlog=2\npm=static\npm.max_children=1";
    let Some(_application) = php(folder.path(), pool) else { return };
    incident(site(64, PHP).with("FOLDER", folder.path().display()), |server| {
        let _clients = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        Report::server(server).first("upstream_queue_full", &["pm.max_children", "listen.backlog = 1024"]);
    });
}

#[test]
fn php_fpm_says_so_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_application) = php(folder.path(), "pm=ondemand\npm.max_children=1") else { return };
    let log = folder.path().join("fpm.log");
    incident(site(64, PHP).with("FOLDER", folder.path().display()), |server| {
        let mut held = Vec::new();
        // php-fpm looks when somebody comes: those that come before its child is there are one event for it.
        eventually("php-fpm complains", || {
            if held.len() < 20 {
                held.push(clients(server, 1));
            }
            fs::read_to_string(&log).unwrap_or_default().contains("max_children")
        });
        let report = Report::of(&["--log", log.to_str().unwrap()]);
        report.first("application_busy", &["pm.max_children = 2", "more worker_connections"]);
        assert_eq!(report.exit, 2);
    });
}

#[test]
fn uwsgi_has_too_few_processes() {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}/uwsgi.sock", folder.path().display());
    let Some(_application) = uwsgi(folder.path(), &listen, "processes = 1\nlisten = 2") else { return };
    incident(site(64, UWSGI).with("UWSGI", listen), |server| {
        let _first = clients(server, 1);
        eventually("uWSGI is busy", || folder.path().join("busy").exists());
        let _clients = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        let words = ["uwsgi.ini: processes 1, listen 2", "processes = ", "listen = 1024", "live: 3 of 2"];
        Report::server(server).first("upstream_queue_full", &words);
    });
}

#[test]
fn uwsgi_says_so_itself() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::free();
    let listen = format!("127.0.0.1:{}", port.number());
    let Some(_application) = uwsgi(folder.path(), &listen, "processes = 1\nlisten = 2") else { return };
    let log = folder.path().join("uwsgi.log");
    incident(site(64, UWSGI).with("UWSGI", listen), |server| {
        let _clients = clients(server, 8);
        eventually("uWSGI complains", || fs::read_to_string(&log).unwrap_or_default().contains("full !!!"));
        let report = Report::of(&["--since", "1h", "--log", log.to_str().unwrap()]);
        report.first("application_busy", &["processes = ", "listen = ", "more worker_connections"]);
        assert!(report.json["facts"]["events"]["events"][0]["first"].is_i64(), "its time is read");
    });
}

#[test]
fn node_that_does_something_else() {
    let Some(node) = Node::that_blocks() else { return };
    let text = site(64, "location / { proxy_connect_timeout 200ms; proxy_pass http://%%APP%%; }");
    incident(text.with("APP", node.address()), |server| {
        let _first = clients(server, 1);
        let _clients = clients(server, 8);
        server.error_log().wait_for("while connecting to upstream");
        let listen = format!("host: '127.0.0.1', port: {}, backlog: 1024", node.port.number());
        Report::server(server).first("upstream_queue_full", &["pm2 start app.js -i max", &listen]);
    });
}

/// A program of Node that does nothing else any more from its first request on.
pub(crate) struct Node {
    pub(crate) port: Port,
    _running: Application,
    _folder: tempfile::TempDir,
}

impl Node {
    const SERVER: &str = "const server = require('http').createServer(() => { const end = Date.now() + 60000; while (Date.now() < end); });\n";

    /// Its queue holds three.
    pub(crate) fn that_blocks() -> Option<Node> {
        let port = Port::free();
        let listen = format!("server.listen({}, '127.0.0.1', 2);", port.number());
        Node::that_listens(port, &listen)
    }

    /// With this program behind its server.
    pub(crate) fn that_listens(port: Port, program: &str) -> Option<Node> {
        let mut command = Command::new(peers::require("node")?);
        // A file, which it can begin again.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.js");
        fs::write(&file, format!("{}{program}", Node::SERVER)).unwrap();
        let node = Node { port, _running: Application::start(command.arg(file)), _folder: folder };
        eventually("node listens", || TcpStream::connect(node.address()).is_ok());
        Some(node)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }
}

/// A proxy between: what holds its place there is what is behind it, but the queue is its own.
#[test]
fn haproxy_that_takes_one_at_a_time() {
    let Some(program) = peers::require("haproxy") else { return };
    let (folder, behind) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let socket = folder.path().join("haproxy.sock");
    let text = format!(
        "global\n maxconn 1\ndefaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n\
         listen all\n bind unix@{} backlog 2 mode 666\n server one {}\n",
        socket.display(),
        behind.local_addr().unwrap()
    );
    fs::write(folder.path().join("haproxy.cfg"), text).unwrap();
    let mut command = Command::new(program);
    let _application =
        Application::start(command.arg("-db").arg("-f").arg(folder.path().join("haproxy.cfg")));
    eventually("haproxy listens", || socket.exists());
    let text = site(64, "location / { proxy_pass http://unix:%%APP%%; }").with("APP", socket.display());
    incident(text, |server| {
        let _first = clients(server, 1);
        // It passes on what it has taken: now it takes nothing any more.
        let _taken = behind.accept().unwrap();
        let _clients = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        let report = Report::server(server);
        report.first("upstream_queue_full", &["haproxy.sock\"", "live: 3 of 2", "listen backlog: 1024"]);
    });
}
