//! A websocket from each of many configurations, all with a big map and many locations.

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
        conf.text().replace("http {", "http { map $arg_key $value { include big.map; }").replace(
            "location = /file",
            "location = /value { return 200 $value; } include places; location = /file",
        )
    };
    let server = start(&conf(0).replace("include big.map;", "").replace("include places;", ""));
    let mut map = String::new();
    while map.len() < size {
        let _ = writeln!(map, "key-{:08} \"the value of number {:08}\";", map.len(), map.len());
    }
    server.write("big.map", map);
    // Of the map there is one for all configurations; no two have a location in common.
    let many = |number: usize| {
        let place = |i: usize| format!("location /{number}/{i} {{ return 200 {number}.{i}; }}\n");
        server.write("places", (0..size / 1000).map(place).collect::<String>());
    };
    many(0);
    // The first: as many as ever live side by side, the old one until the new one is in force.
    reload(&server, &conf(1));
    reload(&server, &conf(2));
    let pid = worker(&server);
    let (mut held, mut tunnels) = (Vec::new(), Vec::new());
    for number in 3..3 + reloads {
        let mut tunnel = Tunnel::open(server.port()).unwrap();
        Tunnel::echo(&mut tunnel, "before").unwrap();
        tunnels.push(tunnel);
        many(number);
        reload(&server, &conf(number));
        held.push(memory(pid));
        assert_eq!(server.get("/value?key=key-00000000").text(), "the value of number 00000000");
    }
    let (first, last) = (held[0], held[reloads - 1]);
    eprintln!("{reloads} reloads of {size} bytes: {} KiB, then {} KiB", first / 1024, last / 1024);
    for tunnel in &mut tunnels {
        Tunnel::echo(tunnel, "after").unwrap();
    }
    assert_eq!(worker(&server), pid);
    // A dozen configurations that were kept would be many times more than that.
    let most = 5 * MIB;
    assert!(last <= first + most, "from {first} to {last} bytes");
}
