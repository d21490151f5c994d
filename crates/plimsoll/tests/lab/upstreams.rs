//! Upstreams that answer late or not at all, and the ports towards them.

use std::process::{Child, Command, Stdio};

use testkit::{Binary, Port, Server, Site};

use crate::bed::{Report, clients, held_up, incident, site};

#[test]
fn an_upstream_takes_too_long() {
    let text = site(64, "location / { proxy_read_timeout 50ms; proxy_pass http://%%ORIGIN%%; }");
    held_up(text, |server, _| {
        assert_eq!(server.get("/").status, 504);
        let report = Report::server(server);
        report.first("upstream_slow", &["proxy_read_timeout", "two slots"]);
        assert_eq!(report.exit, 1);
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
fn a_group_at_its_max_conns() {
    let text = "events { } http { upstream app { server %%ORIGIN%% max_conns=1; }\n\
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://app; } } }";
    held_up(text, |server, origin| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        assert_eq!(server.get("/").status, 502);
        Report::server(server).first("no_live_upstreams", &["max_conns", "works as configured"]);
    });
}

#[test]
fn one_port_for_all_connections() {
    let text = site(64, "location / { proxy_bind 127.0.0.1:%%PORT_1%%; proxy_pass http://%%ORIGIN%%; }");
    held_up(text, |server, origin| {
        let _first = clients(server, 1);
        origin.wait_open(1);
        let _second = clients(server, 1);
        server.error_log().wait_for("failed (98:");
        Report::server(server).first("fixed_port", &["nginx.conf:1", "without a port"]);
    });
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

/// Those who ask, as long as this is there.
pub(crate) struct Many(Child);

impl Many {
    pub(crate) fn ask(server: &Server) -> Many {
        Many(inside(server, MANY).stdin(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A script that runs where the server is, told of its port and of that of its upstream.
pub(crate) fn inside(server: &Server, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &server.pid().to_string(), "-n", "python3", "-c", script]);
    command.args([server.port().to_string(), server.port_n(1).to_string()]);
    command
}

/// With four local ports; `None` without the right to make such a network.
pub(crate) fn in_a_network_of_its_own(site: Site) -> Option<Server> {
    let apart = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
    if !apart.is_ok_and(|output| output.status.success()) || !Binary::wanted().contains(&Binary::Nginx) {
        eprintln!("SKIPPED: no right to make a network namespace");
        return None;
    }
    let prepare =
        "ip link set lo up && echo 50000 50003 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let wrapper = ["unshare", "-n", "sh", "-c", prepare, "sh"].map(str::to_owned);
    Some(Binary::Nginx.serve_under(&wrapper, site))
}

/// The doctor has to look inside.
#[test]
fn local_ports_run_out() {
    let text = site(64, "location / { proxy_pass http://127.0.0.1:%%PORT_1%%; }");
    let Some(server) = in_a_network_of_its_own(text) else { return };
    let many = Many::ask(&server);
    server.error_log().wait_for("failed (99:");
    let report = Report::server(&server);
    drop(many);
    report.first("ports_exhausted", &["live: 4 of 4", "keepalive", "ip_local_port_range"]);
    assert_eq!(report.exit, 2);
}
