//! The servers of a group, seen and changed while it runs. Ours alone.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use testkit::{Binary, Origin, Server, Site};

fn named(name: &'static str) -> Origin {
    Origin::new(move |exchange| exchange.ok(name))
}

fn serve(origins: &[&Origin], members: &str) -> Server {
    let text = format!(
        "upstream u {{ {members} }}\n\
        server {{ listen 127.0.0.1:%%PORT%%; location / {{ proxy_pass http://u; }} \
        location /seen {{ upstream_api; }} location /api {{ upstream_api write=on; }} }}"
    );
    let mut site = Site::new(text);
    for (n, origin) in origins.iter().enumerate() {
        site = site.with(&format!("O{n}"), origin.address());
    }
    testkit::serve(site)
}

#[track_caller]
fn api(server: &Server, method: &str, path: &str, body: Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = server.request(method, path, &[], body.as_bytes());
    assert_eq!(response.status, status, "{method} {path} {body}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).expect("JSON")
}

fn all(server: &Server) -> String {
    (0..4).map(|_| server.get("/").text()).collect()
}

#[test]
fn servers_are_shown() {
    let (a, b) = (named("a"), named("b"));
    let server =
        serve(&[&a, &b], "server %%O0%% weight=3 slow_start=5s; server %%O1%% down; server %%O1%% backup;");
    assert_eq!(all(&server), "aaaa");
    let groups = api(&server, "GET", "/seen", Value::Null, 200);
    assert_eq!(groups.as_array().map(Vec::len), Some(1));
    let group = &groups[0];
    assert_eq!((&group["name"], &group["queued"]), (&json!("u"), &json!(0)));
    let shown = |i: usize, what: &str| group["servers"][i][what].clone();
    let states: Vec<Value> = (0..3).map(|i| shown(i, "state")).collect();
    assert_eq!(states, ["up", "down", "up"]);
    assert_eq!((shown(0, "server"), shown(0, "weight")), (json!(a.address()), json!(3)));
    assert_eq!((shown(0, "slow_start"), shown(0, "fail_timeout")), (json!("5s"), json!("10s")));
    assert_eq!((shown(1, "down"), shown(2, "backup")), (json!(true), json!(true)));
    assert_eq!(api(&server, "GET", "/seen/U", Value::Null, 200), *group);
    let one = api(&server, "GET", &format!("/seen/u/{}", shown(2, "id")), Value::Null, 200);
    assert_eq!(one, group["servers"][2]);
}

#[test]
fn servers_are_added_changed_and_removed() {
    let (a, b) = (named("a"), named("b"));
    let server = serve(&[&a], "server %%O0%%;");
    assert_eq!(all(&server), "aaaa");
    let added = api(&server, "POST", "/api/u", json!({"server": b.address(), "weight": 3}), 201);
    server.error_log().wait_for(&format!("upstream \"u\": server {} was added by request", b.address()));
    assert_eq!(all(&server), "babb");
    let path = format!("/api/u/{}", added["id"]);
    assert_eq!(api(&server, "PATCH", &path, json!({"drain": true}), 200)["state"], "draining");
    assert_eq!(all(&server), "aaaa");
    assert_eq!(api(&server, "PATCH", &path, json!({"drain": false, "weight": 1}), 200)["state"], "up");
    assert_eq!(all(&server).matches('b').count(), 2);
    assert_eq!(api(&server, "PATCH", &path, json!({"down": true}), 200)["state"], "down");
    assert_eq!(all(&server), "aaaa");
    api(&server, "PATCH", &path, json!({"down": false}), 200);
    let group = api(&server, "GET", "/api/u", Value::Null, 200);
    let first = format!("/api/u/{}", group["servers"][0]["id"]);
    let left = api(&server, "DELETE", &first, Value::Null, 200);
    assert_eq!(left["servers"].as_array().map(Vec::len), Some(1));
    assert_eq!(all(&server), "bbbb");
    api(&server, "DELETE", &path, Value::Null, 200);
    assert_eq!(server.get("/").status, 502);
    server.error_log().wait_for("no live upstreams while connecting to upstream");
}

#[test]
fn a_server_that_failed_is_shown_so() {
    let (a, b) = (named("a"), named("b"));
    let server = serve(&[&a, &b], "server %%O0%%; server %%O1%%;");
    drop(a);
    assert_eq!(all(&server), "bbbb");
    let group = api(&server, "GET", "/seen/u", Value::Null, 200);
    let first = &group["servers"][0];
    assert_eq!((&first["state"], &first["fails"]), (&json!("unavail"), &json!(1)));
}

#[test]
fn what_is_refused() {
    let a = named("a");
    let server = serve(&[&a], "hash $uri; server %%O0%%;");
    for (method, path, body, status, error) in [
        ("POST", "/seen/u", json!({"server": "127.0.0.1:1"}), 405, "read-only"),
        ("GET", "/api/v", Value::Null, 404, "no upstream \"v\""),
        ("GET", "/api/u/9", Value::Null, 404, "no such server"),
        ("GET", "/api/u/x", Value::Null, 404, "no such server"),
        ("GET", "/api/u/0/more", Value::Null, 404, "no such path"),
        ("DELETE", "/api/u/9", Value::Null, 404, "no such server"),
        ("DELETE", "/api/u", Value::Null, 405, "method not allowed"),
        ("POST", "/api/u", json!({}), 400, "\"server\" is missing"),
        ("POST", "/api/u", json!({"server": "a.test:80"}), 400, "must be an address"),
        ("POST", "/api/u", json!({"server": "127.0.0.1:1", "backup": true}), 400, "does not support"),
        ("POST", "/api/u", json!({"server": "127.0.0.1:1", "colour": "red"}), 400, "unknown field `colour`"),
        ("PATCH", "/api/u/0", json!({"weight": 0}), 400, "invalid \"weight\""),
        ("PATCH", "/api/u/0", json!({"weight": -1}), 400, "invalid value"),
        ("PATCH", "/api/u/0", json!({"fail_timeout": "soon"}), 400, "invalid \"fail_timeout\""),
        ("PATCH", "/api/u/0", json!({"server": "127.0.0.1:1"}), 400, "cannot be changed"),
    ] {
        let said = api(&server, method, path, body, status);
        assert!(said["error"].as_str().is_some_and(|said| said.contains(error)), "{method} {path}: {said}");
    }
    let big = server.request("POST", "/api/u", &[], &vec![b' '; 30_000]);
    assert_eq!(big.status, 413);
    let exit = Binary::Plimsoll.check("location / { upstream_api read; }");
    assert!(exit.stderr.contains("invalid parameter \"read\""), "{exit}");
}

#[test]
fn what_is_changed_can_be_kept_in_a_file() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let text = "upstream u { state %%DIR%%/u.state; } server { listen %%PORT%%;\n\
        location / { proxy_pass http://u; } location /api/ { upstream_api write=on; } }";
    let server = Binary::Plimsoll.serve(Site::new(text).with("ORIGIN", origin.address()));
    assert_eq!(server.get("/").status, 502);
    let added = format!("{{\"server\": \"{}\", \"weight\": 3, \"max_fails\": 2}}", origin.address());
    assert_eq!(server.post("/api/u", added).status, 201);
    assert_eq!(
        server.post("/api/u", r#"{"server": "127.0.0.1:1", "down": true, "fail_timeout": "1m"}"#).status,
        201
    );
    assert_eq!(server.get("/").text(), "ok");
    let kept = format!(
        "server {} weight=3 max_fails=2;\nserver 127.0.0.1:1 fail_timeout=60s down;\n",
        origin.address()
    );
    assert_eq!(String::from_utf8_lossy(&server.read("u.state")), kept);

    server.reload(text);
    let shown = server.get("/api/u").text();
    assert!(shown.contains(r#""weight":3"#) && shown.contains(r#""fail_timeout":"60s""#), "{shown}");
    assert_eq!(server.get("/").text(), "ok");
    let first =
        shown.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()).expect("it has a number");
    assert_eq!(server.request("DELETE", &format!("/api/u/{first}"), &[], b"").status, 200);
    assert_eq!(server.read("u.state"), b"server 127.0.0.1:1 fail_timeout=60s down;\n");
}
