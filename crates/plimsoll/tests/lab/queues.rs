//! The server's own accept queue.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bed::{Report, incident};

/// The sysctl story: what is configured is not what is live.
#[test]
fn a_queue_that_is_shorter_than_configured() {
    let text = |backlog| {
        format!("events {{ }} http {{ server {{ listen 127.0.0.1:%%PORT%% backlog={backlog}; }} }}")
    };
    incident(text(64), |server| {
        server.rewrite(&text(128));
        Report::server(server).first("queue_shorter", &["64 live, 128 by backlog=", "a reload"]);
    });
}

#[test]
fn a_backlog_that_is_cut() {
    incident("events { } http { server { listen 127.0.0.1:%%PORT%% backlog=2000000; } }", |server| {
        Report::server(server).first("backlog_clamped", &["net.core.somaxconn = 2000000"]);
    });
}

#[test]
fn an_accept_queue_overflows_in_silence() {
    incident("events { } http { server { listen 127.0.0.1:%%PORT%% backlog=2; } }", |server| {
        // It serves, so it has come up whole.
        server.get("/");
        let worker = Pid::from_raw(server.workers()[0]).unwrap();
        kill_process(worker, Signal::STOP).unwrap();
        let address = ([127, 0, 0, 1], server.port()).into();
        let patience = Duration::from_millis(50);
        let _waiting: Vec<_> = (0..5).map(|_| TcpStream::connect_timeout(&address, patience)).collect();
        let report = Report::server(server);
        kill_process(worker, Signal::CONT).unwrap();
        report.has("accept_queue_full", &["live: 3 of 2", "no log says so"]);
        assert_eq!(report.findings()[0]["link"], "accept_queue", "{:?}", report.codes());
        assert_eq!(server.error_log().text().matches("[crit]").count(), 0);
    });
}
