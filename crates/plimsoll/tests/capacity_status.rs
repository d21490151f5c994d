//! `capacity_status`: the capacity chain as a page, as JSON, as metrics and as text.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::{Binary, Origin, Server, Site, eventually, on_both, peers, serve};

fn status(server: &Server) -> Value {
    let answer = server.get("/capacity?format=json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    serde_json::from_str(&answer.text()).unwrap()
}
fn link<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["links"].as_array().unwrap().iter().find(|link| link["kind"] == kind).unwrap()
}

#[test]
fn json_names_every_link_and_who_has_the_slots() {
    let (gate, origin) = Origin::gated("");
    let site = format!(
        "upstream app {{ server {}; }}
         server {{ listen 127.0.0.1:%%PORT%%; location /capacity {{ capacity_status; }}
                   location / {{ proxy_pass http://app; }} }}",
        origin.address()
    );
    let server = serve(site.as_str());
    let mut waiting = server.client();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    let mut idle = server.client();
    idle.request("GET", "/capacity", &[], b"");
    eventually("one client waits, one is answered, one asks", || {
        let seats = &status(&server)["seats"];
        seats["upstream"] == 1 && seats["waiting"] == 1 && seats["writing"] == 2
    });
    let now = status(&server);
    for kind in ["accept_queue", "slots", "descriptors", "event_loop", "upstream_queue", "ports", "memory"] {
        assert!(link(&now, kind)["ceiling"].as_u64().is_some_and(|n| n > 0), "{kind}: {now:#}");
    }
    // Three clients and one upstream connection, ours among them.
    assert_eq!(link(&now, "slots")["used"], 4, "{now:#}");
    assert!(link(&now, "slots")["peak"].as_u64() >= Some(4));
    assert_eq!(link(&now, "ports")["of"], origin.address());
    // Others may have used the origin's port not long ago: what they left counts too.
    assert!(link(&now, "ports")["used"].as_u64() >= Some(1), "{now:#}");
    assert_eq!(now["upstreams"][0]["peers"][0]["name"], origin.address());
    assert!(link(&now, "descriptors")["used"].as_u64() > link(&now, "slots")["used"].as_u64());
    assert_eq!(now["listeners"][0]["address"], format!("127.0.0.1:{}", server.port()));
    assert!(now["sentence"].as_str().unwrap().starts_with("Room for "), "{now:#}");
    gate.open();
    assert_eq!(waiting.response().status, 200);
    eventually("the upstream's connection rests", || status(&server)["seats"]["upstream_idle"] == 1);
    let latency = &status(&server)["upstreams"][0]["peers"][0]["latency"];
    assert!(latency["count"] == 1 && latency["p50"] == latency["p99"], "{latency}");
}

#[test]
fn the_form_is_what_the_client_asks_for() {
    let server = serve(
        "location = /capacity { capacity_status; } location = /metrics { capacity_status prometheus; }
         location = /post { capacity_status json; }",
    );
    let kind = |target: &str, accept: &str| {
        let answer = server.get_with(target, &[("Accept", accept)]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.header("content-type").unwrap().to_owned()
    };
    assert_eq!(kind("/capacity", "text/html,*/*"), "text/html; charset=utf-8");
    assert_eq!(kind("/capacity", "*/*"), "text/plain; charset=utf-8");
    assert_eq!(kind("/capacity", "application/json"), "application/json");
    assert_eq!(kind("/capacity?format=json", "text/html"), "application/json");
    let open = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    assert!(kind("/capacity", open).starts_with("application/openmetrics-text"));
    assert_eq!(kind("/metrics", "text/html"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(server.post("/post", "").status, 405);
    assert!(server.get("/capacity").text().contains(" <- binds"));
    let exit = Binary::Plimsoll.check(Site::from("location / { capacity_status xml; }"));
    assert!(exit.stderr.contains("invalid parameter \"xml\""), "{exit}");
}

#[test]
fn the_length_of_a_queue_is_the_kernels() {
    let server =
        serve("server { listen 127.0.0.1:%%PORT%% backlog=1; location /capacity { capacity_status; } }");
    let door = status(&server)["listeners"][0].clone();
    assert_eq!((&door["ceiling"], &door["dropped"]), (&Value::from(1), &Value::from(0)));
    assert_eq!(link(&status(&server), "accept_queue")["ceiling"], 1);
}

/// A signal for the worker of a server.
fn signal(name: &str, status: &Value) {
    let pid = status["pid"].to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[test]
fn a_queue_that_was_full_binds_though_it_is_empty_again() {
    let server = serve(
        "server { listen 127.0.0.1:%%PORT%% backlog=1; location /capacity { capacity_status; } }
         server { listen 127.0.0.1:%%PORT_1%%; location / { capacity_status prometheus; } }",
    );
    let before = status(&server);
    assert_ne!(before["binding"]["kind"], "accept_queue", "{before:#}");
    // While nobody accepts, only two find room.
    signal("-STOP", &before);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.port()));
    let mut storm = Vec::new();
    eventually("somebody finds none", || {
        storm.push(std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50)));
        storm.last().is_some_and(Result::is_err)
    });
    signal("-CONT", &before);
    let dropped = |line: &str| line.starts_with("plimsoll_listen_dropped_total{") && !line.ends_with(" 0");
    eventually("the metrics show it", || server.client_on(1).get("/").text().lines().any(dropped));
    eventually("it is named as the link that binds", || status(&server)["binding"]["kind"] == "accept_queue");
    let after = status(&server);
    assert_eq!(after["binding"]["why"], "refused", "{after:#}");
    let sentence = after["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Too little room: "), "{sentence}");
    let end = format!("accept queue 127.0.0.1:{} is full at times.", server.port());
    assert!(sentence.ends_with(&end), "{sentence}");
    assert!(after["kernel"]["listen_overflows"].as_u64() > before["kernel"]["listen_overflows"].as_u64());
    assert!(after["listeners"][0]["dropped"].as_u64() > Some(0), "{after:#}");
}

#[test]
fn stub_status_is_nginxs_text() {
    on_both("location = /s { stub_status; }", |server| {
        let mut client = server.client();
        let mut look = || {
            let answer = client.get("/s");
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("text/plain")),
                "{answer:?}"
            );
            let text = answer.text();
            let form = r"^Active connections: 1 \nserver accepts handled requests\n \d+ \d+ \d+ \nReading: 0 Writing: 1 Waiting: 0 \n$";
            assert!(testkit::matches(form, &text), "{text:?}");
            let line = text.lines().nth(2).unwrap().to_owned();
            line.split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
        };
        let (before, after) = (look(), look());
        assert_eq!(before[0], before[1], "what was accepted had a slot");
        assert_eq!(after, [before[0], before[1], before[2] + 1]);
    });
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let server = serve("location /metrics { capacity_status prometheus; }");
    let text = server.get("/metrics").text();
    for name in [
        "nginx_up 1",
        "nginx_connections_active 1",
        "nginx_connections_accepted ",
        "nginx_connections_handled ",
        "nginx_connections_reading 0",
        "nginx_connections_writing 1",
        "nginx_connections_waiting 0",
        "nginx_http_requests_total ",
        "plimsoll_link_ceiling{link=\"slots\",of=\"\"} ",
        "plimsoll_link_used{link=\"descriptors\",of=\"\"} ",
        "plimsoll_refused_total{link=\"slots\",cause=\"slots_on_accept\"} 0",
        "plimsoll_reserve_ceiling 16",
        "plimsoll_kernel_listen_overflows_total ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    let open = server.get("/metrics?format=openmetrics").text();
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE nginx_http_requests counter\n"), "{open}");
    // nginx's exporter has counters without `_total`, which promtool does not like.
    let ours: String = text.lines().filter(|line| !line.contains("nginx_")).flat_map(|l| [l, "\n"]).collect();
    peers::promtool(&["check", "metrics"], &ours);
}

#[test]
fn alert_rules_are_valid() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/prometheus/plimsoll.rules.yml");
    peers::promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/grafana/plimsoll.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(dashboard).unwrap()).unwrap();
    let server = serve("location /metrics { capacity_status prometheus; }");
    let text = server.get("/metrics").text();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5);
    for expression in panels.iter().flat_map(|p| p["targets"].as_array().unwrap()).map(|t| &t["expr"]) {
        let expression = expression.as_str().unwrap();
        let names = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in names.filter(|n| n.starts_with("plimsoll_") || n.starts_with("nginx_")) {
            let known = text.contains(&format!("# TYPE {name} ")) || name == "plimsoll_headroom_ratio";
            assert!(known, "{name} in {expression}");
        }
    }
}

/// What a browser does with the page.
fn browser(arguments: &[&str], url: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let profile = format!("--user-data-dir={}", folder.path().display());
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1000"])
        .args(["--disable-dev-shm-usage", "--no-first-run", "--virtual-time-budget=1500", &profile])
        .args(arguments)
        .arg(url)
        .current_dir(folder.path())
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: no chromium on this machine (apt-get install chromium)");
        return None;
    };
    match std::fs::read(folder.path().join("shot.png")) {
        Ok(image) => Some(image),
        Err(_) => Some(output.stdout),
    }
}

/// The page on something narrow, and what became of it there.
const PHONE: &str =
    "<!DOCTYPE html><iframe src=/capacity width=390 height=800 style='border:0'></iframe><script>
    const frame = document.querySelector('iframe'), page = () => frame.contentDocument.documentElement;
    frame.onload = () => setTimeout(() => {
        document.title = `${page().scrollWidth} of ${frame.clientWidth}`;
        document.body.append(page().outerHTML);
    }, 300);
</script>";

#[test]
fn the_page_is_drawn_in_a_browser() {
    let server = serve(
        "location /capacity { capacity_status; } location /phone.html { root .; default_type text/html; }
         location /empty { default_type text/html; return 200 '<!DOCTYPE html><title>x</title>'; }",
    );
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port());
    let shot = |path: &str| browser(&["--screenshot=shot.png"], &url(path));
    let Some((page, empty)) = std::thread::scope(|s| {
        let empty = s.spawn(|| shot("/empty"));
        Some((shot("/capacity")?, empty.join().unwrap()?))
    }) else {
        return;
    };
    let png = |image: &[u8]| image.starts_with(b"\x89PNG");
    if !png(&empty) {
        return eprintln!("SKIPPED: chromium cannot show even an empty page on this machine");
    }
    assert!(png(&page), "{}", String::from_utf8_lossy(&page));
    assert!(page.len() > 5 * empty.len(), "{} bytes, an empty page has {}", page.len(), empty.len());
    server.write("phone.html", PHONE);
    let dom = browser(&["--dump-dom"], &url("/phone.html")).unwrap();
    let dom = String::from_utf8_lossy(&dom);
    assert!(dom.matches("class=\"vessel").count() >= 5, "{dom}");
    assert!(dom.contains("&gt;Room for ") && dom.contains("live"), "{dom}");
    assert!(dom.contains("<title>390 of 390</title>"), "it can be read without scrolling sideways: {dom}");
    // Nothing is asked of anybody else.
    let text = server.get_with("/capacity", &[("Accept", "text/html")]).text();
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="), "{text}");
}
