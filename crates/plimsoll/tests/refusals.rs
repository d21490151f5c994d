//! What is refused and how: malformed and ambiguous requests, limits, and the pages that say so.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, PAGES, Site, each, normal, on_both};

/// What follows a request line in the tables.
const REST: &str = "\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn request_lines() {
    on_both("location / { return 200 x; }", |server| {
        let table: Vec<(String, &str)> = [
            ("GET / HTTP/1.1", "200"),
            ("GET /  HTTP/1.1", "200"),
            ("GET  / HTTP/1.1", "200"),
            ("GET / HTTP/1.1 ", "200"),
            ("GET / HTTP/1.2", "200"),
            ("GET / HTTP/2.0", "505"),
            ("GET / HTTP/3.1", "505"),
            ("GET / HTTP/0.9", "400"),
            ("GET / HTTP/1.x", "400"),
            ("GET / HTTP/1", "400"),
            ("GET / http/1.1", "400"),
            ("GET / HTTP", "400"),
            ("GET /a b HTTP/1.1", "400"),
            ("get / HTTP/1.1", "400"),
            ("G@T / HTTP/1.1", "400"),
            ("G_T-X / HTTP/1.1", "200"),
            ("TRACE / HTTP/1.1", "405"),
            ("GET a HTTP/1.1", "400"),
            ("GET * HTTP/1.1", "400"),
            ("OPTIONS * HTTP/1.1", "400"),
            ("GET ftp://a/ HTTP/1.1", "200"),
            ("GET http:/a HTTP/1.1", "400"),
            ("GET http://[::1]/ HTTP/1.1", "200"),
            ("GET /%00 HTTP/1.1", "400"),
            ("GET /%zz HTTP/1.1", "400"),
            ("GET /%2 HTTP/1.1", "400"),
            ("GET /.. HTTP/1.1", "400"),
            ("GET /../a HTTP/1.1", "400"),
            ("GET /%2e%2e/a HTTP/1.1", "400"),
            ("GET /a/..%2f.. HTTP/1.1", "400"),
            ("GET /a/../b HTTP/1.1", "200"),
            ("GET /a#b HTTP/1.1", "200"),
            ("GET /\x01 HTTP/1.1", "400"),
            ("GET /?a=%zz HTTP/1.1", "200"),
            ("GET /\t HTTP/1.1", "400"),
        ]
        .map(|(line, status)| (format!("{line}{REST}"), status))
        .to_vec();
        server.expect_statuses(
            &table.iter().map(|(line, status)| (line.as_str(), *status)).collect::<Vec<_>>(),
        );
    });
}

#[test]
fn message_framing_that_could_smuggle_a_request() {
    on_both("location / { return 200 x; }", |server| {
        let head =
            |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n");
        let mut wrong = Vec::new();
        for (fields, status) in [
            ("Content-Length: 0", "200"),
            ("Content-Length: 00", "200"),
            ("Content-Length:", "400"),
            ("Content-Length: -1", "400"),
            ("Content-Length: +1", "400"),
            ("Content-Length: 0x0", "400"),
            ("Content-Length: 0, 0", "400"),
            ("Content-Length: 0 0", "400"),
            ("Content-Length: 99999999999999999999", "400"),
            ("Content-Length: 0\r\nContent-Length: 0", "400"),
            ("Content-Length: 0\r\nContent-Length: 5", "400"),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", "400"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", "400"),
            ("Transfer-Encoding: identity", "501"),
            ("Transfer-Encoding: gzip, chunked", "501"),
            ("Transfer-Encoding: chunked, chunked", "501"),
            ("Transfer-Encoding: xchunked", "501"),
            ("Transfer-Encoding: \x0bchunked", "501"),
            ("Transfer-Encoding:", "501"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "400"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "400"),
            ("Transfer-Encoding : chunked", "400"),
            ("Content-Length : 0", "400"),
            (" Folded: x", "400"),
            ("X: a\r\n folded", "400"),
            ("X: a\r\n\tfolded", "400"),
            ("X y: a", "400"),
            ("X", "200"),
            (": a", "400"),
            ("X\x01: a", "400"),
            ("X: a\0b", "400"),
            ("X: a\rb", "400"),
            ("Host: b", "400"),
        ] {
            let actual = server.status(head(fields));
            if actual != status {
                wrong.push(format!("{fields:?}: expected {status}, got {actual}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn hosts() {
    on_both("location / { return 200 x; }", |server| {
        server.expect_statuses(&[
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
            ("GET / HTTP/1.0\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: a..b\r\nConnection: close\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nHost: .\r\nConnection: close\r\n\r\n", "400"),
        ]);
    });
}

#[test]
fn chunked_bodies() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let site = Site::new("location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; }");
        let server = binary.serve(site.with("ORIGIN", origin.address()));
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", "200 hello"),
            ("5;name=value\r\nhello\r\n0\r\n\r\n", "200 hello"),
            ("5;name=\"v\"\r\nhello\r\n0;last\r\n\r\n", "200 hello"),
            ("5 \r\nhello\r\n0\r\n\r\n", "200 hello"),
            ("005\r\nhello\r\n000\r\n\r\n", "200 hello"),
            ("2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\nMore: y\r\n\r\n", "200 hello"),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "200 01234567890123456789"),
            ("0\r\n\r\n", "200 "),
            ("\r\n0\r\n\r\n", "400 "),
            ("x\r\n", "400 "),
            ("-5\r\nhello\r\n", "400 "),
            ("0x5\r\nhello\r\n", "400 "),
            ("5\r\nhelloX0\r\n\r\n", "400 "),
            ("FFFFFFFFFFFFFFFFF\r\nx", "400 "),
            ("FFFFFFFF\r\nx", "413 "),
        ] {
            let mut client = server.client();
            client.send(head);
            client.send(body);
            let response = client.response();
            let actual = match response.status {
                200 => format!("200 {}", response.text()),
                status => format!("{status} "),
            };
            assert_eq!(actual, expected, "{body:?}");
        }
    });
}

#[test]
fn nothing_is_forwarded_of_a_refused_body() {
    each(|binary| {
        let origin = Origin::echo();
        let site = Site::new("location / { proxy_pass http://%%ORIGIN%%; }").with("ORIGIN", origin.address());
        let server = binary.serve(site);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(server.status(format!("{head}5\r\nhelloGET / HTTP/1.1\r\nHost: b\r\n\r\n")), "400");
        assert_eq!(origin.requests().len(), 0);
    });
}

#[test]
fn limits_of_the_header() {
    let text =
        "client_header_buffer_size 512; large_client_header_buffers 2 1k; location / { return 200 x; }";
    on_both(text, |server| {
        let line = |length: usize| format!("GET /{} HTTP/1.1{REST}", "a".repeat(length));
        let field = |length: usize| {
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "a".repeat(length))
        };
        let fields = |count: usize| {
            let many = format!("X: {}\r\n", "a".repeat(400)).repeat(count);
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{many}\r\n")
        };
        server.expect_statuses(&[
            (&line(300), "200"),
            (&line(900), "200"),
            (&line(1100), "414"),
            (&field(900), "200"),
            (&field(1100), "400"),
            (&fields(3), "200"),
            (&fields(8), "400"),
        ]);
    });
}

#[test]
fn the_page_for_a_header_that_is_too_large() {
    let text = "server_tokens off; large_client_header_buffers 2 1k; location / { return 200 x; }";
    on_both(text, |server| {
        let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(2000));
        assert_eq!(
            server.normal(&field),
            "HTTP/1.1 400 Bad Request\r\nServer: SERVER\r\nDate: DATE\r\nContent-Type: text/html\r\nContent-Length: LENGTH\r\n\
             Connection: close\r\n\r\n<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>\r\n<body>\r\n\
             <center><h1>400 Bad Request</h1></center>\r\n<center>Request Header Or Cookie Too Large</center>\r\n\
             <hr><center>SERVER</center>\r\n</body>\r\n</html>\r\n"
                .replace("LENGTH", &(221 + server.binary().name().len()).to_string())
        );
    });
}

#[test]
fn client_max_body_size() {
    let text = "client_max_body_size 1k; location / { return 200 x; } \
                location /any { client_max_body_size 0; proxy_pass http://%%ORIGIN%%; } \
                location /up { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.post("/up", vec![b'x'; 1024]).status, 200);
        assert_eq!(server.post("/up", vec![b'x'; 1025]).status, 413);
        assert_eq!(server.post("/any", vec![b'x'; 2_000_000]).status, 200);
        let mut client = server.client();
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(2048)));
        assert_eq!(client.response().status, 413);
        server.error_log().wait_for("client intended to send too large body: 1025 bytes");
    });
}

#[test]
fn return_444_and_408_close_without_a_word() {
    on_both("location / { return 444; } location /408 { return 408; }", |server| {
        assert_eq!(server.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
        server.access_log().wait_for("\" 444 0 ");
        assert_eq!(server.raw("GET /408 HTTP/1.1\r\nHost: a\r\n\r\n"), b"");
        server.access_log().wait_for("\" 408 0 ");
    });
}

#[test]
fn the_pages_of_all_statuses() {
    let locations: String =
        PAGES.iter().map(|(code, _)| format!("location /{code} {{ return {code}; }}\n")).collect();
    on_both(format!("server_tokens off; {locations}"), |server| {
        for (code, title) in PAGES {
            let response = server.get(&format!("/{code}"));
            assert_eq!(format!("{} {}", response.status, response.reason), reason(title), "{code}");
            assert_eq!(response.text(), testkit::error_page(server.binary(), title), "{code}");
            assert_eq!(response.header("content-type"), Some("text/html"));
        }
    });
}

/// The words in the status line differ from those in the page for some.
fn reason(title: &str) -> String {
    match &title[..3] {
        "302" => "302 Moved Temporarily".to_owned(),
        "401" => "401 Unauthorized".to_owned(),
        _ => title.to_owned(),
    }
}

#[test]
fn a_status_nginx_has_no_page_for_has_no_body() {
    on_both("location / { return 418; }", |server| {
        assert_eq!(
            server.normal("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 418 \r\nServer: SERVER\r\nDate: DATE\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    });
}

#[test]
fn browsers_that_hide_short_pages_get_long_ones() {
    on_both("server_tokens off; location / { return 404; }", |server| {
        let response = server.get_with("/", &[("User-Agent", "Mozilla/5.0 (compatible; MSIE 9.0)")]);
        let padding = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n".repeat(6);
        assert_eq!(response.text(), testkit::error_page(server.binary(), "404 Not Found") + &padding);
    });
}

#[test]
fn after_a_refusal_the_connection_is_closed_or_usable_as_in_nginx() {
    on_both("location / { return 404; } location /c { return 413; }", |server| {
        let mut client = server.client();
        assert_eq!(client.get("/").header("connection"), Some("keep-alive"));
        assert_eq!(client.get("/c").header("connection"), Some("close"));
        client.expect_close();
        let answer = normal(&server.raw("BAD\r\n\r\n"), 0);
        assert!(answer.contains("Connection: close"), "{answer}");
    });
}

#[test]
fn the_request_line_has_hosts_with_fewer_characters_than_the_header() {
    on_both("location / { return 200 x; }", |server| {
        for host in ["a_b", "a~b", "a%41", "a!b"] {
            let line = format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let header = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            server.expect_statuses(&[(&line, "400"), (&header, "200")]);
        }
    });
}

/// nginx took these until 1.29.4; what its changes say since then is followed (RFC 3986 hosts, no bare LF in chunks).
#[test]
fn refused_since_nginx_1_29_4() {
    let server = Binary::Plimsoll.serve("location / { return 200 x; }");
    server.expect_statuses(&[
        ("GET http://a_b/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\\b\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:b:c\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: [::1]x\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:65535\r\nConnection: close\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\nConnection: close\r\n\r\n", "400"),
        ("GET http://a:65535/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"),
        ("GET http://a:65536/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"),
    ]);
}
