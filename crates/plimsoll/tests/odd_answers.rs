//! Answers of upstreams with headers that come twice, with parts of a whole, and with bodies broken from the start.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Site, each, on_both};

/// The head that goes out, or nothing, and the body behind it.
fn answer(binary: Binary, location: &str, answer: &'static str, request: &str) -> String {
    let origin = Origin::new(move |exchange| {
        exchange.send(answer);
        exchange.close();
    });
    let text = format!(
        "location / {{ proxy_pass http://%%O%%; proxy_http_version 1.1; {location} }}
        location /own {{ return 200 own; }}"
    );
    let server = binary.serve(Site::new(text).with("O", origin.address()));
    let mut client = server.client();
    client.send(request);
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn of_some_headers_all_lines_go_on_and_of_others_the_first() {
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Encoding: a\r\nContent-Encoding: b\r\n\
        Accept-Ranges: none\r\nAccept-Ranges: bytes\r\nETag: \"1\"\r\nETag: \"2\"\r\n\r\n";
    // Of those that may come once Debian's nginx still sends all.
    each(|binary| {
        let got = answer(binary, "", twice, GET);
        for line in
            ["Content-Encoding: a", "Content-Encoding: b", "Accept-Ranges: none", "Accept-Ranges: bytes"]
        {
            assert!(got.contains(&format!("\r\n{line}\r\n")), "{line}: {got}");
        }
        assert!(binary == Binary::Nginx || !got.contains("ETag: \"2\""), "{got}");
    });
}

/// Not compared: nginx sends all of them since 1.23.0, the oracle is older.
#[test]
fn an_intercepted_401_asks_for_all_that_the_upstream_asks_for() {
    let no = "HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: a\r\nWWW-Authenticate: b\r\n\r\n";
    let got = answer(Binary::Plimsoll, "proxy_intercept_errors on; error_page 401 /own;", no, GET);
    assert!(got.contains("\r\nWWW-Authenticate: a\r\nWWW-Authenticate: b\r\n"), "{got}");
}

/// Not compared: nginx leaves out what the upstream said of parts since 1.23.1, the oracle is older.
#[test]
fn a_part_cut_here_is_the_only_one_spoken_of() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/10\r\n\r\n0123456789";
    for (range, part) in [("2-3", "bytes 2-3/10"), ("20-", "bytes */10")] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes={range}\r\n\r\n");
        let got = answer(Binary::Plimsoll, "proxy_force_ranges on;", whole, &request);
        assert!(got.contains(&format!("\r\nContent-Range: {part}\r\n")), "{got}");
        assert_eq!(got.matches("Content-Range").count(), 1, "{got}");
    }
}

/// A client must not take the first part of a broken body for the whole.
#[test]
fn nothing_goes_out_of_a_chunked_answer_that_is_broken_where_it_begins() {
    for chunks in ["5\r\nhello\r\nzz\r\n", "ffffffffffffffffff\r\nhello", "5\r\nhelloXX0\r\n\r\n"] {
        let broken: &str = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").leak();
        for location in ["", "proxy_buffering off;"] {
            each(|binary| assert_eq!(answer(binary, location, broken, GET), "", "{chunks} {location}"));
        }
    }
}

#[test]
fn what_the_log_says_of_odd_answers() {
    let log = "log_format l '$status $upstream_status $upstream_response_length $request_completion';";
    for (answer, request, expected) in [
        // Without a head it is HTTP/0.9.
        ("hello", GET, "009 200 5 OK"),
        // The client got all that there was.
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", GET, "200 200 5 OK"),
        ("HTTP/1.1 204 No\r\nX: y\r\n\r\nhello", GET, "204 204 5 OK"),
        ("HTTP/1.1 099 No\r\nContent-Length: 5\r\n\r\nhello", GET, "099 99 5 OK"),
        // What nobody reads is not counted.
        ("HTTP/1.1 200 OK\r\nX-Accel-Redirect: /own\r\nContent-Length: 5\r\n\r\nhello", GET, "200 200 0 OK"),
    ] {
        each(|binary| {
            let origin = Origin::new(move |exchange| {
                exchange.send(answer);
                exchange.close();
            });
            let text = format!(
                "{log} server {{ listen 127.0.0.1:%%PORT%%; access_log logs/l l; \
                 location / {{ proxy_pass http://%%O%%; proxy_http_version 1.1; }} \
                 location /own {{ return 200 own; }} }}"
            );
            let server = binary.serve(Site::new(&*text).with("O", origin.address()));
            let got = server.raw(request);
            let got = String::from_utf8_lossy(&got);
            assert!(got.ends_with("hello") || expected.starts_with("204") || got.ends_with("own"), "{got}");
            assert_eq!(server.log("logs/l").wait_lines(1), [expected], "{answer}");
        });
    }
}

#[test]
fn what_is_done_unbuffered_is_said_as_nginx_does() {
    each(|binary| {
        let origin = Origin::new(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokMORE");
            exchange.close();
        });
        let site = Site::new("location / { proxy_pass http://%%O%%; proxy_buffering off; }");
        let server = binary.serve(site.with("O", origin.address()));
        server.raw(GET);
        server
            .error_log()
            .wait_for("\"Content-Length\" header while reading response header from upstream, ");
    });
}

/// The client left, not the server: it did not get all that there was.
#[test]
fn an_answer_is_not_complete_for_a_client_that_left() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
            // Until the connection closes.
            let _ = exchange.wire().read_exact(1);
        });
        let text = "log_format l '$status $request_completion.'; server { listen 127.0.0.1:%%PORT%%; \
            access_log logs/l l; location / { proxy_pass http://%%O%%; proxy_buffering off; } }";
        let server = binary.serve(Site::new(text).with("O", origin.address()));
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.wire().read_through(b"\r\n\r\nok").expect("the first of the body");
        drop(client);
        assert_eq!(server.log("logs/l").wait_lines(1), ["200 ."]);
    });
}

/// Not compared: nginx passes trailers on since 1.27.2, the oracle is older.
#[test]
fn trailers_with_one_name_are_one_value_and_bad_ones_are_refused() {
    let twice =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\nX-T: 2\r\n\r\n";
    let location = "proxy_pass_trailers on; add_trailer T $upstream_trailer_x_t;";
    let got = answer(Binary::Plimsoll, location, twice, GET);
    assert!(got.ends_with("\r\n0\r\nX-T: 1\r\nX-T: 2\r\nT: 1, 2\r\n\r\n"), "{got}");
    let bad = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX T: 1\r\n\r\n";
    assert_eq!(answer(Binary::Plimsoll, location, bad, GET), "");
}

#[test]
fn a_status_below_200_is_answered_with_as_any_other() {
    let text = "location /100 { return 100; } location /102 { return 102 text; } location /1 { return 1; }";
    on_both(text, |server| {
        for (target, status, length, body) in
            [("/100", "100 ", 0, ""), ("/102", "102 ", 4, "text"), ("/1", "001 ", 0, "")]
        {
            let got = server.normal(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{got}");
            assert!(got.contains(&format!("\r\nContent-Length: {length}\r\n")), "{got}");
            assert!(got.ends_with(&format!("\r\n\r\n{body}")), "{got}");
        }
    });
}
