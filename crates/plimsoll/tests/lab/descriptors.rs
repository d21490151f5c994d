//! Descriptors of workers and of the master.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use testkit::{Binary, Origin, Site};

use crate::bed::{Report, clients, incident, wait_for_a_worker};

#[test]
fn descriptors_run_out() {
    let text = "worker_rlimit_nofile 24; events { worker_connections 512; }\n\
                http { server { listen 127.0.0.1:%%PORT%%; location / { return 200; } } }";
    incident(text, |server| {
        let _clients = clients(server, 30);
        server.error_log().wait_for("failed (24:");
        let report = Report::server(server);
        report.first(
            "descriptors_full",
            &["of 24 (worker_rlimit_nofile 24)", "worker_rlimit_nofile", "limits.conf"],
        );
        report.has("descriptors_short", &[]);
    });
}

#[test]
fn a_reload_without_descriptors() {
    incident("location / { return 200; }", |server| {
        // One that began under this limit would not come up.
        wait_for_a_worker(server);
        let pid = Pid::from_raw(server.pid()).unwrap();
        let before = getrlimit(Resource::Nofile);
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        server.signal(Signal::HUP);
        server.error_log().wait_for("failed (24:");
        let report = Report::server(server);
        report.first("descriptors_master", &["LimitNOFILE", "worker_rlimit_nofile: it is for the workers"]);
        prlimit(Some(pid), Resource::Nofile, before).unwrap();
    });
}

#[test]
fn a_limit_that_never_landed() {
    incident(
        Site::new(
            "worker_rlimit_nofile 2000000000; events { } http { server { listen 127.0.0.1:%%PORT%%; } }",
        ),
        |server| {
            server.error_log().wait_for("setrlimit(RLIMIT_NOFILE");
            let report = Report::server(server);
            report.has("rlimit_refused", &["LimitNOFILE", "container"]);
            report.has("limit_not_landed", &["2000000000"]);
            report.has("rlimit_over_nr_open", &["fs.nr_open"]);
        },
    );
}

/// The last descriptor goes to a client, and its request finds none.
#[track_caller]
fn without_a_descriptor(directives: &str, target: &str, line: &str) -> Option<Report> {
    if !Binary::wanted().contains(&Binary::Nginx) {
        return None;
    }
    let upstream = Origin::new(|exchange| exchange.ok("x"));
    let text = format!(
        "worker_rlimit_nofile 24; events {{ worker_connections 512; }} http {{ open_file_cache off;\n\
         server {{ listen 127.0.0.1:%%PORT%%; {directives} }} }}"
    );
    let site = Site::new(text).file("file", "x").with("ORIGIN", upstream.address());
    let server = Binary::Nginx.serve(site);
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut client = server.client();
        let status = client.get(target).status;
        clients.push(client);
        if status == 500 {
            break;
        }
    }
    server.error_log().wait_for(line);
    Some(Report::server(&server))
}

#[test]
fn a_file_cannot_be_opened() {
    let Some(report) = without_a_descriptor("root %%FOLDER%%;", "/file", "failed (24:") else { return };
    report.first("descriptors_full", &["open() ", "open_file_cache", "worker_rlimit_nofile"]);
}

#[test]
fn an_upstream_cannot_be_reached_for_want_of_a_descriptor() {
    let proxied = "location / { proxy_pass http://%%ORIGIN%%; }";
    let Some(report) = without_a_descriptor(proxied, "/", "socket() failed (24:") else { return };
    report.first("descriptors_full", &["socket() failed (24:", "worker_rlimit_nofile", "LimitNOFILE"]);
}
