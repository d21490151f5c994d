//! The core's variables, as `return` shows them.
#![forbid(unsafe_code)]

use testkit::{Server, Site, on_both};

/// Each of these is a location that answers with the text.
fn site(texts: &[(&str, &str)]) -> Site {
    let location = |(name, text): &(&str, &str)| format!("location /{name} {{ return 200 '{text}'; }}\n");
    let locations: String = texts.iter().map(location).collect();
    Site::new(format!("server_name srv.example other; {locations}"))
}

#[track_caller]
fn expect(server: &Server, request: &str, body: &str) {
    let bytes = server.raw(request);
    let text = String::from_utf8_lossy(&bytes);
    let got = text.split_once("\r\n\r\n").map(|(_, body)| body);
    assert_eq!(got, Some(body), "{request:?}");
}

/// A request with these header lines, whose connection closes.
fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

#[test]
fn headers_of_a_name() {
    on_both(
        site(&[("h", "$http_x_forwarded_for|$http_user_agent|$http_none|$content_type|$http_x_y")]),
        |server| {
            let headers = "Host: a\r\nX-Forwarded-For: 1\r\nx-forwarded-for: 2\r\nUSER-AGENT: me\r\nContent-Type: t\r\nX-Y: \r\n";
            expect(server, &get("/h", headers), "1, 2|me||t|");
        },
    );
}

#[test]
fn cookies() {
    on_both(site(&[("c", "$cookie_a|$cookie_B|$cookie_c|$cookie_d|$http_cookie")]), |server| {
        let headers = "Host: a\r\nCookie: a=1; b= 2 ;c\r\nCookie: c=3,x\r\n";
        expect(server, &get("/c", headers), "1|2 |3,x||a=1; b= 2 ;c; c=3,x");
        expect(server, &get("/c", "Host: a\r\nCookie: aa=1;a =x=y\r\n"), "x=y||||aa=1;a =x=y");
    });
    // Until 1.29.6, and so in Debian's, a comma ended what was no pair of the name.
    let server = testkit::serve(site(&[("c", "$cookie_a")]));
    expect(&server, &get("/c", "Host: a\r\nCookie: b=1,a=2\r\n"), "");
}

#[test]
fn arguments() {
    on_both(site(&[("a", "$args|$query_string|$is_args|$arg_a|$arg_B|$arg_c|$arg_none")]), |server| {
        expect(
            server,
            &get("/a?a=1&b=%20&a=2&C&aa=3", "Host: a\r\n"),
            "a=1&b=%20&a=2&C&aa=3|a=1&b=%20&a=2&C&aa=3|?|1|%20||",
        );
        expect(server, &get("/a?", "Host: a\r\n"), "||||||");
        expect(server, &get("/a", "Host: a\r\n"), "||||||");
        expect(server, &get("/a?c=&B==", "Host: a\r\n"), "c=&B==|c=&B==|?||=||");
    });
}

#[test]
fn hosts() {
    on_both(site(&[("h", "$host|$http_host|$server_name")]), |server| {
        expect(server, &get("/h", "Host: Foo.Example:81\r\n"), "foo.example|Foo.Example:81|srv.example");
        expect(server, &get("http://Bar.example:82/h", "Host: x\r\n"), "bar.example|x|srv.example");
        expect(server, &get("/h", "Host: [::1]:8\r\n"), "[::1]|[::1]:8|srv.example");
        expect(server, "GET /h HTTP/1.0\r\n\r\n", "srv.example||srv.example");
        expect(server, &get("/h", "Host: dot.example.\r\n"), "dot.example|dot.example.|srv.example");
    });
}

#[test]
fn the_request_line() {
    on_both(
        site(&[(
            "l",
            "$request|$request_method|$request_uri|$uri|$document_uri|$server_protocol|$scheme|$https",
        )]),
        |server| {
            expect(
                server,
                &get("/l//%61/../b?x=%2F", "Host: a\r\n"),
                "GET /l//%61/../b?x=%2F HTTP/1.1|GET|/l//%61/../b?x=%2F|/l/b|/l/b|HTTP/1.1|http|",
            );
            expect(server, "PURGE /l HTTP/1.0\r\n\r\n", "PURGE /l HTTP/1.0|PURGE|/l|/l|/l|HTTP/1.0|http|");
            let old = server.raw("GET /l\r\n");
            assert_eq!(String::from_utf8_lossy(&old), "GET /l|GET|/l|/l|/l||http|");
        },
    );
}

#[test]
fn users_of_basic_authentication() {
    on_both(site(&[("u", "[$remote_user]")]), |server| {
        for (value, user) in [
            ("Basic dXNlcjpwdw==", "user"),
            ("basic   dXNlcjpwdw", "user"),
            ("Basic dXNlcg==", ""),
            ("Basic OnB3", ""),
            ("Bearer dXNlcjpwdw==", ""),
            ("Basic dX!lcjpwdw==", ""),
        ] {
            let headers = format!("Host: a\r\nAuthorization: {value}\r\n");
            expect(server, &get("/u", &headers), &format!("[{user}]"));
        }
    });
}

#[test]
fn addresses_and_counts() {
    on_both(
        site(&[(
            "a",
            "$remote_addr $server_addr $server_port $connection_requests$pipe $request_length $msec",
        )]),
        |server| {
            let mut client = server.client();
            client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /a?long HTTP/1.1\r\nHost: a\r\n\r\n");
            let port = server.port();
            for expected in
                [format!("127.0.0.1 127.0.0.1 {port} 1. 28 "), format!("127.0.0.1 127.0.0.1 {port} 2p 33 ")]
            {
                let text = client.response().text();
                let time = text.strip_prefix(&expected).unwrap_or_else(|| panic!("{text}, not {expected}.."));
                assert!(time.len() == "1234567890.123".len() && time.as_bytes()[10] == b'.', "{time}");
            }
        },
    );
}

#[test]
fn times_are_of_one_moment() {
    on_both(site(&[("t", "$time_local $time_iso8601")]), |server| {
        let text = server.get("/t").text();
        let (local, iso) = text.split_at("06/Nov/1994:08:49:37 +0000 ".len());
        // 06/Nov/1994:08:49:37 +0000 and 1994-11-06T08:49:37+00:00
        assert_eq!(
            (&local[..2], &local[7..11], &local[12..20]),
            (&iso[8..10], &iso[..4], &iso[11..19]),
            "{text}"
        );
        assert_eq!(local[21..26], iso[19..].replace(':', ""), "{text}");
    });
}

#[test]
fn a_request_id_is_the_requests() {
    on_both(site(&[("i", "$request_id $request_id")]), |server| {
        let mut client = server.client();
        let [first, second] = [0, 1].map(|_| client.get("/i").text());
        for text in [&first, &second] {
            let (a, b) = text.split_once(' ').unwrap_or_default();
            assert_eq!(a, b);
            assert!(
                a.len() == 32 && a.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{a}"
            );
        }
        assert_ne!(first, second);
    });
}

#[test]
fn files_of_a_path() {
    let site = Site::new(
        "root html; location / { return 200 '$document_root|$request_filename'; }
         location /al/ { alias %%DIR%%/x/; return 200 '$document_root|$request_filename'; }
         location /real { root link; return 200 '$realpath_root'; }
         location /gone { root gone; return 200 '[$realpath_root]'; }",
    );
    on_both(site, |server| {
        let dir = server.path("");
        let dir = dir.to_str().map(|dir| dir.trim_end_matches('/')).expect("a path that is text");
        assert_eq!(server.get("/a/b").text(), format!("{dir}/html|{dir}/html/a/b"));
        assert_eq!(server.get("/al/b").text(), format!("{dir}/x/|{dir}/x/b"));
        std::os::unix::fs::symlink(server.path("html"), server.path("link")).expect("a link can be made");
        let real = std::fs::canonicalize(server.path("html")).expect("html is there");
        assert_eq!(server.get("/real").text(), real.to_string_lossy());
    });
}

#[test]
fn what_is_sent() {
    let format = "'$status|$sent_http_content_type|$sent_http_content_length|$sent_http_location|$sent_http_x_a|\
                  $sent_http_last_modified|$sent_http_etag|$sent_http_transfer_encoding|$body_bytes_sent|$sent_http_none'";
    let text = format!(
        "log_format s {format}; access_log logs/sent s;
         server {{ listen 127.0.0.1:%%PORT%%; root html; add_header X-A b;
         location /moved {{ return 301 /to; }} location /ok {{ return 200 hello; }}
         location /added {{ add_header Location /there; return 200 hello; }} }}"
    );
    on_both(Site::new(text).file("html/f.html", "<p>"), |server| {
        let log = |n: usize| server.log("logs/sent").wait_lines(n).remove(n - 1);
        let port = server.port();
        let mut client = server.client();
        client.get("/ok");
        assert_eq!(log(1), "200|text/plain|5|-|b|-|-|-|5|-");
        let moved = client.get("/moved");
        let length = moved.body.len();
        assert_eq!(log(2), format!("301|text/html|{length}|http://localhost:{port}/to|b|-|-|-|{length}|-"));
        let file = client.get("/f.html");
        let [modified, etag] =
            ["last-modified", "etag"].map(|name| file.header(name).unwrap_or_default().to_owned());
        let kind = file.header("content-type").unwrap_or_default();
        assert_eq!(log(3), format!("200|{kind}|3|-|b|{modified}|{}|-|3|-", etag.replace('"', "\\x22")));
        client.request("HEAD", "/ok", &[], b"");
        assert_eq!(log(4), "200|text/plain|5|-|b|-|-|-|0|-");
        client.get("/added");
        assert_eq!(log(5), "200|text/plain|5|/there|-|-|-|-|5|-");
    });
}

#[test]
fn a_body_counts_in_the_length() {
    let text = "log_format l '$request_length|$content_length|$request_completion'; access_log logs/l l;
         server { listen 127.0.0.1:%%PORT%%; location / { proxy_pass http://127.0.0.1:%%PORT%%/end; }
         location /end { access_log off; return 200 $content_length; } }";
    on_both(Site::new(text), |server| {
        let log = |n: usize| server.log("logs/l").wait_lines(n).remove(n - 1);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
        server.raw(format!("{head}abc"));
        assert_eq!(log(1), format!("{}|3|OK", head.len() + 3));
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "1;x\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        server.raw(format!("{head}{body}"));
        assert_eq!(log(2), format!("{}|3|OK", head.len() + body.len()));
    });
}

#[test]
fn ports_of_hosts() {
    // Debian's nginx is older than these.
    let server = testkit::serve(site(&[("p", "$host$is_request_port$request_port")]));
    expect(&server, &get("/p", "Host: a:81\r\n"), "a:81");
    expect(&server, &get("/p", "Host: a\r\n"), "a");
    expect(&server, &get("/p", "Host: [::1]\r\n"), "[::1]");
    expect(&server, &get("/p", "Host: [::1]:8\r\n"), "[::1]:8");
    expect(&server, &get("http://b:82/p", "Host: a:81\r\n"), "b:82");
    expect(&server, &get("http://b/p", "Host: a:81\r\n"), "b");
    expect(&server, &get("/p", "Host: a:080\r\n"), "a:80");
    expect(&server, &get("/p", "Host: a:0\r\n"), "a");
}

#[test]
fn how_much_smaller_a_body_became() {
    let text = "log_format g '$gzip_ratio'; access_log logs/g g;
         server { listen 127.0.0.1:%%PORT%%; root html; gzip on; gzip_types text/plain; default_type text/plain; }";
    let content: String = (0..5000).map(|i| format!("{}\n", i * i % 777)).collect();
    on_both(Site::new(text).file("html/f.txt", &content), |server| {
        let response = server.get_with("/f.txt", &[("Accept-Encoding", "gzip")]);
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let thousandths = content.len() * 1000 / response.body.len();
        let hundredths = (thousandths + 5) / 10;
        let expected = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        assert_eq!(server.log("logs/g").wait_lines(1), [expected]);
        server.get("/f.txt");
        assert_eq!(server.log("logs/g").wait_lines(2)[1], "-");
    });
}
