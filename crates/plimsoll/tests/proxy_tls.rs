//! `proxy_pass https://`: the server itself, at another port, is the upstream.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::LazyLock;

use testkit::{Binary, Site, each, on_both};

/// Files by name: a signer, a server's certificate and a client's from it, a stranger.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The machine's own settings of openssl must not matter.
    let settings =
        "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n";
    std::fs::write(folder.path().join("openssl.cnf"), settings).expect("a file in a temporary folder");
    let script = "set -e
        export OPENSSL_CONF=openssl.cnf
        self() { openssl req -x509 -nodes -days 3650 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
            -subj /CN=$1 -keyout $1.key -out $1.crt; }
        self ca; self stranger
        for name in up.test client; do
            openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=$name -keyout $name.key -out $name.csr
            printf 'subjectAltName=DNS:%s' $name > $name.ext
            openssl x509 -req -days 3650 -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.crt
        done";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let names = ["ca.crt", "stranger.crt", "up.test.crt", "up.test.key", "client.crt", "client.key"];
    let read = |name| (name, std::fs::read(folder.path().join(name)).expect("a file of openssl's"));
    names.map(read).to_vec()
});

/// The upstream answers with what it knows of the connection; `locations` are the proxy's.
fn site(upstream: &str, locations: &str) -> Site {
    let text = format!(
        "upstream kept {{ server 127.0.0.1:%%PORT_1%%; keepalive 4; }}\n\
        server {{ listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate up.test.crt; ssl_certificate_key up.test.key;\n\
          ssl_protocols TLSv1.2 TLSv1.3; client_max_body_size 10m; {upstream}\n\
          location / {{ return 200 \"$ssl_server_name|$ssl_protocol|$ssl_session_reused|$http_host\"; }}\n\
          location /nth {{ return 200 $connection_requests; }} location /file {{ root %%DIR%%; }}\n\
          location /length {{ proxy_pass http://127.0.0.1:%%PORT%%/inner; }} }}\n\
        server {{ listen 127.0.0.1:%%PORT%%; client_max_body_size 10m; client_body_buffer_size 4k;\n\
          location /inner {{ return 200 $content_length; }} proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
          proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_session_reuse off; {locations} }}"
    );
    FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content))
}

#[test]
fn names_and_protocols() {
    let locations = "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }\n\
        location /named { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_server_name on; proxy_ssl_name up.test:1; }\n\
        location /variable { proxy_pass https://127.0.0.1:%%PORT_1%%$uri; proxy_ssl_server_name on; proxy_ssl_name $arg_name; }\n\
        location /old { proxy_pass https://kept; proxy_ssl_protocols TLSv1.2; proxy_ssl_server_name on; }";
    on_both(site("", locations), |server| {
        let port = server.port_n(1);
        assert_eq!(server.get("/").text(), format!("|TLSv1.3|.|127.0.0.1:{port}"));
        assert_eq!(server.get("/named").text(), format!("up.test|TLSv1.3|.|127.0.0.1:{port}"));
        assert_eq!(
            server.get("/variable?name=other.test").text(),
            format!("other.test|TLSv1.3|.|127.0.0.1:{port}")
        );
        assert_eq!(server.get("/old").text(), "kept|TLSv1.2|.|kept");
    });
}

#[test]
fn the_server_must_be_whom_it_says_it_is() {
    let verify = "proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_verify on;";
    let locations = format!(
        "location /good {{ {verify} proxy_ssl_trusted_certificate ca.crt; proxy_ssl_name up.test; }}\n\
        location /name {{ {verify} proxy_ssl_trusted_certificate ca.crt; proxy_ssl_name down.test; }}\n\
        location /signer {{ {verify} proxy_ssl_trusted_certificate stranger.crt; proxy_ssl_name up.test; }}"
    );
    on_both(site("", &locations), |server| {
        assert_eq!(server.get("/good").status, 200);
        assert_eq!(server.get("/name").status, 502);
        server.error_log().wait_for(
            "upstream SSL certificate does not match \"down.test\" while SSL handshaking to upstream",
        );
        assert_eq!(server.get("/signer").status, 502);
        server.error_log().wait_for("upstream SSL certificate verify error: (21:unable to verify the first certificate) while SSL handshaking to upstream");
        assert!(server.error_log().text().contains("upstream: \"https://127.0.0.1:"));
    });
}

#[test]
fn the_server_may_ask_for_a_certificate() {
    let upstream = "ssl_verify_client on; ssl_client_certificate ca.crt;";
    let locations = "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; }\n\
        location /shown { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate client.crt; proxy_ssl_certificate_key client.key; }";
    on_both(site(upstream, locations), |server| {
        assert_eq!(server.get("/").status, 400);
        assert_eq!(server.get("/shown").status, 200);
    });
}

#[test]
fn bodies_and_kept_connections() {
    let body: Vec<u8> = (0..2_000_000).map(|n: usize| (n * 7 + n / 256) as u8).collect();
    let locations = "location / { proxy_pass https://kept; }\n\
        location /stream/ { proxy_pass https://kept/length; proxy_request_buffering off; } location /whole/ { proxy_pass https://kept/length; }";
    on_both(site("", locations).file("file", &body), |server| {
        assert_eq!(server.get("/nth").text(), "1");
        assert_eq!(server.get("/nth").text(), "2");
        assert!(server.get("/file").body == body);
        for target in ["/stream/", "/whole/"] {
            for size in [1, 5000, 300_000] {
                assert_eq!(server.post(target, &body[..size]).text(), size.to_string(), "{target}");
            }
        }
        assert!(server.get("/nth").text().parse::<u32>().expect("a number") >= 4);
    });
}

#[test]
fn what_is_no_tls_is_502() {
    each(|binary| {
        let origin = testkit::Origin::wires(|wire| {
            let _ = wire.read_some(10);
            let _ = wire.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let text = "location / { proxy_pass https://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/").status, 502);
        server.error_log().wait_match("SSL_do_handshake\\(\\) failed .* while SSL handshaking to upstream");
    });
}

#[test]
fn what_is_written_wrong_is_refused() {
    for (text, error) in [
        ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify"),
        ("proxy_ssl_certificate client.crt;", "no \"proxy_ssl_certificate_key\" is defined for certificate"),
        ("proxy_ssl_protocols TLSv9;", "invalid value \"TLSv9\""),
    ] {
        each(|binary: Binary| {
            let site = site("", &format!("location / {{ proxy_pass https://kept; {text} }}"));
            let exit = binary.refuses(site);
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        });
    }
}
