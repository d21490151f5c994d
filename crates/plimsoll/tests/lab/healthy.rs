//! Nothing is wrong, and the doctor says so.

use testkit::{Gate, Site};

use crate::bed::{Report, clients, incident, slow};

#[test]
fn a_healthy_server() {
    testkit::on_both("location / { return 200 well; }", |server| {
        assert_eq!(server.get("/").text(), "well");
        let report = Report::server(server);
        let wrong: Vec<_> =
            report.findings().iter().filter(|finding| finding["severity"] != "note").collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(report.exit, 0);
        assert_eq!(report.json["facts"]["running"]["master"], server.pid());
    });
}

#[test]
fn limits_that_work_as_configured() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = "events { } http { limit_conn_zone $binary_remote_addr zone=a:1m; server { listen 127.0.0.1:%%PORT%%;\n\
                location / { limit_conn a 1; proxy_pass http://%%ORIGIN%%; } } }";
    incident(Site::new(text).with("ORIGIN", origin.address()), |server| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        assert_eq!(server.get("/").status, 503);
        let report = Report::server(server);
        report.first("limited", &["as configured"]);
        assert_eq!(report.exit, 0);
        gate.open();
    });
    gate.open();
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
