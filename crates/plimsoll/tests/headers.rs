//! `add_header`, `add_trailer`, `expires`: values, statuses and inheritance.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use testkit::{Binary, Origin, Site, each, on_both, serve};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn trailers_follow_the_body() {
    let text = "location / { return 200 body; add_trailer X-A $uri; add_trailer X-Empty \"\"; \
                add_trailer X-Sent $body_bytes_sent; }";
    on_both(text, |server| {
        let answer = server.normal(GET);
        assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"), "{answer}");
        assert!(!answer.contains("Content-Length"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n4\r\nbody\r\n0\r\nX-A: /\r\nX-Sent: 0\r\n\r\n"), "{answer}");
        // No coding, no trailers.
        let old = server.normal("GET / HTTP/1.0\r\n\r\n");
        assert!(old.contains("\r\nContent-Length: 4\r\n") && old.ends_with("\r\n\r\nbody"), "{old}");
        let head = server.normal(GET.replace("GET", "HEAD"));
        assert!(head.contains("\r\nContent-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn trailers_by_status() {
    let text = "add_trailer X-A a; location /none { return 404; } location /empty { return 204; } \
                location /always { return 404; add_trailer X-B b always; } location /to { return 302 /x; } \
                location /old { chunked_transfer_encoding off; return 200 body; }";
    on_both(text, |server| {
        let ends = |target: &str, end: &str| {
            let answer = server.normal(GET.replace(" / ", &format!(" {target} ")));
            assert!(answer.ends_with(end), "{target}: {answer}");
        };
        ends("/none", "</html>\r\n");
        ends("/empty", "Connection: close\r\n\r\n");
        ends("/always", "</html>\r\n\r\n0\r\nX-B: b\r\n\r\n");
        ends("/to", "</html>\r\n\r\n0\r\nX-A: a\r\n\r\n");
        ends("/old", "\r\n\r\nbody");
    });
}

#[test]
fn trailers_of_files_and_of_upstreams() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let text = "log_format sent \"$uri <$sent_trailer_x_sum>\"; access_log logs/sent.log sent; \
                server { listen 127.0.0.1:%%PORT%%; add_trailer X-Sum <$upstream_status>; \
                location /up { proxy_http_version 1.1; proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        let site = Site::new(text).with("ORIGIN", origin.address()).file("html/file", "file");
        let server = binary.serve(site);
        for (target, body, sum) in [("/file", "file", "<>"), ("/up", "abc", "<200>")] {
            let response = server.get(target);
            assert_eq!(response.text(), body);
            assert_eq!(response.trailers, [("X-Sum".to_owned(), sum.to_owned())]);
        }
        server.log("logs/sent.log").wait_for("/up <<200>>");
    });
}

#[test]
fn lines_of_the_block_around() {
    let text = "add_header X http; add_trailer T http; server { listen 127.0.0.1:%%PORT%%; \
        location /on { return 200 on; add_header X own; } \
        location /merge { add_header_inherit merge; add_trailer_inherit merge; add_header X own; add_trailer T own; \
            return 200; location /merge/in { add_header X in; return 200; } } \
        location /off { add_header_inherit off; add_trailer_inherit off; return 200; } }";
    let server = serve(text);
    for (target, values) in [
        ("/on", &["own"][..]),
        ("/merge", &["own", "http"]),
        ("/merge/in", &["in", "own", "http"]),
        ("/off", &[]),
    ] {
        assert_eq!(server.get(target).all("x"), values, "{target}");
    }
    let trailers = |target: &str| server.normal(GET.replace(" / ", &format!(" {target} ")));
    assert!(trailers("/merge").ends_with("0\r\nT: own\r\nT: http\r\n\r\n"));
    assert!(trailers("/off").ends_with("\r\n\r\n"));
}

#[test]
fn expires_by_variable() {
    let text = "map $arg_e $e { default $arg_e; none \"\"; } server { listen 127.0.0.1:%%PORT%%; \
                location / { expires $e; return 200; } location /file { alias html/; expires modified $e; } }";
    on_both(text, |server| {
        for (value, cache) in [
            ("1h", Some("max-age=3600")),
            ("-1", Some("no-cache")),
            ("epoch", Some("no-cache")),
            ("max", Some("max-age=315360000")),
            ("off", None),
            ("none", None),
            ("nonsense", None),
            ("@25h", None),
        ] {
            assert_eq!(server.get(&format!("/?e={value}")).header("cache-control"), cache, "{value}");
        }
        server.write("html/a", "a");
        assert!(server.get("/file/a?e=1h").header("cache-control").is_some());
        assert!(server.get("/file/a?e=max").header("cache-control").is_none());
        assert_eq!(server.get("/file/a?e=0").header("cache-control"), Some("max-age=0"));
    });
}

#[test]
fn what_is_wrong_with_expires() {
    for (text, said) in [
        ("expires @25h;", "\"expires\" directive daily time value must be less than 24 hours"),
        (
            "expires modified @1h;",
            "\"expires\" directive daily time cannot be used with \"modified\" parameter",
        ),
        ("expires later 1h;", "\"expires\" directive invalid value"),
        ("expires 1q;", "\"expires\" directive invalid value"),
        ("expires modified max;", "\"expires\" directive invalid value"),
        ("add_trailer a b c;", "invalid parameter \"c\""),
    ] {
        each(|binary| {
            let exit = binary.refuses(text);
            assert!(exit.stderr.contains(said), "{text}: {}", exit.stderr);
        });
    }
}

#[test]
fn the_clients_headers_are_said_otherwise() {
    let text = "more_set_input_headers 'X-Outer: $arg_v';\n\
        location / { more_set_input_headers 'X-Set: new' 'Host: Other.Example' -r 'X-Seen: replaced' 'X-Gone:'; proxy_pass http://%%ORIGIN%%; proxy_set_header Host $host; }\n\
        location /clear { more_clear_input_headers X-Set 'X-S*'; more_set_input_headers -t text/plain 'X-Typed: t'; proxy_pass http://%%ORIGIN%%; }\n\
        location /length { more_set_input_headers 'X-Long: 12345678901234567890'; return 200 $request_length; }";
    let origin = testkit::Origin::echo();
    let server = serve(Site::new(text).with("ORIGIN", origin.address()));
    let fields = [
        ("X-Set", "old"),
        ("x-set", "older"),
        ("X-Seen", "s"),
        ("X-Gone", "g"),
        ("Content-Type", "text/plain; a=b"),
    ];
    let mut client = server.client();
    let got = client.request("POST", "/?v=1", &fields, b"body").text();
    for line in ["Host: other.example\r\n", "X-Set: new\r\n", "X-Seen: replaced\r\n", "X-Outer: 1\r\n"] {
        assert_eq!(got.matches(line).count(), 1, "{line}: {got}");
    }
    assert!(
        !got.contains("old") && !got.contains("X-Gone") && got.contains("Content-Length: 4\r\n"),
        "{got}"
    );
    assert_eq!(origin.last().body, b"body");
    let got = client.request("GET", "/clear?v=2", &fields, b"").text();
    assert!(got.contains("X-Typed: t\r\n") && got.contains("X-Outer: 2\r\n"), "{got}");
    assert!(!got.contains("X-Se") && !got.contains("x-set") && got.contains("X-Gone: g\r\n"), "{got}");
    let bare = "GET /length HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(bare.repeat(2));
    for _ in 0..2 {
        assert_eq!(client.response().text(), bare.len().to_string());
    }
}

#[test]
fn expires_writes_into_the_headers_that_are_there() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; expires epoch; }";
    each(|binary| {
        for (theirs, want) in [
            ("X-A: 1", "X-A: 1\r\nX-B: 2\r\nExpires: E\r\nCache-Control: no-cache\r\n\r\n"),
            (
                "cache-control: a\r\nCache-Control: b",
                "cache-control: no-cache\r\nX-B: 2\r\nExpires: E\r\n\r\n",
            ),
            ("Expires: x\r\nX-A: 1", "Expires: E\r\nX-A: 1\r\nX-B: 2\r\nCache-Control: no-cache\r\n\r\n"),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{theirs}\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n");
            let origin = Origin::answering(head);
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            let bytes = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = String::from_utf8_lossy(&bytes).replace("Thu, 01 Jan 1970 00:00:01 GMT", "E");
            assert!(answer.ends_with(want), "{answer}");
        }
    });
}

#[test]
fn a_status_line_goes_on_as_it_came() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        for line in ["200 OK", "200 Fine", "200", "422 Unprocessable Entity", "422", "600 X"] {
            let origin = Origin::answering(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            let bytes = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = String::from_utf8_lossy(&bytes);
            assert_eq!(answer.lines().next(), Some(&*format!("HTTP/1.1 {line}")));
        }
    });
}

#[test]
fn nothing_may_have_a_type() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; } location /own { default_type a/b; return 204; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 204 No Content\r\nContent-Type: a/b\r\n\r\n");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/").header("content-type"), Some("a/b"));
        assert_eq!(server.get("/own").header("content-type"), None);
    });
}

#[test]
fn an_etag_of_ones_own_takes_the_place_of_the_other() {
    on_both("add_header A a; add_header ETag $arg_e;", |server| {
        server.write("html/f", "x");
        let names = |target: &str| {
            let response = server.get(target);
            let shown = |name: &&String| ["a", "etag"].contains(&name.to_ascii_lowercase().as_str());
            response.headers.iter().map(|(name, _)| name).filter(shown).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names("/f?e=own"), ["ETag", "A"]);
        assert_eq!(server.get("/f?e=own").header("ETag"), Some("own"));
        assert_eq!(names("/f"), ["A"]);
    });
}

/// Times far before and behind ours, of files and in directives. Years are written to 9999 at most since nginx 1.25.
#[test]
fn times_at_the_borders() {
    let text = "location / { root html; expires modified -1h; }
        location /far { expires 100000y; return 200; }";
    let site = Site::new(text).file("html/before", "x").file("html/ahead", "x").file("html/old", "x");
    on_both(site, |server| {
        let set = |name: &str, seconds: i64| {
            let time = match seconds < 0 {
                true => std::time::UNIX_EPOCH - std::time::Duration::from_secs(seconds.unsigned_abs()),
                false => std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs()),
            };
            std::fs::File::open(server.path(name)).unwrap().set_modified(time).unwrap();
        };
        set("html/before", -1);
        set("html/old", -300);
        set("html/ahead", 1 << 32);
        let before = server.get("/before");
        assert_eq!((before.header("etag"), before.header("last-modified")), (Some("\"-1-1\""), None));
        let old = server.get("/old");
        assert_eq!(old.header("etag"), Some("\"-12c-1\""));
        assert_eq!(old.header("last-modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        let ahead = server.get("/ahead");
        assert_eq!(ahead.header("expires"), Some("Sun, 07 Feb 2106 05:28:16 GMT"));
        assert_eq!(ahead.header("cache-control"), Some("no-cache"));
        let far = server.get("/far");
        assert!(
            far.header("cache-control").is_some_and(|value| value.starts_with("max-age=31536")),
            "{far:?}"
        );
        if server.binary() == Binary::Plimsoll {
            assert_eq!(far.header("expires"), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        }
    });
}
