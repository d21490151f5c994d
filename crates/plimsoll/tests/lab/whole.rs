//! The whole way from a server, or from files of one, to a report.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::Binary;

use crate::bed::{Report, clients, held_up, incident, site, wait_for_a_worker};

#[test]
fn a_worker_is_killed() {
    incident("location / { return 200; }", |server| {
        wait_for_a_worker(server);
        kill_process(Pid::from_raw(server.workers()[0]).unwrap(), Signal::KILL).unwrap();
        server.error_log().wait_for("exited on signal 9");
        Report::server(server).first("worker_killed", &["dmesg", "signal 9"]);
    });
}

#[test]
fn files_somebody_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let log = file(
        "error.log",
        "2026/06/27 18:05:51 [alert] 2841#2841: *204815 1024 worker_connections are not enough while connecting to \
         upstream, client: 203.0.113.7, server: app.example.com, request: \"GET / HTTP/1.1\", upstream: \
         \"http://127.0.0.1:9000/\", host: \"app.example.com\"\n",
    );
    let dump = file(
        "dump",
        "# configuration file /etc/nginx/nginx.conf:\nevents { worker_connections 1024; multi_accept on; }\n\
         http { lua_package_path x; include conf.d/*.conf; }\n\n# configuration file /etc/nginx/conf.d/a.conf:\n\
         server { listen 80; location / { proxy_pass http://127.0.0.1:9000; } }\n",
    );
    let report = Report::of(&["--log", &log, "--conf", &dump]);
    report.first(
        "slots_full",
        &["203.0.113.7", "multi_accept is on", "worker_connections 2048;", "/etc/nginx/nginx.conf"],
    );
    assert_eq!(report.json["facts"]["running"], Value::Null, "this machine is none of its business");
    let text = Command::new(Binary::Plimsoll.path()).args(["doctor", "--log", &log]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("1  CRITICAL All 1024 connection slots") && !text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(Report::of(&["--log", "/nowhere/error.log"]).exit, 3);
}

/// Whoever watches sees what fills up in the first line.
#[test]
fn a_watcher_is_alarmed() {
    held_up(site(12, "location / { proxy_pass http://%%ORIGIN%%; }"), |server, origin| {
        let _held = clients(server, 5);
        origin.wait_open(5);
        let mut watcher = Command::new(Binary::Plimsoll.path())
            .args(["doctor", "--watch", "--seconds", "0.01", "--pid", &server.pid().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 16];
        watcher.stdout.take().unwrap().read_exact(&mut said).unwrap();
        watcher.kill().unwrap();
        watcher.wait().unwrap();
        assert_eq!(String::from_utf8_lossy(&said), "ALERT slots 100%");
    });
}

/// What Plimsoll remembers of itself is more than what can be seen from outside.
#[test]
fn plimsoll_tells_of_itself() {
    if !Binary::wanted().contains(&Binary::Plimsoll) {
        return;
    }
    let server =
        Binary::Plimsoll.serve("location / { return 200; } location = /capacity { capacity_status; }");
    server.get("/");
    let report = Report::server(&server);
    let own = report.json["facts"]["own"].as_array().unwrap();
    let slots = own.iter().find(|link| link["kind"] == "slots").unwrap();
    assert!(slots["peak"].as_u64() >= Some(1), "{slots}");
    assert!(report.json["facts"]["status"]["requests"].as_u64() >= Some(1));
    let link = report.json["chain"]["links"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["kind"] == "slots")
        .unwrap();
    assert!(link["peak"].as_u64() >= slots["used"].as_u64(), "{link}");
}
