//! `plimsoll top`: the chain of a running server in a terminal, found by its configuration or by an address.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use testkit::{Binary, Server, serve};

fn top(args: &[&str]) -> Output {
    Command::new(Binary::Plimsoll.path()).arg("top").args(args).output().unwrap()
}

fn shown() -> Server {
    serve(
        "server { listen 127.0.0.1:%%PORT%%; location /public { capacity_status; } location / { return 200 x; } }
         server { listen 127.0.0.1:%%PORT_1%% capacity_reserve; location = /chain { capacity_status; } }",
    )
}

#[test]
fn one_look_at_the_server_of_a_configuration() {
    let server = shown();
    let _idle: Vec<_> = (0..3)
        .map(|_| {
            let mut c = server.client();
            c.get("/");
            c
        })
        .collect();
    let conf = server.path("nginx.conf");
    let output = top(&["--once", "-c", conf.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{text}");
    let title = format!("plimsoll {}, process ", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&title), "{text}");
    for word in ["slots ", "descriptors ", "memory ", "clients    ", " <- binds"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\x1b'), "{text}");
}

#[test]
fn one_look_for_programs() {
    let server = shown();
    let url = format!("http://127.0.0.1:{}/public", server.port());
    let output = top(&["--json", "--once", &url]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["links"].as_array().is_some_and(|links| links.len() >= 4));
}

#[test]
fn a_full_link_is_the_exit_code() {
    let server = serve(
        "worker_processes 1; events { worker_connections 5; } http {
         server { listen 127.0.0.1:%%PORT%%; location / { return 200 x; } }
         server { listen 127.0.0.1:%%PORT_1%% capacity_reserve; location / { capacity_status; } } }",
    );
    let mut clients: Vec<_> = (0..2).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let output = top(&["--once", &format!("127.0.0.1:{}", server.port_n(1))]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("No room left: slots are full (2 of 2)."), "{text}");
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let server = shown();
    let said = |args: &[&str]| {
        let output = top(args);
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).unwrap()
    };
    let wrong = said(&["--once", &format!("127.0.0.1:{}/", server.port())]);
    assert!(wrong.contains("no capacity_status"), "{wrong}");
    let wrong = said(&[&format!("127.0.0.1:{}/chain", server.port_n(1)), "--what"]);
    assert!(wrong.contains("unknown option \"--what\""), "{wrong}");
    server.write("other.conf", "events {} http { server { location / { return 200; } } }");
    let wrong = said(&["-c", server.path("other.conf").to_str().unwrap()]);
    assert!(wrong.contains("other.conf has capacity_status; give the address"), "{wrong}");
}
