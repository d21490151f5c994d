//! Files: types, ranges, conditions, directories, and the directives around them.
#![forbid(unsafe_code)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use testkit::{Server, Site, each, normal, on_both};

/// 784111777 seconds after the epoch.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A file of ten bytes, last modified at [`DATE`].
fn ten(server: &Server) {
    server.write("html/ten", "0123456789");
    let file = std::fs::File::options().write(true).open(server.path("html/ten")).expect("the file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).expect("its time");
}

#[test]
fn a_file_with_its_headers() {
    on_both("", |server| {
        ten(server);
        assert_eq!(
            server.normal("GET /ten HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nServer: SERVER\r\nDate: DATE\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\nETag: \"2ebc98a1-a\"\r\n\
             Accept-Ranges: bytes\r\n\r\n0123456789"
        );
    });
}

#[test]
fn an_empty_file() {
    on_both("", |server| {
        server.write("html/empty", "");
        let mut client = server.client();
        let response = client.get("/empty");
        assert_eq!((response.status, response.header("content-length")), (200, Some("0")));
        assert_eq!(client.get("/empty").status, 200);
    });
}

#[test]
fn big_files_arrive_whole() {
    for sendfile in ["on", "off"] {
        on_both(format!("sendfile {sendfile};"), |server| {
            let content: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
            server.write("html/big", &content);
            let mut client = server.client();
            for _ in 0..2 {
                assert!(client.get("/big").body == content, "sendfile {sendfile}");
            }
            let part = client.request("GET", "/big", &[("Range", "bytes=1000000-18999999")], b"");
            assert!(part.body == content[1_000_000..19_000_000]);
        });
    }
}

#[test]
fn types_by_extension() {
    let text = "types { text/html html htm; image/png png; text/x-special tar.gz; } default_type application/x-any; \
                location /none/ { types {} default_type text/z; alias html/; }";
    on_both(text, |server| {
        for (file, kind) in [
            ("a.html", "text/html"),
            ("a.HTML", "text/html"),
            ("a.b.png", "image/png"),
            ("png", "application/x-any"),
            (".png", "application/x-any"),
            ("a.tar.gz", "application/x-any"),
            ("a.", "application/x-any"),
            ("d.png/a", "application/x-any"),
        ] {
            server.write(&format!("html/{file}"), "x");
            assert_eq!(server.get(&format!("/{file}")).header("content-type"), Some(kind), "{file}");
        }
        assert_eq!(server.get("/none/a.html").header("content-type"), Some("text/z"));
    });
}

#[test]
fn single_ranges() {
    on_both("", |server| {
        ten(server);
        for (range, status, content_range, body) in [
            ("bytes=0-0", 206, "bytes 0-0/10", "0"),
            ("bytes=0-", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=5-", 206, "bytes 5-9/10", "56789"),
            ("bytes=2-4", 206, "bytes 2-4/10", "234"),
            ("bytes=2-400", 206, "bytes 2-9/10", "23456789"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=-30", 206, "bytes 0-9/10", "0123456789"),
            ("bytes= 2 - 4 ", 206, "bytes 2-4/10", "234"),
            ("bytes=9-9,", 416, "bytes */10", ""),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=4-2", 416, "bytes */10", ""),
            ("bytes=x", 416, "bytes */10", ""),
            ("bytes=", 200, "", "0123456789"),
            ("bytes=99999999999999999999-", 416, "bytes */10", ""),
            ("lines=0-1", 200, "", "0123456789"),
            ("BYTES=0-1", 206, "bytes 0-1/10", "01"),
        ] {
            let response = server.get_with("/ten", &[("Range", range)]);
            assert_eq!(response.status, status, "{range}");
            assert_eq!(response.header("content-range").unwrap_or_default(), content_range, "{range}");
            if status != 416 {
                assert_eq!(response.text(), body, "{range}");
                assert_eq!(response.header("content-length"), Some(body.len().to_string().as_str()));
            }
        }
        assert_eq!(server.request("HEAD", "/ten", &[("Range", "bytes=1-3")], b"").status, 206);
    });
}

#[test]
fn several_ranges() {
    on_both("", |server| {
        ten(server);
        let response = server.get_with("/ten", &[("Range", "bytes=0-1,-2,20-30")]);
        assert_eq!(response.status, 206);
        let kind = response.header("content-type").unwrap_or_default();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_default();
        assert_eq!(boundary.len(), 20, "{kind}");
        let part = |range: &str, body: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{body}"
            )
        };
        let expected = format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
        assert_eq!(response.text(), expected);
        assert_eq!(response.header("content-length"), Some(expected.len().to_string().as_str()));
        // More bytes asked for than there are: the file.
        assert_eq!(server.get_with("/ten", &[("Range", "bytes=0-9,0-9,0-9")]).status, 200);
    });
}

#[test]
fn max_ranges() {
    on_both("location / { max_ranges 1; } location /no/ { max_ranges 0; alias html/; }", |server| {
        ten(server);
        assert_eq!(server.get_with("/ten", &[("Range", "bytes=0-1,3-4")]).status, 200);
        assert_eq!(server.get_with("/ten", &[("Range", "bytes=0-1")]).status, 206);
        let response = server.get_with("/no/ten", &[("Range", "bytes=0-1")]);
        assert_eq!((response.status, response.header("accept-ranges")), (200, None));
    });
}

#[test]
fn if_range() {
    on_both("", |server| {
        ten(server);
        for (condition, status) in [
            (DATE, 206),
            ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
            ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
            ("\"2ebc98a1-a\"", 206),
            ("\"other\"", 200),
            ("W/\"2ebc98a1-a\"", 200),
            ("x", 200),
        ] {
            let response = server.get_with("/ten", &[("Range", "bytes=0-1"), ("If-Range", condition)]);
            assert_eq!(response.status, status, "{condition}");
        }
    });
}

#[test]
fn conditional_requests() {
    let text = "location / {} location /before/ { if_modified_since before; alias html/; } \
                location /off/ { if_modified_since off; alias html/; } location /noetag/ { etag off; alias html/; }";
    on_both(text, |server| {
        ten(server);
        let later = "Sun, 06 Nov 1994 08:49:38 GMT";
        let earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (target, field, value, status) in [
            ("/ten", "If-Modified-Since", DATE, 304),
            ("/ten", "If-Modified-Since", later, 200),
            ("/ten", "If-Modified-Since", earlier, 200),
            ("/before/ten", "If-Modified-Since", later, 304),
            ("/off/ten", "If-Modified-Since", DATE, 200),
            ("/ten", "If-None-Match", "\"2ebc98a1-a\"", 304),
            ("/ten", "If-None-Match", "W/\"2ebc98a1-a\"", 304),
            ("/ten", "If-None-Match", "\"x\", \"2ebc98a1-a\"", 304),
            ("/ten", "If-None-Match", "*", 304),
            ("/ten", "If-None-Match", "\"x\"", 200),
            ("/noetag/ten", "If-None-Match", "\"2ebc98a1-a\"", 200),
            ("/ten", "If-Match", "\"2ebc98a1-a\"", 200),
            ("/ten", "If-Match", "*", 200),
            ("/ten", "If-Match", "\"x\"", 412),
            ("/ten", "If-Match", "W/\"2ebc98a1-a\"", 412),
            ("/ten", "If-Unmodified-Since", DATE, 200),
            ("/ten", "If-Unmodified-Since", later, 200),
            ("/ten", "If-Unmodified-Since", earlier, 412),
        ] {
            assert_eq!(
                server.get_with(target, &[(field, value)]).status,
                status,
                "{target} {field}: {value}"
            );
        }
        let both = [("If-Modified-Since", DATE), ("If-None-Match", "\"x\"")];
        assert_eq!(server.get_with("/ten", &both).status, 200);
    });
}

#[test]
fn not_modified_has_no_body_and_few_headers() {
    on_both("", |server| {
        ten(server);
        let request =
            format!("GET /ten HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {DATE}\r\nConnection: close\r\n\r\n");
        assert_eq!(
            server.normal(request),
            "HTTP/1.1 304 Not Modified\r\nServer: SERVER\r\nDate: DATE\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Connection: close\r\nETag: \"2ebc98a1-a\"\r\n\r\n"
        );
    });
}

#[test]
fn directories_redirect_and_have_an_index() {
    on_both(
        "index none.html index.txt; location /i/ { index /abs.txt; alias html/d/; } location /file/ { alias html/abs.txt; }",
        |server| {
            server.write("html/d/index.txt", "in d");
            server.write("html/empty/x", "");
            server.write("html/abs.txt", "absolute");
            let response = server.get_with("/d?a=b", &[("Host", "example.org")]);
            assert_eq!(response.status, 301);
            let location = format!("http://example.org:{}/d/?a=b", server.port());
            assert_eq!(response.header("location"), Some(location.as_str()));
            assert_eq!(server.get("/d/").text(), "in d");
            assert_eq!(server.get("/i/").text(), "absolute");
            assert_eq!(server.get("/empty/").status, 403);
            assert_eq!(server.get("/none/").status, 404);
            assert_eq!(server.get("/d/index.txt/").status, 404);
            assert_eq!(server.get("/d/index.txt/x").status, 404);
            // What should be a folder is a file: a mistake of the configuration.
            assert_eq!(server.get("/file/").status, 500);
            server
                .error_log()
                .wait_match(r#"\[alert\] .* "[^"]*/html/abs.txtnone.html" is not a directory, client"#);
        },
    );
}

#[test]
fn the_address_in_redirects() {
    let text = "server_name one.example two.example;\n\
        location /a { alias html/d; } location /rel { absolute_redirect off; alias html/d; }\n\
        location /noport { port_in_redirect off; alias html/d; }\n\
        location /name { server_name_in_redirect on; alias html/d; }";
    on_both(text, |server| {
        server.write("html/d/x", "");
        let port = server.port();
        for (target, location) in [
            ("/a", format!("http://two.example:{port}/a/")),
            ("/rel", "/rel/".to_owned()),
            ("/noport", "http://two.example/noport/".to_owned()),
            ("/name", format!("http://one.example:{port}/name/")),
        ] {
            let response = server.get_with(target, &[("Host", "two.example:81")]);
            assert_eq!(response.header("location"), Some(location.as_str()), "{target}");
        }
    });
}

#[test]
fn redirects_escape_what_they_must() {
    on_both("absolute_redirect off;", |server| {
        server.write("html/a b%c?d/x", "");
        assert_eq!(server.get("/a%20b%25c%3Fd").header("location"), Some("/a%20b%25c%3Fd/"));
    });
}

#[test]
fn root_and_alias() {
    let text = "location /r/ { root html/x; } location /a/ { alias html/x/r/; } location /file { alias html/one; }\n\
        location ~ ^/re/(.*)$ { alias html/x/$1; } location /v/ { root html/$arg_d; } location = /eq { root html/x; }";
    on_both(text, |server| {
        server.write("html/x/r/f", "in r");
        server.write("html/one", "one");
        server.write("html/x/eq", "eq");
        server.write("html/y/v/f", "in y");
        for (target, body) in [
            ("/r/f", "in r"),
            ("/a/f", "in r"),
            ("/file", "one"),
            ("/re/r/f", "in r"),
            ("/v/f?d=y", "in y"),
            ("/eq", "eq"),
        ] {
            assert_eq!(server.get(target).text(), body, "{target}");
        }
        assert_eq!(server.get("/a/../../one").status, 400);
        assert_eq!(server.get("/a/%2e%2e/one").text(), "one");
    });
}

#[test]
fn try_files() {
    let text = "location / { try_files $uri $uri/ /fall?x=$arg_x; }\n\
        location = /fall { return 200 \"fell $args\"; }\n\
        location /code/ { try_files $uri =418; } location /named/ { try_files /none @named; }\n\
        location @named { return 200 \"named $uri\"; } location /dir/ { try_files /d/ =404; }";
    on_both(text, |server| {
        server.write("html/f", "file");
        server.write("html/d/index.html", "index");
        for (target, status, body) in [
            ("/f", 200, "file"),
            ("/d/", 200, "index"),
            ("/d", 301, ""),
            ("/none?x=1", 200, "fell x=1"),
            ("/code/x", 418, ""),
            ("/named/x", 200, "named /named/x"),
            // The slash of a directory is not kept, so this is the redirect to one.
            ("/dir/", 301, ""),
        ] {
            let response = server.get(target);
            assert_eq!(response.status, status, "{target}");
            if status == 200 {
                assert_eq!(response.text(), body, "{target}");
            }
        }
    });
}

#[test]
fn add_header_and_its_conditions() {
    let text = "add_header X-Server s;\n\
        location / { add_header X-A $uri; add_header X-Empty \"\"; return 200; }\n\
        location /inherit { return 200; } location /none { add_header X-A a; return 404; }\n\
        location /always { add_header X-A a always; return 404; } location /r { add_header X-A a; return 302 /; }\n\
        location /lm { add_header Last-Modified \"\"; }\n\
        location /dated { add_header X-A a; add_header Last-Modified now; add_header X-B b; } location /cc { add_header Cache-Control a; add_header Cache-Control b; return 200; }";
    on_both(text, |server| {
        server.write("html/lm", "x");
        assert_eq!(server.get("/x").all("x-a"), ["/x"]);
        assert!(server.get("/x").all("x-server").is_empty());
        assert!(server.get("/x").all("x-empty").is_empty());
        assert_eq!(server.get("/inherit").all("x-server"), ["s"]);
        assert!(server.get("/none").all("x-a").is_empty());
        assert_eq!(server.get("/always").all("x-a"), ["a"]);
        assert_eq!(server.get("/r").all("x-a"), ["a"]);
        assert!(server.get("/lm").all("last-modified").is_empty());
        assert_eq!(server.get("/cc").all("cache-control"), ["a", "b"]);
        // What takes another's place stands where it was added.
        server.write("html/dated", "x");
        let dated = server.get("/dated");
        let names: Vec<_> =
            dated.head.lines().filter_map(|line| line.split_once(": ")).map(|(n, _)| n).collect();
        let place = |name: &str| names.iter().position(|n| *n == name).expect(name);
        assert!(place("X-A") < place("Last-Modified") && place("Last-Modified") < place("X-B"), "{names:?}");
    });
}

#[test]
fn expires() {
    let text = "location /h { expires 1h; return 200; } location /past { expires -1; return 200; }\n\
        location /epoch { expires epoch; return 200; } location /max { expires max; return 200; }\n\
        location /off { expires off; return 200; } location /err { expires 1h; return 404; }\n\
        location /mod { expires modified +24h; } location /day { expires @15h30m; return 200; }";
    on_both(text, |server| {
        server.write("html/mod", "x");
        let cache = |target: &str| server.get(target).header("cache-control").map(str::to_owned);
        assert_eq!(cache("/h").as_deref(), Some("max-age=3600"));
        assert_eq!(cache("/past").as_deref(), Some("no-cache"));
        assert_eq!(cache("/epoch").as_deref(), Some("no-cache"));
        assert_eq!(cache("/max").as_deref(), Some("max-age=315360000"));
        assert_eq!(cache("/off"), None);
        assert_eq!(cache("/err"), None);
        assert!(cache("/mod").is_some_and(|v| v.starts_with("max-age=86")));
        assert!(cache("/day").is_some_and(|v| v.starts_with("max-age=")));
        assert_eq!(server.get("/epoch").header("expires"), Some("Thu, 01 Jan 1970 00:00:01 GMT"));
        assert_eq!(server.get("/max").header("expires"), Some("Thu, 31 Dec 2037 23:55:55 GMT"));
        let hour = server.get("/h");
        let order: Vec<&str> = hour.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            order,
            ["Server", "Date", "Content-Type", "Content-Length", "Connection", "Expires", "Cache-Control"]
        );
    });
}

#[test]
fn methods_a_file_does_not_take() {
    on_both("location = /ret { return 200 ok; }", |server| {
        ten(server);
        assert_eq!(server.post("/ten", "x").status, 405);
        assert_eq!(server.request("PUT", "/ten", &[], b"").status, 405);
        assert_eq!(server.request("DELETE", "/ten", &[], b"").status, 405);
        assert_eq!(server.request("OPTIONS", "/ten", &[], b"").status, 405);
        assert_eq!(server.post("/ret", "x").status, 200);
    });
}

#[test]
fn files_that_cannot_be_served() {
    // As a worker without root's rights, which reads everything.
    let text = "user nobody nogroup;\nhttp { server { listen 127.0.0.1:%%PORT%%; location / {} } }";
    on_both(text, |server| {
        ten(server);
        server.write("html/secret", "x");
        let mode = |path: &str, mode| {
            std::fs::set_permissions(server.path(path), std::fs::Permissions::from_mode(mode))
        };
        mode("html/secret", 0o600).expect("permissions");
        symlink("ten", server.path("html/link")).expect("a link");
        symlink("loop", server.path("html/loop")).expect("a link");
        assert_eq!(server.get("/link").text(), "0123456789");
        let secret = server.get("/secret").status;
        let log = server.error_log().wait_for("(13: Permission denied), client: 127.0.0.1");
        assert_eq!(secret, 403, "{log}");
        assert_eq!(server.get(&format!("/{}", "x".repeat(300))).status, 404);
        assert_eq!(server.get("/none").status, 404);
        server.error_log().wait_for("/html/none\" failed (2: No such file or directory), client: 127.0.0.1, server: , request: \"GET /none HTTP/1.1\", host: \"localhost\"");
    });
}

#[test]
fn internal_locations_are_hidden() {
    on_both(
        "location /hid { internal; return 200 in; } error_page 418 /hid; location /x { return 418; }",
        |server| {
            assert_eq!(server.get("/hid").status, 404);
            assert_eq!(server.get("/x").text(), "in");
        },
    );
}

#[test]
fn a_static_site_with_includes_and_error_pages() {
    let site = Site::new("include site/*.conf; error_page 404 /404.html;")
        .file("site/a.conf", "location /a { return 200 a; }")
        .file("site/b.conf", "location /b { return 200 b; }")
        .file("html/404.html", "lost");
    on_both(site, |server| {
        assert_eq!(server.get("/a").text() + &server.get("/b").text(), "ab");
        let lost = server.get("/nothing");
        assert_eq!((lost.status, lost.text().as_str()), (404, "lost"));
        assert_eq!(lost.header("content-type"), Some("text/html"));
        assert_eq!(
            normal(&server.raw("GET /c HTTP/1.0\r\n\r\n"), 0).lines().next(),
            Some("HTTP/1.1 404 Not Found")
        );
    });
}

#[test]
fn an_index_may_be_a_directory() {
    let text = "location / { root html; } location /slash/ { root html; index none sub/; } location /plain/ { root html; index sub; }
        location /slash/sub/ { root html; index in.html; }
        location /long/ { root html; index $arg_index index.html; }";
    let site = Site::new(text)
        .file("html/slash/sub/in.html", "in")
        .file("html/plain/sub/x", "")
        .file("html/long/index.html", "i");
    on_both(site, |server| {
        assert_eq!(server.get("/slash/").text(), "in");
        let plain = server.get("/plain/");
        let to = format!("http://localhost:{}/plain/sub/", server.port());
        assert_eq!((plain.status, plain.header("location")), (301, Some(to.as_str())));
        // Where one cannot even be looked for, the next is not.
        let long = format!("/long/?index={}", "n".repeat(256));
        assert_eq!(server.get(&long).status, 404);
        server.error_log().wait_match(r#"\[error\] .*/long/n+" is not found \(36: File name too long\)"#);
        assert_eq!(server.get("/long/?index=other").text(), "i");
    });
}

/// The length that was promised cannot be kept: the connection ends, and the log names the file.
#[test]
fn a_file_that_becomes_shorter_while_it_is_sent() {
    for (settings, call) in [("sendfile on;", "sendfile"), ("sendfile off;", "pread")] {
        each(|binary| {
            let server = binary.serve(settings);
            let whole = 64 << 20;
            let file = std::fs::File::create(server.path("html/big")).expect("a file");
            file.set_len(whole).expect("its size");
            let mut client = server.client();
            client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
            client.wire().read_through(b"\r\n\r\n").expect("a head");
            file.set_len(1).expect("a size");
            assert!((client.read_to_end().len() as u64) < whole);
            let line = server.error_log().wait_for(&format!("{call}() re"));
            assert!(line.contains("[alert]") && line.contains("/html/big\""), "{line}");
            assert!(line.contains(" while sending response to client, client: 127.0.0.1, "), "{line}");
        });
    }
}
