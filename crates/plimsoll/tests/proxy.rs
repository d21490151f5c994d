//! The reverse proxy: what the upstream sees and what the client gets of it.
#![forbid(unsafe_code)]

use std::process::Command;

use testkit::{Binary, Gate, Origin, Server, Site, each, normal};

/// `proxy_pass` tests give the whole server block; `%%ORIGIN%%` is the origin's address.
fn serve(binary: Binary, origin: &Origin, text: &str) -> Server {
    binary.serve(Site::new(text).with("ORIGIN", origin.address()))
}

/// The usual location, with HTTP/1.1 to the upstream whatever the default is.
const PLAIN: &str =
    "location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";

#[test]
fn the_request_as_the_upstream_sees_it() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.0; }\n\
        location /new { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
    each(|binary| {
        let origin = Origin::echo();
        let server = serve(binary, &origin, text);
        let fields = [
            ("User-Agent", "ua"),
            ("X_Under", "u"),
            ("Accept", "*/*"),
            ("X-Two", "a"),
            ("X-Two", "b"),
            ("Keep-Alive", "1"),
            ("Upgrade", "x"),
            ("TE", "x"),
        ];
        let host = origin.address();
        // Since 1.29.7 nginx leaves the header away by default.
        let close = if binary == Binary::Nginx { "Connection: close\r\n" } else { "" };
        let rest = "User-Agent: ua\r\nAccept: */*\r\nX-Two: a\r\nX-Two: b\r\n\r\n";
        assert_eq!(
            server.get_with("/p%20q?a=b", &fields).text(),
            format!("GET /p%20q?a=b HTTP/1.0\r\nHost: {host}\r\n{close}{rest}")
        );
        assert_eq!(
            server.get_with("/new", &fields).text(),
            format!("GET /new HTTP/1.1\r\nHost: {host}\r\n{rest}")
        );
    });
}

#[test]
fn uri_replacement() {
    let text = "location /keep/ { proxy_pass http://%%ORIGIN%%; } location /swap/ { proxy_pass http://%%ORIGIN%%/to/; }\n\
        location /bare { proxy_pass http://%%ORIGIN%%/; } location /join { proxy_pass http://%%ORIGIN%%/pre; }\n\
        location /args/ { proxy_pass http://%%ORIGIN%%/to/?x=1; }\n\
        location ~ ^/re/(.*)$ { proxy_pass http://%%ORIGIN%%; } location /rw/ { rewrite ^/rw/(.*)$ /new/$1 break; proxy_pass http://%%ORIGIN%%; }\n\
        location /rw2/ { rewrite ^/rw2/(.*)$ /new/$1 break; proxy_pass http://%%ORIGIN%%/ignored/; }\n\
        location /var/ { set $u /v; proxy_pass http://%%ORIGIN%%$u; } location /varq/ { proxy_pass http://%%ORIGIN%%$request_uri; }\n\
        location /named/ { try_files /none @up; } location @up { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::echo();
        let server = serve(binary, &origin, text);
        for (target, seen) in [
            ("/keep/a%20b/../c?x", "/keep/a%20b/../c?x"),
            ("/keep//a", "/keep//a"),
            ("/keep/%2f?x", "/keep/%2f?x"),
            ("/swap/a%20b/../c?x", "/to/c?x"),
            ("/swap/a%20b", "/to/a%20b"),
            ("/swap/a%2fb", "/to/a/b"),
            ("/swap/a%3fb%25", "/to/a%3Fb%25"),
            ("/swap/", "/to/"),
            ("/bare", "/"),
            ("/bare/x", "//x"),
            ("/join/x", "/pre/x"),
            ("/args/y?z", "/to/?x=1y?z"),
            ("/re/a%20b?c", "/re/a%20b?c"),
            ("/rw/a%20b?c", "/new/a%20b?c"),
            ("/rw2/a?c", "/new/a?c"),
            ("/var/x?y", "/v"),
            ("/varq/a%20b?y", "/varq/a%20b?y"),
            ("/named/a%20b?y", "/named/a%20b?y"),
        ] {
            server.get(target);
            assert_eq!(origin.last().target, seen, "{target}");
        }
    });
}

#[test]
fn set_header_method_body_and_pass_switches() {
    let text = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header X-Outer outer;\n\
        location / { proxy_pass http://%%ORIGIN%%; }\n\
        location /own { proxy_pass http://%%ORIGIN%%; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Accept \"\"; proxy_set_header X-Empty \"\"; }\n\
        location /method { proxy_pass http://%%ORIGIN%%; proxy_method PUT; } location /nohead { proxy_pass http://%%ORIGIN%%; proxy_pass_request_headers off; }\n\
        location /nobody { proxy_pass http://%%ORIGIN%%; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }\n\
        location /setbody { proxy_pass http://%%ORIGIN%%; proxy_set_body \"new $request_method\"; }\n\
        location /vars { proxy_pass http://%%ORIGIN%%; proxy_set_header V \"$proxy_host|$proxy_port\"; }";
    each(|binary| {
        let origin = Origin::echo();
        let server = serve(binary, &origin, text);
        server.get_with("/x", &[("X-Outer", "client")]);
        let seen = origin.last();
        assert_eq!(seen.headers.iter().filter(|(n, _)| n == "X-Outer").count(), 1);
        assert_eq!((seen.header("x-outer"), seen.header("host")), (Some("outer"), Some(origin.address())));

        server
            .get_with("/own", &[("Host", "me.example:81"), ("X-Forwarded-For", "1.1.1.1"), ("Accept", "x")]);
        let seen = origin.last();
        assert_eq!(seen.header("host"), Some("me.example"));
        assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-for"), Some("1.1.1.1, 127.0.0.1"));
        assert_eq!(
            (seen.header("accept"), seen.header("x-empty"), seen.header("x-outer")),
            (None, None, None)
        );

        server.get("/method");
        assert_eq!(origin.last().method, "PUT");
        server.get_with("/nohead", &[("X-A", "a")]);
        assert_eq!(origin.last().header("x-a"), None);
        server.post("/nobody", "body");
        assert_eq!((origin.last().body.len(), origin.last().header("content-length")), (0, None));
        server.post("/setbody", "body");
        assert_eq!(
            (origin.last().body.as_slice(), origin.last().header("content-length")),
            (&b"new POST"[..], Some("8"))
        );
        server.get("/vars");
        let port = origin.port();
        assert_eq!(origin.last().header("v"), Some(format!("127.0.0.1:{port}|{port}").as_str()));
    });
}

#[test]
fn the_response_as_the_client_sees_it() {
    let answer = "HTTP/1.1 201 Made Up\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: a/b\r\nX-A: 1\r\nx-a: 2\r\n\
        X-Accel-Foo: hidden\r\nX-Pad: pad\r\nConnection: keep-alive\r\nKeep-Alive: timeout=3\r\nETag: \"e\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
        Content-Length: 4\r\n\r\nbody";
    each(|binary| {
        let origin = Origin::answering(answer);
        let server = serve(binary, &origin, PLAIN);
        assert_eq!(
            server.normal("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 201 Made Up\r\nServer: SERVER\r\nDate: DATE\r\nContent-Type: a/b\r\nContent-Length: 4\r\nConnection: close\r\n\
             X-A: 1\r\nx-a: 2\r\nX-Accel-Foo: hidden\r\nETag: \"e\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nbody"
        );
    });
}

#[test]
fn hide_and_pass_header() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_hide_header X-A; proxy_pass_header Server; proxy_pass_header X-Pad; proxy_pass_header Date; }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nServer: origin\r\nX-A: 1\r\nX-Pad: p\r\nDate: x\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
        );
        let response = serve(binary, &origin, text).get("/");
        assert_eq!(response.all("server"), ["origin"]);
        assert_eq!(
            (response.header("x-a"), response.header("x-pad"), response.header("x-b")),
            (None, Some("p"), Some("2"))
        );
        assert_eq!(response.all("date"), ["x"]);
    });
}

#[test]
fn bodies_of_every_framing() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            match exchange.request.target.as_str() {
            "/length" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            "/chunked" => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n")
            }
            "/close" => {
                exchange.send("HTTP/1.1 200 OK\r\n\r\nhello");
                exchange.close();
            }
            "/old" => {
                exchange.send("HTTP/1.0 200 OK\r\n\r\nhello");
                exchange.close();
            }
            "/204" => exchange.send("HTTP/1.1 204 No Content\r\n\r\n"),
            "/304" => exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
            "/head" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            _ => exchange.ok(""),
        }
        });
        let server = serve(binary, &origin, PLAIN);
        let mut client = server.client();
        for (target, status, length, chunked) in [
            ("/length", 200, Some("5"), false),
            ("/chunked", 200, None, true),
            ("/close", 200, None, true),
            ("/old", 200, None, true),
        ] {
            let response = client.get(target);
            assert_eq!((response.status, response.text().as_str()), (status, "hello"), "{target}");
            assert_eq!(
                (response.header("content-length"), response.is_chunked()),
                (length, chunked),
                "{target}"
            );
        }
        assert_eq!(client.get("/204").status, 204);
        let unchanged = client.get("/304");
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"x\"")));
        let head = client.request("HEAD", "/head", &[], b"");
        assert_eq!(head.header("content-length"), Some("5"));
        assert_eq!(client.get("/length").text(), "hello");
        let old = server.normal("GET /chunked HTTP/1.0\r\n\r\n");
        assert!(old.ends_with("\r\n\r\nhello") && !old.contains("chunked"), "{old}");
    });
}

#[test]
fn request_bodies_reach_the_upstream() {
    let text = "client_body_buffer_size 4k; client_max_body_size 50m; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
        location / { proxy_pass http://%%ORIGIN%%; } location /stream { proxy_pass http://%%ORIGIN%%; proxy_request_buffering off; }";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let server = serve(binary, &origin, text);
        for target in ["/", "/stream"] {
            for size in [0, 1, 4096, 4097, 70_000, 3_000_000] {
                let body: Vec<u8> = (0..size).map(|n: usize| (n * 7 + n / 256) as u8).collect();
                assert!(server.post(target, &body).body == body, "{target} {size}");
                assert_eq!(origin.last().header("content-length").unwrap_or("0"), size.to_string());
            }
            let mut client = server.client();
            client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
            client.send("5\r\nhello\r\n");
            client.send("6\r\n world\r\n0\r\n\r\n");
            assert_eq!(client.response().text(), "hello world", "{target}");
        }
        let entries = std::fs::read_dir(server.path("temp/body")).map_or(0, |entries| entries.count());
        assert_eq!(entries, 0, "temporary files of bodies are gone");
    });
}

#[test]
fn a_streamed_body_reaches_the_upstream_before_it_ends() {
    each(|binary| {
        let seen = Gate::new();
        let opens = seen.clone();
        let origin = Origin::wires(move |wire| {
            let Ok(Some(_)) = wire.read_request_head() else { return };
            if wire.read_through(b"first").is_ok() {
                opens.open();
            }
            let _ = wire.read_through(b"last");
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_request_buffering off; proxy_http_version 1.1; }";
        let server = serve(binary, &origin, text);
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst");
        assert!(seen.pass(), "the upstream should have the first part by now");
        client.send("last");
        assert_eq!(client.response().text(), "ok");
    });
}

#[test]
fn an_unbuffered_response_reaches_the_client_before_it_ends() {
    for (text, field) in [
        ("location / { proxy_pass http://%%ORIGIN%%; proxy_buffering off; proxy_http_version 1.1; }", ""),
        (PLAIN, "X-Accel-Buffering: no\r\n"),
    ] {
        each(|binary| {
            let got = Gate::new();
            let waits = got.clone();
            let origin = Origin::new(move |exchange| {
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\n{field}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                ));
                waits.pass();
                exchange.send("4\r\nlast\r\n0\r\n\r\n");
            });
            let server = serve(binary, &origin, text);
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let head = client.wire().read_through(b"\r\n\r\n").expect("a head");
            assert!(!normal(&head, 0).contains("X-Accel"), "not for clients");
            assert_eq!(client.wire().read_through(b"first\r\n").expect("the first part"), b"5\r\nfirst\r\n");
            got.open();
            assert_eq!(
                client.wire().read_through(b"0\r\n\r\n").expect("the rest"),
                b"4\r\nlast\r\n0\r\n\r\n"
            );
        });
    }
}

#[test]
fn a_slow_client_holds_no_upstream() {
    let text = "proxy_buffers 8 8k; proxy_max_temp_file_size 100m;\n\
        location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; }";
    each(|binary| {
        let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = Gate::new();
        let (answer, done) = (body.clone(), sent.clone());
        let origin = Origin::new(move |exchange| {
            exchange.ok(&answer);
            done.open();
        });
        let server = serve(binary, &origin, text);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read(10);
        // Far more than sockets hold is with the server now, while the client has read ten bytes.
        assert!(sent.pass(), "the upstream should be done");
        let rest = client.read(body.len());
        assert!(body.windows(64).next() == rest.windows(64).find(|w| *w == &body[..64]), "the body begins");
        server.error_log().wait_for("an upstream response is buffered to a temporary file");
    });
}

#[test]
fn redirects_are_rewritten() {
    let text = "location /def/ { proxy_pass http://%%ORIGIN%%/up/; } location /off/ { proxy_pass http://%%ORIGIN%%/up/; proxy_redirect off; }\n\
        location /own/ { proxy_pass http://%%ORIGIN%%; proxy_redirect http://inner.example/ /outer/; proxy_redirect ~^http://re\\.example/(.*)$ http://new.example/$1; }\n\
        location /to { proxy_pass http://%%ORIGIN%%; proxy_redirect default; }";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let to = exchange.request.header("x-to").unwrap_or_default().to_owned();
            exchange.send(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
        });
        let server = serve(binary, &origin, text);
        let (here, there) = (server.port(), origin.address());
        for (target, sent, seen) in [
            ("/def/", format!("http://{there}/up/x?y"), format!("http://localhost:{here}/def/x?y")),
            ("/def/", "/up/x".to_owned(), "/up/x".to_owned()),
            ("/def/", "http://other.example/up/".to_owned(), "http://other.example/up/".to_owned()),
            ("/off/", format!("http://{there}/up/x"), format!("http://{there}/up/x")),
            ("/own/", "http://inner.example/a".to_owned(), format!("http://localhost:{here}/outer/a")),
            ("/own/", "http://re.example/a".to_owned(), "http://new.example/a".to_owned()),
            ("/to", format!("http://{there}/x"), format!("http://localhost:{here}/x")),
        ] {
            let response = server.get_with(target, &[("X-To", &sent)]);
            assert_eq!(response.header("location"), Some(seen.as_str()), "{target} {sent}");
        }
    });
}

#[test]
fn intercepted_errors_and_accel_redirect() {
    let text = "proxy_http_version 1.1; error_page 404 /lost; error_page 500 = /fixed; location /lost { return 200 lost; } location /fixed { return 200 fixed; }\n\
        location /i/ { proxy_pass http://%%ORIGIN%%/; proxy_intercept_errors on; } location /n/ { proxy_pass http://%%ORIGIN%%/; }\n\
        location /ign/ { proxy_pass http://%%ORIGIN%%/; proxy_ignore_headers X-Accel-Redirect; }\n\
        location /files/ { internal; alias html/; }";
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%%; {text} }}\n\
        server {{ listen 127.0.0.1:%%PORT_1%%; proxy_http_version 1.1; location / {{ proxy_pass http://%%ORIGIN%%; }} location /files/ {{ internal; }} }}"
    );
    each(|binary| {
        let origin = Origin::new(|exchange| {
            match exchange.request.target.as_str() {
            "/404" => exchange.send("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine"),
            "/500" => exchange.send("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nmine"),
            "/lost" => exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/none\r\nAccept-Ranges: bytes\r\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n"),
            _ => exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/f\r\nContent-Type: x/y\r\nX-Own: o\r\nContent-Length: 4\r\n\r\nmine"),
        }
        });
        let server = serve(binary, &origin, &text);
        server.write("html/f", "the file");
        for (target, status, body) in [
            ("/i/404", 404, "lost"),
            ("/i/500", 200, "fixed"),
            ("/n/404", 404, "mine"),
            ("/n/500", 500, "mine"),
            ("/n/accel", 200, "the file"),
            ("/ign/accel", 200, "mine"),
        ] {
            let response = server.get(target);
            assert_eq!((response.status, response.text().as_str()), (status, body), "{target}");
        }
        let accel = server.get("/n/accel");
        assert_eq!((accel.header("content-type"), accel.header("x-own")), (Some("x/y"), None));
        assert_eq!(server.get("/files/f").status, 404);
        // A page for a status says nothing of the ranges of what the upstream had in mind.
        let page = server.client_on(1).get("/lost");
        assert_eq!((page.status, page.header("accept-ranges")), (404, None));
        assert_eq!(page.header("set-cookie"), Some("c"));
    });
}

#[test]
fn upstream_connections_are_kept_and_reused() {
    let text = "upstream u { server %%ORIGIN%%; keepalive 4; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let line = format!("{}", exchange.nth);
            exchange.ok(line);
        });
        let server = serve(binary, &origin, text);
        for n in 0..10 {
            assert_eq!(server.get("/").text(), n.to_string());
        }
        assert_eq!(origin.connections(), 1);
        // An answer to HEAD leaves the connection usable too.
        assert_eq!(origin.last().header("host"), Some("u"));
    });
}

#[test]
fn a_connection_the_upstream_closes_is_not_reused() {
    let text = "upstream u { server %%ORIGIN%%; keepalive 4; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            match exchange.request.target.as_str() {
                "/said" => {
                    exchange.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                }
                _ => exchange.ok("ok"),
            }
            exchange.close();
        });
        let server = serve(binary, &origin, text);
        for target in ["/said", "/silent", "/said", "/silent"] {
            assert_eq!(server.get(target).text(), "ok");
            origin.wait_open(0);
        }
        assert_eq!(origin.connections(), 4);
    });
}

#[test]
fn upgrade_becomes_a_tunnel() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }";
    each(|binary| {
        let origin = Origin::wires(|wire| {
            let Ok(Some(request)) = wire.read_request() else { return };
            if request.header("upgrade") != Some("echo") || request.header("connection") != Some("upgrade") {
                return;
            }
            let _ = wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nwelcome",
            );
            while let Ok(bytes) = wire.read_some(4096) {
                if bytes.is_empty() || wire.send(bytes).is_err() {
                    return;
                }
            }
        });
        let server = serve(binary, &origin, text);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
        let head = client.wire().read_through(b"\r\n\r\n").expect("a head");
        let head = normal(&head, 0);
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("Upgrade: echo\r\n") && head.contains("Connection: upgrade\r\n"), "{head}");
        assert_eq!(client.read(7), b"welcome");
        for size in [1, 100, 100_000] {
            let data = vec![b'x'; size];
            client.send(&data);
            assert!(client.read(size) == data);
        }
        client.half_close();
        client.expect_close();
        server.access_log().wait_for("\" 101 ");
    });
}

/// Not compared: the oracle is older than nginx's handling of interim responses.
#[test]
fn interim_responses_are_not_the_answer() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::answering(answer);
    for binary in Binary::wanted().into_iter().filter(|b| *b == Binary::Plimsoll) {
        let response = serve(binary, &origin, PLAIN).get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
}

#[test]
fn a_client_that_leaves_ends_the_upstream_request() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; } location /on { proxy_ignore_client_abort on; proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let hold = Gate::new();
        let waits = hold.clone();
        let origin = Origin::new(move |exchange| {
            if exchange.request.target == "/on" {
                waits.pass();
                exchange.ok("late");
            } else {
                // Reads until the proxy has gone.
                let _ = exchange.wire().read_some(1);
                exchange.close();
            }
        });
        let server = serve(binary, &origin, text);
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        drop(client);
        server.access_log().wait_for("\"GET / HTTP/1.1\" 499 0 ");
        origin.wait_open(0);

        let mut client = server.client();
        client.send("GET /on HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(2);
        drop(client);
        hold.open();
        server.access_log().wait_for("\"GET /on HTTP/1.1\" 200 ");
    });
}

#[test]
fn unix_socket_upstreams() {
    each(|binary| {
        let origin = Origin::unix(|exchange| {
            let head = exchange.request.head.clone();
            exchange.ok(head);
        });
        let text = "location / { proxy_pass http://%%ORIGIN%%; } location /uri/ { proxy_pass http://%%ORIGIN%%:/to/; }";
        let server = serve(binary, &origin, text);
        server.get("/x");
        assert_eq!((origin.last().target.as_str(), origin.last().header("host")), ("/x", Some("localhost")));
        server.get("/uri/x");
        assert_eq!(origin.last().target, "/to/x");
    });
}

/// A read that fills its buffer says nothing of what follows: that it was the last must not cost the connection.
#[test]
fn a_body_as_long_as_one_read_leaves_its_connection_reusable() {
    let text = "upstream u { server %%ORIGIN%%; keepalive 4; }\n\
        server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://u; proxy_http_version 1.1; \
        proxy_set_header Connection \"\"; proxy_buffering off; } }";
    each(|binary| {
        let gate = Gate::new();
        let theirs = gate.clone();
        let origin = Origin::new(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n");
            theirs.pass();
            exchange.send([b'x'; 65536]);
        });
        let server = serve(binary, &origin, text);
        for _ in 0..3 {
            let mut client = server.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert_eq!(client.read(15), b"HTTP/1.1 200 OK");
            gate.open();
            assert!(client.read_to_end().ends_with(&[b'x'; 65536]));
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let text = PLAIN.replace("location / {", "location / { client_max_body_size 0;");
        let server = serve(binary, &origin, &text);
        for length in [1, 100, 65_535, 65_536, 300_000] {
            let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut client = server.client();
            client.send(format!(
                "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
            ));
            assert_eq!(client.read(25), b"HTTP/1.1 100 Continue\r\n\r\n");
            let mut bytes = body.clone();
            bytes.extend_from_slice(b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.send(bytes);
            assert!(client.response().body == body, "{length}");
            assert_eq!(client.response().body, b"");
            assert_eq!(origin.last().target, "/2");
        }
    });
}

#[test]
fn a_location_stays_in_its_place_among_the_headers() {
    let text =
        "location / { proxy_pass http://%%ORIGIN%%; proxy_redirect http://a/ http://b/; add_header X-C 3; }";
    each(|binary| {
        for (to, sent) in [("http://c/", "http://c/"), ("http://a/x", "http://b/x"), ("/x", "/x")] {
            let origin = Origin::answering(format!(
                "HTTP/1.1 302 X\r\nX-A: 1\r\nLocation: {to}\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n"
            ));
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            let bytes = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = String::from_utf8_lossy(&bytes);
            let end = format!("X-A: 1\r\nLocation: {sent}\r\nX-B: 2\r\nX-C: 3\r\n\r\n");
            assert!(answer.ends_with(&end), "{answer}");
        }
    });
}

#[test]
fn a_location_stays_in_its_place_when_others_before_it_are_taken_away() {
    let text = "location / { sub_filter a b; expires epoch; proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 302 X\r\nETag: \"e\"\r\nContent-Type: text/html\r\nX-A: 1\r\nLast-Modified: x\r\nLocation: http://c/\r\n\
             X-B: 2\r\nContent-Length: 1\r\n\r\na",
        );
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let bytes = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8_lossy(&bytes);
        assert!(answer.contains("X-A: 1\r\nLocation: http://c/\r\nX-B: 2\r\nExpires: "), "{answer}");
    });
}

#[test]
fn a_location_stays_in_its_place_over_http2() {
    let text = "server { listen 127.0.0.1:%%PORT%% http2; location / { proxy_pass http://%%ORIGIN%%; } }";
    each(|binary| {
        for (to, end) in [
            ("http://c/", "x-a: 1\r\nlocation: http://c/\r\nx-b: 2\r\n\r\n"),
            ("/own", "x-a: 1\r\nlocation: /own\r\nx-b: 2\r\n\r\n"),
        ] {
            let origin = Origin::answering(format!(
                "HTTP/1.1 302 X\r\nX-A: 1\r\nLocation: {to}\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n"
            ));
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            let url = format!("http://127.0.0.1:{}/", server.port());
            let output = Command::new("curl")
                .args(["-si", "--http2-prior-knowledge", &url])
                .output()
                .expect("curl runs");
            let answer = String::from_utf8_lossy(&output.stdout);
            assert!(answer.ends_with(end), "{answer}");
        }
    });
}
