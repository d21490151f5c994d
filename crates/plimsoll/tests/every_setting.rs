//! Every directive and every variable is in some test; those that no other test is about are in this one.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use testkit::{Binary, Origin, Site, each, eventually, matches, on_both};

/// The text of all tests.
fn tests() -> String {
    fn gather(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("the folder of tests") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                None if path.is_dir() => gather(&path, text),
                Some(end) if end == "rs" => text.push_str(&fs::read_to_string(&path).expect("a test")),
                _ => {}
            }
        }
    }
    let mut text = String::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut text);
    text
}

/// Whether a configuration in the text has this: not as a part of another name, and with something behind it.
fn named(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        !before.is_some_and(part) && behind.is_some_and(|c| " ;{\\\"".contains(c))
    })
}

#[test]
fn every_directive_is_in_a_test() {
    let (page, text) = (server::reference::directives(), tests());
    let common_to_all = text.replace("{way}", " ");
    let rows = page.lines().filter(|line| line.contains("| supported"));
    let missing: Vec<&str> = rows
        .filter_map(|line| line.split('`').nth(1))
        .filter(|name| {
            // Servers by whatever protocol have their settings in common: `{way}_bind`.
            let common = name.split_once('_').map(|(_, rest)| format!("_{rest}"));
            !named(&text, name) && !common.is_some_and(|common| named(&common_to_all, &common))
        })
        .collect();
    assert!(missing.is_empty(), "in no test: {missing:?}");
}

#[test]
fn every_variable_is_in_a_test() {
    let text = tests();
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let used = |name: &str| {
        // The name of a family is the beginning of its members' names.
        let ends = |rest: &str| name.ends_with('_') || !rest.starts_with(part);
        ["$", "${", "${{", "\"", "var=\\\""].iter().any(|opening| {
            let written = format!("{opening}{name}");
            text.match_indices(&written).any(|(at, _)| ends(&text[at + written.len()..]))
        })
    };
    let missing: Vec<&str> = server::reference::variables().filter(|name| !used(name)).collect();
    assert!(missing.is_empty(), "in no test: {missing:?}");
}

/// What is taken and changes nothing that a client could see, and what is said of a wrong value.
const TAKEN: &[(&str, &str, &str, &str)] = &[
    (
        "events",
        "accept_mutex on",
        "accept_mutex maybe",
        "invalid value \"maybe\" in \"accept_mutex\" directive",
    ),
    (
        "events",
        "accept_mutex_delay 1s",
        "accept_mutex_delay x",
        "\"accept_mutex_delay\" directive invalid value",
    ),
    (
        "events",
        "debug_connection 127.0.0.1",
        "debug_connection",
        "invalid number of arguments in \"debug_connection\"",
    ),
    (
        "events",
        "worker_aio_requests 8",
        "worker_aio_requests x",
        "\"worker_aio_requests\" directive invalid number",
    ),
    ("main", "debug_points stop", "debug_points x", "invalid value \"x\" in"),
    ("main", "lock_file logs/lock", "lock_file a; lock_file b", "\"lock_file\" directive is duplicate"),
    ("main", "pcre_jit on", "pcre_jit maybe", "invalid value \"maybe\" in \"pcre_jit\" directive"),
    ("http", "server_names_hash_bucket_size 64", "server_names_hash_bucket_size x", "invalid number"),
    ("http", "server_names_hash_max_size 1024", "server_names_hash_max_size x", "invalid number"),
    ("http", "types_hash_bucket_size 64", "types_hash_bucket_size x", "invalid number"),
    ("http", "variables_hash_bucket_size 64", "variables_hash_bucket_size x", "invalid number"),
    ("http", "variables_hash_max_size 1024", "variables_hash_max_size x", "invalid number"),
    ("http", "map_hash_bucket_size 64", "map_hash_bucket_size x", "invalid number"),
    ("http", "proxy_headers_hash_bucket_size 64", "proxy_headers_hash_bucket_size x", "invalid number"),
    ("http", "proxy_send_lowat 0", "proxy_send_lowat x", "\"proxy_send_lowat\" directive invalid value"),
    ("http", "tcp_nodelay off", "tcp_nodelay 1", "invalid value \"1\" in \"tcp_nodelay\" directive"),
    ("http", "http2_recv_buffer_size 256k", "http2_recv_buffer_size x", "invalid value"),
    (
        "http",
        "proxy_temp_file_write_size 64k",
        "proxy_temp_file_write_size 1k",
        "\"proxy_temp_file_write_size\" must be equal to or greater than the maximum of the value of \"proxy_buffer_size\"",
    ),
    ("http", "http2_max_concurrent_pushes 10", "http2_max_concurrent_pushes", "invalid number of arguments"),
    ("http", "http2_max_header_size 16k", "http2_max_header_size", "invalid number of arguments"),
    ("http", "http2_push_preload off", "http2_push_preload", "invalid number of arguments"),
    (
        "http",
        "fastcgi_send_lowat 0",
        "fastcgi_send_lowat x",
        "\"fastcgi_send_lowat\" directive invalid value",
    ),
    ("server", "referer_hash_bucket_size 64", "referer_hash_bucket_size x", "invalid number"),
    ("server", "referer_hash_max_size 1024", "referer_hash_max_size x", "invalid number"),
];

/// A whole configuration, with what stands at these places.
fn whole(of: impl Fn(&str) -> String) -> String {
    let [main, events, http, server] = ["main", "events", "http", "server"].map(of);
    format!(
        "{main} worker_processes 1; events {{ {events} }} http {{ {http} \
         server {{ listen 127.0.0.1:%%PORT%%; {server} location / {{ return 200 here; }} }} }}"
    )
}

#[test]
fn what_changes_nothing_is_taken_and_checked() {
    each(|binary| {
        let good = |place: &str| {
            let rows = TAKEN.iter().filter(|row| row.0 == place);
            rows.map(|row| format!("{};", row.1)).collect()
        };
        assert_eq!(binary.serve(Site::new(whole(good))).get("/").text(), "here");
        for (wanted, _, bad, said) in TAKEN {
            let bad = |place: &str| if place == *wanted { format!("{bad};") } else { String::new() };
            let exit = binary.check(Site::new(whole(bad)));
            assert!(exit.code == Some(1) && exit.stderr.contains(said), "{said}: {exit}");
        }
    });
}

/// Debian's nginx does not have them.
#[test]
fn newer_settings_are_taken_and_checked() {
    for (main, http, said) in [
        ("ssl_object_cache_inheritable on;", "", None),
        ("ssl_object_cache_inheritable maybe;", "", Some("it must be \"on\" or \"off\"")),
        ("", "proxy_socket_rcvbuf 64k; proxy_socket_sndbuf 64k;", None),
        ("", "proxy_socket_rcvbuf x;", Some("\"proxy_socket_rcvbuf\" directive invalid value")),
        ("", "tunnel_send_lowat 0;", None),
        ("", "tunnel_send_lowat x;", Some("\"tunnel_send_lowat\" directive invalid value")),
        ("", "proxy_socket_sndbuf x;", Some("\"proxy_socket_sndbuf\" directive invalid value")),
    ] {
        let text = whole(|place| match place {
            "main" => main.to_owned(),
            "http" => http.to_owned(),
            _ => String::new(),
        });
        let exit = Binary::Plimsoll.check(Site::new(text));
        assert_eq!(exit.code, Some(i32::from(said.is_some())), "{exit}");
        assert!(exit.stderr.contains(said.unwrap_or_default()), "{exit}");
    }
}

#[test]
fn what_is_not_there_is_logged_unless_told_otherwise() {
    on_both("location /quiet/ { log_not_found off; } location / { }", |server| {
        assert_eq!(server.get("/quiet/none").status, 404);
        assert_eq!(server.get("/loud").status, 404);
        server.error_log().wait_for("html/loud\" failed (2: No such file or directory)");
        assert!(!server.error_log().text().contains("quiet"));
    });
}

#[test]
fn workers_are_where_they_are_told_to_be_and_leave_cores_as_large_as_told() {
    let text = "working_directory %%DIR%%/html; worker_rlimit_core 4096; worker_processes 1; events {} \
        http { server { listen 127.0.0.1:%%PORT%%; location / { return 200 here; } } }";
    each(|binary| {
        let server = binary.serve(Site::new(text).file("html/x", "x"));
        eventually("a worker", || !server.workers().is_empty());
        let worker = server.workers()[0];
        let html = fs::canonicalize(server.path("html")).expect("the folder is there");
        eventually("the folder", || {
            fs::read_link(format!("/proc/{worker}/cwd")).is_ok_and(|cwd| cwd == html)
        });
        eventually("the limit", || {
            let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap_or_default();
            let core = limits.lines().find(|line| line.starts_with("Max core file size"));
            core.is_some_and(|line| line.split_whitespace().nth(4) == Some("4096"))
        });
    });
}

#[test]
fn who_stays_too_long_is_not_waited_for() {
    let text = "worker_shutdown_timeout 100ms; worker_processes 1; events {} http { server { \
        listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://%%ORIGIN%%; } } }";
    each(|binary| {
        let (gate, origin) = Origin::gated("late");
        let mut server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        server.signal(rustix::process::Signal::QUIT);
        assert!(server.wait_exit().success());
        gate.open();
    });
}

/// What all ways to a server have; [`LATE`] since lately.
const COMMON: &str = "{way}_bind 127.0.0.1; {way}_connect_timeout 5s; {way}_read_timeout 5s; {way}_send_timeout 5s; \
    {way}_next_upstream error timeout; {way}_next_upstream_timeout 5s; {way}_next_upstream_tries 2; \
    {way}_socket_keepalive on; {way}_buffer_size 8k; {way}_ignore_headers X-Accel-Charset; {way}_intercept_errors off;";
const APPLICATIONS: &str = "{way}_pass_header X-Accel-Expires; {way}_hide_header X-None; {way}_buffering on; \
    {way}_buffers 4 8k; {way}_busy_buffers_size 16k; {way}_max_temp_file_size 1m; {way}_temp_file_write_size 16k; \
    {way}_force_ranges off; {way}_ignore_client_abort on; {way}_limit_rate 1m; {way}_pass_request_body on; \
    {way}_request_buffering on; {way}_store off; {way}_store_access user:rw; {way}_cache_background_update on; \
    {way}_cache_lock on; {way}_cache_lock_age 5s; {way}_cache_lock_timeout 5s; {way}_cache_max_range_offset 1m; \
    {way}_cache_min_uses 1;";
const LATE: &str = "{way}_socket_rcvbuf 64k; {way}_socket_sndbuf 64k; {way}_cache_purge $arg_purge;";

#[test]
fn every_way_to_a_server_takes_what_all_have() {
    let origin = Origin::wires(|wire| {
        let _ = wire.read_some(64 * 1024);
        let _ = wire.send("Content-Type: a/b\r\n\r\nok");
    });
    each(|binary| {
        for way in ["scgi", "uwsgi"] {
            let late = if binary == Binary::Plimsoll { LATE } else { "" };
            let settings = [COMMON, APPLICATIONS, late].concat().replace("{way}", way);
            let text = format!("location / {{ {settings} {way}_pass %%ORIGIN%%; }}");
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            assert_eq!(server.get("/").text(), "ok", "{way}");
        }
    });
}

#[test]
fn connections_are_counted_and_dates_told() {
    let text = "location / { return 200 \"$connections_active $connections_reading $connections_writing $connections_waiting\"; }
        location /date { return 200 \"$date_gmt|$date_local\"; }";
    on_both(text, |server| {
        eventually("nobody else", || server.get("/").text() == "1 0 1 0");
        let dates = server.get("/date").text();
        let date = r"\w+, \d\d-\w{3}-\d{4} \d\d:\d\d:\d\d ";
        assert!(matches(&format!(r"^{date}GMT\|{date}\w+$"), &dates), "{dates}");
    });
}

/// What an old answer says of itself is known while a new one is asked for.
#[test]
fn what_the_cache_has_is_asked_about_in_ones_own_words() {
    let text = "proxy_cache_path %%DIR%%/kept keys_zone=one:1m levels=; server { listen 127.0.0.1:%%PORT%%; location / { \
        proxy_pass http://%%ORIGIN%%; proxy_cache one; proxy_cache_revalidate on; proxy_set_header X-Since $upstream_cache_last_modified; \
        proxy_set_header X-Tag $upstream_cache_etag; } }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nETag: \"t\"\r\nContent-Length: 2\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nok",
        );
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        for _ in 0..2 {
            assert_eq!(server.get("/").text(), "ok");
        }
        let asked = origin.requests();
        assert_eq!((asked[0].header("x-tag"), asked[0].header("x-since")), (None, None));
        assert_eq!(asked[1].header("x-tag"), Some("\"t\""));
        assert_eq!(asked[1].header("x-since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    });
}

#[test]
fn one_who_waits_for_anothers_answer_does_not_wait_for_ever() {
    for setting in ["proxy_cache_lock_timeout 10ms;", "proxy_cache_lock_age 10ms;"] {
        let text = format!(
            "proxy_cache_path %%DIR%%/kept keys_zone=one:1m; server {{ listen 127.0.0.1:%%PORT%%; location / {{ \
             proxy_pass http://%%ORIGIN%%; proxy_cache one; proxy_cache_lock on; {setting} }} }}"
        );
        each(|binary| {
            let (gate, origin) = Origin::gated("ok");
            let server = binary.serve(Site::new(&text).with("ORIGIN", origin.address()));
            let mut clients = [server.client(), server.client()];
            for (number, client) in clients.iter_mut().enumerate() {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                origin.wait_requests(number + 1);
            }
            gate.open();
            for client in &mut clients {
                assert_eq!(client.response().text(), "ok", "{setting}");
            }
        });
    }
}

#[test]
fn a_head_is_asked_for_as_such_where_the_cache_tells_them_apart() {
    let text = "proxy_cache_path %%DIR%%/kept keys_zone=one:1m; server { listen 127.0.0.1:%%PORT%%; location / { \
        proxy_pass http://%%ORIGIN%%; proxy_cache one; proxy_cache_key $request_method$uri; proxy_cache_convert_head off; } \
        location /get { proxy_pass http://%%ORIGIN%%; proxy_cache one; proxy_cache_key $uri; } }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        server.request("HEAD", "/", &[], b"");
        server.request("HEAD", "/get", &[], b"");
        let methods: Vec<String> = origin.requests().into_iter().map(|request| request.method).collect();
        assert_eq!(methods, ["HEAD", "GET"]);
    });
}
