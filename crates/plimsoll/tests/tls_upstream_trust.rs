//! Which upstream servers are believed over TLS, and which of our keys and ciphers they get.
#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::LazyLock;

use testkit::{Site, each, on_both};

/// A signer, one that it signed, servers' certificates from both, a list of what was revoked, and a key in a wrapping.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "set -e
        key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $key -days 3650 -subj /CN=ca -keyout ca.key -out ca.crt
        sign() { # name, signer, number, what it may do
            openssl req $key -subj /CN=$1 -keyout $1.key -out $1.csr
            printf \"basicConstraints=$4\\nsubjectAltName=DNS:up.test\" > v3
            openssl x509 -req -in $1.csr -CA $2.crt -CAkey $2.key -set_serial $3 -days 30 -extfile v3 -out $1.crt
        }
        sign good ca 1 CA:false
        sign gone ca 2 CA:false
        sign between ca 3 critical,CA:true
        sign far between 4 CA:false
        cat between.crt >> far.crt
        openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret -in good.key -out wrapped.key
        printf 'R\\t491231235959Z\\t240101000000Z\\t02\\tunknown\\t/CN=gone\\n' > index
        printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ndefault_md=sha256\\ndefault_crl_days=30\\ncrl_extensions=x\\ncrlnumber=number\\n[x]\\nauthorityKeyIdentifier=keyid:always\\n' > conf
        echo 01 > number
        openssl ca -config conf -gencrl -cert ca.crt -keyfile ca.key -out ca.crl";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| (name, std::fs::read(folder.path().join(name)).expect("a file of openssl's"));
    let names = [
        "good.crt",
        "good.key",
        "gone.crt",
        "gone.key",
        "far.crt",
        "far.key",
        "ca.crt",
        "ca.crl",
        "wrapped.key",
    ];
    names.map(read).to_vec()
});

/// Upstreams by the names of their certificates; `locations` are the proxy's.
fn site(locations: &str) -> Site {
    let upstream = |(number, name): (usize, &str)| {
        format!(
            "server {{ listen 127.0.0.1:%%PORT_{number}%% ssl http2; ssl_certificate {name}.crt; ssl_certificate_key {name}.key; \
             ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client optional; ssl_verify_depth 2; ssl_client_certificate ca.crt; \
             return 200 \"{name}|$ssl_cipher|$ssl_client_i_dn_legacy|$ssl_client_cert\"; }}\n"
        )
    };
    let upstreams: String = [(1, "good"), (2, "gone"), (3, "far")].map(upstream).concat();
    let text = format!(
        "{upstreams} server {{ listen 127.0.0.1:%%PORT%%; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_name up.test; \
         proxy_ssl_trusted_certificate ca.crt; proxy_ssl_verify on; proxy_ssl_session_reuse off; {locations} }}"
    );
    FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content))
}

fn is_from(answer: &testkit::Response, name: &str) -> bool {
    answer.status == 200 && answer.text().starts_with(&format!("{name}|"))
}

#[test]
fn who_was_revoked_is_not_believed() {
    let locations = "proxy_ssl_crl ca.crl; location /good { proxy_pass https://127.0.0.1:%%PORT_1%%; } \
        location /gone { proxy_pass https://127.0.0.1:%%PORT_2%%; }";
    on_both(site(locations), |server| {
        assert!(is_from(&server.get("/good"), "good"));
        assert_eq!(server.get("/gone").status, 502);
        server.error_log().wait_for("upstream SSL certificate verify error: (23:certificate revoked)");
    });
    // Without the list, it is.
    on_both(site("location / { proxy_pass https://127.0.0.1:%%PORT_2%%; }"), |server| {
        assert!(is_from(&server.get("/"), "gone"));
    });
}

#[test]
fn a_chain_is_no_longer_than_told() {
    let locations = "location /far { proxy_ssl_verify_depth 1; proxy_pass https://127.0.0.1:%%PORT_3%%; } \
        location /no { proxy_ssl_verify_depth 0; proxy_pass https://127.0.0.1:%%PORT_3%%; } \
        location /near { proxy_ssl_verify_depth 0; proxy_pass https://127.0.0.1:%%PORT_1%%; }";
    on_both(site(locations), |server| {
        assert!(is_from(&server.get("/far"), "far"));
        assert!(is_from(&server.get("/near"), "good"));
        assert_eq!(server.get("/no").status, 502);
        // OpenSSL has two words for it.
        server.error_log().wait_for("upstream SSL certificate verify error: (2");
    });
}

#[test]
fn ciphers_and_wrapped_keys() {
    let locations = "location / { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_protocols TLSv1.2; \
          proxy_ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384; } \
        location /key { proxy_pass https://127.0.0.1:%%PORT_1%%; proxy_ssl_password_file passwords; \
          proxy_ssl_certificate good.crt; proxy_ssl_certificate_key wrapped.key; }";
    on_both(site(locations).file("passwords", "wrong\nsecret\n"), |server| {
        assert_eq!(server.get("/").text(), "good|ECDHE-ECDSA-AES256-GCM-SHA384||");
        let text = server.get("/key").text();
        assert!(text.contains("|/CN=ca|-----BEGIN CERTIFICATE-----\n\t"), "{text}");
    });
}

/// Other ways to a server have the same.
const COMMON: &str = "{way}_ssl_certificate good.crt; {way}_ssl_certificate_key wrapped.key; \
    {way}_ssl_password_file passwords; {way}_ssl_ciphers HIGH; {way}_ssl_protocols TLSv1.2; {way}_ssl_crl ca.crl; \
    {way}_ssl_name up.test; {way}_ssl_server_name on; {way}_ssl_session_reuse off; {way}_ssl_verify on; \
    {way}_ssl_verify_depth 1; {way}_ssl_trusted_certificate ca.crt; {way}_ssl_conf_command MaxProtocol TLSv1.2;";

#[test]
fn every_way_to_a_server_is_encrypted_alike() {
    each(|binary| {
        for (way, scheme) in [("grpc", "grpcs"), ("uwsgi", "suwsgi")] {
            let late =
                if binary == testkit::Binary::Plimsoll { "{way}_ssl_certificate_cache max=1;" } else { "" };
            let settings = [COMMON, late].concat().replace("{way}", way);
            let locations =
                format!("location /gone {{ {settings} {way}_pass {scheme}://127.0.0.1:%%PORT_2%%; }}");
            let server = binary.serve(site(&locations).file("passwords", "secret\n"));
            assert_eq!(server.get("/gone").status, 502, "{way}");
            server.error_log().wait_for("upstream SSL certificate verify error: (23:certificate revoked)");
        }
    });
}
