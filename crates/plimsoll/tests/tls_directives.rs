//! The directives of TLS: what clients see of them, and what is said when they cannot be had.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;
use testkit::{Binary, Server, Site, on_both, serve};

/// A certification authority with what it signed, made once.
static PKI: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |text: &str| {
        let script = format!("set -e; {text}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let new = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 3650";
    run(&format!("{new} -subj /CN=a.test -keyout a.key -out a.crt"));
    run(&format!("{new} -subj /CN=ca.test -keyout ca.key -out ca.crt"));
    run(&format!("{new} -subj /CN=stranger.test -keyout self.key -out self.crt"));
    run("openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj '/O=Some, Org/CN=joe' \
         -keyout joe.key -out joe.csr");
    run("printf 'basicConstraints=CA:false\\nkeyUsage=digitalSignature' > v3");
    run(
        "openssl x509 -req -in joe.csr -CA ca.crt -CAkey ca.key -set_serial 0x1f2e -days 30 -extfile v3 -out joe.crt",
    );
    run(
        "openssl x509 -req -in joe.csr -CA ca.crt -CAkey ca.key -set_serial 7 -days -1 -extfile v3 -out old.crt",
    );
    run("openssl pkcs8 -topk8 -in a.key -v2 aes-256-cbc -passout pass:secret -out locked.key");
    run(
        "printf 'wrong\\nsecret\\n' > passwords; head -c 48 /dev/urandom > ticket48; head -c 80 /dev/urandom > ticket80",
    );
    run("openssl ec -in a.key -aes256 -passout pass:secret -out old.key");
    run(
        "touch index; echo 01 > number; printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\ncrlnumber=number\\n\
         default_md=sha256\\ndefault_crl_days=30\\n' > ca.conf",
    );
    run("openssl ca -config ca.conf -keyfile ca.key -cert ca.crt -gencrl -out empty.crl 2>/dev/null");
    run("openssl ca -config ca.conf -keyfile ca.key -cert ca.crt -revoke joe.crt 2>/dev/null");
    run("openssl ca -config ca.conf -keyfile ca.key -cert ca.crt -gencrl -out joe.crl 2>/dev/null");
    dir
});

fn pki(name: &str) -> String {
    PKI.path().join(name).display().to_string()
}

/// A server with a certificate and these directives.
fn one(text: &str) -> Site {
    let text = format!(
        "listen 127.0.0.1:%%PORT%% ssl; ssl_protocols TLSv1.2 TLSv1.3; \
         ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key; {text}"
    );
    with_pki(&text)
}
fn with_pki(text: &str) -> Site {
    Site::new(text).with("PKI", Path::new(PKI.path()).display().to_string())
}

/// One HTTP/1.0 request: what openssl says of the connection, and the response.
fn report(server: &Server, flags: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{}", server.port())]).args(flags);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("openssl runs");
    // A refused handshake closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(b"GET /v HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let output = child.wait_with_output().expect("openssl ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}
fn as_client(server: &Server, name: &str, key: &str) -> String {
    report(server, &["-cert", &pki(name), "-key", &pki(key)])
}

#[test]
fn http2_is_agreed_on_where_it_is_on() {
    on_both(
        with_pki(
            "listen 127.0.0.1:%%PORT%% ssl http2; ssl_protocols TLSv1.2 TLSv1.3; \
             ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key; \
             location / { return 200 \"$server_protocol $http2 $ssl_alpn_protocol $ssl_protocol $scheme\"; }",
        ),
        |server| {
            let url = format!("https://127.0.0.1:{}/", server.port());
            let output = Command::new("curl").args(["-sk", "--http2", &url]).output().expect("curl runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "HTTP/2.0 h2 h2 TLSv1.3 https");
            assert!(report(server, &["-alpn", "http/1.1,h2"]).contains("ALPN protocol: h2"));
            assert!(report(server, &["-alpn", "http/1.1"]).contains("ALPN protocol: http/1.1"));
        },
    );
    let server = serve(one(""));
    assert!(report(&server, &["-alpn", "h2,http/1.1"]).contains("ALPN protocol: http/1.1"));
}

#[test]
fn curves() {
    on_both(one("ssl_ecdh_curve prime256v1:secp384r1;"), |server| {
        assert!(report(server, &["-groups", "X25519:P-384"]).contains("ECDH, secp384r1"));
        assert!(report(server, &["-groups", "X25519"]).contains("handshake failure"));
    });
}

#[test]
fn commands() {
    let text = "ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256; \
                ssl_conf_command Options ServerPreference,PrioritizeChaCha; ssl_conf_command MinProtocol TLSv1.3;";
    on_both(one(text), |server| {
        assert!(report(server, &[]).contains("Cipher is TLS_CHACHA20_POLY1305_SHA256"));
        assert!(!report(server, &["-tls1_2"]).contains("Protocol  : TLSv1.2\n    Cipher    : ECDHE"));
    });
}

#[test]
fn records_are_as_long_as_configured() {
    let body = "x".repeat(20_000);
    on_both(one("ssl_buffer_size 1k; ssl_early_data off;").file("html/v", &body), |server| {
        let said = report(server, &["-msg", "-tls1_2"]);
        // A kilobyte, and what encryption adds.
        assert!(said.matches(" 17 03 03 04 18\n").count() >= 19);
    });
}

#[test]
fn some_names_are_refused() {
    let text = "server { listen 127.0.0.1:%%PORT%% ssl default_server; ssl_reject_handshake on; }
        server { listen 127.0.0.1:%%PORT%% ssl; server_name a.test; ssl_certificate %%PKI%%/a.crt;
                 ssl_certificate_key %%PKI%%/a.key; return 200 welcome; }";
    on_both(with_pki(text), |server| {
        assert!(report(server, &["-servername", "a.test"]).contains("welcome"));
        assert!(report(server, &["-servername", "b.test"]).contains("unrecognized name"));
        assert!(report(server, &["-noservername"]).contains("unrecognized name"));
        server.error_log().wait_for("handshake rejected while SSL handshaking, client: 127.0.0.1, server: ");
    });
}

#[test]
fn a_key_may_be_locked() {
    let text = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate %%PKI%%/a.crt; ssl_password_file %%PKI%%/passwords; \
                ssl_certificate_key %%PKI%%/locked.key; return 200 open;";
    for key in ["locked.key", "old.key"] {
        let text = text.replace("locked.key", key);
        on_both(with_pki(&text), |server| assert!(report(server, &[]).contains("open"), "{key}"));
    }
    let exit = Binary::Plimsoll.refuses(with_pki(&text.replace("passwords", "v3")));
    assert!(
        exit.stderr.contains("locked.key\": PEM_read_bio_PrivateKey() failed (SSL: bad decrypt)"),
        "{exit}"
    );
}

#[test]
fn ticket_keys_are_files() {
    let text = "ssl_session_ticket_key %%PKI%%/ticket80; ssl_session_ticket_key %%PKI%%/ticket48; \
                location /v { return 200 \"reused $ssl_session_reused\"; }";
    on_both(one(text), |server| {
        let session = server.path("session").display().to_string();
        assert!(report(server, &["-tls1_2", "-sess_out", &session]).contains("reused ."));
        assert!(report(server, &["-tls1_2", "-sess_in", &session]).contains("reused r"));
        // A reload keeps them, and with them the sessions.
        server.reload(&format!(
            "listen 127.0.0.1:%%PORT%% ssl; ssl_protocols TLSv1.2; ssl_certificate %%PKI%%/a.crt; \
             ssl_certificate_key %%PKI%%/a.key; {}",
            text.replace("reused $", "again $")
        ));
        testkit::eventually("the session in the new configuration", || {
            report(server, &["-tls1_2", "-sess_in", &session]).contains("again r")
        });
    });
    let exit = Binary::Plimsoll.refuses(one("ssl_session_ticket_key %%PKI%%/v3;"));
    assert!(exit.stderr.contains("v3\" must be 48 or 80 bytes"), "{exit}");
}

const SHOW: &str = "location /v { return 200 \"$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|\
    $ssl_client_s_dn_legacy|$ssl_client_serial|$ssl_client_v_remain|\"; }";

#[test]
fn clients_show_certificates() {
    let text = format!("ssl_verify_client on; ssl_client_certificate %%PKI%%/ca.crt; {SHOW}");
    on_both(one(&text), |server| {
        let said = as_client(server, "joe.crt", "joe.key");
        assert!(
            // It was made for 30 days, this second or the one before.
            ["29|", "30|"].iter().any(|days| said.contains(&format!(
                "SUCCESS|CN=joe,O=Some\\, Org|CN=ca.test|/O=Some, Org/CN=joe|1F2E|{days}"
            ))),
            "{said}"
        );
        assert!(said.contains("Acceptable client certificate CA names\nCN = ca.test"), "{said}");
        assert!(report(server, &[]).contains("400 No required SSL certificate was sent"));
        let said = as_client(server, "self.crt", "self.key");
        assert!(said.contains("400 The SSL certificate error"), "{said}");
        let said = as_client(server, "old.crt", "joe.key");
        assert!(said.contains("400 The SSL certificate error"), "{said}");
        let log = server.error_log();
        log.wait_match(
            "client sent no required SSL certificate while reading client request headers, client",
        );
        log.wait_match(r"client SSL certificate verify error: \(18:self.signed certificate\) while reading");
        log.wait_for("client SSL certificate verify error: (10:certificate has expired) while reading");
    });
}

#[test]
fn the_certificate_itself_is_a_variable() {
    let text = "ssl_verify_client on; ssl_client_certificate %%PKI%%/ca.crt; location /v { return 200 \
        \"$ssl_client_raw_cert|$ssl_client_escaped_cert|$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end|\"; }";
    let said = std::sync::Mutex::new(Vec::new());
    on_both(one(text), |server| {
        let answer = as_client(server, "joe.crt", "joe.key");
        let body = answer.split("\r\n\r\n").last().expect("a body");
        let answer = body.split('|').take(5).collect::<Vec<_>>().join("|");
        assert!(
            answer.starts_with(&std::fs::read_to_string(pki("joe.crt")).expect("a certificate")),
            "{answer}"
        );
        said.lock().expect("no panic").push(answer);
    });
    let said = said.into_inner().expect("no panic");
    assert!(said.windows(2).all(|two| two[0] == two[1]), "{said:#?}");
}

#[test]
fn optional_certificates() {
    let text = format!("ssl_verify_client optional; ssl_client_certificate %%PKI%%/ca.crt; {SHOW}");
    on_both(one(&text), |server| {
        assert!(report(server, &[]).contains("NONE||||||"));
        assert!(as_client(server, "joe.crt", "joe.key").contains("SUCCESS|CN=joe"));
        assert!(as_client(server, "self.crt", "self.key").contains("400 The SSL certificate error"));
    });
    on_both(one(&format!("ssl_verify_client optional_no_ca; {SHOW}")), |server| {
        let said = as_client(server, "self.crt", "self.key");
        assert!(said.contains("FAILED:self-signed certificate|CN=stranger.test|"), "{said}");
        let said = as_client(server, "joe.crt", "joe.key");
        assert!(said.contains("FAILED:unable to verify the first certificate|CN=joe"), "{said}");
    });
}

#[test]
fn revoked_certificates() {
    let text = |list: &str| {
        one(&format!(
            "ssl_verify_client optional; ssl_client_certificate %%PKI%%/ca.crt; ssl_crl %%PKI%%/{list}.crl; {SHOW}"
        ))
    };
    on_both(text("empty"), |server| {
        assert!(as_client(server, "joe.crt", "joe.key").contains("SUCCESS|"));
    });
    on_both(text("joe"), |server| {
        assert!(as_client(server, "joe.crt", "joe.key").contains("400 The SSL certificate error"));
        server.error_log().wait_for("client SSL certificate verify error: (23:certificate revoked)");
    });
}

#[test]
fn a_certificate_counts_for_the_name_it_was_shown_to() {
    let pair = "ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key;";
    let text = format!(
        "server {{ listen 127.0.0.1:%%PORT%% ssl; {pair} server_name open.test; return 200 open; }}
         server {{ listen 127.0.0.1:%%PORT%% ssl; {pair} server_name a.test; ssl_verify_client optional;
                   ssl_client_certificate %%PKI%%/ca.crt; return 200 closed; }}"
    );
    on_both(with_pki(&text), |server| {
        assert!(report(server, &["-servername", "open.test"]).contains("421 Misdirected Request"));
        assert!(report(server, &["-servername", "a.test"]).contains("closed"));
    });
}

#[test]
fn what_has_no_effect_is_said() {
    let check = |text: &str, words: &str| {
        let exit = Binary::Plimsoll.check(one(text));
        assert!(exit.code == Some(0) && exit.to_string().contains(words), "{text}: {exit}");
    };
    check("ssl_dhparam %%PKI%%/a.crt;", "\"ssl_dhparam\" has no effect");
    check(
        "ssl_stapling on; ssl_stapling_verify on;",
        "\"ssl_stapling\" ignored, issuer certificate not found for certificate",
    );
    check("ssl on;", "the \"ssl\" directive is deprecated, use the \"listen ... ssl\" directive instead in ");
    check("ssl_ecdh_curve X25519:X448;", "curves \"X448\" are not supported by plimsoll, ignored");
    check("ssl_certificate_cache max=10 inactive=20s;", "test is successful");
}

#[test]
fn errors_at_load() {
    let refused = |text: &str, words: &str| {
        let exit = Binary::Plimsoll.refuses(one(text));
        assert!(exit.stderr.contains(words), "{text}: {exit}");
    };
    refused(
        "ssl_verify_client on;",
        "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
    );
    refused(
        "ssl_verify_client on; ssl_client_certificate none;",
        "cannot load certificate \"%%DIR%%/none\": BIO",
    );
    refused("ssl_verify_client maybe;", "invalid value \"maybe\"");
    refused("ssl_ecdh_curve nonsense;", "SSL_CTX_set1_curves_list(\"nonsense\") failed (SSL: ");
    refused("ssl_conf_command Nonsense x;", "SSL_CONF_cmd(\"Nonsense\", \"x\") failed (SSL: ");
    refused(
        "ssl_dhparam none;",
        "BIO_new_file(\"%%DIR%%/none\") failed (SSL: error:80000002:system library::No such file or directory:\
         calling fopen(%%DIR%%/none, r) error:10000080:BIO routines::no such file)",
    );
    refused("ssl_stapling on; ssl_stapling_file %%PKI%%/v3;", "failed (SSL: not an OCSP response)");
}

#[test]
fn variables_name_certificates() {
    for cache in ["", "ssl_certificate_cache max=1 valid=1m;"] {
        let text = format!(
            "listen 127.0.0.1:%%PORT%% ssl; ssl_protocols TLSv1.2 TLSv1.3; {} \
             ssl_certificate %%PKI%%/$ssl_server_name.crt; ssl_certificate_key %%PKI%%/$ssl_server_name.key;",
            cache
        );
        let test = |server: &Server| {
            for name in ["a", "self", "a"] {
                let subject = if name == "a" { "CN = a.test" } else { "CN = stranger.test" };
                let said = report(server, &["-servername", name]);
                assert!(said.contains(&format!("subject={subject}\n")), "{name}: {said}");
            }
            assert!(report(server, &["-servername", "none"]).contains("alert"));
            server
                .error_log()
                .wait_match(r"cannot load certificate .*none.crt.: .*while SSL handshaking, client");
        };
        // The cache is newer than what may be installed.
        match cache {
            "" => on_both(with_pki(&text), test),
            _ => test(&serve(with_pki(&text))),
        }
    }
}

/// The lengths of the records that a large answer comes in, in order.
fn records(server: &Server) -> Vec<usize> {
    let said = report(server, &["-tls1_2", "-msg"]);
    let mut lines = said.lines();
    let mut lengths = Vec::new();
    while lines.find(|line| line.contains("<<< ") && line.contains("RecordHeader")).is_some() {
        let header = lines.next().unwrap_or_default().trim();
        if let Some(length) = header.strip_prefix("17 03 03 ") {
            lengths.extend(usize::from_str_radix(&length.replace(' ', ""), 16));
        }
    }
    lengths
}

#[test]
fn records_begin_small_and_grow() {
    let server = serve(one("root files; default_type text/plain;").file("files/v", vec![b'x'; 100_000]));
    let lengths = records(&server);
    let (first, rest) = lengths.split_at(10.min(lengths.len()));
    assert!(first.iter().all(|length| *length < 1460), "{lengths:?}");
    assert!(rest.iter().any(|length| *length > 16_384) && rest.len() < 12, "{lengths:?}");
}

#[test]
fn records_are_as_long_as_is_written() {
    on_both(one("ssl_buffer_size 4k; root files;").file("files/v", vec![b'x'; 100_000]), |server| {
        let lengths = records(server);
        let full = lengths.iter().filter(|length| (4096..4096 + 64).contains(*length)).count();
        assert!(full >= 20 && lengths.iter().all(|length| *length < 4096 + 64), "{lengths:?}");
    });
}
