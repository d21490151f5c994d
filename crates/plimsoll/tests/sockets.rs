//! Options of sockets, as far as they show, of clients' and of upstreams'; and what else is a matter of time there.
#![forbid(unsafe_code)]

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Origin, Site, each, eventually, on_both, serve};

/// Whether the kernel would ask on a connection whether the other end is still there: `/proc/net/tcp` has a line for each
/// end, with a timer of the second kind. The near end's port may be any.
fn is_kept_alive(near: Option<u16>, far: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |word: &str| word.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        let [_, local, remote, _, _, timer, ..] = words[..] else { return false };
        let ours = near.is_none() || port(local) == near;
        ours && port(remote) == Some(far) && timer.starts_with("02:")
    })
}

#[test]
fn clients_are_asked_whether_they_are_there() {
    let text = "server { listen 127.0.0.1:%%PORT%% so_keepalive=on; return 200 on; } \
        server { listen 127.0.0.1:%%PORT_1%% so_keepalive=10m:5s:3; return 200 thrice; } \
        server { listen 127.0.0.1:%%PORT_2%% so_keepalive=off; return 200 off; } \
        server { listen 127.0.0.1:%%PORT_3%%; return 200 unsaid; } \
        server { listen 127.0.0.1:%%PORT_4%% so_keepalive=10m:5s; return 200 twice; }";
    on_both(text, |server| {
        let kept = [0, 1, 2, 3, 4].map(|index| {
            let mut client = server.client_on(index);
            assert_eq!(client.get("/").status, 200);
            is_kept_alive(Some(server.port_n(index)), client.port())
        });
        assert_eq!(kept, [true, true, false, false, true]);
    });
}

#[test]
fn a_unix_socket_that_is_given_up_is_removed_and_said() {
    on_both("server { listen 127.0.0.1:%%PORT%%; listen unix:%%DIR%%/door; return 200 a; }", |server| {
        // An answer: whoever answers is there, and so is who is told to reload.
        assert_eq!(server.get("/").text(), "a");
        assert!(server.path("door").exists());
        server.reload("server { listen 127.0.0.1:%%PORT%%; return 200 b; }");
        let said = format!("deleting socket {}", server.path("door").display());
        let line = server.error_log().wait_for(&said);
        assert!(line.contains("[warn]"), "{line}");
        eventually("the socket to go", || !server.path("door").exists());
    });
}

#[test]
fn upstreams_are_asked_whether_they_are_there() {
    for (setting, kept) in [("on", true), ("off", false)] {
        each(|binary| {
            let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let text = "proxy_socket_keepalive %%SET%%; proxy_http_version 1.1; proxy_set_header Connection ''; \
                upstream u { server %%ORIGIN%%; keepalive 1; } server { listen 127.0.0.1:%%PORT%%; \
                location / { proxy_pass http://u; } }";
            let server = binary.serve(Site::new(text).with("SET", setting).with("ORIGIN", origin.address()));
            assert_eq!(server.get("/").text(), "ok");
            assert_eq!(origin.open_connections(), 1);
            assert_eq!(is_kept_alive(None, origin.port()), kept, "{setting}");
        });
    }
}

#[test]
fn who_says_nothing_is_not_accepted_where_that_is_wanted() {
    let text = "server { listen 127.0.0.1:%%PORT%% deferred; listen 127.0.0.1:%%PORT_1%%; \
        location / { return 200 x; } location /status { stub_status; } }";
    on_both(text, |server| {
        let active = || {
            let text = server.get("/status").text();
            text.lines().next().and_then(|line| line.rsplit(' ').find_map(|word| word.parse::<usize>().ok()))
        };
        let mut silent = server.client();
        assert_eq!(active(), Some(1), "only the one that asks");
        let _other = server.client_on(1);
        eventually("the other one to be accepted", || active() == Some(2));
        assert_eq!(silent.get("/").text(), "x");
    });
}

#[test]
fn a_socket_of_both_kinds_of_addresses() {
    let text = "server { listen [::]:%%PORT%% ipv6only=off; return 200 $remote_addr; } \
        server { listen [::]:%%PORT_1%% ipv6only=on; return 200 $remote_addr; } \
        server { listen [::]:%%PORT_2%%; return 200 $remote_addr; }";
    on_both(text, |server| {
        assert_eq!(server.client_at("127.0.0.1", 0).get("/").text(), "::ffff:127.0.0.1");
        for index in [0, 1, 2] {
            assert_eq!(server.client_at("::1", index).get("/").text(), "::1");
        }
        for index in [1, 2] {
            assert!(TcpStream::connect(("127.0.0.1", server.port_n(index))).is_err(), "{index}");
        }
    });
}

#[test]
fn no_other_server_is_asked_when_the_time_for_it_is_over() {
    for (time, status) in [("100ms", 502), ("10s", 200)] {
        each(|binary| {
            let slow = Origin::new(|exchange| {
                std::thread::sleep(Duration::from_millis(150));
                exchange.close();
            });
            let good = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let text = "proxy_next_upstream_timeout %%TIME%%; upstream u { server %%SLOW%%; server %%GOOD%%; } \
                server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; } }";
            let site =
                Site::new(text).with("TIME", time).with("SLOW", slow.address()).with("GOOD", good.address());
            let server = binary.serve(site);
            assert_eq!(server.get("/").status, status, "{time}");
            assert_eq!(
                (slow.requests().len(), good.requests().len()),
                (1, usize::from(status == 200)),
                "{time}"
            );
        });
    }
}

/// How many sockets of multipath TCP there are.
fn multipath_sockets() -> usize {
    let table = fs::read_to_string("/proc/net/protocols").unwrap_or_default();
    let line = table.lines().find(|line| line.starts_with("MPTCP "));
    line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok()).unwrap_or_default()
}

// Debian's nginx does not know the parameter.
#[test]
fn several_paths_are_taken_where_that_is_wanted() {
    let on = fs::read_to_string("/proc/sys/net/mptcp/enabled").is_ok_and(|on| on.trim() == "1");
    if !on {
        eprintln!("SKIPPED: the kernel has no multipath TCP");
        return;
    }
    let site = |parameter: &str, says: &str| {
        format!("server {{ listen 127.0.0.1:%%PORT%% {parameter}; location / {{ return 200 {says}; }} }}")
    };
    let server = serve(site("multipath so_keepalive=on deferred", "several"));
    assert_eq!(server.get("/").text(), "several");
    assert_eq!(multipath_sockets(), 1);
    // Another protocol is another socket, made beside the old one.
    for (parameter, says, sockets) in [("", "one", 0), ("multipath", "again", 1)] {
        server.reload(&site(parameter, says));
        // Who comes in the very moment in which the old one closes may be turned away.
        let answer = || {
            let mut client = server.client();
            client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            Some(client.try_response("GET").ok()?.text())
        };
        eventually("the new configuration", || answer().as_deref() == Some(says));
        eventually("the end of the old socket", || multipath_sockets() == sockets);
    }
}
