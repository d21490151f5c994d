//! A websocket from each of many configurations, all with a big map.

use std::fmt::Write;

use crate::parts::Tunnel;
use crate::stage::{Conf, application, memory, reload, start, worker};

const MIB: u64 = 1 << 20;

#[test]
fn a_websocket_keeps_no_configuration() {
    websockets(12, 1 << 20);
}

#[test]
#[ignore = "takes a minute: a hundred reloads of five megabytes"]
fn a_hundred_websockets_keep_no_configuration() {
    websockets(100, 5 << 20);
}

fn websockets(reloads: usize, size: usize) {
    let application = application();
    let conf = |number: usize| {
        let conf = Conf { number, threads: 2, application: &application, tls: false, main: String::new() };
        conf.text()
            .replace("http {", "http { map $arg_key $value { include big.map; }")
            .replace("location = /file", "location = /value { return 200 $value; } location = /file")
    };
    let server = start(&conf(0).replace("include big.map;", ""));
    let mut map = String::new();
    while map.len() < size {
        let _ = writeln!(map, "key-{:08} \"the value of number {:08}\";", map.len(), map.len());
    }
    server.write("big.map", map);
    // The first: as many as ever live side by side, the old one until the new one is in force.
    reload(&server, &conf(1));
    reload(&server, &conf(2));
    let pid = worker(&server);
    let (mut held, mut tunnels) = (Vec::new(), Vec::new());
    for number in 3..3 + reloads {
        let mut tunnel = Tunnel::open(server.port()).unwrap();
        Tunnel::echo(&mut tunnel, "before").unwrap();
        tunnels.push(tunnel);
        reload(&server, &conf(number));
        held.push(memory(pid));
        assert_eq!(server.get("/value?key=key-00000000").text(), "the value of number 00000000");
    }
    // What reading the text took is given back to the system after some reloads and not after others: the least counts.
    let least = |held: &[u64]| held.iter().min().copied().unwrap_or_default();
    let (first, last) = (least(&held[..reloads / 2]), least(&held[reloads / 2..]));
    eprintln!("{reloads} reloads of {size} bytes: {} KiB, then {} KiB", first / 1024, last / 1024);
    for tunnel in &mut tunnels {
        Tunnel::echo(tunnel, "after").unwrap();
    }
    assert_eq!(worker(&server), pid);
    assert!(last <= first + 5 * MIB, "from {first} to {last} bytes");
}
