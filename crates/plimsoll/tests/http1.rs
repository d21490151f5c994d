//! HTTP/1 as clients speak it: connections, message framing, refusals.
#![forbid(unsafe_code)]

use testkit::{normal, on_both};

const HELLO: &str = "location / { return 200 hello; }";

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
        let mut client = server.client();
        let response = client.request("GET", "/", &[("Connection", "close")], b"");
        assert_eq!(response.header("connection"), Some("close"));
        client.expect_close();
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_both("location / { return 200 $uri; }", |server| {
        let mut client = server.client();
        let one = |name: &str| format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send((0..20).map(|n| one(&n.to_string())).collect::<String>());
        for n in 0..20 {
            assert_eq!(client.response().text(), format!("/{n}"));
        }
        client.expect_open();
    });
}

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
