//! Connection slots.

use std::fs;

use testkit::{Binary, Client};

use crate::bed::{Report, clients, held_up, incident, site};

#[test]
fn slots_run_out_on_accept() {
    held_up(site(12, "location / { proxy_pass http://%%ORIGIN%%; }"), |server, origin| {
        let _held = clients(server, 5);
        origin.wait_open(5);
        let _refused = clients(server, 3);
        server.error_log().wait_for("12 worker_connections are not enough");
        let report = Report::server(server);
        report.first(
            "slots_full",
            &["live: 10 of 10", "worker_connections", "most to 127.0.0.1", "multi_accept"],
        );
        assert_eq!((report.exit, report.json["binding"].as_str()), (2, Some("slots")));
    });
}

/// The story of 768 and of 1024: clients were let in, and there was no slot left towards the upstream.
#[test]
fn slots_run_out_towards_the_upstream() {
    held_up(site(12, "location / { proxy_pass http://%%ORIGIN%%; }"), |server, _| {
        let posting = |_| {
            let mut client = server.client();
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
            client.read("HTTP/1.1 100 Continue\r\n\r\n".len());
            client
        };
        let mut all: Vec<Client> = (0..9).map(posting).collect();
        all.iter_mut().for_each(|client| client.send("x"));
        server.error_log().wait_for("worker_connections are not enough while connecting to upstream");
        Report::server(server)
            .first("slots_full", &["12 worker_connections are not enough while connecting to upstream"]);
    });
}

#[test]
fn a_proxy_loop() {
    incident(site(32, "location / { proxy_pass http://127.0.0.1:%%PORT%%; }"), |server| {
        server.get("/");
        let report = Report::server(server);
        report.first("proxy_loop", &["nginx.conf:1", "takes two slots more on every round"]);
        report.has("slots_full", &[]);
    });
}

#[test]
fn slots_run_low() {
    incident(site(32, "location / { return 200; }"), |server| {
        let mut clients: Vec<Client> = Vec::new();
        // Thirty are left beside the listening socket and the channel; idle ones are closed from the twenty-ninth on.
        for _ in 0..30 {
            let mut client = server.client();
            client.get("/");
            clients.push(client);
        }
        server.error_log().wait_for("worker_connections are not enough, reusing connections");
        let report = Report::server(server);
        report.has(
            "slots_low",
            &["32 worker_connections are not enough", "earliest warning", "worker_connections"],
        );
    });
}

#[test]
fn idle_clients_hold_the_slots() {
    let text = site(32, "location / { return 200; } location = /status { stub_status; }");
    incident(text, |server| {
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
        Report::server(server).first("idle_clients", &["Waiting 20", "keepalive_timeout"]);
    });
}

#[test]
fn fewer_slots_than_listening_sockets() {
    if !Binary::wanted().contains(&Binary::Nginx) {
        return;
    }
    let text = "events { worker_connections 1; } http { server { listen 127.0.0.1:%%PORT%%; listen 127.0.0.1:%%PORT_1%%; } }";
    let exit = Binary::Nginx.refuses(text);
    let log = tempfile::NamedTempFile::new().unwrap();
    fs::write(log.path(), exit.log).unwrap();
    Report::of(&["--log", log.path().to_str().unwrap()])
        .first("slots_for_listeners", &["worker_connections"]);
}
