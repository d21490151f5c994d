//! `listen .. ssl`, seen by OpenSSL's client.
#![forbid(unsafe_code)]

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use testkit::{Binary, Response, Server, Site, Wire, each, normal, on_both};

/// Certificate and key, as PEM.
type Pair = (Vec<u8>, Vec<u8>);

static A: LazyLock<Pair> = LazyLock::new(|| pair("a.test", &["rsa:2048"]));
static B: LazyLock<Pair> = LazyLock::new(|| pair("b.test", &["rsa:2048"]));
static EC: LazyLock<Pair> =
    LazyLock::new(|| pair("ec.test", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]));

fn pair(name: &str, key: &[&str]) -> Pair {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "3650", "-subj", &format!("/CN={name}"), "-newkey"]);
    command.args(key).args(["-keyout", "-", "-out", "-"]);
    let output = command.output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("PEM");
    let (key, certificate) = text.split_at(text.find("-----BEGIN CERT").expect("a certificate"));
    (certificate.into(), key.into())
}

/// A site with the certificates `a`, `b` and `ec` beside its file.
fn site(text: &str) -> Site {
    let mut site = Site::new(text);
    for (name, pair) in [("a", &*A), ("b", &*B), ("ec", &*EC)] {
        site = site.file(&format!("{name}.crt"), &pair.0).file(&format!("{name}.key"), &pair.1);
    }
    site
}

/// A server with certificate `a` and these directives.
fn one(text: &str) -> Site {
    // nginx offers TLSv1.3 by default since 1.27.3; the installed oracle may be older.
    let protocols = if text.contains("ssl_protocols") { "" } else { "ssl_protocols TLSv1.2 TLSv1.3;" };
    site(&format!(
        "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate a.crt; ssl_certificate_key a.key; {protocols} {text}"
    ))
}

/// `openssl s_client` between a plain socket and the server.
struct Secure {
    child: Child,
    wire: Wire,
}
impl Secure {
    fn connect(server: &Server, flags: &[&str]) -> Secure {
        let (ours, its) = UnixStream::pair().expect("a pair of sockets");
        let its = OwnedFd::from(its);
        let input = Stdio::from(its.try_clone().expect("a second handle"));
        let mut command = client(server);
        command.arg("-quiet").args(flags).stdin(input).stdout(its);
        let child = command.stderr(Stdio::null()).spawn().expect("openssl runs");
        Secure { child, wire: ours.into() }
    }
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).expect("openssl reads");
    }
    fn response(&mut self) -> Response {
        self.wire.read_response("GET").expect("a response")
    }
    fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        self.response()
    }
}
impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(server: &Server) -> Command {
    let mut command = Command::new("openssl");
    command.arg("s_client").arg("-connect").arg(format!("127.0.0.1:{}", server.port()));
    command
}

/// One HTTP/1.0 request; all that openssl says of the connection, and the response.
fn report(server: &Server, flags: &[&str]) -> String {
    let mut command = client(server);
    command.arg("-ign_eof").args(flags);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    // A refused handshake closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(b"GET /v HTTP/1.0\r\n\r\n");
    let output = child.wait_with_output().expect("openssl ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

const V: &str = "location /v {
    return 200 \"$ssl_protocol $ssl_cipher [$ssl_server_name] $ssl_session_reused $scheme $https $server_name\";
}";
/// What a failed handshake leaves in the log before and after the reason.
const HANDSHAKING: &str = "while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:";

/// Waits for the line of a failed handshake.
#[track_caller]
fn logged(server: &Server, reason: &str) {
    server.error_log().wait_match(&format!(r"\[(info|crit)\] .*{reason}.* {HANDSHAKING}"));
}

#[test]
fn requests_on_one_connection() {
    on_both(one("location / { return 200 hello; }"), |server| {
        let mut client = Secure::connect(server, &[]);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().header("connection"), Some("keep-alive"));
        assert_eq!(
            normal(&client.wire.read_to_end().expect("an orderly end"), server.port()),
            "HTTP/1.1 200 OK\r\nServer: SERVER\r\nDate: DATE\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
             Connection: close\r\n\r\nhello"
        );
    });
}

#[test]
fn a_connection_ends_with_a_goodbye() {
    on_both(one("location / { return 200 hello; }"), |server| {
        for flags in [["-tls1_2"], ["-tls1_3"]] {
            let report = report(server, &flags);
            assert!(report.contains("hello") && report.contains("closed"), "{report}");
            assert!(!report.contains("unexpected eof"), "{report}");
        }
        let mut client = Secure::connect(server, &[]);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
    });
}

#[test]
fn variables_say_how_it_is_encrypted() {
    on_both(one(V), |server| {
        let old =
            report(server, &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-servername", "x.test"]);
        assert!(old.contains("\nTLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 [x.test] . https on "), "{old}");
        let new = report(server, &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-noservername"]);
        assert!(new.contains("\nTLSv1.3 TLS_AES_128_GCM_SHA256 [] . https on "), "{new}");
    });
}

#[test]
fn what_a_client_offers() {
    let text = "location /v { return 200 \"[$ssl_ciphers] [$ssl_curves]\"; }";
    on_both(one(text), |server| {
        let list = "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA";
        let old =
            report(server, &["-tls1_2", "-cipher", list, "-curves", "P-256:secp521r1:ffdhe2048:X25519"]);
        assert!(
            old.contains(&format!(
                "\n[{list}:TLS_EMPTY_RENEGOTIATION_INFO_SCSV] [prime256v1:secp521r1:X25519]"
            )),
            "{old}"
        );
        let new =
            report(server, &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-curves", "X448:P-384"]);
        assert!(
            new.contains("\n[TLS_AES_128_GCM_SHA256:TLS_EMPTY_RENEGOTIATION_INFO_SCSV] [X448:secp384r1]"),
            "{new}"
        );
    });
}

#[test]
fn curve_and_protocol_of_the_application() {
    on_both(one("location /v { return 200 \"<$ssl_curve|$ssl_alpn_protocol>\"; }"), |server| {
        let report_of = |flags: &[&str]| report(server, flags);
        let report = report_of(&["-groups", "X25519", "-alpn", "http/1.1"]);
        assert!(report.contains("<X25519|http/1.1>"), "{report}");
        let report = report_of(&["-groups", "P-256"]);
        assert!(report.contains("<prime256v1|>"), "{report}");
    });
}

#[test]
fn the_application_protocol_must_be_one_of_ours() {
    on_both(one("location / { return 200 hello; }"), |server| {
        let fits = report(server, &["-alpn", "h2,http/1.1"]);
        assert!(fits.contains("ALPN protocol: http/1.1") && fits.contains("hello"), "{fits}");
        let none = report(server, &[]);
        assert!(none.contains("No ALPN negotiated") && none.contains("hello"), "{none}");
        let other = report(server, &["-alpn", "h2"]);
        assert!(other.contains("no application protocol") && !other.contains("hello"), "{other}");
        logged(server, r"SSL_do_handshake\(\) failed \(SSL: .*");
    });
}

const THREE: &str = "
server { listen 127.0.0.1:%%PORT%% ssl; server_name a.test; ssl_certificate a.crt; ssl_certificate_key a.key; VV }
server { listen 127.0.0.1:%%PORT%% ssl; server_name b.test *.b.test; ssl_certificate b.crt; ssl_certificate_key b.key; VV }
server { listen 127.0.0.1:%%PORT%% ssl; server_name ~^ec\\.; ssl_certificate ec.crt; ssl_certificate_key ec.key; VV }
server { listen 127.0.0.1:%%PORT%% ssl; server_name bare.test; VV }";

#[test]
fn the_name_chooses_the_certificate() {
    on_both(site(&THREE.replace("VV", V)), |server| {
        for (name, subject) in [
            ("a.test", "a.test"),
            ("b.test", "b.test"),
            ("B.TEST", "b.test"),
            ("www.b.test", "b.test"),
            ("ec.example", "ec.test"),
            ("bare.test", "a.test"),
            ("unknown.test", "a.test"),
        ] {
            let report = report(server, &["-servername", name]);
            assert!(report.contains(&format!("subject=CN = {subject}\n")), "{name}: {report}");
        }
        let report = report(server, &["-noservername"]);
        assert!(report.contains("subject=CN = a.test\n"), "{report}");
    });
}

#[test]
fn the_host_chooses_the_server_whatever_the_name() {
    on_both(site(&THREE.replace("VV", V)), |server| {
        let mut client = Secure::connect(server, &["-servername", "a.test"]);
        assert!(client.get("/v").text().ends_with(" [a.test] . https on a.test"));
        client.send("GET /v HTTP/1.1\r\nHost: www.b.test\r\n\r\n");
        let text = client.response().text();
        assert!(text.ends_with(" [a.test] . https on b.test"), "{text}");
    });
}

#[test]
fn a_request_that_cannot_be_read_belongs_to_the_server_of_the_handshake() {
    on_both(site(&THREE.replace("VV", "add_header X-Server $server_name always;")), |server| {
        for (name, answers) in [("b.test", "b.test"), ("unknown.test", "a.test")] {
            let mut client = Secure::connect(server, &["-servername", name]);
            client.send("GET /%2e%2e/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let response = client.response();
            assert_eq!((response.status, response.header("x-server")), (400, Some(answers)), "{name}");
        }
    });
}

#[test]
fn two_certificates_for_two_kinds_of_client() {
    let both = "ssl_certificate ec.crt; ssl_certificate_key ec.key;";
    on_both(one(both), |server| {
        let rsa = report(server, &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert!(rsa.contains("subject=CN = a.test\n"), "{rsa}");
        let ec = report(server, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
        assert!(ec.contains("subject=CN = ec.test\n"), "{ec}");
        let ec = report(server, &["-tls1_3", "-sigalgs", "ECDSA+SHA256"]);
        assert!(ec.contains("subject=CN = ec.test\n"), "{ec}");
    });
}

#[test]
fn protocols_that_are_not_listed_are_refused() {
    for (listed, taken, refused) in [("TLSv1.2", "-tls1_2", "-tls1_3"), ("TLSv1.3", "-tls1_3", "-tls1_2")] {
        on_both(one(&format!("ssl_protocols {listed}; {V}")), |server| {
            let report_of = |flag| report(server, &[flag]);
            assert!(report_of(taken).contains(&format!("\n{listed} ")));
            assert!(report_of(refused).contains("alert protocol version"), "{}", report_of(refused));
            server.error_log().wait_match(r"\[info\] .*SSL_do_handshake\(\) failed \(SSL: ");
        });
    }
}

#[test]
fn ciphers_that_are_not_listed_are_refused() {
    let text = format!(
        "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305; \
         ssl_prefer_server_ciphers on; {V}"
    );
    on_both(one(&text), |server| {
        let report_of = |list| report(server, &["-cipher", list]);
        let ours = report_of("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384");
        assert!(ours.contains("\nTLSv1.2 ECDHE-RSA-AES256-GCM-SHA384 "), "{ours}");
        let none = report_of("ECDHE-RSA-AES128-GCM-SHA256");
        assert!(none.contains("handshake failure"), "{none}");
    });
    let text = format!(
        "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256; {V}"
    );
    on_both(one(&text), |server| {
        let theirs = report(server, &["-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"]);
        assert!(theirs.contains("\nTLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 "), "{theirs}");
    });
}

/// Whether a second connection takes up the first one's session.
fn resumes(server: &Server, version: &str) -> bool {
    let file = server.path(&format!("session{version}"));
    let file = file.to_string_lossy();
    let first = report(server, &[version, "-sess_out", &file]);
    assert!(first.contains("\nNew, "), "{first}");
    let second = report(server, &[version, "-sess_in", &file]);
    let resumed = second.contains("\nReused, ");
    assert_eq!(second.contains("] r https"), resumed, "{second}");
    resumed
}

#[test]
fn sessions_are_resumed_where_that_is_on() {
    for (text, expected) in [
        ("", true),
        ("ssl_session_cache shared:S:1m; ssl_session_tickets off;", true),
        ("ssl_session_cache builtin:100 shared:S:1m; ssl_session_timeout 1d;", true),
        ("ssl_session_tickets off;", false),
        ("ssl_session_cache off; ssl_session_tickets off;", false),
    ] {
        on_both(one(&format!("{text} {V}")), |server| {
            for version in ["-tls1_2", "-tls1_3"] {
                assert_eq!(resumes(server, version), expected, "{version} {text}");
            }
        });
    }
}

#[test]
fn shared_sessions_go_on_over_a_reload() {
    let text = |name: &str| {
        let cache = "ssl_session_cache shared:S:1m; ssl_session_tickets off; ssl_protocols TLSv1.2 TLSv1.3;";
        format!(
            "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate a.crt; ssl_certificate_key a.key; server_name {name}; {cache} {V}"
        )
    };
    each(|binary| {
        let server = binary.serve(site(&text("before")));
        let file = |version: &str| server.path(&format!("session{version}")).to_string_lossy().into_owned();
        for version in ["-tls1_2", "-tls1_3"] {
            assert!(report(&server, &[version, "-sess_out", &file(version)]).contains("\nNew, "));
        }
        server.rewrite(&text("after"));
        server.signal(rustix::process::Signal::HUP);
        testkit::eventually("the new configuration", || report(&server, &[]).contains(" after"));
        for version in ["-tls1_2", "-tls1_3"] {
            let again = report(&server, &[version, "-sess_in", &file(version)]);
            assert!(again.contains("\nReused, "), "{again}");
        }
    });
}

#[test]
fn a_plain_request_gets_400() {
    on_both(one("location / { return 200 hello; }"), |server| {
        let answer = server.normal("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let text = "The plain HTTP request was sent to HTTPS port";
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nServer: SERVER\r\n"), "{answer}");
        assert!(
            answer.contains("\r\nContent-Type: text/html\r\n")
                && answer.contains("\r\nConnection: close\r\n")
        );
        assert!(answer.contains(&format!("<head><title>400 {text}</title></head>")), "{answer}");
        assert!(answer.contains(&format!("<center>{text}</center>")), "{answer}");
        let line =
            server.error_log().wait_for("client sent plain HTTP request to HTTPS port while reading client");
        assert!(
            line.contains("[info]") && line.contains(" request headers, client: 127.0.0.1, server: "),
            "{line}"
        );
        server.access_log().wait_for("\"GET / HTTP/1.1\" 400 ");
    });
    on_both(one("error_page 497 =302 https://$host$request_uri;"), |server| {
        let mut client = server.client();
        let response = client.request("GET", "/x?y", &[("Host", "a.test")], b"");
        assert_eq!((response.status, response.header("location")), (302, Some("https://a.test/x?y")));
    });
}

#[test]
fn handshakes_that_fail_are_in_the_log() {
    on_both(one("client_header_timeout 1s; location / { return 200 hello; }"), |server| {
        let mut silent = server.client();
        silent.read_to_end();
        logged(server, r"client timed out \(110: Connection timed out\)");

        let mut broken = server.client();
        broken.send([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0xff]);
        broken.read_to_end();
        logged(server, r"SSL_do_handshake\(\) failed \(SSL: .*\)");

        let mut leaving = server.client();
        leaving.send([0x16, 3, 1]);
        leaving.half_close();
        leaving.read_to_end();
        logged(server, r"peer closed connection in SSL handshake.*");
    });
}

#[test]
fn a_client_that_does_not_trust_us_is_no_error() {
    on_both(one("location / { return 200 hello; }"), |server| {
        let refused = report(server, &["-verify_return_error"]);
        assert!(refused.contains("certificate verify failed"), "{refused}");
        server
            .error_log()
            .wait_match(r"\[info\] .*SSL_.*\(\) failed \(SSL: .*, client: 127.0.0.1, server: 127.0.0.1:");
        let log = server.error_log().text();
        assert!(!log.contains("[error]") && !log.contains("[crit]"), "{log}");
    });
}

#[test]
fn large_bodies_in_both_directions() {
    each(|binary| {
        let text = "client_max_body_size 0; location /up { proxy_pass http://127.0.0.1:%%PORT_1%%; }";
        let server = format!(
            "server {{ listen 127.0.0.1:%%PORT%% ssl; ssl_certificate a.crt; ssl_certificate_key a.key; {text} }}
             client_max_body_size 0;
             server {{ listen 127.0.0.1:%%PORT_1%%; location / {{ proxy_pass http://127.0.0.1:%%PORT_2%%; }} }}
             server {{ listen 127.0.0.1:%%PORT_2%%; location / {{ return 200 $content_length; }} }}"
        );
        let server = binary.serve(site(&server));
        let big: Vec<u8> = (0..12_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        server.write("html/big", &big);
        let mut client = Secure::connect(&server, &[]);
        for _ in 0..2 {
            assert!(client.get("/big").body == big, "a download arrives whole");
        }
        client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", big.len()));
        client.send(&big);
        assert_eq!(client.response().text(), big.len().to_string());
        let range = "GET /big HTTP/1.1\r\nHost: a\r\nRange: bytes=16380-16400\r\n\r\n";
        client.send(range);
        assert_eq!(client.response().body, &big[16380..16401]);
    });
}

#[test]
fn a_body_that_comes_back_changed_in_nothing() {
    each(|binary| {
        let origin = testkit::Origin::new(|exchange| {
            let body = exchange.request.body.clone();
            exchange.ok(body);
        });
        let server = one("client_max_body_size 0; location / { proxy_pass http://%%ORIGIN%%; }");
        let server = binary.serve(server.with("ORIGIN", origin.address()));
        let mut client = Secure::connect(&server, &[]);
        for size in [0usize, 1, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
            client.send(&body);
            assert!(client.response().body == body, "{size} bytes");
        }
    });
}

/// What is decrypted already shows in no socket: nothing may be forgotten there.
#[test]
fn many_requests_at_once() {
    on_both(one("location / { return 200 $uri; } keepalive_requests 10000;"), |server| {
        for padding in [0, 1, 500, 900] {
            let mut client = Secure::connect(server, &[]);
            let padding = "x".repeat(padding);
            let one = |n: usize| format!("GET /{n} HTTP/1.1\r\nHost: a\r\nPadding: {padding}\r\n\r\n");
            client.send((0..300).map(one).collect::<String>());
            for n in 0..300 {
                assert_eq!(client.response().text(), format!("/{n}"));
            }
        }
    });
}

#[test]
fn a_tunnel_carries_both_directions() {
    each(|binary| {
        let origin = testkit::Origin::wires(|wire| {
            let Ok(Some(_)) = wire.read_request_head() else { return };
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
            let mut going = wire.send(head).is_ok();
            while going {
                let bytes = wire.read_some(64 * 1024).unwrap_or_default();
                going = !bytes.is_empty() && wire.send(bytes).is_ok();
            }
        });
        let text = "location / { proxy_pass http://%%ORIGIN%%; proxy_http_version 1.1; \
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }";
        let server = binary.serve(one(text).with("ORIGIN", origin.address()));
        let mut client = Secure::connect(&server, &[]);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        let head = client.wire.read_through(b"\r\n\r\n").expect("a response");
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        for size in [1usize, 100, 16_384, 16_385, 60_000] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            client.send(&bytes);
            assert!(client.wire.read_exact(size).expect("what was sent") == bytes, "{size} bytes");
        }
    });
}

#[test]
fn idle_connections_live_on() {
    on_both(one("location / { return 200 $connection_requests; }"), |server| {
        let mut clients: Vec<Secure> = (0..20).map(|_| Secure::connect(server, &[])).collect();
        for round in ["1", "2", "3"] {
            for client in &mut clients {
                assert_eq!(client.get("/").text(), round);
            }
        }
    });
}

#[test]
fn a_reload_changes_the_certificate() {
    each(|binary| {
        let text = "listen 127.0.0.1:%%PORT%% ssl; ssl_certificate a.crt; ssl_certificate_key a.key;";
        let server = binary.serve(site(text));
        assert!(report(&server, &[]).contains("subject=CN = a.test\n"));
        server.rewrite(&text.replace("a.", "b."));
        server.signal(rustix::process::Signal::HUP);
        testkit::eventually("the new certificate", || report(&server, &[]).contains("subject=CN = b.test\n"));
    });
}

#[test]
fn curl_agrees() {
    on_both(one("location / { return 200 \"$request_method $scheme\"; }"), |server| {
        let url = format!("https://127.0.0.1:{}/", server.port());
        let output =
            Command::new("curl").args(["-sk", "-w", " %{http_code} %{num_connects}\\n", &url, &url]).output();
        let output = output.expect("curl runs").stdout;
        assert_eq!(String::from_utf8_lossy(&output), "GET https 200 1\nGET https 200 0\n");
    });
}

/// What both say when they do not start: the words up to the library's own.
fn refused(text: &str, words: &str) {
    each(|binary| {
        let exit = binary.refuses(site(&format!("server {{ listen 127.0.0.1:%%PORT%% ssl; {text} }}")));
        let mut said = exit.stderr.lines().filter(|line| line.contains("[emerg]"));
        let said = said.next().unwrap_or_default().to_owned();
        let wanted =
            format!("{}: [emerg] {words}", if binary == Binary::Nginx { "nginx" } else { "plimsoll" });
        assert!(said.starts_with(&wanted), "{text}: {said}, wanted {wanted}");
    });
}

#[test]
fn errors_at_load() {
    let pair = "ssl_certificate a.crt; ssl_certificate_key a.key;";
    refused(
        "",
        "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in %%DIR%%/nginx.conf:1",
    );
    refused(
        "ssl_certificate_key a.key;",
        "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive",
    );
    refused("ssl_certificate a.crt;", "no \"ssl_certificate_key\" is defined for certificate \"a.crt\"");
    refused(
        "ssl_certificate none.crt; ssl_certificate_key a.key;",
        "cannot load certificate \"%%DIR%%/none.crt\": BIO_new_file() failed (",
    );
    refused(
        "ssl_certificate a.crt; ssl_certificate_key none.key;",
        "cannot load certificate key \"%%DIR%%/none.key\": BIO_new_file() failed (",
    );
    refused(
        "ssl_certificate a.crt; ssl_certificate_key b.key;",
        "SSL_CTX_use_PrivateKey(\"%%DIR%%/b.key\") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)",
    );
    refused(
        "ssl_certificate nginx.conf; ssl_certificate_key a.key;",
        "cannot load certificate \"%%DIR%%/nginx.conf\": PEM_read_bio_X509_AUX() failed (SSL: ",
    );
    refused(
        "ssl_certificate a.crt; ssl_certificate_key nginx.conf;",
        "cannot load certificate key \"%%DIR%%/nginx.conf\": PEM_read_bio_PrivateKey() failed (SSL: ",
    );
    refused(&format!("{pair} ssl_protocols TLSv9;"), "invalid value \"TLSv9\" in %%DIR%%/nginx.conf:1");
    refused(
        &format!("{pair} ssl_ciphers NONE-SUCH;"),
        "SSL_CTX_set_cipher_list(\"NONE-SUCH\") failed (SSL: ",
    );
    refused(&format!("{pair} ssl_session_cache shared:x;"), "invalid session cache \"shared:x\" in ");
    refused(
        &format!("{pair} ssl_session_cache shared:x:1k;"),
        "session cache \"shared:x:1k\" is too small in ",
    );
    refused(&format!("{pair} ssl_session_timeout x;"), "\"ssl_session_timeout\" directive invalid value in ");
    refused(
        &format!("{pair} ssl_session_cache shared:x:1m; }} server {{ {pair} ssl_session_cache shared:x:2m;"),
        "the size 2097152 of shared memory zone \"x\" conflicts with already declared size 1048576",
    );
}

#[test]
fn files_of_trust_have_to_be_there_whoever_asks_for_them() {
    for (text, file) in [("ssl_trusted_certificate none.crt;", "none.crt"), ("ssl_crl none.crl;", "none.crl")]
    {
        each(|binary| {
            let pair = "ssl_certificate a.crt; ssl_certificate_key a.key;";
            let text = format!("server {{ listen 127.0.0.1:%%PORT%% ssl; {pair} {text} }}");
            let exit = binary.refuses(site(&text));
            assert!(
                exit.stderr.contains(&format!("%%DIR%%/{file}\")"))
                    || exit.stderr.contains(&format!("%%DIR%%/{file}\":")),
                "{exit}"
            );
            assert!(exit.stderr.contains("no such file"), "{exit}");
        });
    }
}

#[test]
fn a_protocol_twice_is_a_warning() {
    let pair = "ssl_certificate a.crt; ssl_certificate_key a.key;";
    each(|binary| {
        for text in
            ["ssl_protocols TLSv1.2 TLSv1.2;", "ssl_protocols TLSv1.2; ssl_protocols TLSv1.2 TLSv1.3;"]
        {
            let text = format!("server {{ listen 127.0.0.1:%%PORT%% ssl; {pair} {text} }}");
            let exit = binary.check(site(&text));
            assert!(exit.code == Some(0) && exit.stderr.contains("[warn]"), "{exit}");
            assert!(exit.stderr.contains("duplicate value \"TLSv1.2\" in %%DIR%%/nginx.conf:1"), "{exit}");
        }
    });
}

#[test]
fn what_old_files_have_is_taken_with_a_warning() {
    let text = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers HIGH:!aNULL:!MD5;";
    on_both(one(text), |server| assert!(report(server, &[]).contains("subject=CN = a.test")));
    let exit = Binary::Plimsoll.check(one(text));
    assert_eq!(exit.code, Some(0), "{exit}");
    assert!(exit.stderr.contains("[warn] \"TLSv1\" is not offered by plimsoll"), "{exit}");
}
