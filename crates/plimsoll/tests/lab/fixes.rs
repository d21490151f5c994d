//! What `--fix` writes is installed, and the same load makes no incident any more.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;
use testkit::{Client, Server, Site, eventually};

use crate::applications::Node;
use crate::bed::{
    PHP, Report, UWSGI, clients, gunicorn, held_up, incident, php, site, uwsgi, wait_for_a_worker,
};
use crate::upstreams::{Many, in_a_network_of_its_own, inside};

/// The files that the doctor wrote.
pub(crate) struct Fixes(TempDir);

impl Fixes {
    /// For what is wrong now; first of all this.
    #[track_caller]
    pub(crate) fn of(server: &Server, code: &str) -> Fixes {
        let folder = tempfile::tempdir().unwrap();
        let report = Report::server_with(server, &["--fix", folder.path().to_str().unwrap()]);
        report.has(code, &[]);
        Fixes(folder)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn read(&self, name: &str) -> String {
        let there: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        fs::read_to_string(self.file(name))
            .unwrap_or_else(|error| panic!("{name}: {error}; there is {there:?}"))
    }

    /// `name=value` in one of the files.
    #[track_caller]
    fn setting(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Patches the configuration and has the server read it. What was logged before is forgotten.
    #[track_caller]
    pub(crate) fn reload(&self, server: &Server) {
        let diff = self.read("configuration.diff");
        let own = format!("+++ b{}", server.path("nginx.conf").display());
        assert!(diff.lines().filter(|line| line.starts_with("+++ ")).all(|line| line == own), "{diff}");
        let mut patch = Command::new("patch");
        let output =
            patch.args(["-p1", "-d", "/", "-i"]).arg(self.file("configuration.diff")).output().unwrap();
        assert!(output.status.success(), "{}{diff}", String::from_utf8_lossy(&output.stdout));
        let before = server.workers();
        server.signal(Signal::HUP);
        server.wait_other_workers(&before);
        forget(server);
    }
}

/// Empties the error log.
fn forget(server: &Server) {
    fs::write(server.error_log().path(), "").unwrap();
}

/// What [`wait_for_requests`] asks for.
const STATUS: &str = "location = /status { stub_status; }";

/// Waits until so many requests are passed on, or were refused.
#[track_caller]
fn wait_for_requests(server: &Server, count: usize) {
    let wanted = format!("Writing: {} ", count + 1);
    eventually("all requests are read", || server.get("/status").text().contains(&wanted));
}

/// Nothing of this code is found any more, and nothing critical.
#[track_caller]
pub(crate) fn is_gone(server: &Server, code: &str) {
    let report = Report::server(server);
    assert!(!report.codes().contains(&code) && report.exit < 2, "{:#}", report.json["findings"]);
}

#[test]
fn slots_for_clients_are_enough() {
    held_up(site(12, "location / { proxy_pass http://%%ORIGIN%%; }"), |server, origin| {
        let held = clients(server, 5);
        origin.wait_open(5);
        let refused = clients(server, 3);
        server.error_log().wait_for("worker_connections are not enough");
        let fixes = Fixes::of(server, "slots_full");
        drop((held, refused));
        fixes.reload(server);
        let before = origin.connections();
        let _held = clients(server, 8);
        eventually("all are served", || origin.connections() == before + 8);
        is_gone(server, "slots_full");
    });
}

/// `worker_connections` is the default, and stands nowhere.
#[test]
fn slots_that_nobody_configured_are_written() {
    let text = "events {\n}\nhttp { server { listen 127.0.0.1:%%PORT%%; location / { return 200; } location = /status { stub_status; } } }";
    incident(text, |server| {
        let load = || -> Vec<Client> {
            let idle = |_| {
                let mut client = server.client();
                assert_eq!(client.get("/").status, 200);
                client
            };
            (0..300).map(idle).collect()
        };
        let idle = load();
        let fixes = Fixes::of(server, "idle_clients");
        drop(idle);
        fixes.reload(server);
        let _idle = load();
        is_gone(server, "idle_clients");
    });
}

#[test]
fn descriptors_are_enough() {
    let text = "worker_rlimit_nofile 24; events { worker_connections 512; }\n\
                http { server { listen 127.0.0.1:%%PORT%%; location / { return 200; } } }";
    incident(text, |server| {
        let refused = clients(server, 30);
        server.error_log().wait_for("failed (24:");
        let fixes = Fixes::of(server, "descriptors_full");
        drop(refused);
        fixes.reload(server);
        let mut served = clients(server, 30);
        served.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
        is_gone(server, "descriptors_full");
    });
}

#[test]
fn the_master_has_descriptors() {
    incident("location / { return 200; }", |server| {
        wait_for_a_worker(server);
        let pid = Pid::from_raw(server.pid());
        let before = getrlimit(Resource::Nofile);
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        server.signal(Signal::HUP);
        server.error_log().wait_for("failed (24:");
        let limit = Fixes::of(server, "descriptors_master").setting("zz-limits.conf", "LimitNOFILE");
        let most = before.maximum.map_or(limit, |most| most.min(limit));
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), ..before }).unwrap();
        forget(server);
        let before = server.workers();
        server.signal(Signal::HUP);
        server.wait_other_workers(&before);
        is_gone(server, "descriptors_master");
    });
}

#[test]
fn a_limit_that_nobody_may_have_becomes_one() {
    let text = "worker_rlimit_nofile 2000000000; events { } http { server { listen 127.0.0.1:%%PORT%%; } }";
    incident(Site::new(text), |server| {
        server.error_log().wait_for("setrlimit(RLIMIT_NOFILE");
        Fixes::of(server, "rlimit_over_nr_open").reload(server);
        is_gone(server, "rlimit_over_nr_open");
        is_gone(server, "limit_not_landed");
    });
}

#[test]
fn an_accept_queue_is_long_enough() {
    incident("events { } http { server { listen 127.0.0.1:%%PORT%% backlog=2; } }", |server| {
        let address = ([127, 0, 0, 1], server.port()).into();
        let patience = Duration::from_millis(50);
        let load = || -> Vec<_> {
            // It serves, so it has come up whole.
            server.get("/");
            let worker = Pid::from_raw(server.workers()[0]).unwrap();
            kill_process(worker, Signal::STOP).unwrap();
            (0..5).map(|_| TcpStream::connect_timeout(&address, patience)).collect()
        };
        let go_on = || {
            server
                .workers()
                .into_iter()
                .for_each(|pid| kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT).unwrap());
        };
        let lost = load();
        let fixes = Fixes::of(server, "accept_queue_full");
        go_on();
        assert!(lost.iter().any(Result::is_err));
        drop(lost);
        fixes.reload(server);
        let waiting = load();
        is_gone(server, "accept_queue_full");
        go_on();
        assert!(waiting.iter().all(Result::is_ok), "{waiting:?}");
    });
}

#[test]
fn gunicorn_listens_with_the_backlog_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let busy = folder.path().join("busy");
    let Some(application) = gunicorn(folder.path(), &["--workers", "1", "--backlog", "2"]) else { return };
    let application = std::cell::Cell::new(Some(application));
    let text = "location / { proxy_pass http://unix:%%FOLDER%%/gunicorn.sock; }";
    let text = site(64, &format!("{STATUS} {text}"));
    incident(text.with("FOLDER", folder.path().display()), |server| {
        let load = || {
            let mut all = clients(server, 1);
            eventually("gunicorn is busy", || busy.exists());
            all.extend(clients(server, 8));
            all
        };
        let refused = load();
        server.error_log().wait_for("failed (11:");
        let file = Fixes::of(server, "upstream_queue_full");
        drop((application.take(), refused));
        fs::remove_file(&busy).unwrap();
        forget(server);
        let config = file.file("gunicorn.conf.py").display().to_string();
        let _application = gunicorn(folder.path(), &["--config", &config]).unwrap();
        let waiting = load();
        wait_for_requests(server, waiting.len());
        is_gone(server, "upstream_queue_full");
    });
}

#[test]
fn php_fpm_listens_with_the_backlog_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let pool = "pm=static\npm.max_children=1\n";
    let Some(application) = php(folder.path(), &format!("{pool}listen.backlog=2")) else { return };
    let application = std::cell::Cell::new(Some(application));
    incident(site(64, &format!("{STATUS} {PHP}")).with("FOLDER", folder.path().display()), |server| {
        let refused = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        let settings = Fixes::of(server, "upstream_queue_full").read("php-fpm.pool.conf");
        drop((application.take(), refused));
        forget(server);
        fs::remove_file(folder.path().join("php.sock")).unwrap();
        let _application = php(folder.path(), &format!("{pool}{settings}")).unwrap();
        let waiting = clients(server, 8);
        wait_for_requests(server, waiting.len());
        is_gone(server, "upstream_queue_full");
    });
}

#[test]
fn uwsgi_listens_with_the_backlog_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}/uwsgi.sock", folder.path().display());
    let Some(application) = uwsgi(folder.path(), &listen, "processes = 1\nlisten = 2") else { return };
    let application = std::cell::Cell::new(Some(application));
    incident(site(64, &format!("{STATUS} {UWSGI}")).with("UWSGI", &listen), |server| {
        let refused = clients(server, 8);
        server.error_log().wait_for("failed (11:");
        let settings = Fixes::of(server, "upstream_queue_full").read("uwsgi.ini");
        drop((application.take(), refused));
        forget(server);
        for name in ["uwsgi.sock", "uwsgi.log"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        let _application = uwsgi(folder.path(), &listen, &settings).unwrap();
        let waiting = clients(server, 8);
        wait_for_requests(server, waiting.len());
        is_gone(server, "upstream_queue_full");
    });
}

#[test]
fn node_listens_as_the_file_says() {
    let Some(node) = Node::that_blocks() else { return };
    let node = std::cell::Cell::new(Some(node));
    let text = format!("{STATUS} location / {{ proxy_connect_timeout 200ms; proxy_pass http://%%APP%%; }}");
    let address = node.take().map(|it| (it.address(), node.set(Some(it)))).unwrap().0;
    incident(site(64, &text).with("APP", address), |server| {
        let refused = clients(server, 9);
        server.error_log().wait_for("while connecting to upstream");
        let program = Fixes::of(server, "upstream_queue_full").read("node.js");
        let Node { port, .. } = node.take().unwrap();
        drop(refused);
        forget(server);
        let _node = Node::that_listens(port, &program).unwrap();
        let waiting = clients(server, 9);
        wait_for_requests(server, waiting.len());
        is_gone(server, "upstream_queue_full");
    });
}

/// Until somebody knows where to, what comes round again is refused.
#[test]
fn a_loop_ends_after_one_round() {
    let text = "location / {\nproxy_pass http://127.0.0.1:%%PORT%%;\n}";
    incident(site(32, text), |server| {
        server.get("/");
        server.error_log().wait_for("worker_connections are not enough");
        Fixes::of(server, "proxy_loop").reload(server);
        assert_eq!(server.get("/").status, 508);
        let log = server.error_log().text();
        assert!(!log.contains("worker_connections"), "{log}");
    });
}

#[test]
fn every_connection_has_a_port_of_its_own() {
    let text = site(64, "location / { proxy_bind 127.0.0.1:%%PORT_1%%; proxy_pass http://%%ORIGIN%%; }");
    held_up(text, |server, origin| {
        let first = clients(server, 1);
        origin.wait_open(1);
        let second = clients(server, 1);
        server.error_log().wait_for("failed (98:");
        let fixes = Fixes::of(server, "fixed_port");
        drop((first, second));
        fixes.reload(server);
        let before = origin.connections();
        let _all = clients(server, 4);
        eventually("all are served", || origin.connections() == before + 4);
        is_gone(server, "fixed_port");
    });
}

/// The range of ports is as the file has it.
#[test]
fn there_are_ports_enough() {
    let text = site(64, "location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }");
    let Some(server) = in_a_network_of_its_own(text) else { return };
    let many = Many::ask(&server);
    server.error_log().wait_for("failed (99:");
    let text = Fixes::of(&server, "ports_exhausted").read("60-plimsoll.conf");
    drop(many);
    let range = text.lines().find_map(|line| line.strip_prefix("net.ipv4.ip_local_port_range=")).unwrap();
    let write = format!("open('/proc/sys/net/ipv4/ip_local_port_range', 'w').write('{range}')");
    assert!(inside(&server, &write).status().unwrap().success());
    forget(&server);
    let _many = Many::ask(&server);
    is_gone(&server, "ports_exhausted");
}

/// An application that leaves it to the server to close, and eight requests after one another: what they get.
const SERIAL: &str = "\
import socket, sys, threading
server, upstream = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(('127.0.0.1', upstream))
def serve(connection):
    while connection.recv(4096):
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
client = socket.create_connection(('127.0.0.1', server), source_address=('127.0.0.1', 20000))
for _ in range(8):
    client.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    answer = b''
    while b'\\r\\n\\r\\n' not in answer:
        answer += client.recv(4096)
    length = int(answer.split(b'Content-Length: ')[1].split(b'\\r')[0])
    body = len(answer.split(b'\\r\\n\\r\\n', 1)[1])
    while body < length:
        body += len(client.recv(4096))
    print(answer.split()[1].decode(), end=' ')
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\\1\\0\\0\\0\\0\\0\\0\\0')
client.close()
";

/// Connections of a group are used again.
#[test]
fn ports_are_used_again() {
    let text = "events { } http { upstream app {\nserver 127.0.0.1:%%PORT_1%%;\n}\n\
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://app; } } }";
    let Some(server) = in_a_network_of_its_own(Site::new(text)) else { return };
    let said = || String::from_utf8(inside(&server, SERIAL).output().unwrap().stdout).unwrap();
    assert!(said().starts_with("200 200 200 200 50"), "{}", server.error_log().text());
    let fixes = Fixes::of(&server, "ports_exhausted");
    fixes.reload(&server);
    // Eight requests need eight of four ports, or one: the kernel gives one of those in TIME_WAIT back after a second.
    eventually("one connection for all", || said() == "200 ".repeat(8));
}
