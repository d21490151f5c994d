//! Request bodies that others read as files, and what a load balancer says of its clients.
#![forbid(unsafe_code)]

use std::path::Path;

use testkit::{Origin, Site, each, eventually, serve};

#[test]
fn bodies_in_files() {
    // Answers with what the file has whose name it was given.
    let origin = Origin::new(|exchange| {
        let name = exchange.request.header("x-file").unwrap_or_default().to_owned();
        let content = std::fs::read_to_string(&name).unwrap_or_default();
        exchange.ok(format!("{name} {content}"));
    });
    let text = "proxy_set_header X-File $request_body_file; proxy_pass_request_body off; \
                proxy_set_header Content-Length \"\"; client_body_temp_path %%DIR%%/temp/body 1 2; \
                location /on { client_body_in_file_only on; proxy_pass http://%%ORIGIN%%; } \
                location /clean { client_body_in_file_only clean; proxy_pass http://%%ORIGIN%%; } \
                location /off { proxy_pass http://%%ORIGIN%%; }";
    each(|binary| {
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        for (target, stays) in [("/on", true), ("/clean", false)] {
            let answer = server.post(target, "the body").text();
            let (name, content) = answer.split_once(' ').expect("a name and a content");
            assert_eq!(content, "the body", "{target}");
            assert!(name.starts_with(&*server.path("temp/body/").to_string_lossy()), "{name}");
            eventually("what becomes of the file", || Path::new(name).exists() == stays);
            let line = format!("a client request body is buffered to a temporary file {name}");
            assert!(server.error_log().wait_for(&line).contains("[notice]"));
        }
        assert_eq!(server.post("/off", "the body").text(), " ");
        // There is none without a body.
        assert_eq!(server.get("/on").text(), " ");
    });
}

/// `client_body_buffer_size` is about what does not fit the head's buffer, and a quarter more is no reason for a file.
#[test]
fn bodies_that_stay_in_memory() {
    let text = "location / { client_body_buffer_size 400; proxy_set_header X-Body \"[$request_body]\";
        proxy_pass http://%%ORIGIN%%; }";
    let origin = Origin::new(|exchange| {
        let kept = exchange.request.header("x-body").map_or(0, |body| body.len() - "[]".len());
        exchange.ok(format!("{} {kept}", exchange.request.body.len()));
    });
    each(|binary| {
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let answer = |framing: &str, with_it: &str, later: &str| {
            let mut client = server.client();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{with_it}"));
            if !later.is_empty() {
                client.wire().read_through(b"100 Continue\r\n\r\n").unwrap();
                client.send(later);
            }
            client.response().text()
        };
        // With the head: what fits its buffer of 1024 bytes, or all but 500 of which does.
        for (length, kept) in [(400, 400), (900, 900), (1400, 1400), (1500, 0)] {
            let body = "x".repeat(length);
            let said = answer(&format!("Content-Length: {length}"), &body, "");
            assert_eq!(said, format!("{length} {kept}"), "{binary:?}");
        }
        for (length, kept) in [(1300, 1300), (1500, 0)] {
            let chunks = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
            let said = answer("Transfer-Encoding: chunked", &chunks, "");
            assert_eq!(said, format!("{length} {kept}"), "{binary:?}");
        }
        for (length, kept) in [(499, 499), (500, 0)] {
            let framing = format!("Content-Length: {length}\r\nExpect: 100-continue");
            assert_eq!(answer(&framing, "", &"x".repeat(length)), format!("{length} {kept}"), "{binary:?}");
        }
    });
}

#[test]
fn values_of_a_load_balancer() {
    let server = serve(
        "server { listen 127.0.0.1:%%PORT%% proxy_protocol; location / { \
         return 200 \"$proxy_protocol_tlv_alpn|$proxy_protocol_tlv_0x05|$proxy_protocol_tlv_ssl_cn|\
         $proxy_protocol_tlv_ssl_verify|$proxy_protocol_tlv_authority|$proxy_protocol_tlv_none\"; } }",
    );
    let tlvs = b"\x01\0\x02h2\x05\0\x02id\x20\0\x0b\x07\0\0\0\x03\x22\0\x03cat";
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend_from_slice(&(12 + tlvs.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2, 0, 80, 1, 187]);
    bytes.extend_from_slice(tlvs);
    bytes.extend_from_slice(b"GET / HTTP/1.0\r\n\r\n");
    let answer = server.normal(bytes);
    assert!(answer.ends_with("\r\n\r\nh2|id|cat|3||"), "{answer}");
    server.error_log().wait_for("unknown PROXY protocol TLV \"none\"");
}
