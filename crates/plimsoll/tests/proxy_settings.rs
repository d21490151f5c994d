//! The rarer directives of the reverse proxy: cookies' attributes, local addresses, ranges, rates.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Server, Site, each};

fn serve(binary: Binary, origin: &Origin, text: &str) -> Server {
    binary.serve(Site::new(text).with("ORIGIN", origin.address()))
}

#[test]
fn attributes_of_cookies() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_cookie_domain one.example two.example; proxy_cookie_path /in/ /out/;\n\
        proxy_cookie_flags one nosecure samesite=strict; proxy_cookie_flags ~^Two secure httponly $arg_f; }\n\
        location /off { proxy_pass http://%%ORIGIN%%; proxy_cookie_flags off; }";
    each(|binary| {
        let cookies = "one=1;Domain=.One.Example;  path = /in/x ; Secure; samesite=Lax\r\nSet-Cookie: two=2; HTTPONLY; SameSite=none\r\n\
            Set-Cookie: three=3;path=/;Secure\r\nSet-Cookie: bare; path=/in/";
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: {cookies}\r\nContent-Length: 0\r\n\r\n"
        ));
        let server = serve(binary, &origin, text);
        assert_eq!(
            server.get("/?f=nosamesite").all("set-cookie"),
            [
                "one=1; Domain=.two.example; path=/out/x; SameSite=Strict",
                "two=2; HTTPONLY; Secure",
                "three=3;path=/;Secure",
                "bare; path=/in/",
            ]
        );
        assert_eq!(server.get("/off").all("set-cookie")[1], "two=2; HTTPONLY; SameSite=none");
    });
}

#[test]
fn connections_come_from_where_they_are_told_to() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_bind 127.0.0.9; }\n\
        location /var { proxy_pass http://%%ORIGIN%%; proxy_bind $arg_from; } location /off { proxy_pass http://%%ORIGIN%%; proxy_bind off; }";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let peer = exchange.wire().peer_ip();
            exchange.ok(peer);
        });
        let server = serve(binary, &origin, text);
        assert_eq!(server.get("/").text(), "127.0.0.9");
        assert_eq!(server.get("/var?from=127.0.0.8").text(), "127.0.0.8");
        assert_eq!(server.get("/var").text(), "127.0.0.1");
        assert_eq!(server.get("/var?from=nowhere").text(), "127.0.0.1");
        assert!(!server.error_log().wait_for("invalid local address \"nowhere\"").is_empty());
        assert_eq!(server.get("/off").text(), "127.0.0.1");
        // Somebody else's address: ours is the fault, and nobody else is asked.
        assert_eq!(server.get("/var?from=192.0.2.1").status, 500);
        let told =
            "bind(192.0.2.1) failed (99: Cannot assign requested address) while connecting to upstream";
        assert!(server.error_log().wait_for(told).contains("[crit]"));
        assert_eq!(server.get("/var?from=192.0.2.1:7").status, 500);
        server.error_log().wait_for("bind(192.0.2.1:7) failed (99:");
    });
}

#[test]
fn ranges_of_an_answer_are_cut_where_forced() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_force_ranges on; } location /not { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"t\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: none\r\n\r\n0123456789",
        );
        let server = serve(binary, &origin, text);
        let part = server.get_with("/", &[("Range", "bytes=2-4")]);
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
        assert_eq!(server.get_with("/", &[("Range", "bytes=2-4,6-7")]).text(), "0123456789");
        assert_eq!(server.get_with("/", &[("Range", "bytes=20-")]).status, 416);
        assert_eq!(server.get("/").all("accept-ranges"), ["bytes"]);
        let whole = server.get_with("/not", &[("Range", "bytes=2-4")]);
        assert_eq!((whole.status, whole.all("accept-ranges")), (200, vec!["none"]));
        // What a condition means is the upstream's business.
        let conditional = server.get_with(
            "/",
            &[("If-None-Match", "\"t\""), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        );
        assert_eq!(conditional.status, 200);
    });
}

#[test]
fn an_answer_is_read_no_faster_than_told() {
    let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_limit_rate 150k; } location /free { proxy_pass http://%%ORIGIN%%; proxy_limit_rate 0; }";
    each(|binary| {
        let origin = Origin::new(|exchange| exchange.ok(vec![b'x'; 230_000]));
        let server = serve(binary, &origin, text);
        assert_eq!(server.get("/free").body.len(), 230_000);
        let began = std::time::Instant::now();
        assert_eq!(server.get("/").body.len(), 230_000);
        // nginx counts whole seconds of the clock: one may begin at any time.
        assert!(binary == Binary::Nginx || began.elapsed().as_millis() >= 400, "the rest comes later");
    });
}

#[test]
fn what_is_written_wrong_is_refused() {
    for (text, error) in [
        ("proxy_bind nowhere;", "invalid address \"nowhere\""),
        ("proxy_bind 127.0.0.1 opaque;", "invalid parameter \"opaque\""),
        ("proxy_cookie_flags on;", "invalid parameter \"on\""),
        (
            "proxy_cookie_flags a secure; proxy_cookie_flags off;",
            "\"proxy_cookie_flags\" directive is duplicate",
        ),
    ] {
        each(|binary| {
            let exit = binary.refuses(format!("server {{ listen 127.0.0.1:%%PORT%%; {text} }}"));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        });
    }
}

#[test]
fn what_follows_a_body_goes_on() {
    let text = "log_format t '$upstream_trailer_x_sum $sent_trailer_x_sum'; server { listen %%PORT%%; access_log logs/t.log t; proxy_buffer_size 1k; proxy_buffers 4 1k; proxy_busy_buffers_size 2k;\n\
        location / { proxy_pass http://%%ORIGIN%%; proxy_pass_trailers on; proxy_hide_header X-Hidden; add_trailer X-Own o; }\n\
        location /not { proxy_pass http://%%ORIGIN%%; } }";
    let origin = Origin::new(|exchange| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
        let trailers = match exchange.request.target.as_str() {
            "/big" => format!("X-Sum: {}\r\n\r\n", "y".repeat(1024)),
            "/bad" => "X-Sum: 1\r\nX Bad\u{1}y: 2\r\n\r\n".into(),
            _ => "X-Sum: 7\r\nX-Hidden: h\r\n\r\n".into(),
        };
        exchange.send(format!("{head}{trailers}"));
    });
    let server = Binary::Plimsoll.serve(Site::new(text).with("ORIGIN", origin.address()));
    let answer = |path: &str, version: &str| {
        let request = format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        String::from_utf8_lossy(&server.raw(request)).into_owned()
    };
    assert!(answer("/", "1.1").ends_with("\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Own: o\r\n\r\n"));
    assert!(answer("/", "1.0").ends_with("\r\n\r\nok"));
    assert!(answer("/not", "1.1").ends_with("\r\n2\r\nok\r\n0\r\n\r\n"));
    for (path, what) in [
        ("/big", "upstream sent too big trailers while reading upstream"),
        ("/bad", "upstream sent invalid trailer: \"X\\x20...\" while reading upstream"),
    ] {
        assert!(!answer(path, "1.1").ends_with("0\r\n\r\n"), "{path}");
        server.error_log().wait_for(what);
    }
    server.log("logs/t.log").wait_for("7 7");
    server.log("logs/t.log").wait_for("- -");
}

#[test]
fn only_some_servers_may_be_asked() {
    let text = "geo $upstream_last_addr $may { volatile; 127.0.0.2 1; }\n\
        upstream both { server 127.0.0.1:%%OPORT%%; server 127.0.0.2:%%OPORT%%; }\n\
        server { listen %%PORT%%; proxy_allow_upstream $may; location / { proxy_pass http://both; proxy_next_upstream denied; }\n\
        location /one { proxy_pass http://127.0.0.1:%%OPORT%%; } location /any { proxy_allow_upstream 1 $arg_too; proxy_pass http://127.0.0.1:%%OPORT%%; } }";
    let origin = Origin::echo();
    let server = Binary::Plimsoll.serve(Site::new(text).with("OPORT", origin.port()));
    assert_eq!(server.get("/one").status, 502);
    server.error_log().wait_for("access to upstream was denied while connecting to upstream");
    assert_eq!(
        (server.get("/any").status, server.get("/any?too=0").status, server.get("/any?too=1").status),
        (502, 502, 200)
    );
    let refused = server.get("/").status;
    // The second server is another loopback address that nobody listens on: what was denied goes on to it.
    assert_eq!(refused, 502);
    server.error_log().wait_for("connect() failed (111: Connection refused) while connecting to upstream");
}
