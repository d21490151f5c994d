//! `grpc_pass` and `proxy_http_version 2`: servers that speak HTTP/2.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::http2::{END_HEADERS, END_STREAM, Frames, block, kind};
use testkit::{App, Binary, Gate, Origin, Response, Server, Site, each, serve};

const OK: u8 = 0x88;
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;

/// A server that clients of both HTTP/1 and, at the second port, HTTP/2 can ask.
fn site(app: &str, text: &str) -> Site {
    let log = "log_format f '$uri $status $upstream_status $upstream_trailer_grpc_status'; access_log logs/access.log f;";
    let group = "upstream kept { server %%APP%%; keepalive 8; keepalive_requests 1000; }";
    Site::new(format!(
        "{log} {group} server {{ listen 127.0.0.1:%%PORT%%; {text} }}\n\
         server {{ listen 127.0.0.1:%%PORT_1%% http2; {text} }}"
    ))
    .with("APP", app)
}
fn frames(server: &Server) -> Frames {
    Frames::at(server, 1, &[(4, 1 << 20)])
}
fn trailer<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.trailers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Runs with a gRPC server behind each; skipped without Node.
fn behind(text: &str, test: impl Fn(&Server)) {
    let Some(app) = App::grpc(None) else { return };
    each(|binary| test(&binary.serve(site(app.address(), text))));
}

#[test]
fn unary_calls() {
    behind("location / { grpc_pass grpc://%%APP%%; }", |server| {
        let answer = server.post("/test.Echo/Unary", "\0\0\0\0\x03abc");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"\0\0\0\0\x03abc"[..]));
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!((trailer(&answer, "grpc-status"), trailer(&answer, "x-length")), (Some("0"), Some("8")));
        let answer = server.get("/test.Echo/Unknown");
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")));
        assert_eq!(answer.header("content-length"), Some("0"));
        assert!(server.get("/large").body.len() == 2_000_000);
        let body = "0123456789".repeat(150_000);
        let answer = server.request("POST", "/test.Echo/Unary", &[], body.as_bytes());
        assert_eq!(answer.status, 413);
    });
}

#[test]
fn streams_in_both_directions() {
    behind("client_max_body_size 0; location / { grpc_pass %%APP%%; }", |server| {
        let mut client = frames(server);
        client.request(1, "POST", "/test.Echo/Both", &[("te", "trailers")], false);
        assert_eq!(client.wait(kind::HEADERS, 1).payload[0], OK);
        for part in ["one", "two", "three"] {
            client.send(kind::DATA, 0, 1, part.as_bytes());
            assert_eq!(client.wait(kind::DATA, 1).payload, part.as_bytes());
        }
        client.send(kind::DATA, END_STREAM, 1, b"");
        let end = client.wait(kind::HEADERS, 1);
        assert_eq!(end.flags & END_STREAM, END_STREAM);
        assert_eq!(server.access_log().wait_lines(1), ["/test.Echo/Both 200 200 0"]);
    });
}

#[test]
fn more_than_any_window_comes_back_while_it_goes() {
    behind("client_max_body_size 0; location / { grpc_pass %%APP%%; }", |server| {
        let body = vec![7; 700_000];
        let answer = server.post("/test.Echo/Both", &body);
        assert!(answer.status == 200 && answer.body == body, "{} bytes", answer.body.len());
    });
}

/// What a client of HTTP/1 sends goes on as it comes.
#[test]
fn bodies_are_not_gathered() {
    each(|binary| {
        let began = Gate::new();
        let heard = began.clone();
        let origin = origin(move |frames| {
            let stream = frames.next_request()?;
            let first = frames.wait(kind::DATA, stream);
            heard.open();
            let mut body = first.payload;
            let mut end = first.flags & END_STREAM != 0;
            while !end {
                let part = frames.wait(kind::DATA, stream);
                body.extend(part.payload);
                end = part.flags & END_STREAM != 0;
            }
            answer(frames, stream, &String::from_utf8_lossy(&body))
        });
        let text = "location / { grpc_pass grpc://kept; }";
        let server = binary.serve(site(origin.address(), text));
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
        began.pass();
        client.send("-last");
        assert_eq!(client.response().text(), "first-last");
    });
}

#[test]
fn fields_go_and_come() {
    let text = "location / { grpc_pass grpc://%%APP%%; grpc_set_header X-Set \"$uri!\"; grpc_set_header X-Empty \"\"; \
          grpc_hide_header X-Up; grpc_pass_header Date; }
        location /fields/other { rewrite . \"/fields\"; }
        location /named { grpc_pass grpc://%%APP%%; grpc_set_header Host a.test; rewrite . /fields break; }";
    behind(text, |server| {
        let answer = server.get_with(
            "/fields?a=b%20c",
            &[("X-Empty", "1"), ("X-Mine", "2"), ("TE", "gzip, trailers"), ("Keep-Alive", "9")],
        );
        let app = answer.text();
        let port =
            app.lines().next().and_then(|line| line.split(": ").nth(1)).expect("an authority").to_owned();
        assert_eq!(
            app,
            format!(
                ":authority: {port}\n:method: GET\n:path: /fields?a=b%20c\n:scheme: http\nte: trailers\nx-mine: 2\nx-set: /fields!\n"
            )
        );
        assert_eq!(answer.header("x-up"), None);
        assert!(answer.header("date").is_some());
        let answer = server.request("PUT", "/named", &[], b"12345");
        let text = answer.text();
        // Older ones send it beside the authority.
        assert!(text.contains(": a.test\n") && text.contains("\n:path: /fields\n"), "{text}");
        assert!(text.contains("\ncontent-length: 5\n"), "{text}");
        assert_eq!(answer.header("x-up"), Some("1"));
    });
}

#[test]
fn connections_are_kept() {
    let text = "location / { grpc_pass grpc://kept; } location /named { grpc_pass $arg_to; rewrite . /session break; }";
    behind(text, |server| {
        let first = server.get("/session").text();
        let (session, stream) = first.split_once(' ').expect("two numbers");
        assert_eq!(stream, "1");
        for n in [3, 5] {
            assert_eq!(server.get("/session").text(), format!("{session} {n}"));
        }
        assert_eq!(server.get("/test.Echo/Unknown").status, 200);
        assert_eq!(server.get("/session").text(), format!("{session} 9"));
        assert_eq!(server.get("/named?to=grpc://kept").status, 200);
        assert_eq!(server.get("/named?to=kept").status, 200);
        assert_eq!(server.get("/named?to=unix:").status, 500);
        server.error_log().wait_for("no path in the unix domain socket in upstream \"unix:\"");
    });
}

#[test]
fn several_requests_share_a_connection() {
    let Some(app) = App::grpc(None) else { return };
    let server = serve(site(app.address(), "location / { grpc_pass grpc://kept; }"));
    let first = server.get("/session").text();
    let session = first.split(' ').next().expect("a number").to_owned();
    let mut client = frames(&server);
    // Streams that stay open.
    for stream in [1, 3, 5] {
        client.request(stream, "POST", "/test.Echo/Both", &[], false);
        client.wait(kind::HEADERS, stream);
    }
    assert_eq!(server.get("/session").text(), format!("{session} 9"));
    for stream in [1, 3, 5] {
        client.send(kind::DATA, END_STREAM, stream, b"end");
        assert_eq!(client.wait(kind::DATA, stream).payload, b"end");
    }
}

#[test]
fn what_goes_wrong() {
    let text = "location / { grpc_pass grpc://%%APP%%; grpc_read_timeout 100ms; error_page 503 = /instead; }
        location /intercepted { grpc_pass %%APP%%; grpc_intercept_errors on; error_page 503 = /instead; rewrite . /status break; }
        location /followed { grpc_pass %%APP%%; rewrite . /status break; }
        location /ignored { grpc_pass %%APP%%; grpc_ignore_headers X-Accel-Redirect; rewrite . /status break; }
        location /elsewhere { return 200 elsewhere; } location /instead { return 200 instead; }";
    behind(text, |server| {
        let log = server.error_log();
        assert_eq!(server.get("/reset").status, 502);
        log.wait_for("upstream rejected request with error 11 while reading response header from upstream");
        assert_eq!(server.get("/silent").status, 504);
        // The server alone is named, not the path.
        log.wait_match(
            "upstream timed out \\(110: Connection timed out\\) while reading response header from upstream, .*, \
            upstream: \"grpc://[0-9.:]+\"",
        );
        assert_eq!(server.get("/followed").text(), "elsewhere");
        assert_eq!(server.get("/ignored").status, 503);
        assert_eq!(server.get("/intercepted").text(), "instead");
    });
}

/// What is answered instead is delimited as if nobody had been asked; what has no body has no length.
#[test]
fn nothing_is_left_of_an_answer_that_is_not_used() {
    const NOT_FOUND: u8 = 0x8d;
    const NO_CONTENT: u8 = 0x89;
    each(|binary: Binary| {
        let asked = AtomicU32::new(0);
        let origin = origin(move |frames| {
            while let Some(stream) = frames.next_request() {
                if asked.fetch_add(1, Ordering::Relaxed) > 0 {
                    frames.try_send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[NO_CONTENT]).ok()?;
                    continue;
                }
                frames.try_send(kind::HEADERS, END_HEADERS, stream, &[NOT_FOUND]).ok()?;
                frames.try_send(kind::DATA, 0, stream, b"text").ok()?;
                let trailer = block(&[("grpc-status", "5")]);
                frames.try_send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &trailer).ok()?;
            }
            Some(())
        });
        let text =
            "location / { grpc_pass grpc://kept; grpc_intercept_errors on; error_page 404 = /instead; }
            location = /instead { return 200 instead; }";
        let server = binary.serve(site(origin.address(), text));
        let instead = server.get("/missing");
        assert_eq!((instead.text().as_str(), instead.header("content-length")), ("instead", Some("7")));
        assert_eq!(instead.header("transfer-encoding"), None);
        let empty = server.get("/empty");
        assert_eq!((empty.status, empty.header("content-length")), (204, None));
    });
}

/// An origin that gives its script each connection's frames.
fn origin(script: impl Fn(&mut Frames) -> Option<()> + Send + Sync + 'static) -> Origin {
    Origin::http2(&[], script)
}
/// A whole answer.
fn answer(frames: &mut Frames, stream: u32, body: &str) -> Option<()> {
    frames.try_send(kind::HEADERS, END_HEADERS, stream, &[OK]).ok()?;
    frames.try_send(kind::DATA, END_STREAM, stream, body.as_bytes()).ok()
}

#[test]
fn a_server_that_says_goodbye_is_asked_anew() {
    each(|binary: Binary| {
        let origin = origin(|frames| {
            let stream = frames.next_request()?;
            answer(frames, stream, "ok")?;
            let goodbye = [stream.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
            frames.try_send(kind::GOAWAY, 0, 0, &goodbye).ok()?;
            while frames.next_request().is_some() {}
            Some(())
        });
        let server = binary.serve(site(origin.address(), "location / { grpc_pass grpc://kept; }"));
        for _ in 0..3 {
            assert_eq!(server.get("/").text(), "ok");
        }
        assert_eq!(origin.connections(), 3);
    });
}

/// Whatever their method, and with the whole of their bodies.
#[test]
fn refused_streams_are_tried_again() {
    let origin = origin(|frames| {
        let stream = frames.next_request()?;
        let body = frames.wait(kind::DATA, stream).payload;
        answer(frames, stream, &String::from_utf8_lossy(&body))?;
        while let Some(stream) = frames.next_request() {
            frames.wait(kind::DATA, stream);
            frames.try_send(kind::RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()).ok()?;
        }
        Some(())
    });
    let server = serve(site(origin.address(), "location / { grpc_pass grpc://kept; }"));
    assert_eq!(server.post("/", "first").text(), "first");
    assert_eq!(server.post("/", "second").text(), "second");
    server.error_log().wait_for("upstream rejected request with error 7 while reading response header");
    let mut client = frames(&server);
    client.request(1, "POST", "/", &[], false);
    client.send(kind::DATA, END_STREAM, 1, b"third");
    assert_eq!(client.answer(1), (OK, b"third".into()));
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    each(|binary: Binary| {
        let gate = Gate::new();
        let held = gate.clone();
        let origin = origin(move |frames| {
            let stream = frames.next_request()?;
            frames.try_send(kind::HEADERS, END_HEADERS, stream, &[OK]).ok()?;
            frames.try_send(kind::DATA, 0, stream, b"some").ok()?;
            held.pass();
            frames.try_send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 2]).ok()?;
            while frames.next_request().is_some() {}
            Some(())
        });
        let server = binary.serve(site(origin.address(), "location / { grpc_pass %%APP%%; }"));
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let wire = client.wire();
        wire.read_through(b"some\r\n").expect("the part that came");
        gate.open();
        assert_eq!(wire.read_to_end().expect("the end"), b"");
        let log = server.error_log();
        log.wait_match("upstream rejected request with error 2 while reading upstream, .*\"grpc://127");
    });
}

#[test]
fn a_cancelled_request_leaves_its_connection_to_others() {
    let origin = origin(|frames| {
        let stream = frames.next_request()?;
        frames.try_send(kind::HEADERS, END_HEADERS, stream, &[OK]).ok()?;
        assert_eq!(frames.wait(kind::RST_STREAM, stream).code(), 8);
        while let Some(stream) = frames.next_request() {
            answer(frames, stream, "next")?;
        }
        Some(())
    });
    let server = serve(site(origin.address(), "location / { grpc_pass grpc://kept; }"));
    let mut client = frames(&server);
    client.request(1, "POST", "/", &[], false);
    client.wait(kind::HEADERS, 1);
    client.send(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes());
    assert_eq!(server.access_log().wait_lines(1), ["/ 200 200 -"]);
    server.error_log().wait_for("client prematurely closed connection, so upstream connection is closed too");
    client.request(3, "GET", "/", &[], true);
    assert_eq!(client.answer(3), (OK, b"next".into()));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_may_come_before_the_question_ends() {
    let origin = origin(|frames| {
        while let Some(stream) = frames.next_request() {
            answer(frames, stream, "early")?;
            frames.try_send(kind::RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes()).ok()?;
        }
        Some(())
    });
    let server =
        serve(site(origin.address(), "client_max_body_size 0; location / { grpc_pass grpc://kept; }"));
    for _ in 0..3 {
        assert_eq!(server.post("/", vec![b'x'; 400_000]).text(), "early");
    }
}

#[test]
fn a_server_says_how_many_requests_it_takes_at_once() {
    let gate = Gate::new();
    let held = gate.clone();
    // SETTINGS_MAX_CONCURRENT_STREAMS
    let origin = Origin::http2(&[(3, 1)], move |frames| {
        while let Some(stream) = frames.next_request() {
            if stream > 1 {
                held.pass();
            }
            answer(frames, stream, "ok")?;
        }
        Some(())
    });
    let server = serve(site(origin.address(), "location / { grpc_pass grpc://kept; }"));
    assert_eq!(server.get("/").text(), "ok");
    let mut client = frames(&server);
    client.request(1, "GET", "/", &[], true);
    client.request(3, "GET", "/", &[], true);
    // The second has a connection of its own.
    assert_eq!(client.answer(3), (OK, b"ok".into()));
    assert_eq!(origin.connections(), 2);
    gate.open();
    assert_eq!(client.answer(1), (OK, b"ok".into()));
}

#[test]
fn a_connection_that_fell_silent_is_given_up() {
    each(|binary: Binary| {
        let origin = origin(|frames| {
            let stream = frames.next_request()?;
            answer(frames, stream, "ok")?;
            while frames.next_request().is_some() {}
            Some(())
        });
        let text = "location / { grpc_pass grpc://kept; grpc_read_timeout 100ms; }";
        let server = binary.serve(site(origin.address(), text));
        for status in [200, 504, 200, 504] {
            assert_eq!(server.get("/").status, status);
        }
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn connections_do_not_rest_for_ever() {
    each(|binary: Binary| {
        let origin = origin(|frames| {
            while let Some(stream) = frames.next_request() {
                answer(frames, stream, "ok")?;
            }
            Some(())
        });
        let group = "upstream short { server %%APP%%; keepalive 1; keepalive_timeout 100ms; }
            upstream few { server %%APP%%; keepalive 1; keepalive_requests 2; keepalive_timeout 9s; }";
        let text = format!(
            "{group} server {{ listen 127.0.0.1:%%PORT%%; location /short {{ grpc_pass short; }} location /few {{ grpc_pass few; }} }}"
        );
        let server = binary.serve(Site::new(text).with("APP", origin.address()));
        assert_eq!(server.get("/short").text(), "ok");
        origin.wait_open(0);
        for _ in 0..4 {
            assert_eq!(server.get("/few").text(), "ok");
        }
        origin.wait_open(0);
        assert_eq!(origin.connections(), 3);
    });
}

#[test]
fn heads_have_a_limit() {
    each(|binary: Binary| {
        let origin = origin(|frames| {
            let stream = frames.next_request()?;
            let long = "x".repeat(6000);
            let mut head = vec![OK];
            head.extend(block(&[("x-long", &long)]));
            frames.try_send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &head).ok()?;
            while frames.next_request().is_some() {}
            Some(())
        });
        let text = "location / { grpc_pass %%APP%%; grpc_buffer_size 4k; } location /more { grpc_pass %%APP%%; grpc_buffer_size 8k; }";
        let server = binary.serve(site(origin.address(), text));
        assert_eq!(server.get("/").status, 502);
        server.error_log().wait_match(
            "upstream sent too (big header|large http2 header value length: 6000) while reading response header",
        );
        assert_eq!(server.get("/more").status, 200);
    });
}

#[test]
fn proxies_speak_it_too() {
    let Some(app) = App::grpc(None) else { return };
    let text = "proxy_http_version 2; proxy_pass_trailers on; client_max_body_size 10m;\n\
        location / { proxy_pass http://kept; proxy_set_header X-Set 1; }\n\
        location /uri/ { proxy_pass http://kept/fields?; proxy_set_body given; proxy_method PUT; }\n\
        location /without { proxy_pass http://kept/; proxy_pass_trailers off; }";
    let server = serve(site(app.address(), text));
    let fields = ":authority: kept\n:method: GET\n:path: /fields\n:scheme: http\nx-set: 1\n";
    assert_eq!(server.get("/fields").text(), fields);
    assert!(server.get("/uri/").text().contains("\n:path: /fields?"), "{}", server.get("/uri/").text());
    let body = vec![9; 300_000];
    for _ in 0..2 {
        let answer = server.post("/test.Echo/Unary", &body);
        assert!(answer.body == body);
        assert_eq!(trailer(&answer, "grpc-status"), Some("0"));
    }
    assert_eq!(trailer(&server.get("/without"), "grpc-status"), None);
    // One connection had them all.
    assert!(server.get("/session").text().ends_with(" 11"));
}

#[test]
fn over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (key, certificate) in [("key", "crt"), ("other.key", "other.crt")] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-days", "3650", "-subj", "/CN=up.test", "-keyout", key, "-out", certificate])
            .current_dir(folder.path())
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let Some(app) = App::grpc(Some((&folder.path().join("key"), &folder.path().join("crt")))) else { return };
    let text = "location / { grpc_pass grpcs://kept; grpc_ssl_server_name on; grpc_ssl_name up.test; }
        location /other { grpc_pass grpcs://%%APP%%; grpc_ssl_protocols TLSv1.2; }
        location /stranger { grpc_pass grpcs://%%APP%%; grpc_ssl_verify on; grpc_ssl_trusted_certificate other.crt; }
        location /plain { grpc_pass %%APP%%; } location /variable { grpc_pass $arg_scheme://%%APP%%; }";
    let other = std::fs::read(folder.path().join("other.crt")).expect("a certificate");
    each(|binary: Binary| {
        let server = binary.serve(site(app.address(), text).file("other.crt", &other));
        for _ in 0..2 {
            let answer = server.post("/test.Echo/Unary", "abc");
            assert_eq!((answer.text(), trailer(&answer, "grpc-status")), ("abc".into(), Some("0")));
        }
        assert!(server.get("/session").text().ends_with(" 5"));
        assert_eq!(server.get("/other").text(), "/other");
        assert_eq!(server.get("/variable?scheme=grpcs").text(), "/variable?scheme=grpcs");
        assert_eq!(server.get("/stranger").status, 502);
        let log = server.error_log();
        log.wait_match("upstream SSL certificate verify error: .* while SSL handshaking to upstream, .*upstream: \"grpcs:");
        assert_eq!(server.get("/plain").status, 502);
    });
}

#[test]
fn other_servers_are_asked() {
    each(|binary: Binary| {
        let refusing = origin(|frames| {
            while let Some(stream) = frames.next_request() {
                frames.try_send(kind::RST_STREAM, 0, stream, &[0, 0, 0, 2]).ok()?;
            }
            Some(())
        });
        let good = origin(|frames| {
            while let Some(stream) = frames.next_request() {
                answer(frames, stream, "good")?;
            }
            Some(())
        });
        let text = "location / { grpc_pass both; grpc_next_upstream error timeout invalid_header; }
            location /once { grpc_pass both; }";
        let group = "upstream both { server %%BAD%% max_fails=0; server %%GOOD%% backup; }";
        let log = "log_format f '$uri $status $upstream_status'; access_log logs/access.log f;";
        let site = Site::new(format!("{group} {log} server {{ listen 127.0.0.1:%%PORT%%; {text} }}"));
        let server = binary.serve(site.with("BAD", refusing.address()).with("GOOD", good.address()));
        assert_eq!(server.get("/").text(), "good");
        assert_eq!(server.get("/once").status, 502);
        assert_eq!(server.post("/", "body").status, 502);
        let lines = ["/ 200 502, 200", "/once 502 502", "/ 502 502"];
        assert_eq!(server.access_log().wait_lines(3), lines);
    });
}

#[test]
fn what_is_written_wrong_is_refused() {
    for (text, error) in [
        ("grpc_pass grpc://;", "no host in upstream \"\""),
        ("grpc_pass unix:;", "no path in the unix domain socket in upstream \"unix:\""),
        ("grpc_pass 127.0.0.1;", "no port in upstream \"127.0.0.1\""),
        ("grpc_pass 127.0.0.1:1; grpc_pass 127.0.0.1:2;", "\"grpc_pass\" directive is duplicate"),
        ("grpc_next_upstream sometimes;", "invalid value \"sometimes\""),
    ] {
        each(|binary: Binary| {
            let exit = binary.refuses(format!("location / {{ {text} }}"));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        });
    }
}
