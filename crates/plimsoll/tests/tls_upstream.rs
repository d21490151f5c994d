//! What is said to upstream servers over TLS: commands of OpenSSL's, certificates that depend on the request, uwsgi.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::LazyLock;

use testkit::{Binary, Site, each, on_both};

/// A server's certificate, a signer, and two clients' from it: made once.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "set -e
        for name in up ca; do openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 3650 \
            -subj /CN=$name.test -keyout $name.key -out $name.crt; done
        for name in one two; do
            openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=$name -keyout $name.key -out $name.csr
            printf 'basicConstraints=CA:false' > v3
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 30 -extfile v3 -out $name.crt
        done";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| (name, std::fs::read(folder.path().join(name)).expect("a file of openssl's"));
    ["up.crt", "up.key", "ca.crt", "one.crt", "one.key", "two.crt", "two.key"].map(read).to_vec()
});

/// An upstream that tells who asks and how; `locations` are the proxy's.
fn site(locations: &str) -> Site {
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate up.crt; ssl_certificate_key up.key;\n\
          ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client optional; ssl_client_certificate ca.crt;\n\
          location / {{ return 200 \"$ssl_client_s_dn|$ssl_cipher|$ssl_protocol\"; }} }}\n\
        server {{ listen 127.0.0.1:%%PORT%%; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_session_reuse off; {locations} }}"
    );
    FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content))
}

#[test]
fn commands() {
    let pass = "proxy_pass https://127.0.0.1:%%PORT_1%%;";
    let locations = format!(
        "location /suite {{ {pass} proxy_ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256; }}\n\
         location /version {{ {pass} proxy_ssl_conf_command MaxProtocol TLSv1.2;\n\
           proxy_ssl_conf_command CipherString ECDHE-ECDSA-AES128-GCM-SHA256; }}\n\
         location /shown {{ {pass} proxy_ssl_conf_command Certificate two.crt; proxy_ssl_conf_command PrivateKey two.key; }}"
    );
    on_both(site(&locations), |server| {
        assert_eq!(server.get("/suite").text(), "|TLS_CHACHA20_POLY1305_SHA256|TLSv1.3");
        assert_eq!(server.get("/version").text(), "|ECDHE-ECDSA-AES128-GCM-SHA256|TLSv1.2");
        assert!(server.get("/shown").text().starts_with("CN=two|"));
    });
    let exit = Binary::Plimsoll
        .check(site("proxy_ssl_conf_command Nonsense 1; location / { proxy_pass https://127.0.0.1; }"));
    assert!(exit.stderr.contains("SSL_CONF_cmd(\"Nonsense\", \"1\") failed (SSL: "), "{}", exit.stderr);
}

#[test]
fn certificates_by_variables() {
    let locations = "location / { proxy_pass https://127.0.0.1:%%PORT_1%%;\n\
           proxy_ssl_certificate $arg_name.crt; proxy_ssl_certificate_key $arg_name.key; }\n\
         location /none { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_certificate $arg_name; proxy_ssl_certificate_key $arg_name; }";
    on_both(site(locations), |server| {
        assert!(server.get("/?name=one").text().starts_with("CN=one|"));
        assert!(server.get("/?name=two").text().starts_with("CN=two|"));
        assert!(server.get("/none").text().starts_with('|'));
        assert_eq!(server.get("/?name=three").status, 500);
        server.error_log().wait_for("three.crt\": BIO_new_file() failed");
    });
}

#[test]
fn certificates_are_kept() {
    let site = site(
        "proxy_ssl_certificate_cache max=2 inactive=10s valid=1h; location / { proxy_pass https://127.0.0.1:%%PORT_1%%;\n\
           proxy_ssl_certificate $arg_name.crt; proxy_ssl_certificate_key $arg_name.key; }",
    );
    let server = testkit::serve(site);
    assert!(server.get("/?name=one").text().starts_with("CN=one|"));
    std::fs::remove_file(server.path("one.crt")).expect("a file");
    assert!(server.get("/?name=one").text().starts_with("CN=one|"));
    let refused = |parameters: &str, what: &str| {
        let exit = Binary::Plimsoll.check(format!(
            "listen 127.0.0.1:%%PORT%%; proxy_ssl_certificate_cache {parameters}; location / {{ return 200; }}"
        ));
        assert!(exit.stderr.contains(what), "{}", exit.stderr);
    };
    refused("valid=1h", "\"proxy_ssl_certificate_cache\" must have the \"max\" parameter");
    refused("max=0", "invalid parameter \"max=0\"");
}

/// Whoever is asked does not understand uwsgi, but that the question came encrypted.
#[test]
fn uwsgi() {
    each(|binary| {
        let locations = "uwsgi_ssl_protocols TLSv1.2; uwsgi_ssl_certificate one.crt; uwsgi_ssl_certificate_key one.key;\n\
             location / { uwsgi_pass suwsgi://127.0.0.1:%%PORT_1%%; }\n\
             location /plain { uwsgi_pass uwsgi://127.0.0.1:%%PORT_1%%; }\n\
             location /variable { set $to suwsgi://127.0.0.1:%%PORT_1%%; uwsgi_pass $to; }";
        let upstream = "server { listen 127.0.0.1:%%PORT_1%% ssl; ssl_certificate up.crt; ssl_certificate_key up.key;\n\
             ssl_protocols TLSv1.2 TLSv1.3; access_log logs/access.log f; }";
        let text = format!(
            "log_format f '$status $ssl_protocol'; access_log off;\n\
             {upstream} server {{ listen 127.0.0.1:%%PORT%%; {locations} }}"
        );
        let site = FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content));
        let server = binary.serve(site);
        for path in ["/", "/variable", "/plain"] {
            server.get(path);
        }
        assert_eq!(server.access_log().wait_lines(3), ["400 TLSv1.2", "400 TLSv1.2", "400 -"]);
    });
}
