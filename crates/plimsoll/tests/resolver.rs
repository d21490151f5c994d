//! Names that are looked up while requests run.
#![forbid(unsafe_code)]

use testkit::{NameServer, Origin, Record, Server, Site, each, eventually};

/// A server whose `proxy_pass` has its host from the request.
fn site(names: &NameServer, text: &str) -> Site {
    let text = format!(
        "resolver %%DNS%% {text};\n\
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://$arg_h; \
         add_header X-Upstream \"$upstream_addr $proxy_host\" always; }} }}"
    );
    Site::new(text).with("DNS", names.address())
}

fn ask(server: &Server, host: &str, port: u16) -> testkit::Response {
    server.get(&format!("/?h={host}:{port}"))
}

#[test]
fn a_name_is_resolved_when_it_is_needed() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.address_of("a.test", 60, "127.0.0.1");
        let server = binary.serve(site(&names, "ipv6=off"));
        let response = ask(&server, "a.test", origin.port());
        assert_eq!(response.status, 200);
        let expected = format!("127.0.0.1:{0} a.test:{0}", origin.port());
        assert_eq!(response.header("x-upstream"), Some(expected.as_str()));
        assert!(origin.last().head.contains(&format!("Host: a.test:{}\r\n", origin.port())));
        assert_eq!(names.asked(), ["A a.test"]);
        // Known now, whatever its case.
        assert_eq!(ask(&server, "A.Test", origin.port()).status, 200);
        assert_eq!(names.asked(), ["A a.test"]);
    });
}

#[test]
fn both_kinds_of_addresses_are_asked_for_unless_told_otherwise() {
    for (flag, expected) in
        [("", &["A a.test", "AAAA a.test"][..]), ("ipv4=off", &["AAAA a.test"]), ("ipv6=off", &["A a.test"])]
    {
        each(|binary| {
            if flag == "ipv4=off" && binary != testkit::Binary::Plimsoll {
                return; // since nginx 1.23.1
            }
            let names = NameServer::new();
            let server = binary.serve(site(&names, flag));
            assert_eq!(ask(&server, "a.test", 1).status, 502);
            let mut asked = names.asked();
            asked.sort();
            assert_eq!(asked, expected);
        });
    }
}

#[test]
fn what_cannot_be_resolved_is_502() {
    for (records, why) in [
        (&[][..], "3: Host not found"),
        (&[Record::Code(3)], "3: Host not found"),
        (&[Record::Code(2)], "2: Server failure"),
        (&[Record::Code(5)], "5: Operation refused"),
        (&[Record::Silence], "110: Operation timed out"),
    ] {
        each(|binary| {
            let names = NameServer::new();
            names.set("a.test", 60, records);
            let server = binary.serve(site(&names, "ipv6=off; resolver_timeout 300ms"));
            assert_eq!(ask(&server, "a.test", 81).status, 502);
            let line = server.error_log().wait_for("[error]");
            let expected =
                format!("a.test could not be resolved ({why}), client: 127.0.0.1, server: , request: ");
            assert!(line.contains(&expected), "{line}");
        });
    }
}

#[test]
fn without_a_resolver_names_are_not_resolved() {
    each(|binary| {
        let server = binary.serve("location / { proxy_pass http://$arg_h; }");
        assert_eq!(ask(&server, "a.test", 81).status, 502);
        server.error_log().wait_for("no resolver defined to resolve a.test, client: 127.0.0.1, server: ");
    });
}

#[test]
fn an_answer_holds_as_long_as_it_says() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.address_of("a.test", 1, "127.0.0.1");
        let server = binary.serve(site(&names, "ipv6=off"));
        assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
        names.set("a.test", 1, &[]);
        eventually("the answer to be forgotten", || ask(&server, "a.test", origin.port()).status == 502);
    });
}

#[test]
fn valid_overrides_what_the_answer_says() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.address_of("a.test", 0, "127.0.0.1");
        let server = binary.serve(site(&names, "ipv6=off valid=1h"));
        for _ in 0..3 {
            assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
        }
        assert_eq!(names.asked(), ["A a.test"]);
    });
}

#[test]
fn aliases_are_followed() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.set("a.test", 60, &[Record::Alias("b.test")]);
        names.address_of("b.test", 60, "127.0.0.1");
        let server = binary.serve(site(&names, "ipv6=off"));
        assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
        assert_eq!(names.asked(), ["A a.test", "A b.test"]);
    });
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.address_of("a.test", 60, "127.0.0.1");
        names.truncate();
        let server = binary.serve(site(&names, "ipv6=off"));
        assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
        assert_eq!(names.asked(), ["A a.test", "A a.test tcp"]);
    });
}

#[test]
fn the_next_address_is_tried() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        let addresses = ["127.0.0.3", "127.0.0.2", "127.0.0.1"];
        let records = addresses.map(|ip| Record::Address(ip.parse().expect("an address")));
        names.set("a.test", 60, &records);
        let server = binary.serve(site(&names, "ipv6=off"));
        for _ in 0..4 {
            assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
        }
    });
}

#[test]
fn what_is_wrong_with_an_answer_is_said() {
    type Changes = &'static [(usize, u8)];
    let changed: [(&str, Changes, &str); 10] = [
        ("a.test", &[(2, 0x01)], "invalid UDP DNS response "),
        ("b.test", &[(3, 0x01)], "DNS error (1: Format error), query id:"),
        ("c.test", &[(3, 0x09)], "DNS error (9: Unknown error), query id:"),
        ("d.test", &[(5, 2)], "invalid number of questions in DNS response"),
        ("e.test", &[(12, 0xc0)], "unexpected compression pointer in DNS response"),
        ("f.test", &[(21, 3)], "unknown query type 3 in DNS response"),
        ("g.test", &[(13, b'h')], "unexpected DNS response for h.test"),
        ("i.test", &[(7, 2)], "short DNS response"),
        // The type of the record ends at 33, its class at 35.
        ("j.test", &[(35, 4)], "unexpected RR class 4 in DNS response"),
        ("k.test", &[(33, 16)], "unexpected RR type 16 in DNS response"),
    ];
    each(|binary| {
        let names = NameServer::new();
        let server = binary.serve(site(&names, "ipv6=off; resolver_timeout 50ms"));
        for (name, changes, text) in changed {
            let address = Record::Address("127.0.0.1".parse().expect("an address"));
            names.set(name, 60, &[address, Record::Changed(changes)]);
            assert_eq!(ask(&server, name, 81).status, 502, "{name}");
            server.error_log().wait_for(text);
            server.error_log().wait_for(&format!("{name} could not be resolved (110: Operation timed out)"));
        }
    });
}

#[test]
fn a_failure_for_one_kind_of_address_fails_both() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        let address = Record::Address("127.0.0.1".parse().expect("an address"));
        names.set("a.test", 60, &[address, Record::CodeForSix(2)]);
        let server = binary.serve(site(&names, ""));
        assert_eq!(ask(&server, "a.test", origin.port()).status, 502);
        server.error_log().wait_for("a.test could not be resolved (2: Server failure)");
    });
}

#[test]
fn what_an_alias_stands_for_is_known_by_its_own_name() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.address_of("c.test", 60, "127.0.0.1");
        names.set("a.test", 60, &[Record::Alias("C.test")]);
        names.set("b.test", 60, &[Record::Alias("c.test")]);
        names.set("round.test", 60, &[Record::Alias("round.test")]);
        let server = binary.serve(site(&names, "ipv6=off"));
        for name in ["a.test", "b.test", "c.test", "a.test"] {
            assert_eq!(ask(&server, name, origin.port()).status, 200, "{name}");
        }
        assert_eq!(names.asked(), ["A a.test", "A c.test", "A b.test"]);
        assert_eq!(ask(&server, "round.test", origin.port()).status, 502);
        server.error_log().wait_for("round.test could not be resolved (3: Host not found)");
        assert_eq!(names.asked().len(), 4);
    });
}

#[test]
fn a_new_client_asks_anew_when_nobody_waits_for_an_old_question() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        names.set("a.test", 60, &[Record::Silence]);
        let server = binary.serve(site(&names, "ipv6=off; resolver_timeout 100ms"));
        assert_eq!(ask(&server, "a.test", origin.port()).status, 502);
        names.address_of("a.test", 60, "127.0.0.1");
        assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
    });
}

#[test]
fn a_client_that_leaves_while_its_name_is_looked_up_is_not_waited_for() {
    each(|binary| {
        let names = NameServer::new();
        let site = "error_log %%DIR%%/logs/error.log info; resolver %%DNS%% ipv6=off; log_format s '$uri $status'; \
             server { listen 127.0.0.1:%%PORT%%; access_log %%DIR%%/logs/access.log s; resolver_timeout 1h; \
             location / { proxy_pass http://$arg_h; } \
             location /minded { proxy_pass http://$arg_h; proxy_ignore_client_abort on; resolver_timeout 300ms; } }";
        let server = binary.serve(Site::new(site).with("DNS", names.address()));
        for (path, name, status) in [("/", "a.test", "499"), ("/minded", "b.test", "502")] {
            names.set(name, 60, &[Record::Silence]);
            let mut client = server.client();
            client.send(format!("GET {path}?h={name} HTTP/1.1\r\nHost: a\r\n\r\n"));
            eventually("the question", || names.asked().iter().any(|asked| asked.ends_with(name)));
            drop(client);
            server.access_log().wait_for(&format!("{path} {status}"));
        }
        let said =
            "epoll_wait() reported that client prematurely closed connection, client: 127.0.0.1, server: ";
        server.error_log().wait_for(said);
    });
}

/// Only ours: nginx waits five seconds before it asks another server.
#[test]
fn a_name_server_that_fails_is_passed_over() {
    let (names, silent, origin) = (NameServer::new(), NameServer::new(), Origin::echo());
    names.address_of("a.test", 60, "127.0.0.1");
    silent.set("a.test", 60, &[Record::Code(2)]);
    let text = "location / { resolver %%SILENT%% %%CLOSED%% %%DNS%% ipv6=off; proxy_pass http://$arg_h; }";
    let closed = testkit::Port::free();
    let site = Site::new(text)
        .with("DNS", names.address())
        .with("SILENT", silent.address())
        .with("CLOSED", format!("127.0.0.1:{}", closed.number()));
    let server = testkit::serve(site);
    assert_eq!(ask(&server, "a.test", origin.port()).status, 200);
    server.error_log().wait_for(&format!(
        "recv() failed (111: Connection refused) while resolving, resolver: 127.0.0.1:{}",
        closed.number()
    ));
}

/// A name server that is started anew is waited for, without a line for each tenth of a second.
#[test]
fn a_single_name_server_that_is_not_there_is_waited_for() {
    each(|binary| {
        let closed = testkit::Port::free();
        let text = "location / { resolver 127.0.0.1:%%CLOSED%% ipv6=off; resolver_timeout 600ms; proxy_pass http://$arg_h; }";
        let server = binary.serve(Site::new(text).with("CLOSED", closed.number()));
        assert_eq!(ask(&server, "a.test", 81).status, 502);
        server.error_log().wait_for("a.test could not be resolved (110: Operation timed out)");
        assert_eq!(server.error_log().text().matches("Connection refused) while resolving").count(), 1);
    });
}

#[test]
fn a_group_is_found_by_a_variable() {
    each(|binary| {
        let (names, origin) = (NameServer::new(), Origin::echo());
        let text = "upstream Backend { server %%O%%; } resolver %%DNS%%; \
            server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://$arg_h; } }";
        let server = binary.serve(Site::new(text).with("DNS", names.address()).with("O", origin.address()));
        assert_eq!(server.get("/?h=backend").status, 200);
        assert!(names.asked().is_empty());
    });
}

#[test]
fn requests_that_wait_for_one_name_share_its_answer() {
    let (names, origin) = (NameServer::new(), Origin::echo());
    names.set("a.test", 60, &[Record::Silence]);
    let server = testkit::serve(site(&names, "ipv6=off"));
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(format!("GET /?h=a.test:{} HTTP/1.1\r\nHost: a\r\n\r\n", origin.port()));
    }
    eventually("the question", || !names.asked().is_empty());
    names.address_of("a.test", 60, "127.0.0.1");
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(names.asked(), ["A a.test", "A a.test"]);
}

#[test]
fn what_resolver_does_not_accept() {
    for (text, error) in [
        ("resolver 127.0.0.1 ipv6=maybe;", "invalid parameter: ipv6=maybe"),
        ("resolver 127.0.0.1 valid=soon;", "invalid parameter: valid=soon"),
        ("resolver 127.0.0.1:99999;", "invalid port in resolver \"127.0.0.1:99999\""),
        ("resolver 127.0.0.1; resolver 127.0.0.1;", "\"resolver\" directive is duplicate"),
        ("resolver;", "invalid number of arguments in \"resolver\" directive"),
        ("resolver_timeout x;", "\"resolver_timeout\" directive invalid value"),
    ] {
        each(|binary| {
            let exit = binary.check(text);
            assert!(exit.code == Some(1) && exit.stderr.contains(error), "{text}: {exit}");
        });
    }
}

// What follows is only ours: the oracle is older than nginx 1.27.3.

fn group(names: &NameServer, servers: &str) -> Server {
    let text = format!(
        "resolver %%DNS%% ipv6=off; resolver_timeout 1s; upstream u {{ zone u 64k; {servers} }}\n\
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://u; \
         add_header X-Upstream $upstream_addr always; }} }}"
    );
    testkit::serve(Site::new(text).with("DNS", names.address()))
}

fn answered(server: &Server) -> bool {
    server.get("/").status == 200
}

#[test]
fn a_group_follows_the_addresses_of_a_name() {
    let (names, origin) = (NameServer::new(), Origin::echo());
    let server = group(&names, &format!("server a.test:{} resolve;", origin.port()));
    server.error_log().wait_for("a.test could not be resolved (3: Host not found)");
    assert_eq!(server.get("/").status, 502);
    server.error_log().wait_for("no live upstreams while connecting to upstream");
    names.address_of("a.test", 1, "127.0.0.1");
    eventually("the name to be known", || answered(&server));
    names.address_of("a.test", 1, "127.0.0.2");
    let other = format!("127.0.0.2:{}", origin.port());
    eventually("the other address", || server.get("/").header("x-upstream") == Some(&*other));
    // The name server's silence changes nothing.
    names.set("a.test", 1, &[Record::Code(2)]);
    server.error_log().wait_for("a.test could not be resolved (2: Server failure)");
    assert_eq!(server.get("/").header("x-upstream"), Some(&*other));
    names.set("a.test", 1, &[]);
    eventually("the name to be gone", || server.get("/").header("x-upstream") == Some("u"));
}

#[test]
fn a_service_has_hosts_ports_and_weights() {
    let names = NameServer::new();
    let named = |name: &'static str| Origin::new(move |exchange| exchange.ok(name));
    let (a, b, spare) = (named("a"), named("b"), named("s"));
    names.address_of("h.test", 60, "127.0.0.1");
    let records = [
        Record::Service(1, 3, a.port(), "h.test"),
        Record::Service(1, 1, b.port(), "h.test"),
        Record::Service(2, 1, spare.port(), "h.test"),
        Record::Service(1, 1, b.port(), "nowhere.test"),
    ];
    names.set("_http._tcp.s.test", 60, &records);
    let server = group(&names, "server s.test service=http resolve;");
    eventually("the service to be known", || answered(&server));
    let mut all: Vec<u8> = (0..8).flat_map(|_| server.get("/").text().into_bytes()).collect();
    all.sort_unstable();
    assert_eq!(String::from_utf8_lossy(&all), "aaaaaabb");
    server.error_log().wait_for(
        "nowhere.test could not be resolved (3: Host not found) while resolving service http of s.test",
    );
    drop((a, b));
    assert_eq!(server.get("/").text(), "s");
}

#[test]
fn a_reload_keeps_the_addresses_until_it_knows_better() {
    let (names, origin) = (NameServer::new(), Origin::echo());
    names.address_of("a.test", 60, "127.0.0.1");
    let server = group(&names, &format!("server a.test:{} resolve;", origin.port()));
    eventually("the name to be known", || answered(&server));
    names.set("a.test", 60, &[Record::Silence]);
    let text = format!(
        "resolver %%DNS%% ipv6=off valid=7s; upstream u {{ zone u 64k; server a.test:{} resolve; }}\n\
         server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://u; }} location /new {{ return 204; }} }}",
        origin.port()
    );
    server.reload(&text);
    eventually("the reload", || server.get("/new").status == 204);
    assert!(answered(&server));
}

#[test]
fn what_servers_with_resolve_need() {
    for (text, error) in [
        (
            "zone u 64k; server a.test resolve;",
            "no resolver defined to resolve names at run time in upstream \"u\" in",
        ),
        (
            "resolver 127.0.0.1; server a.test resolve;",
            "resolving names at run time requires upstream \"u\" in",
        ),
        ("server a.test service=http;", "service upstream \"a.test\" requires \"resolve\" parameter"),
        ("server a.test:80 service=http resolve;", "service upstream \"a.test:80\" may not have port"),
        ("server 127.0.0.1 service=http resolve;", "service upstream \"127.0.0.1\" requires domain name"),
        ("server a.test service= resolve;", "service is empty"),
    ] {
        let site = format!("upstream u {{ {text} }} server {{ listen 127.0.0.1:%%PORT%%; }}");
        let exit = testkit::Binary::Plimsoll.check(site);
        assert!(exit.code == Some(1) && exit.stderr.contains(error), "{text}: {exit}");
    }
}
