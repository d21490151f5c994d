//! Bodies of clients that are read before anything else (`client_body_early_read`), and the folder they are kept in.
#![forbid(unsafe_code)]

use testkit::{Server, Site, each, on_both};

const TEXT: &str = "map $http_content_type $is_json { application/json 1; }
    server { listen 127.0.0.1:%%PORT%%; client_body_early_read $is_json $arg_e; client_max_body_size 20;
        set $greets \"\"; if ($request_body ~ hello) { set $greets yes; }
        location / { return 200 \"[$request_body]$greets\"; }
        location /small { client_max_body_size 3; return 200; } }";

#[track_caller]
fn expect(server: &Server, target: &str, kind: &str, body: &str, status: u16, text: &str) {
    let response = server.client().request("POST", target, &[("Content-Type", kind)], body.as_bytes());
    assert_eq!(response.status, status, "{target} {kind} {body}");
    assert!(status != 200 || response.text() == text, "{target} {kind} {body}: {}", response.text());
}

/// Not compared: newer than the oracle.
#[test]
fn a_body_is_there_for_the_servers_own_script() {
    let server = testkit::serve(TEXT);
    expect(&server, "/", "application/json", "hello", 200, "[hello]yes");
    expect(&server, "/", "text/plain", "hello", 200, "[]");
    expect(&server, "/?e=0", "text/plain", "hello", 200, "[]");
    expect(&server, "/?e=1", "text/plain", "bye", 200, "[bye]");
    // The server's limit counts before the location's does.
    expect(&server, "/small", "application/json", "hello", 413, "");
    server.error_log().wait_for("client intended to send too large body: 5 bytes");
    expect(&server, "/", "application/json", "twenty-one characters", 413, "");
    server.error_log().wait_for("client intended to send too large body: 21 bytes");
}

#[test]
fn a_chunked_body_is_read_and_the_next_request_found_behind_it() {
    let server = testkit::serve(TEXT);
    let mut client = server.client();
    let head = "POST /?e=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.response().text(), "[hello]yes");
    assert_eq!(client.response().text(), "[]");
    client.send(format!("{}5\r\nhello\r\n0\r\n\r\n", head.replace("/?", "/small?")));
    assert_eq!(client.response().status, 413);
    let mut client = server.client();
    client.send(format!("{head}zz\r\n"));
    assert_eq!(client.response().status, 400);
}

/// The worker has no right to make the folder where it does not exist.
#[test]
fn the_folder_for_bodies_is_there_before_the_first_body() {
    let text = "client_body_temp_path bodies; client_body_in_file_only clean;";
    on_both(Site::new(format!("{text} location / {{ return 204; }}")), |server| {
        assert!(server.path("bodies").is_dir());
    });
    each(|binary| {
        let text = "location / { proxy_pass http://127.0.0.1:1; proxy_temp_path other; }";
        let server = binary.serve(Site::new(text));
        assert!(server.path("temp/body").is_dir() && server.path("other").is_dir());
    });
}
