//! HTTP/1 as clients speak it: connections, framing of requests and responses.
#![forbid(unsafe_code)]

use testkit::{Origin, Site, each, eventually, normal, on_both};

const HELLO: &str = "location / { return 200 hello; }";

#[test]
fn the_whole_of_a_response() {
    on_both(HELLO, |server| {
        let bytes = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(
            normal(&bytes, server.port()),
            "HTTP/1.1 200 OK\r\nServer: SERVER\r\nDate: DATE\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
             Connection: close\r\n\r\nhello"
        );
    });
}

#[test]
fn date_and_server_are_well_formed() {
    on_both(HELLO, |server| {
        let response = server.get("/");
        let date = response.header("date").unwrap_or_default();
        assert_eq!(date.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len(), "{date}");
        assert!(date.ends_with(" GMT"), "{date}");
        let name = response.header("server").unwrap_or_default();
        assert!(name.starts_with(&format!("{}/", server.binary().name())), "{name}");
    });
}

#[test]
fn server_tokens_off_leaves_the_name() {
    on_both("server_tokens off; location /x { return 404; }", |server| {
        let response = server.get("/x");
        assert_eq!(response.header("server"), Some(server.binary().name()));
        assert_eq!(response.text(), testkit::error_page(server.binary(), "404 Not Found"));
    });
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    on_both(HELLO, |server| {
        let mut client = server.client();
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!(response.head.lines().next(), Some("HTTP/1.1 200 OK"));
            assert_eq!(response.header("connection"), Some("keep-alive"));
            assert_eq!(response.text(), "hello");
        }
    });
}

#[test]
fn close_is_honoured_and_said() {
    on_both(HELLO, |server| {
        for value in ["close", "Close", "CLOSE"] {
            let mut client = server.client();
            let response = client.request("GET", "/", &[("Connection", value)], b"");
            assert_eq!(response.header("connection"), Some("close"));
            client.expect_close();
        }
    });
}

#[test]
fn http_1_0_closes_unless_keep_alive_is_asked_for() {
    on_both(HELLO, |server| {
        let answer = server.normal("GET / HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");

        let mut client = server.client();
        for _ in 0..2 {
            client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            assert_eq!(client.response().header("connection"), Some("keep-alive"));
        }
    });
}

#[test]
fn http_0_9_gets_a_body_only() {
    on_both(HELLO, |server| assert_eq!(server.raw("GET /\r\n"), b"hello"));
}

#[test]
fn keepalive_requests_ends_a_connection() {
    on_both("keepalive_requests 3; location / { return 200 hello; }", |server| {
        let mut client = server.client();
        assert_eq!(client.get("/").header("connection"), Some("keep-alive"));
        assert_eq!(client.get("/").header("connection"), Some("keep-alive"));
        assert_eq!(client.get("/").header("connection"), Some("close"));
        client.expect_close();
    });
}

#[test]
fn keepalive_timeout_has_a_header_and_an_end() {
    on_both("keepalive_timeout 1s 7; location / { return 200 hello; }", |server| {
        let mut client = server.client();
        let response = client.get("/");
        assert_eq!(response.header("keep-alive"), Some("timeout=7"));
        client.expect_close();
    });
}

#[test]
fn keepalive_timeout_zero_closes() {
    on_both("keepalive_timeout 0; location / { return 200 hello; }", |server| {
        let mut client = server.client();
        assert_eq!(client.get("/").header("connection"), Some("close"));
        client.expect_close();
    });
}

#[test]
fn keepalive_time_ends_an_old_connection() {
    on_both("keepalive_time 100ms; location / { return 200 hello; }", |server| {
        let mut client = server.client();
        let mut last = String::new();
        eventually("a response with Connection: close", || {
            last = client.get("/").header("connection").unwrap_or_default().to_owned();
            last == "close"
        });
        client.expect_close();
    });
}

#[test]
fn keepalive_can_be_disabled_by_browser() {
    on_both("keepalive_disable msie6; location / { return 200 hello; }", |server| {
        let msie6 = ("User-Agent", "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)");
        let mut client = server.client();
        client.request("POST", "/", &[msie6], b"x");
        client.expect_close();
    });
    on_both("keepalive_disable safari; location / { return 200 hello; }", |server| {
        let kept = |agent| {
            let answer = server.client().request("GET", "/", &[("User-Agent", agent)], b"");
            answer.header("connection") == Some("keep-alive")
        };
        assert!(!kept("Mozilla/5.0 (Macintosh; Intel Mac OS X 10) Safari/605"));
        for other in [
            "Safari/605",
            "Mac OS X Chrome/1 Safari/605",
            "Mac OS X Gecko/1 Safari/605",
            "Mac OS X MSIE 7.0 Safari/605",
        ] {
            assert!(kept(other), "{other}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_both("location / { return 200 $uri; }", |server| {
        let mut client = server.client();
        let one = |n: usize| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send((0..200).map(one).collect::<String>());
        for n in 0..200 {
            assert_eq!(client.response().text(), format!("/{n}"));
        }
        client.expect_open();
    });
}

#[test]
fn pipelined_requests_with_bodies_that_nobody_reads() {
    on_both(HELLO, |server| {
        let mut client = server.client();
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET \
             POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nGET \r\n0\r\nT: v\r\n\r\n\
             GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        for _ in 0..3 {
            assert_eq!(client.response().text(), "hello");
        }
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    on_both("location / { return 200 $http_x; }", |server| {
        let mut client = server.client();
        client.send_slowly("GET /a HTTP/1.1\r\nHost: a\r\nX: some value\r\n\r\n");
        assert_eq!(client.response().text(), "some value");
        client.send_slowly("\r\nGET /a HTTP/1.1\nHost: a\nX:  more \n\n");
        assert_eq!(client.response().text(), "more");
    });
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    on_both("", |server| {
        server.write("html/a.txt", "12345");
        for target in ["/a.txt", "/none", "/"] {
            let mut client = server.client();
            let get = client.get(target);
            let head = client.request("HEAD", target, &[], b"");
            assert_eq!(normal(head.head.as_bytes(), 0), normal(get.head.as_bytes(), 0));
            client.expect_open();
        }
    });
}

#[test]
fn expect_100_continue_is_answered_when_the_body_is_wanted() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let site = Site::new("location / { proxy_pass http://%%ORIGIN%%; } location /no { return 200 no; }");
        let server = binary.serve(site.with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.read(25), b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        assert_eq!(client.response().text(), "hello");

        let refused = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n";
        assert_eq!(server.status(refused), "413");
    });
}

#[test]
fn an_absolute_target_names_the_host() {
    on_both("location / { return 200 \"$host $uri $args $request_uri\"; }", |server| {
        let mut client = server.client();
        client.send("GET http://Example.ORG:81/p/q?x=1 HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!(client.response().text(), "example.org /p/q x=1 /p/q?x=1");
        client.send("GET http://example.org HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!(client.response().text(), "example.org /  /");
        client.send("GET http://example.org?x HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!(client.response().text(), "example.org / x ?x");
    });
}

#[test]
fn the_host_header_without_port_dot_and_case() {
    on_both("location / { return 200 $host; }", |server| {
        for (sent, host) in
            [("EXAMPLE.org:8080", "example.org"), ("example.org.", "example.org"), ("[::1]:80", "[::1]")]
        {
            assert_eq!(server.get_with("/", &[("Host", sent)]).text(), host);
        }
    });
}

#[test]
fn header_names_with_underscores_or_strange_bytes_are_ignored() {
    let text = "location / { return 200 \"[$http_a_b][$http_c_d]\"; }";
    let fields =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA_B: one\r\nC-D: two\r\nX.Y: three\r\n\r\n";
    on_both(text, |server| assert!(server.normal(fields).ends_with("[][two]")));
    let allowed = format!("underscores_in_headers on; {text}");
    on_both(allowed.as_str(), |server| assert!(server.normal(fields).ends_with("[one][two]")));
    let strict = format!("ignore_invalid_headers off; {text}");
    on_both(strict.as_str(), |server| assert!(server.normal(fields).contains("[two]")));
}

#[test]
fn each_server_reads_heads_its_own_way_from_its_name_on() {
    let text = "log_format m '$request_method $status $request_length'; access_log logs/access.log m; \
        server { listen 127.0.0.1:%%PORT%%; client_header_buffer_size 64; large_client_header_buffers 2 1k; \
          location / { return 200 \"[$http_a_b][$http_c_d]\"; } } \
        server { listen 127.0.0.1:%%PORT%%; server_name b; underscores_in_headers on; \
          large_client_header_buffers 4 4k; location / { return 200 \"b[$http_a_b][$http_c_d]\"; } } \
        server { listen 127.0.0.1:%%PORT%%; server_name ~^re(?<number>\\d+)$; location / { return 200 [$number]; } }";
    on_both(text, |server| {
        let ask = |lines: &str| server.normal(format!("{lines}Connection: close\r\n\r\n"));
        let answers = [
            ("GET / HTTP/1.1\r\nHost: b\r\nA_B: 1\r\nC-D: 2\r\n", "b[1][2]"),
            ("GET / HTTP/1.1\r\nA_B: 1\r\nHost: b\r\nC-D: 2\r\n", "b[][2]"),
            ("GET / HTTP/1.1\r\nHost: a\r\nA_B: 1\r\nC-D: 2\r\n", "[][2]"),
            ("GET http://b/ HTTP/1.1\r\nA_B: 1\r\nHost: a\r\n", "b[1][]"),
            ("GET / HTTP/1.1\r\nHost: re12\r\n", "[12]"),
            ("GET http://re34/ HTTP/1.1\r\nHost: a\r\n", "[34]"),
        ];
        for (lines, answer) in answers {
            let got = ask(lines);
            assert!(got.ends_with(answer), "{lines}: {got}");
        }
        let long = "x".repeat(2000);
        let statuses = [
            (format!("GET / HTTP/1.1\r\nHost: b\r\nX: {long}\r\n\r\n"), "200"),
            (format!("GET / HTTP/1.1\r\nX: {long}\r\nHost: b\r\n\r\n"), "400"),
            (format!("GET http://b/ HTTP/1.1\r\nX: {long}\r\nHost: a\r\n\r\n"), "200"),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), "400"),
            (format!("GET /{long} HTTP/1.1\r\nHost: b\r\n\r\n"), "414"),
            (format!("\r\nGET /{long} HTTP/1.1\r\nHost: b\r\n\r\n"), "414"),
        ];
        for (bytes, status) in statuses {
            let bytes = bytes.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            assert_eq!(server.status(bytes), status);
        }
        server.access_log().wait_for("- 414 0");
    });
}

#[test]
fn connections_that_break_are_told_by_what_was_under_way() {
    on_both("location / { return 200 hello; }", |server| {
        let mut half = server.client();
        half.send("GET /half HTTP/1.1\r\n");
        server.get("/");
        half.reset();
        server
            .error_log()
            .wait_for("recv() failed (104: Connection reset by peer) while reading client request");
        let line = server.access_log().wait_for("/half");
        assert!(line.contains(" 400 0 "), "{line}");
        let mut kept = server.client();
        kept.get("/");
        kept.reset();
        server.error_log().wait_for("closed keepalive connection (104: Connection reset by peer)");
    });
}

#[test]
fn a_repeated_header_is_joined_in_its_variable() {
    on_both("location / { return 200 $http_x; }", |server| {
        let response = server.get_with("/", &[("X-Forwarded-For", "1"), ("X", "a"), ("X", "b")]);
        // nginx joins them since 1.23.0; the installed oracle may be older.
        assert!(["a, b", "a"].contains(&response.text().as_str()), "{}", response.text());
    });
}

#[test]
fn slow_headers_time_out() {
    on_both("client_header_timeout 1s; location / { return 200 x; }", |server| {
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost:");
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        server.access_log().wait_for("\" 408 ");
    });
}

#[test]
fn a_slow_body_times_out() {
    each(|binary| {
        let origin = Origin::echo();
        let site = Site::new("client_body_timeout 1s; location / { proxy_pass http://%%ORIGIN%%; }");
        let server = binary.serve(site.with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        server.access_log().wait_for("\" 408 ");
        assert_eq!(origin.requests().len(), 0);
    });
}

#[test]
fn a_client_that_stops_reading_is_given_up() {
    on_both("send_timeout 1s; sendfile on;", |server| {
        server.write("html/big", vec![b'x'; 20 << 20]);
        let mut client = server.client();
        client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read(1000);
        server.access_log().wait_for("GET /big");
    });
}

#[test]
fn a_body_nobody_reads_is_read_away_so_that_the_answer_arrives() {
    on_both("location / { return 403; }", |server| {
        let body = vec![b'x'; 900_000];
        let mut client = server.client();
        let response = client.request("POST", "/", &[], &body);
        assert_eq!(response.status, 403);
        assert_eq!(client.get("/").status, 403);
    });
}

#[test]
fn two_hundred_connections_at_once() {
    on_both("location / { return 200 $arg_n; }", |server| {
        let mut clients: Vec<_> = (0..200).map(|_| server.client()).collect();
        for round in 0..3 {
            for (n, client) in clients.iter_mut().enumerate() {
                client.send(format!("GET /?n={n}.{round} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            for (n, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.response().text(), format!("{n}.{round}"));
            }
        }
    });
}

#[test]
fn what_keep_alive_says_is_inherited_by_itself() {
    let text = "keepalive_timeout 60s 30s; server { listen %%PORT%%; location / { keepalive_timeout 20s; return 200 x; }\n\
        location /own { keepalive_timeout 20s 10s; return 200 x; } location /none { keepalive_timeout 20s 0; return 200 x; } }";
    on_both(text, |server| {
        let mut client = server.client();
        assert_eq!(client.get("/").header("keep-alive"), Some("timeout=30"));
        assert_eq!(client.get("/own").header("keep-alive"), Some("timeout=10"));
        assert_eq!(client.get("/none").header("keep-alive"), None);
    });
}
