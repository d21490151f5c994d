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
