//! How the servers of a group are chosen: as nginx chooses them.
#![forbid(unsafe_code)]

use testkit::{Binary, Gate, Origin, Server, Site, each, eventually};

const SERVER: &str = "server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_http_version 1.1; \
    proxy_set_header Connection \"\"; proxy_connect_timeout 2s; } }";

fn group(binary: Binary, origins: &[Origin], members: &str) -> Server {
    let mut site = Site::new(format!("upstream u {{ {members} }}\n{SERVER}"));
    for (n, origin) in origins.iter().enumerate() {
        site = site.with(&format!("O{n}"), origin.address());
    }
    binary.serve(site)
}

/// Origins that answer with their number.
fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|n| Origin::new(move |exchange| exchange.ok(n.to_string()))).collect()
}

/// Who answers for each of so many keys.
fn chosen(server: &Server, keys: usize) -> String {
    (0..keys).map(|key| server.get(&format!("/?k=key{}", key * 7)).text()).collect()
}

/// Both servers choose the same for every key, and more than one server is chosen.
#[track_caller]
fn same_choice(count: usize, members: &str) {
    let origins = origins(count);
    let seen = std::cell::RefCell::new(Vec::new());
    each(|binary| seen.borrow_mut().push(chosen(&group(binary, &origins, members), 40)));
    let seen = seen.into_inner();
    assert!(seen.iter().all(|choice| *choice == seen[0]), "{members}: {seen:#?}");
    assert!(seen[0].contains('0') && seen[0].contains('1'), "{members}: {seen:#?}");
}

#[test]
fn hash_chooses_as_nginx_does() {
    same_choice(3, "hash $arg_k; server %%O0%%; server %%O1%%; server %%O2%% weight=3;");
    same_choice(3, "hash $arg_k$uri; server %%O0%%; server %%O1%%; server %%O2%% down;");
}

#[test]
fn consistent_hash_chooses_as_nginx_does() {
    same_choice(3, "hash $arg_k consistent; server %%O0%%; server %%O1%%; server %%O2%% weight=2;");
    same_choice(3, "zone z 64k; hash $arg_k consistent; server %%O0%%; server %%O1%%; server %%O2%% down;");
}

#[test]
fn hash_goes_to_another_server_when_one_fails() {
    for method in ["hash $arg_k", "hash $arg_k consistent", "ip_hash", "random", "random two"] {
        let closed = testkit::Port::free();
        let good = origins(1);
        each(|binary| {
            let members =
                format!("{method}; server 127.0.0.1:{} max_fails=0; server %%O0%%;", closed.number());
            let server = group(binary, &good, &members);
            assert_eq!(chosen(&server, 10), "0".repeat(10), "{method}");
        });
    }
}

#[test]
fn an_empty_key_is_round_robin() {
    let origins = origins(2);
    each(|binary| {
        for method in ["hash $arg_none", "hash $arg_none consistent"] {
            let server = group(binary, &origins, &format!("{method}; server %%O0%%; server %%O1%%;"));
            assert_eq!(chosen(&server, 4), "0101", "{method}");
        }
    });
}

#[test]
fn random_uses_every_server() {
    let origins = origins(3);
    each(|binary| {
        for method in ["random", "random two", "random two least_conn"] {
            let members = format!("{method}; server %%O0%%; server %%O1%%; server %%O2%%;");
            let all = chosen(&group(binary, &origins, &members), 60);
            assert!(['0', '1', '2'].iter().all(|n| all.contains(*n)), "{method}: {all}");
        }
    });
}

#[test]
fn the_better_of_two_random_ones_is_the_idle_one() {
    each(|binary| {
        let gate = Gate::new();
        let waits = gate.clone();
        let busy = Origin::new(move |exchange| {
            waits.pass();
            exchange.ok("busy");
        });
        let origins = [busy, Origin::new(|exchange| exchange.ok("idle"))];
        let server = group(binary, &origins, "random two; server %%O0%%; server %%O1%%;");
        // Whichever of two idle ones is drawn last is taken; in the end the busy one holds a request.
        let mut clients = Vec::new();
        while origins[0].requests().is_empty() {
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            clients.push(client);
            let asked = || origins.iter().map(|origin| origin.requests().len()).sum::<usize>();
            eventually("somebody to be asked", || asked() == clients.len());
        }
        for _ in 0..10 {
            assert_eq!(server.get("/").text(), "idle");
        }
        gate.open();
    });
}

#[test]
fn what_a_method_does_not_allow() {
    for (members, error) in [
        ("hash $arg_k; server 127.0.0.1:1 backup;", "balancing method does not support parameter \"backup\""),
        ("random; server 127.0.0.1:1 backup;", "balancing method does not support parameter \"backup\""),
        ("hash a sometimes; server 127.0.0.1:1;", "invalid parameter \"sometimes\""),
        ("random three; server 127.0.0.1:1;", "invalid parameter \"three\""),
        ("random two most; server 127.0.0.1:1;", "invalid parameter \"most\""),
        ("hash $nothing_like_it; server 127.0.0.1:1;", "unknown \"nothing_like_it\" variable"),
    ] {
        each(|binary| {
            let site = Site::new(format!("upstream u {{ {members} }}\n{SERVER}"));
            let exit = binary.check(site);
            assert_eq!(exit.code, Some(1), "{members}: {exit}");
            assert!(exit.stderr.contains(error), "{members}: {exit}");
        });
    }
}
