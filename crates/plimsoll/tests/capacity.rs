//! The capacity chain: what `-t` says of it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use testkit::{Binary, Exit, Site, each};

/// Runs `-t` with these flags beside it on a whole file.
fn check(text: &str, flags: &[&str]) -> Exit {
    let flags: Vec<&str> = ["-t"].iter().chain(flags).copied().collect();
    Binary::Plimsoll.run(Site::bare(format!("pid logs/nginx.pid; {text}")), &flags)
}

fn listening(events: &str, server: &str) -> String {
    format!("events {{ {events} }} http {{ server {{ listen 127.0.0.1:18080; {server} }} }}")
}

#[test]
fn the_table_says_what_binds_and_what_raises_it() {
    let text = format!(
        "worker_processes 2; worker_rlimit_nofile 200; {}",
        listening("worker_connections 4096;", "")
    );
    let exit = check(&text, &["--capacity"]);
    assert_eq!(exit.code, Some(0), "{exit}");
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert!(lines[0].starts_with("  capacity, in concurrent proxied requests"), "{exit}");
    for (line, begin) in lines[1..].iter().zip(["accept queue", "slots", "descriptors", "memory"]) {
        assert!(line.trim_start().starts_with(begin), "{exit}");
    }
    // 400 descriptors less 65 for listening sockets, logs and the like; 2 a request.
    assert!(lines[3].ends_with("167  <- binds"), "{exit}");
    assert!(lines[2].ends_with(" 4094"), "2 x (4096 - 1 listening socket - 1 channel) / 2: {exit}");
    assert!(lines[5].trim_start().starts_with("raise it: worker_rlimit_nofile 8192;"), "{exit}");
    assert!(
        exit.stderr.contains("[warn] 4096 worker_connections exceed open file resource limit: 200"),
        "{exit}"
    );
    assert!(exit.stderr.ends_with("nginx.conf test is successful\n"), "{exit}");
}

#[test]
fn without_a_terminal_nothing_is_added() {
    let exit = check(&listening("worker_connections 100;", ""), &[]);
    assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), ""), "{exit}");
    assert_eq!(exit.stderr.lines().count(), 2, "{exit}");
}

#[test]
fn json_is_for_programs() {
    let exit = check(&listening("worker_connections 100;", ""), &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&exit.stdout).unwrap();
    assert_eq!(document["requests"], 49, "{exit}");
    assert_eq!(document["binding"][0], "slots");
    assert_eq!(document["setup"]["listens"][0]["address"], "127.0.0.1:18080");
}

#[test]
fn slots_follow_from_the_limits_where_none_are_written() {
    let slots = |events: &str| {
        let text = format!("worker_rlimit_nofile 466; {}", listening(events, ""));
        let exit = check(&text, &["--json"]);
        let document: serde_json::Value = serde_json::from_str(&exit.stdout).unwrap();
        document["setup"]["connections"].as_u64().unwrap()
    };
    assert_eq!(slots(""), 200, "half of what 466 descriptors less 66 leave");
    assert_eq!(slots("worker_connections auto;"), 200);
    assert_eq!(slots("worker_connections 300;"), 300);
}

#[test]
fn fewer_slots_than_listening_sockets() {
    each(|binary| {
        let test = |slots: u32| {
            let listens = "listen 127.0.0.1:18080; listen 127.0.0.1:18081; listen 127.0.0.1:18082;";
            let text = format!("events {{ worker_connections {slots}; }} http {{ server {{ {listens} }} }}");
            binary.run(Site::bare(format!("pid logs/nginx.pid; {text}")), &["-t"])
        };
        let few = test(3);
        let said = few.stderr.split_once("syntax is ok\n").map_or("", |(_, behind)| behind);
        assert_eq!(few.code, Some(1), "{few}");
        let expected = "3 worker_connections are not enough for 3 listening sockets\n";
        assert!(said.contains("[emerg] ") && said.contains(expected), "{few}");
        assert_eq!(test(4).code, Some(0));
    });
}

#[test]
fn warnings_where_nginx_is_silent() {
    let long = check("events {} http { server { listen 127.0.0.1:18080 backlog=2000000; } }", &[]);
    assert_eq!(long.code, Some(0), "{long}");
    assert!(
        long.stderr
            .contains("[warn] backlog=2000000 of listen 127.0.0.1:18080 is clamped to net.core.somaxconn"),
        "{long}"
    );
    let looping = check(&listening("", "location / { proxy_pass http://127.0.0.1:18080; }"), &[]);
    assert!(
        looping.stderr.contains("[warn] requests passed to 127.0.0.1:18080 come back to this server"),
        "{looping}"
    );
    let other = check(&listening("", "location /a { proxy_pass http://127.0.0.1:18080/b; }"), &[]);
    assert!(!other.stderr.contains("[warn]"), "another location may answer: {other}");
    let threads = check(&format!("worker_processes 4000; {}", listening("worker_connections 8;", "")), &[]);
    assert!(threads.stderr.contains("[warn] 4000 workers for "), "{threads}");
}
