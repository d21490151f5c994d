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
        sign client ca 5 'CA:false\nextendedKeyUsage=clientAuth'
        openssl req -x509 $key -days 30 -subj /CN=self -addext subjectAltName=DNS:up.test -keyout self.key -out self.crt
        openssl req $key -subj /CN=up.test -keyout common.key -out common.csr
        printf basicConstraints=CA:false > v3
        openssl x509 -req -in common.csr -CA ca.crt -CAkey ca.key -set_serial 6 -days 30 -extfile v3 -out common.crt
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
        "client.crt",
        "client.key",
        "self.crt",
        "self.key",
        "common.crt",
        "common.key",
        "between.crt",
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
    let upstreams: String = [(1, "good"), (2, "gone"), (3, "far"), (4, "client"), (5, "self"), (6, "common")]
        .map(upstream)
        .concat();
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
        server
            .error_log()
            .wait_for("upstream SSL certificate verify error: (20:unable to get local issuer certificate)");
    });
}

#[test]
fn who_is_believed() {
    let location = |name: &str, port: u8, more: &str| {
        format!("location /{name} {{ {more} proxy_pass https://127.0.0.1:%%PORT_{port}%%; }}\n")
    };
    let locations = [
        location("self/trusted", 5, "proxy_ssl_trusted_certificate self.crt;"),
        location("self/strange", 5, ""),
        location("common/named", 6, ""),
        location("common/other", 6, "proxy_ssl_name other.test;"),
        location("client", 4, ""),
        location("far/without-root", 3, "proxy_ssl_trusted_certificate between.crt;"),
    ];
    on_both(site(&locations.concat()), |server| {
        assert!(is_from(&server.get("/self/trusted"), "self"));
        assert!(is_from(&server.get("/common/named"), "common"));
        for (target, words) in [
            ("/self/strange", "upstream SSL certificate verify error: (18:self-signed certificate)"),
            ("/common/other", "upstream SSL certificate does not match \"other.test\""),
            ("/client", "upstream SSL certificate verify error: (26:unsuitable certificate purpose)"),
            (
                "/far/without-root",
                "upstream SSL certificate verify error: (2:unable to get issuer certificate)",
            ),
        ] {
            assert_eq!(server.get(target).status, 502, "{target}");
            server.error_log().wait_for(&format!("{words} while SSL handshaking to upstream"));
        }
    });
}

/// What a server answers a handshake with, and what is said of it.
const ANSWERS: [(&[u8], &str); 5] = [
    (
        b"\x15\x03\x03\0\x02\x02\x28",
        "0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40",
    ),
    (
        b"\x15\x03\x03\0\x02\x02\x46",
        "0A00042E:SSL routines::tlsv1 alert protocol version:SSL alert number 70",
    ),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "0A00010B:SSL routines::wrong version number"),
    (b"\x17\x03\x03\0\x01a", "0A0000F4:SSL routines::unexpected message"),
    (
        b"\x16\x03\x01\0\x2a\x02\0\0\x26\x03\x01aaaaaaaabbbbbbbbccccccccdddddddd\0\xc0\x09\0",
        "0A000102:SSL routines::unsupported protocol",
    ),
];

#[test]
fn handshakes_that_fail_are_logged_in_openssls_words() {
    let origin = |(said, _): (&'static [u8], _)| {
        testkit::Origin::wires(move |wire| {
            let _ = wire.read_some(1);
            let _ = wire.send(said);
            let _ = wire.read_some(1 << 16);
        })
    };
    let origins = ANSWERS.map(origin);
    let location = |(i, origin): (usize, &testkit::Origin)| {
        format!("location /{i} {{ proxy_pass https://{}; }}\n", origin.address())
    };
    let locations: String = origins.iter().enumerate().map(location).collect();
    on_both(Site::new(format!("proxy_ssl_protocols TLSv1.2 TLSv1.3; {locations}")), |server| {
        for (i, (_, words)) in ANSWERS.iter().enumerate() {
            assert_eq!(server.get(&format!("/{i}")).status, 502, "{words}");
            let line =
                format!("SSL_do_handshake() failed (SSL: error:{words}) while SSL handshaking to upstream");
            server.error_log().wait_for(&line);
        }
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
