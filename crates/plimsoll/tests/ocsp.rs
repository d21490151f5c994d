//! OCSP, with openssl as the responder: what it says of our certificate goes out with it, what it says of a client's counts.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;
use testkit::{Binary, Port, Server, Site, each, eventually};

/// A signer, what it signed, and its list of that: made once. `bad` and `gone` are revoked.
static PKI: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    let script = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -days 3650 -subj /CN=ca.test -keyout ca.key -out ca.crt
        touch index; echo 1000 > serial
        printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\n\
            policy=p\\ncertificate=ca.crt\\nprivate_key=ca.key\\nunique_subject=no\\n[p]\\ncommonName=supplied\\n\
            [s]\\nextendedKeyUsage=OCSPSigning\\n[e]\\nbasicConstraints=CA:false\\n' > ca.conf
        for name in a b joe bad gone signer; do
            openssl req $new -subj /CN=$name -keyout $name.key -out $name.csr
            part=e; [ $name = signer ] && part=s
            openssl ca -batch -config ca.conf -extensions $part -days 30 -in $name.csr -out $name.pem -notext
            openssl x509 -in $name.pem -out $name.crt
        done
        for name in bad gone; do openssl ca -config ca.conf -revoke $name.crt; done";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
});

/// A responder, as long as it is held.
struct Responder {
    port: Port,
    child: Child,
    _said: BufReader<ChildStderr>,
}

impl Responder {
    /// Answers are signed by this one.
    fn new(signer: &str) -> Responder {
        let port = Port::free();
        let path = |name: &str| -> PathBuf { PKI.path().join(name) };
        let mut child = Command::new("openssl")
            .args(["ocsp", "-nmin", "10", "-port", &port.number().to_string(), "-index"])
            .arg(path("index"))
            .arg("-rsigner")
            .arg(path(&format!("{signer}.crt")))
            .arg("-rkey")
            .arg(path(&format!("{signer}.key")))
            .arg("-CA")
            .arg(path("ca.crt"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        // A connection without a question would be its last: it says itself when it listens.
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("waiting") {
            line.clear();
            assert!(said.read_line(&mut line).expect("what openssl says") > 0, "a responder");
        }
        Responder { port, child, _said: said }
    }
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port.number())
    }
}
impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn site(text: &str) -> Site {
    let text = format!("listen 127.0.0.1:%%PORT%% ssl; ssl_protocols TLSv1.2 TLSv1.3; {text}");
    Site::new(text).with("PKI", Path::new(PKI.path()).display().to_string())
}
fn stapled(name: &str, url: &str, text: &str) -> Site {
    site(&format!(
        "ssl_certificate %%PKI%%/{name}.crt; ssl_certificate_key %%PKI%%/{name}.key; ssl_stapling on; \
         ssl_trusted_certificate %%PKI%%/ca.crt; ssl_stapling_responder {url}; {text}"
    ))
}

/// What `openssl s_client` says of a request for `/`.
fn client(server: &Server, flags: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{}", server.port())]).args(flags);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("openssl runs");
    let _ = child.stdin.take().expect("a pipe").write_all(b"GET / HTTP/1.0\r\n\r\n");
    String::from_utf8_lossy(&child.wait_with_output().expect("openssl ends").stdout).into_owned()
}

#[test]
fn answers_are_stapled() {
    for signer in ["ca", "signer"] {
        let responder = Responder::new(signer);
        each(|binary| {
            let server = binary.serve(stapled("a", &responder.url(), "ssl_stapling_verify on;"));
            let mut said = client(&server, &["-status"]);
            assert!(said.contains("OCSP response: no response sent"), "{said}");
            eventually("an answer", || {
                said = client(&server, &["-status"]);
                said.contains("Cert Status: good")
            });
            assert!(said.contains("OCSP Response Status: successful"), "{said}");
        });
    }
}

#[test]
fn what_is_no_good_answer_is_not_stapled() {
    let responder = Responder::new("ca");
    each(|binary| {
        let server = binary.serve(stapled("bad", &responder.url(), ""));
        client(&server, &["-status"]);
        server.error_log().wait_for(
            "certificate status \"revoked\" in the OCSP response while requesting certificate status, \
             responder: 127.0.0.1",
        );
        assert!(client(&server, &["-status"]).contains("OCSP response: no response sent"));
    });
    // Signed by one whom nobody lets do that.
    let responder = Responder::new("b");
    each(|binary| {
        let server = binary.serve(stapled("a", &responder.url(), "ssl_stapling_verify on;"));
        client(&server, &["-status"]);
        server.error_log().wait_for("OCSP_basic_verify() failed");
        assert!(client(&server, &["-status"]).contains("OCSP response: no response sent"));
    });
    let nobody = Port::free();
    each(|binary| {
        let url = format!("http://127.0.0.1:{}", nobody.number());
        let server = binary.serve(stapled("a", &url, ""));
        client(&server, &["-status"]);
        server.error_log().wait_match(
            r"(connect|recv)\(\) failed \(111: Connection refused\) while requesting certificate status",
        );
    });
}

#[test]
fn clients_may_be_revoked() {
    let responder = Responder::new("signer");
    each(|binary| {
        let server = binary.serve(site(&format!(
            "ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key; ssl_verify_client on; \
             ssl_client_certificate %%PKI%%/ca.crt; ssl_ocsp on; ssl_ocsp_responder {}; \
             ssl_ocsp_cache shared:ocsp:1m; location / {{ return 200 \"[$ssl_client_verify]\"; }}",
            responder.url()
        )));
        let show = |name: &str| {
            let path = |end: &str| PKI.path().join(format!("{name}.{end}")).display().to_string();
            client(&server, &["-cert", &path("crt"), "-key", &path("key")])
        };
        assert!(show("joe").contains("[SUCCESS]"));
        for _ in 0..2 {
            let said = show("gone");
            assert!(said.contains("400 The SSL certificate error"), "{said}");
        }
        server.error_log().wait_for(
            "client SSL certificate verify error: certificate revoked while reading client request headers",
        );
    });
}

#[test]
fn who_cannot_be_asked_about_is_refused() {
    let nobody = Port::free();
    each(|binary| {
        let server = binary.serve(site(&format!(
            "ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key; ssl_verify_client optional; \
             ssl_client_certificate %%PKI%%/ca.crt; ssl_ocsp leaf; ssl_ocsp_responder http://127.0.0.1:{}/; \
             error_page 495 =200 /verify; location / {{ return 200 \"[$ssl_client_verify]\"; }}",
            nobody.number()
        )));
        let path = |end: &str| PKI.path().join(format!("joe.{end}")).display().to_string();
        let said = client(&server, &["-cert", &path("crt"), "-key", &path("key")]);
        assert!(said.contains("[FAILED:certificate status request failed]"), "{said}");
        assert!(client(&server, &[]).contains("[NONE]"));
    });
}

#[test]
fn what_is_written_wrong_is_refused() {
    let refused = |text: &str, what: &str| {
        let pair = "ssl_certificate %%PKI%%/a.crt; ssl_certificate_key %%PKI%%/a.key;";
        let exit = Binary::Plimsoll.check(site(&format!("{pair} {text}")));
        assert!(exit.stderr.contains(what), "{}", exit.stderr);
    };
    let verify = "ssl_verify_client optional_no_ca; ssl_ocsp on;";
    refused(verify, "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"");
    refused("ssl_ocsp maybe;", "invalid value \"maybe\"");
    refused("ssl_ocsp_cache x;", "invalid OCSP cache \"x\"");
    refused("ssl_ocsp_cache shared:x:1k;", "OCSP cache \"shared:x:1k\" is too small");
    let verify = "ssl_verify_client on; ssl_client_certificate %%PKI%%/ca.crt; ssl_ocsp on;";
    refused(
        &format!("{verify} ssl_ocsp_responder https://127.0.0.1/;"),
        "invalid URL prefix in OCSP responder \"https://127.0.0.1/\" in \"ssl_ocsp_responder\"",
    );
    refused("ssl_stapling on;", "issuer certificate not found for certificate");
    let trusted = "ssl_stapling on; ssl_trusted_certificate %%PKI%%/ca.crt;";
    refused(trusted, "\"ssl_stapling\" ignored, no OCSP responder URL in the certificate");
}
