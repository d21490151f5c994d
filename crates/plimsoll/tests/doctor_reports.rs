//! The doctor's report as a page in a browser, and as metrics of a server that has none of its own.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testkit::{Binary, Port, Server, Site, peers};

const LOG: &str = "2026/06/27 18:05:40 [error] 7#7: *9 connect() to unix:/run/app.sock failed (11: Resource temporarily unavailable) while connecting to upstream, client: 10.1.1.1, server: , request: \"GET /<script>alert(1)</script> HTTP/1.1\", upstream: \"http://unix:/run/app.sock:/\", host: \"x\"\n2026/06/27 18:05:51 [alert] 7#7: 1024 worker_connections are not enough\n";

/// The report as a page, of files in this folder.
fn page(folder: &Path) -> String {
    let line = |second: u32| {
        format!(
            "1.1.1.1 - - [27/Jun/2026:18:05:{second:02} +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"x\" 2.000\n"
        )
    };
    fs::write(folder.join("error.log"), LOG).unwrap();
    fs::write(folder.join("access.log"), (0..50).map(line).collect::<String>()).unwrap();
    fs::write(
        folder.join("nginx.conf"),
        "events { } http { server { listen 80; location / { proxy_pass http://unix:/run/app.sock; } } }",
    )
    .unwrap();
    let output = Command::new(Binary::Plimsoll.path())
        .args([
            "doctor",
            "--html",
            "--log",
            "error.log",
            "--access-log",
            "access.log",
            "--conf",
            "nginx.conf",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stdout).unwrap()
}

/// Error logs are on the clock of the wall; what a collector says in UTC is put there, too.
#[test]
fn a_time_with_a_zone_is_of_that_zone() {
    let folder = tempfile::tempdir().unwrap();
    let slots = "1024 worker_connections are not enough";
    let lines = [
        format!("{{\"time\":\"2026-06-27T10:00:00Z\",\"level\":\"alert\",\"msg\":\"{slots}\"}}"),
        format!("{{\"ts\":1782554401.5,\"level\":\"alert\",\"msg\":\"{slots}\"}}"),
        format!("2026/06/27 12:00:02 [alert] 7#7: {slots}"),
    ];
    let log = folder.path().join("error.log");
    fs::write(&log, lines.join("\n")).unwrap();
    let output = Command::new(Binary::Plimsoll.path())
        .args(["doctor", "--since", "2026-06-27 11:59", "--log"])
        .arg(log)
        .env("TZ", "HERE-2")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("3 x, first at error.log:1, 2026-06-27 12:00:00 to 2026-06-27 12:00:02"),
        "{text}"
    );
}

/// What a browser makes of a page.
struct Shown {
    /// The page, as it then is.
    dom: String,
    /// What its console said.
    said: String,
    /// How often a page, and not the browser itself, asked for something.
    asked: usize,
}

fn browser(page: &str, folder: &Path) -> Option<Shown> {
    let (file, log) = (folder.join("report.html"), folder.join("net.json"));
    fs::write(&file, page).unwrap();
    let output = Command::new(peers::require("chromium")?)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let log = fs::read_to_string(log).unwrap_or_default();
    let own = log.matches("\"initiator\":\"not an origin\"").count();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let asked = log.matches("\"initiator\":").count() - own;
    Some(Shown { dom: text(output.stdout), said: text(output.stderr), asked })
}

#[test]
fn the_page_is_shown_without_asking_anybody() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let page = page(folder.path());
    for outside in ["src=", "<script", "url(", "@import", "href=\"h"] {
        assert!(!page.contains(outside), "{outside} is in {page}");
    }
    // So that it would be seen.
    let asking = "<!DOCTYPE html><img src='http://127.0.0.1:9/'><script>console.log(1)</script>";
    let (shown, asking) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| browser(asking, other.path()));
        (browser(&page, folder.path()), asking.join().unwrap())
    });
    let (Some(shown), Some(asking)) = (shown, asking) else { return };
    if asking.asked == 0 {
        return eprintln!("SKIPPED: chromium cannot show a page on this machine");
    }
    assert!(asking.said.contains("CONSOLE"), "{}", asking.said);
    assert_eq!(shown.asked, 0);
    assert!(!shown.said.contains("CONSOLE"), "{}", shown.said);
    let dom = shown.dom;
    assert!(dom.matches("<svg class=\"plot\"").count() == 2 && dom.contains("class=\"vessel"), "{dom}");
    assert!(dom.contains("The application's accept queue is full"), "{dom}");
}

/// An exporter that ends with the test.
struct Exporter(Child, String);

impl Exporter {
    fn start(server: &Server) -> Exporter {
        let mut child = Command::new(Binary::Plimsoll.path())
            .args([
                "doctor",
                "--listen",
                "127.0.0.1:0",
                "--seconds",
                "0.01",
                "--pid",
                &server.pid().to_string(),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("metrics at http://").unwrap().strip_suffix("/metrics").unwrap();
        Exporter(child, address.to_owned())
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metrics(&self) -> String {
        let answer = self.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        text.to_owned()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn value(metrics: &str, name: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[test]
fn metrics_of_a_server_that_has_none() {
    let text = "events { worker_connections 64; } http { server { listen 127.0.0.1:%%PORT%%;\n\
                location / { proxy_pass http://127.0.0.1:%%NOBODY%%; } location = /status { stub_status; } } }";
    for binary in Binary::wanted() {
        let nobody = Port::free();
        let server = binary.serve(Site::new(text).with("NOBODY", nobody.number()));
        server.get("/status");
        let exporter = Exporter::start(&server);
        let before = exporter.metrics();
        assert_eq!(value(&before, "nginx_up"), 1.0);
        assert_eq!(value(&before, "plimsoll_log_events_total{cause=\"upstream_down\"}"), 0.0);
        assert!(value(&before, "plimsoll_link_ceiling{link=\"slots\",of=\"\"}") > 10.0);
        assert_eq!(server.get("/").status, 502);
        server.error_log().wait_for("(111:");
        let after = exporter.metrics();
        assert_eq!(value(&after, "plimsoll_log_events_total{cause=\"upstream_down\"}"), 1.0);
        assert_eq!(value(&after, "plimsoll_finding{code=\"upstream_down\",severity=\"warning\"}"), 1.0);
        assert!(value(&after, "nginx_http_requests_total") > value(&before, "nginx_http_requests_total"));
        assert!(exporter.ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(exporter.ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
        // nginx's exporter has counters without `_total`, which promtool does not like.
        let ours: String =
            after.lines().filter(|line| !line.contains("nginx_")).flat_map(|l| [l, "\n"]).collect();
        peers::promtool(&["check", "metrics"], &ours);
    }
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/prometheus/doctor.rules.yml");
    peers::promtool(&["check", "rules", rules.to_str().unwrap()], "");
}
