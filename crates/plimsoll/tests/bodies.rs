//! Request bodies: who reads them, where they are kept, what happens to those that nobody wants.
#![forbid(unsafe_code)]

use testkit::{Origin, Server, Site, each, on_both};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A site before an application that sends back what it gets.
fn echoing(text: &str, test: impl Fn(&Server, &Origin)) {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let site = Site::new(text).with("ORIGIN", origin.address());
        test(&binary.serve(site), &origin);
    });
}

fn chunked(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn declared(target: &str, fields: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n")
}

#[test]
fn large_bodies_go_through_a_file() {
    let text = "client_body_buffer_size 1k; client_body_temp_path %%DIR%%/temp/up 1 2; \
                location / { proxy_pass http://%%ORIGIN%%; }";
    echoing(text, |server, origin| {
        let body: Vec<u8> = (0..200_000).map(|i| (i * 31 + i / 257) as u8).collect();
        assert!(server.post("/", &body).body == body);
        let line = server.error_log().wait_for("[warn]");
        assert!(
            line.contains("a client request body is buffered to a temporary file ")
                && line.contains("/temp/up/"),
            "{line}"
        );
        assert_eq!(origin.last().header("content-length"), Some("200000"));
        let left = std::fs::read_dir(server.path("temp/up")).expect("the folder").flatten();
        let files = left.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        assert_eq!(files.count(), 0, "nothing is left behind");
    });
}

#[test]
fn small_bodies_stay_in_memory() {
    let text = "client_body_buffer_size 4k; location / { proxy_pass http://%%ORIGIN%%; }";
    echoing(text, |server, _| {
        for size in [1, 1000, 4096] {
            let body = vec![b'x'; size];
            assert_eq!(server.post("/", &body).body, body);
        }
        assert!(!server.error_log().text().contains("temporary file"), "{}", server.error_log().text());
    });
}

#[test]
fn chunks_become_a_length() {
    echoing("location / { proxy_pass http://%%ORIGIN%%; }", |server, origin| {
        let mut client = server.client();
        client.send(chunked("/", "3;ext=\"1\"\r\nabc\r\n000A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"));
        assert_eq!(client.response().text(), "abc0123456789");
        assert_eq!(origin.last().header("content-length"), Some("13"));
        assert_eq!(origin.last().header("transfer-encoding"), None);
        client.expect_open();
    });
}

#[test]
fn too_large_bodies_are_refused_before_they_are_read() {
    let text = "client_max_body_size 10; location / { proxy_pass http://%%ORIGIN%%; } \
                location /ret { return 200 ok; } \
                location /none { client_max_body_size 0; proxy_pass http://%%ORIGIN%%; }";
    echoing(text, |server, origin| {
        for target in ["/", "/a.txt"] {
            let mut client = server.client();
            client.send(declared(target, "Expect: 100-continue\r\n", 11));
            let response = client.response();
            assert_eq!((response.status, response.header("connection")), (413, Some("close")));
            assert_eq!(server.status(declared(target, "", 11) + "12345678901"), "413");
        }
        server.error_log().wait_for("client intended to send too large body: 11 bytes, client: 127.0.0.1");
        assert_eq!(server.status(chunked("/", "b\r\n12345678901\r\n0\r\n\r\n")), "413");
        server.error_log().wait_for("client intended to send too large chunked body: 0+11 bytes, client: ");
        assert_eq!(server.post("/", "1234567890").text(), "1234567890");
        let large = vec![b'x'; 3_000_000];
        assert!(server.post("/none", &large).body == large);
        assert_eq!(origin.requests().len(), 2);
    });
}

/// A client that goes on sending after its 413 still gets to read it.
#[test]
fn whoever_answers_for_a_refused_body_does_not_get_it() {
    let text = "client_max_body_size 4; error_page 413 = /page; location = /page { proxy_pass http://%%ORIGIN%%; }\n\
        location /chunks { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let requests = [declared("/", "", 5) + "12345", chunked("/chunks", "5\r\n12345\r\n0\r\n\r\n")];
        for (i, request) in requests.into_iter().enumerate() {
            assert_eq!(server.status(request), "200", "{i}");
            let seen = &origin.wait_requests(i + 1)[i];
            assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/page"));
            assert_eq!((seen.header("content-length"), &seen.body[..]), (Some("0"), &b""[..]));
        }
    });
}

#[test]
fn a_refused_client_can_finish_sending() {
    on_both("client_max_body_size 10; location / { return 200 ok; }", |server| {
        for fields in ["", "Connection: close\r\n"] {
            let mut client = server.client();
            client.send(declared("/", fields, 2_000_000));
            for _ in 0..20 {
                client.send(vec![b'x'; 100_000]);
            }
            assert_eq!(client.response().status, 413);
        }
    });
}

#[test]
fn a_client_that_asks_is_told_to_go_on() {
    let text = "location / { return 200 hello; } \
                location /up { proxy_pass http://%%ORIGIN%%; }";
    echoing(text, |server, _| {
        let expect = "Expect: 100-continue\r\n";
        for (target, answer) in [("/", "hello"), ("/up", "12345")] {
            let mut client = server.client();
            for _ in 0..2 {
                client.send(declared(target, expect, 5));
                assert_eq!(client.read(CONTINUE.len()), CONTINUE);
                client.send("12345");
                assert_eq!(client.response().text(), answer);
            }
            client.send(declared(target, expect, 5) + "12345");
            assert_eq!(client.read(CONTINUE.len()), CONTINUE);
            assert_eq!(client.response().text(), answer);
        }
        let old = declared("/up", expect, 5).replace("HTTP/1.1", "HTTP/1.0") + "12345";
        assert_eq!(server.status(old), "200");
        let mut client = server.client();
        client.send(declared("/up", "Expect: something\r\n", 5) + "12345");
        assert_eq!(client.response().text(), "12345");
    });
}

#[test]
fn an_error_is_the_answer_to_who_asks() {
    on_both("location / { return 404; }", |server| {
        let mut client = server.client();
        client.send(declared("/", "Expect: 100-continue\r\n", 5) + "12345");
        assert_eq!(client.response().status, 404);
        assert_eq!(client.get("/").status, 404);
    });
}

#[test]
fn who_is_led_to_an_error_page_is_not_told_to_go_on() {
    let text = "error_page 403 /page; error_page 404 = /page; error_page 410 =200 /page; \
                location /page { return 200 page; } \
                location /403 { deny all; } location /404 { return 404; } location /410 { return 410; }";
    on_both(text, |server| {
        for (target, status, told) in [("/403", 403, false), ("/404", 200, true), ("/410", 200, true)] {
            let mut client = server.client();
            client.send(declared(target, "Expect: 100-continue\r\n", 5) + "12345");
            if told {
                assert_eq!(client.read(CONTINUE.len()), CONTINUE, "{target}");
            }
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (status, "page"), "{target}");
        }
    });
}

#[test]
fn an_empty_body_has_its_file_too() {
    let text = "client_body_in_file_only clean; \
                location / { add_header X-File $request_body_file; proxy_pass http://%%ORIGIN%%; }";
    echoing(text, |server, _| {
        let named = |length: usize| {
            let mut client = server.client();
            client.send(declared("/", "", length) + &"x".repeat(length));
            client.response().header("x-file").map(str::len)
        };
        assert!(named(0).is_some());
        assert!(named(3).is_some());
        assert_eq!(server.get("/").header("x-file"), None);
    });
}

#[test]
fn bodies_nobody_wants_are_skipped() {
    on_both("location / { return 200 $request_method; }", |server| {
        server.write("html/a.txt", "file");
        let mut client = server.client();
        client.send(declared("/", "", 10) + "123");
        assert_eq!(client.response().text(), "POST");
        client.send("4567890GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "GET");
        client.send(chunked("/", "5\r\nGET /\r\n"));
        assert_eq!(client.response().text(), "POST");
        client.send("0\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().text(), "PUT");
    });
}

#[test]
fn broken_chunks_are_an_error_wherever_they_are_read() {
    let text = "location / { return 200 hello; } \
                location /up { proxy_pass http://%%ORIGIN%%; } location /none { return 404; }";
    echoing(text, |server, origin| {
        for (target, status) in [("/", 400), ("/up", 400), ("/none", 404)] {
            let mut client = server.client();
            client.send(chunked(target, "zz\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
            let response = client.response();
            assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{target}");
            client.expect_close();
        }
        let lines = server.error_log().text();
        let broken =
            lines.lines().filter(|l| l.contains("[error]") && l.contains("client sent invalid chunked body"));
        assert_eq!(broken.count(), 3, "{lines}");
        assert_eq!(origin.requests().len(), 0);
    });
}

#[test]
fn a_body_that_ends_early_is_not_answered() {
    echoing("location / { proxy_pass http://%%ORIGIN%%; }", |server, origin| {
        let mut client = server.client();
        client.send(declared("/", "", 10) + "123");
        client.half_close();
        assert_eq!(client.read_to_end(), b"");
        server.access_log().wait_for("\"POST / HTTP/1.1\" 400 0 ");
        server.error_log().wait_for("client prematurely closed connection, client: 127.0.0.1");
        assert_eq!(origin.requests().len(), 0);
    });
}

#[test]
fn a_body_that_stops_is_not_answered() {
    let text = "client_body_timeout 1s; location / { proxy_pass http://%%ORIGIN%%; } \
                location /ret { return 200 ok; }";
    echoing(text, |server, _| {
        let mut client = server.client();
        client.send(declared("/", "", 10) + "123");
        assert_eq!(client.read_to_end(), b"");
        server.access_log().wait_for("\"POST / HTTP/1.1\" 408 0 ");
    });
}

#[test]
fn lingering_waits_for_those_who_send() {
    on_both("lingering_close always; lingering_timeout 2s; location / { return 200 ok; }", |server| {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().text(), "ok");
        // What comes now is read and dropped: without that, the second write would meet a reset.
        for _ in 0..10 {
            client.send(vec![b'x'; 200_000]);
        }
    });
}

#[test]
fn a_broken_request_behind_a_good_one() {
    on_both("location / { return 200 ok; }", |server| {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nBAD\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(client.response().status, 400);
        client.expect_close();
        server.error_log().wait_for(
            "client sent invalid method while reading client pipelined request line, client: 127.0.0.1",
        );
    });
}

#[test]
fn clients_that_time_out_can_be_reset() {
    on_both(
        "client_header_timeout 300ms; client_body_timeout 300ms; lingering_timeout 300ms; \
         reset_timedout_connection on; location / { return 200 ok; } location /read { proxy_pass http://127.0.0.1:1; }",
        |server| {
            let ends = |begun: &str| {
                let mut client = server.client();
                client.send(begun);
                let (bytes, error) = client.wire().read_what_comes();
                (bytes.len(), error.map(|e| e.kind()))
            };
            let reset = Some(std::io::ErrorKind::ConnectionReset);
            assert_eq!(ends(""), (0, None), "who never asked is no failure");
            assert_eq!(ends("GET / HTTP/1.1\r\nHost"), (0, reset));
            assert_eq!(ends("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"), (0, reset));
            assert_eq!(
                ends("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"),
                (0, reset)
            );
            let (bytes, error) = ends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
            assert_eq!((bytes > 0, error), (true, reset), "after its answer, too");
        },
    );
}
