//! Accept queues of applications.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use testkit::{Port, eventually, peers};

use crate::bed::{Application, PHP, Report, clients, gunicorn, incident, php, site};

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

const BLOCKED: &str = "require('http').createServer(() => { const end = Date.now() + 60000; while (Date.now() < end); })\
                       .listen(Number(process.argv[1]), '127.0.0.1', 2)";

#[test]
fn node_that_does_something_else() {
    let Some(node) = peers::require("node") else { return };
    let port = Port::free();
    let mut command = Command::new(node);
    let _application = Application::start(command.args(["-e", BLOCKED, &port.number().to_string()]));
    let address = format!("127.0.0.1:{}", port.number());
    eventually("node listens", || TcpStream::connect(&address).is_ok());
    let text = site(64, "location / { proxy_connect_timeout 200ms; proxy_pass http://%%APP%%; }")
        .with("APP", &address);
    incident(text, |server| {
        let _first = clients(server, 1);
        let _clients = clients(server, 8);
        server.error_log().wait_for("while connecting to upstream");
        Report::server(server).first("upstream_queue_full", &["pm2 -i max", "backlog"]);
    });
}
