//! Ways to write logs: compressed, kept open though their name has variables, in objects.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use testkit::{Server, each, eventually, on_both, serve};

/// What is in a compressed log so far.
fn unpacked(server: &Server) -> String {
    let bytes = fs::read(server.path("logs/a.gz")).unwrap_or_default();
    let mut text = String::new();
    // The last member may be on its way.
    let _ = MultiGzDecoder::new(&*bytes).read_to_string(&mut text);
    text
}

#[test]
fn compressed_portions() {
    for parameters in
        ["gzip buffer=100 flush=10ms", "gzip=9 buffer=100 flush=10ms", "gzip buffer=10 flush=1h"]
    {
        let text = format!(
            "log_format u \"$request_uri\"; access_log logs/a.gz u {parameters}; \
             server {{ listen 127.0.0.1:%%PORT%%; location / {{ return 200; }} }}"
        );
        on_both(text, |server| {
            let long = format!("/{}", "long".repeat(40));
            for target in ["/first", "/second", &long] {
                server.get(target);
            }
            eventually("the lines", || unpacked(server) == format!("/first\n/second\n{long}\n"));
        });
    }
}

#[test]
fn logs_that_stay_open() {
    let text = "log_format u \"$request_uri\"; access_log logs/$arg_log u; root html; \
                open_log_file_cache max=2 inactive=20s valid=1h min_uses=1; \
                server { listen 127.0.0.1:%%PORT%%; location / { return 200; } \
                location /anew { open_log_file_cache off; return 200; } }";
    on_both(text, |server| {
        server.get("/?log=a");
        server.log("logs/a").wait_for("/?log=a");
        fs::rename(server.path("logs/a"), server.path("logs/moved")).expect("a log moved");
        server.get("/again?log=a");
        server.log("logs/moved").wait_for("/again?log=a");
        server.get("/anew?log=a");
        server.log("logs/a").wait_for("/anew?log=a");
    });
}

#[test]
fn messages_in_objects() {
    let server =
        serve("error_log logs/text.log; error_log logs/j.log error json; server_name srv; root html;");
    server.get_with("/missing?\"x", &[("Host", "a:1"), ("Referer", "http://r/\u{e9}")]);
    let line = server.log("logs/j.log").wait_for("missing");
    let object: Value = serde_json::from_str(&line).expect("an object");
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("level"), "error");
    assert!(
        text("msg").starts_with("open() \"") && text("msg").ends_with("/html/missing\" failed"),
        "{line}"
    );
    assert_eq!((text("client"), text("server")), ("127.0.0.1".to_owned(), "srv".to_owned()));
    assert_eq!(text("request"), "GET /missing?\"x HTTP/1.1");
    assert_eq!((text("host"), text("referrer")), ("a:1".to_owned(), "http://r/\u{e9}".to_owned()));
    assert_eq!(
        (object["errno"].as_u64(), text("errtext")),
        (Some(2), "No such file or directory".to_owned())
    );
    let stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$";
    assert!(testkit::matches(stamp, &text("timestamp")), "{line}");
    assert!(object["pid"].is_u64() && object["tid"].is_u64() && object["cnum"].is_u64(), "{line}");
    // The other log has it as ever.
    server.log("logs/text.log").wait_for("(2: No such file or directory), client: 127.0.0.1");
}

#[test]
fn a_long_message_is_cut_off() {
    let server = serve("error_log logs/j.log error json; root html;");
    server.get(&format!("/{}", "\\".repeat(3000)));
    let line = server.log("logs/j.log").wait_for("\"msg\"");
    let object: Value = serde_json::from_str(&line).expect("an object");
    assert!(line.len() < 2048 && object["truncated"] == 1, "{line}");
}

#[test]
fn what_is_wrong_is_said_as_nginx_says_it() {
    for (text, said) in [
        ("access_log l combined gzip=10;", "invalid compression level \"10\""),
        ("access_log l combined gzip=x;", "invalid compression level \"x\""),
        ("access_log l$uri combined gzip;", "buffered logs cannot have variables in name"),
        (
            "access_log l combined gzip; access_log l combined gzip=2;",
            "already defined with conflicting parameters",
        ),
        ("open_log_file_cache inactive=1s;", "\"open_log_file_cache\" must have \"max\" parameter"),
        ("open_log_file_cache max=x;", "invalid \"open_log_file_cache\" parameter \"max=x\""),
        ("open_log_file_cache max=1 foo;", "invalid \"open_log_file_cache\" parameter \"foo\""),
    ] {
        each(|binary| {
            let exit = binary.refuses(text);
            assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
        });
    }
}

#[test]
fn a_time_with_milliseconds() {
    let server = serve("location / { return 200 $time_iso8601_ms; }");
    let stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$";
    assert!(testkit::matches(stamp, &server.get("/").text()));
}

#[test]
fn requests_within_requests() {
    let text = "log_format u \"$uri $status\"; access_log logs/main.log u; server { listen 127.0.0.1:%%PORT%%; root html; \
                location /a { auth_request /heard; } location /b { auth_request /silent; } \
                location = /heard { log_subrequest on; access_log logs/sub.log u; return 204; } \
                location = /silent { access_log logs/sub.log u; return 204; } }";
    on_both(text, |server| {
        for target in ["/b", "/a"] {
            assert_eq!(server.get(target).status, 404);
        }
        assert_eq!(server.log("logs/main.log").wait_lines(2), ["/b 404", "/a 404"]);
        assert_eq!(server.log("logs/sub.log").wait_lines(1), ["/heard 204"]);
    });
}
