//! Local ports towards upstreams, where there are few: in a network of its own, with four of them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::process::Command;

use testkit::Binary;

/// Two upstreams that never answer, and clients that keep waiting, from ports that are not among the few.
const PLAY: &str = "
import socket, sys
server, a, b = map(int, sys.argv[1:])
held, source = [], iter(range(20000, 21000))
def listen(port):
    listener = socket.create_server(('127.0.0.1', port))
    listener.settimeout(15)
    return listener
def ask(path):
    client = socket.create_connection(('127.0.0.1', server), source_address=('127.0.0.1', next(source)))
    client.settimeout(15)
    client.sendall(f'GET {path} HTTP/1.0\\r\\n\\r\\n'.encode())
    held.append(client)
    return client.makefile()
a, b = listen(a), listen(b)
for _ in range(4):
    for path, listener in [('/a', a), ('/b', b)]:
        ask(path)
        held.append(listener.accept()[0])
print('four for each')
print(ask('/a').readline().strip())
print([line for line in ask('/status').read().splitlines() if 'ports' in line])
";

fn may_make_networks() -> bool {
    let apart = Command::new("unshare").args(["-n", "ip", "link", "set", "lo", "up"]).output();
    apart.is_ok_and(|output| output.status.success())
}

#[test]
fn a_bound_address_has_its_ports_once_for_each_upstream() {
    if !may_make_networks() {
        return eprintln!("SKIPPED: a_bound_address_has_its_ports..: no right to make a network namespace");
    }
    let prepare =
        "ip link set lo up && echo 50000 50003 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    let wrapper = ["unshare", "-n", "sh", "-c", prepare, "sh"].map(str::to_owned);
    let server = Binary::Plimsoll.serve_under(
        &wrapper,
        "location /a { proxy_bind 127.0.0.9; proxy_pass http://127.0.0.1:%%PORT_1%%; }
         location /b { proxy_bind 127.0.0.9; proxy_pass http://127.0.0.1:%%PORT_2%%; }
         location /status { capacity_status prometheus; }",
    );
    let mut play = Command::new("nsenter");
    play.args(["-t", &server.pid().to_string(), "-n", "python3", "-c", PLAY]);
    play.args([server.port(), server.port_n(1), server.port_n(2)].map(|port| port.to_string()));
    let output = play.output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Eight connections from four ports: a port is taken for one destination only.
    assert!(said.starts_with("four for each\n"), "{said}{complained}");
    // The ninth finds none; the answer, the log and the status say so.
    assert!(said.contains("HTTP/1.1 502 "), "{said}{complained}");
    server
        .error_log()
        .wait_for("failed (99: Cannot assign requested address) while connecting to upstream; ports bind: ");
    assert!(said.contains("cause=\"ports\"} 1"), "{said}{complained}");
}
