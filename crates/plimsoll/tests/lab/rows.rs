//! Rows of the table that need a trick each: what is left when the common incidents are made.

use std::io::Read;
use std::process::{Command, Stdio};

use super::*;

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

#[test]
fn a_group_at_its_max_conns() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = "events { } http { upstream app { server %%ORIGIN%% max_conns=1; }\n\
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://app; } } }";
    incident(Site::new(text).with("ORIGIN", origin.address()), |server| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        assert_eq!(server.get("/").status, 502);
        Report::server(server).first("no_live_upstreams", &["max_conns", "works as configured"]);
        gate.open();
    });
    gate.open();
}

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
fn php_fpm_says_so_itself() {
    let Some(fpm) = peers::require_php() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("slow.php"), "<?php sleep(60);").unwrap();
    let pool = format!(
        "[global]\nerror_log={}\ndaemonize=no\n[www]\nlisten={}\npm=ondemand\npm.max_children=1\nuser=root\n\
         group=root\nlisten.mode=0666\n",
        file("fpm.log").display(),
        file("php.sock").display()
    );
    fs::write(file("fpm.conf"), pool).unwrap();
    let mut command = Command::new(fpm);
    let _application =
        Application::start(command.arg("--allow-to-run-as-root").arg("-y").arg(file("fpm.conf")));
    eventually("php-fpm listens", || file("php.sock").exists());
    let text = "location / { fastcgi_pass unix:%%APP%%; fastcgi_param SCRIPT_FILENAME %%FOLDER%%/slow.php; \
                fastcgi_param REQUEST_METHOD GET; }";
    let text = site(64, text).with("APP", file("php.sock").display()).with("FOLDER", folder.path().display());
    incident(text, |server| {
        let mut held = Vec::new();
        // php-fpm looks when somebody comes: those that come before its child is there are one event for it.
        eventually("php-fpm complains", || {
            if held.len() < 20 {
                held.push(clients(server, 1));
            }
            fs::read_to_string(file("fpm.log")).unwrap_or_default().contains("max_children")
        });
        let report = Report::of(&["--log", file("fpm.log").to_str().unwrap()]);
        report.first("application_busy", &["max_children", "more worker_connections"]);
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

/// Whoever watches sees what fills up in the first line.
#[test]
fn a_watcher_is_alarmed() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = site(12, "location / { proxy_pass http://%%ORIGIN%%; }").with("ORIGIN", origin.address());
    incident(text, |server| {
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
        gate.open();
    });
    gate.open();
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
