//! Incidents made on purpose, with a real nginx and real applications and tiny limits: the doctor must name the right
//! link first, and must find nothing wrong with a healthy server.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "lab/rows.rs"]
mod rows;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, prlimit};
use serde_json::Value;
use testkit::{Binary, Client, Gate, Origin, Port, Server, Site, eventually, peers};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// What the doctor said.
struct Report {
    exit: i32,
    json: Value,
}

/// A worker is known by its title, which it sets when it has come up.
fn wait_for_a_worker(server: &Server) {
    let title = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("a worker", || server.workers().iter().any(|pid| title(pid).contains("worker process")));
}

impl Report {
    /// Of what these arguments make it look at.
    fn of(args: &[&str]) -> Report {
        let output =
            Command::new(Binary::Plimsoll.path()).arg("doctor").args(args).arg("--json").output().unwrap();
        let json = serde_json::from_slice(&output.stdout);
        let json =
            json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        Report { exit: output.status.code().unwrap(), json }
    }

    fn server(server: &Server) -> Report {
        wait_for_a_worker(server);
        Report::of(&["--pid", &server.pid().to_string(), "--seconds", "0.05"])
    }

    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    fn codes(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    /// The first finding is this, and its text (evidence, changes and all) has these words.
    #[track_caller]
    fn first(&self, code: &str, words: &[&str]) {
        assert_eq!(self.codes().first(), Some(&code), "{:#}", self.json["findings"]);
        self.has(code, words);
    }

    #[track_caller]
    fn has(&self, code: &str, words: &[&str]) {
        let found = self.findings().iter().find(|finding| finding["code"] == code);
        let text = found.unwrap_or_else(|| panic!("no {code} in {:?}", self.codes())).to_string();
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
    }
}

/// Runs an incident with a real nginx, if there is one.
fn incident(site: impl Into<Site>, test: impl Fn(&Server)) {
    if Binary::wanted().contains(&Binary::Nginx) {
        test(&Binary::Nginx.serve(site));
    }
}

fn clients(server: &Server, count: usize) -> Vec<Client> {
    let client = |_| {
        let mut client = server.client();
        // A full server may have closed it already.
        let _ = client.try_send(GET);
        client
    };
    (0..count).map(client).collect()
}

/// An origin that answers when the gate opens.
fn slow(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::new(move |exchange| {
        gate.pass();
        exchange.ok("late");
    })
}

fn site(connections: u32, directives: &str) -> Site {
    Site::new(format!(
        "events {{ worker_connections {connections}; }} http {{ server {{ listen 127.0.0.1:%%PORT%%; {directives} }} }}"
    ))
}

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
fn slots_run_out_on_accept() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = site(12, "location / { proxy_pass http://%%ORIGIN%%; }").with("ORIGIN", origin.address());
    incident(text, |server| {
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
        gate.open();
    });
    gate.open();
}

/// The story of 768 and of 1024: clients were let in, and there was no slot left towards the upstream.
#[test]
fn slots_run_out_towards_the_upstream() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = site(12, "location / { proxy_pass http://%%ORIGIN%%; }").with("ORIGIN", origin.address());
    incident(text, |server| {
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
        gate.open();
    });
    gate.open();
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

/// An application that ends with the test.
struct Application(Child);

impl Application {
    fn start(command: &mut Command) -> Application {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Application(quiet.process_group(0).spawn().unwrap())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The story of gunicorn behind a unix socket.
#[test]
fn gunicorn_is_slower_than_what_arrives() {
    let Some(gunicorn) = peers::require("gunicorn") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gunicorn.sock");
    let busy = folder.path().join("busy");
    let application = format!(
        "import time\ndef application(environ, start):\n    open({:?}, 'w').close()\n    time.sleep(60)\n",
        busy.display().to_string()
    );
    fs::write(folder.path().join("app.py"), application).unwrap();
    let mut command = Command::new(gunicorn);
    command.args([
        "--workers",
        "1",
        "--backlog",
        "2",
        "--bind",
        &format!("unix:{}", path.display()),
        "--chdir",
    ]);
    command.arg(folder.path()).arg("app:application").env("HOME", folder.path());
    let _application = Application::start(&mut command);
    eventually("gunicorn listens", || UnixStream::connect(&path).is_ok());
    let text = site(64, "location / { proxy_pass http://unix:%%APP%%; }").with("APP", path.display());
    incident(text, |server| {
        // Once its only worker is busy, nothing is taken from the queue any more.
        let _first = clients(server, 1);
        eventually("gunicorn is busy", || busy.exists());
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
    let Some(fpm) = ["php-fpm8.2", "php-fpm"].iter().find_map(|name| peers::find(name)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("php.sock");
    let (log, conf) = (folder.path().join("fpm.log"), folder.path().join("fpm.conf"));
    fs::write(folder.path().join("slow.php"), "<?php sleep(60);").unwrap();
    let pool = format!(
        "[global]\nerror_log={}\ndaemonize=no\n[www]\nlisten={}\nlisten.backlog=2\npm=static\npm.max_children=1\n\
         user=root\ngroup=root\nlisten.mode=0666\n",
        log.display(),
        path.display()
    );
    fs::write(&conf, pool).unwrap();
    let _application =
        Application::start(Command::new(fpm).arg("--allow-to-run-as-root").arg("-y").arg(&conf));
    eventually("php-fpm listens", || path.exists());
    let text = "location / { fastcgi_pass unix:%%APP%%; fastcgi_param SCRIPT_FILENAME %%FOLDER%%/slow.php; \
                fastcgi_param REQUEST_METHOD GET; }";
    let text = site(64, text).with("APP", path.display()).with("FOLDER", folder.path().display());
    incident(text, |server| {
        let _clients = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        Report::server(server).first("upstream_queue_full", &["pm.max_children", "listen.backlog = 1024"]);
    });
}

#[test]
fn an_upstream_takes_too_long() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = site(64, "location / { proxy_read_timeout 50ms; proxy_pass http://%%ORIGIN%%; }");
    incident(text.with("ORIGIN", origin.address()), |server| {
        assert_eq!(server.get("/").status, 504);
        let report = Report::server(server);
        report.first("upstream_slow", &["proxy_read_timeout", "two slots"]);
        assert_eq!(report.exit, 1);
    });
    gate.open();
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
fn no_live_upstreams_is_a_consequence() {
    let (one, two) = (Port::free(), Port::free());
    let text = "events { } http { upstream app { server 127.0.0.1:%%A%%; server 127.0.0.1:%%B%%; }\n\
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://app; } } }";
    incident(Site::new(text).with("A", one.number()).with("B", two.number()), |server| {
        assert_eq!((server.get("/").status, server.get("/").status), (502, 502));
        server.error_log().wait_for("no live upstreams");
        let report = Report::server(server);
        report.first("upstream_down", &["(111:"]);
        report.has("no_live_upstreams", &["a consequence", "(111:"]);
    });
}

#[test]
fn one_port_for_all_connections() {
    let gate = Gate::new();
    let origin = slow(&gate);
    let text = site(64, "location / { proxy_bind 127.0.0.1:%%PORT_1%%; proxy_pass http://%%ORIGIN%%; }");
    incident(text.with("ORIGIN", origin.address()), |server| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        let _second = clients(server, 1);
        server.error_log().wait_for("failed (98:");
        Report::server(server).first("fixed_port", &["nginx.conf:1", "without a port"]);
        gate.open();
    });
    gate.open();
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

/// Listens without ever answering, and asks the server more often than there are ports. Its own ports are chosen, so
/// that it needs none of the server's.
const MANY: &str = "\
import socket, sys
server, upstream = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(('127.0.0.1', upstream), backlog=64)
held = []
for port in range(20000, 20008):
    held.append(socket.create_connection(('127.0.0.1', server), source_address=('127.0.0.1', port)))
    held[-1].sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
sys.stdin.read()
";

/// In a network of its own, with four local ports: the doctor has to look inside.
#[test]
fn local_ports_run_out() {
    let apart = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
    if !apart.is_ok_and(|output| output.status.success()) || !Binary::wanted().contains(&Binary::Nginx) {
        eprintln!("SKIPPED: local_ports_run_out: no right to make a network namespace");
        return;
    }
    let prepare =
        "ip link set lo up && echo 50000 50003 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let wrapper = ["unshare", "-n", "sh", "-c", prepare, "sh"].map(str::to_owned);
    let text = site(64, "location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }");
    let server = Binary::Nginx.serve_under(&wrapper, text);
    let mut many = Command::new("nsenter");
    many.args(["-t", &server.pid().to_string(), "-n", "python3", "-c", MANY]);
    many.args([server.port().to_string(), server.port_n(1).to_string()]).stdin(Stdio::piped());
    let mut many = many.spawn().unwrap();
    server.error_log().wait_for("failed (99:");
    let report = Report::server(&server);
    drop(many.stdin.take());
    many.wait().unwrap();
    report.first("ports_exhausted", &["live: 4 of 4", "keepalive", "ip_local_port_range"]);
    assert_eq!(report.exit, 2);
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
