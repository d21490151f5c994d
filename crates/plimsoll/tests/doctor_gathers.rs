//! What the doctor finds out about a running server by itself: pages of status wherever they are, who is meant, what is
//! behind an upstream, containers, and what it could not read.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Binary, Server, Site, eventually};

fn doctor(args: &[&str]) -> Output {
    Command::new(Binary::Plimsoll.path()).arg("doctor").args(args).output().unwrap()
}

fn seen(args: &[&str]) -> Value {
    let output = doctor(&[args, &["--json", "--seconds", "0.05"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    report["facts"].clone()
}

fn of(server: &Server) -> Value {
    wait_for_a_worker(server);
    seen(&["--pid", &server.pid().to_string()])
}

/// A worker is known by its title, which it sets when it has come up.
fn wait_for_a_worker(server: &Server) {
    let title = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    eventually("a worker", || server.workers().iter().any(|pid| title(pid).contains("worker process")));
}

/// With a real nginx, if there is one.
fn on_nginx(site: impl Into<Site>, test: impl Fn(&Server)) {
    if Binary::wanted().contains(&Binary::Nginx) {
        test(&Binary::Nginx.serve(site));
    }
}

fn certificate() -> (Vec<u8>, Vec<u8>) {
    let args = "req -x509 -nodes -days 9 -subj /CN=s.test -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    let output = Command::new("openssl").args(args.split(' ')).args(["-keyout", "-", "-out", "-"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERT").unwrap());
    (certificate.into(), key.into())
}

/// Another server answers at the same address, so that only the name tells them apart.
fn status_at(listen: &str, more: &str) -> Site {
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; return 200 other; }}
         server {{ listen {listen} default_server; {more} return 404; }}
         server {{ listen {listen}; server_name s.test; {more} location = /s {{ stub_status; allow 127.0.0.1; allow unix:; deny all; }} }}"
    );
    let (certificate, key) = certificate();
    Site::new(text).file("a.crt", certificate).file("a.key", key)
}

#[test]
fn status_is_found_wherever_it_is() {
    let tls = "ssl_certificate a.crt; ssl_certificate_key a.key;";
    for (listen, more) in [
        ("127.0.0.1:%%PORT_1%%", ""),
        ("%%PORT_1%%", ""),
        ("unix:%%DIR%%/s.sock", ""),
        ("127.0.0.1:%%PORT_1%% ssl", tls),
        ("unix:%%DIR%%/s.sock ssl", tls),
        ("127.0.0.1:%%PORT_1%% proxy_protocol", ""),
    ] {
        on_nginx(status_at(listen, more), |server| {
            let facts = of(server);
            assert_eq!(facts["status"]["active"], 1, "{listen}: {:#}", facts["unread"]);
            assert_eq!(facts["unread"].as_array().unwrap().len(), 0, "{listen}: {}", facts["unread"]);
        });
    }
}

#[test]
fn status_that_is_not_for_us() {
    let text = "server { listen 127.0.0.1:%%PORT%%; location /a { deny all; stub_status; } location ~ /b|/c { stub_status; } }";
    on_nginx(text, |server| {
        let unread = of(server)["unread"].to_string();
        assert!(
            unread.contains("/a: /a?format=json is answered with 403: `allow` this machine there"),
            "{unread}"
        );
        assert!(
            unread.contains("its location is a pattern; give the address with --stub-status"),
            "{unread}"
        );
        let given = format!("http://127.0.0.1:{}/x/b", server.port());
        let facts = seen(&["--pid", &server.pid().to_string(), "--stub-status", &given]);
        assert_eq!(facts["status"]["active"], 1, "{facts}");
    });
}
