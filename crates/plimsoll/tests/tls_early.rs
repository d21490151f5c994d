//! Early data of TLS 1.3, and what the variables tell of a handshake.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use testkit::{Binary, Server, Site, each, serve};

/// A server's certificate, a signer, a client's certificate from it: made once.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "set -e
        for name in a ca; do openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 3650 \
            -subj /CN=$name.test -keyout $name.key -out $name.crt; done
        openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -subj /CN=joe -keyout joe.key -out joe.csr
        printf 'basicConstraints=CA:false' > v3
        openssl x509 -req -in joe.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 30 -extfile v3 -out joe.crt";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder.path()).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| (name, std::fs::read(folder.path().join(name)).expect("a file of openssl's"));
    ["a.crt", "a.key", "ca.crt", "joe.crt", "joe.key"].map(read).to_vec()
});

fn site(text: &str) -> Site {
    let text = format!(
        "listen 127.0.0.1:%%PORT%% ssl; ssl_protocols TLSv1.2 TLSv1.3; \
         ssl_certificate a.crt; ssl_certificate_key a.key; {text}"
    );
    FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content))
}

/// What `openssl s_client` prints; `sent` goes through the connection when it is open.
fn client(server: &Server, flags: &[&str], sent: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{}", server.port())]).args(flags);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("openssl runs");
    let _ = child.stdin.take().expect("a pipe").write_all(sent.as_bytes());
    let output = child.wait_with_output().expect("openssl ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
const GET: &str = "GET /v HTTP/1.0\r\n\r\n";

#[test]
fn a_request_may_come_early() {
    each(|binary| {
        let server = binary.serve(site(
            "ssl_early_data on; ssl_session_cache shared:s:1m; \
             location / { return 200 \"[$ssl_early_data|$ssl_session_reused]\"; }",
        ));
        let (session, early) = (server.path("session"), server.path("early"));
        let (session, early) = (session.to_str().expect("a path"), early.to_str().expect("a path"));
        server.write("early", GET);
        let first = client(&server, &["-sess_out", session], GET);
        assert!(first.contains("[|.]"), "{first}");
        let again = client(&server, &["-sess_in", session, "-early_data", early], "");
        assert!(again.contains("Early data was accepted") && again.contains("|r]"), "{again}");
        if binary == Binary::Nginx {
            // Whether it is early by the time of the answer is a race there: the handshake may be over.
            return;
        }
        assert!(again.contains("[1|r]"), "{again}");
        // The same once more may be from somebody who listened; nginx takes that, too.
        let replayed = client(&server, &["-sess_in", session, "-early_data", early], GET);
        assert!(replayed.contains("Early data was rejected") && replayed.contains("[|.]"), "{replayed}");
    });
}

#[test]
fn a_long_answer_to_an_early_request() {
    let body = "0123456789abcdef".repeat(20_000);
    let server = serve(site("ssl_early_data on;").file("html/v", &body));
    let (session, early) = (server.path("session"), server.path("early"));
    let (session, early) = (session.to_str().expect("a path"), early.to_str().expect("a path"));
    server.write("early", GET);
    client(&server, &["-sess_out", session], GET);
    let answer = client(&server, &["-sess_in", session, "-early_data", early], "");
    assert!(answer.contains("Early data was accepted") && answer.contains(&body), "{}", answer.len());
}

#[test]
fn what_was_signed() {
    let server = serve(site(
        "ssl_verify_client optional; ssl_client_certificate ca.crt; \
         location / { return 200 \"[$ssl_sigalg|$ssl_client_sigalg|$ssl_sigalgs|$ssl_ech_status$ssl_ech_outer_server_name]\"; }",
    ));
    let (certificate, key) = (server.path("joe.crt"), server.path("joe.key"));
    let flags = ["-sigalgs", "ECDSA+SHA256:ECDSA+SHA384:ed25519"];
    let flags = [&flags[..], &["-cert", certificate.to_str().expect("a path")]].concat();
    let flags = [&flags[..], &["-key", key.to_str().expect("a path")]].concat();
    let schemes = "ecdsa_secp256r1_sha256|ecdsa_secp384r1_sha384|\
                   ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519";
    for version in ["-tls1_2", "-tls1_3"] {
        let said = client(&server, &[&flags[..], &[version]].concat(), GET);
        assert!(said.contains(&format!("[{schemes}|]")), "{version}: {said}");
    }
}

#[test]
fn sessions_have_identifiers() {
    each(|binary| {
        let server = binary.serve(site(
            "ssl_session_cache shared:s:1m; ssl_session_tickets off; location / { return 200 \"[$ssl_session_id]\"; }",
        ));
        let said = client(&server, &["-tls1_2"], GET);
        let id = said.split("Session-ID: ").nth(1).and_then(|rest| rest.lines().next()).expect("a session");
        assert!(id.len() == 64 && said.contains(&format!("[{}]", id.to_lowercase())), "{said}");
    });
}

#[test]
fn certificates_may_be_compressed() {
    let server = serve(site("ssl_certificate_compression on; location / { return 200 ok; }"));
    assert!(client(&server, &[], GET).contains("ok"));
}
