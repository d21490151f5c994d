//! Nothing is wrong, and the doctor says so.

use testkit::{Origin, Site};

use crate::bed::{Report, clients, held_up, incident, site};

/// Notes are allowed; other tests of the machine may make some.
#[track_caller]
fn nothing_is_wrong(report: &Report) {
    let wrong: Vec<_> = report.findings().iter().filter(|finding| finding["severity"] != "note").collect();
    assert!(wrong.is_empty() && report.exit == 0, "{wrong:#?}");
}

#[test]
fn a_healthy_server() {
    testkit::on_both("location / { return 200 well; }", |server| {
        assert_eq!(server.get("/").text(), "well");
        let report = Report::server(server);
        nothing_is_wrong(&report);
        assert_eq!(report.json["facts"]["running"]["master"], server.pid());
    });
}

/// Numbers that are far too large, and wrong fixes that were tried, are no fault while nothing is full.
#[test]
fn idle_with_huge_numbers() {
    let text = "worker_processes 8; worker_rlimit_nofile 19000; events { worker_connections 9000; multi_accept on; }\n\
                http { keepalive_timeout 600; upstream app { server %%ORIGIN%%; keepalive 512; }\n\
                server { listen 127.0.0.1:%%PORT%% backlog=4096 reuseport; location / { proxy_pass http://app; }\n\
                location = /status { stub_status; } } }";
    let origin = Origin::new(|exchange| exchange.ok("x"));
    incident(Site::new(text).with("ORIGIN", origin.address()), |server| {
        assert_eq!(server.get("/").text(), "x");
        nothing_is_wrong(&Report::server(server));
    });
}

/// Half of what there is of slots is taken, by requests that wait for somebody slow: that is what they are for.
#[test]
fn busy_and_healthy() {
    let text = site(64, "location / { proxy_pass http://%%ORIGIN%%; } location = /status { stub_status; }");
    held_up(text, |server, origin| {
        let _held = clients(server, 16);
        origin.wait_open(16);
        let report = Report::server(server);
        nothing_is_wrong(&report);
        let links = report.json["chain"]["links"].as_array().unwrap();
        let slots = links.iter().find(|link| link["kind"] == "slots").unwrap();
        assert!(slots["used"].as_u64() >= Some(32), "{slots}");
    });
}

/// Errors that are no question of capacity: what clients do, what is not there.
#[test]
fn other_errors_are_not_ours() {
    let text = site(64, "location / { root %%FOLDER%%; } location /deny { deny all; }");
    incident(text.with("FOLDER", "/nowhere"), |server| {
        assert_eq!((server.get("/x").status, server.get("/deny").status), (404, 403));
        server.raw("GET /\0 HTTP/1.1\r\n\r\n");
        server.error_log().wait_for("access forbidden by rule");
        nothing_is_wrong(&Report::server(server));
    });
}

#[test]
fn limits_that_work_as_configured() {
    let text = "events { } http { limit_conn_zone $binary_remote_addr zone=a:1m; server { listen 127.0.0.1:%%PORT%%;\n\
                location / { limit_conn a 1; proxy_pass http://%%ORIGIN%%; } } }";
    held_up(text, |server, origin| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        assert_eq!(server.get("/").status, 503);
        let report = Report::server(server);
        report.first("limited", &["as configured"]);
        assert_eq!(report.exit, 0);
    });
}

#[test]
fn too_many_requests_as_configured() {
    let text = "events { } http { limit_req_zone $server_name zone=a:1m rate=1r/m; server { listen 127.0.0.1:%%PORT%%;\n\
                server_name x; location / { limit_req zone=a; return 204; } location /b { limit_req zone=a; alias %%FOLDER%%; } } }";
    incident(Site::new(text).with("FOLDER", "/nowhere"), |server| {
        server.get("/b");
        assert_eq!(server.get("/b").status, 503);
        let report = Report::server(server);
        report.has("limited", &["limiting requests", "as configured"]);
        assert_eq!(report.exit, 0, "{:?}", report.codes());
    });
}
