//! What arrives at a port for TLS and is none, or half of it: it ends, is in the log as a client's fault, and harms nobody.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use rustix::process::Signal;
use testkit::{Client, Server, Site, eventually, on_both};

/// A certificate with its key.
static FILES: LazyLock<[(&str, Vec<u8>); 2]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-days", "3650", "-subj", "/CN=a.test", "-keyout", "a.key", "-out", "a.crt"])
        .current_dir(folder.path())
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ["a.key", "a.crt"].map(|name| (name, std::fs::read(folder.path().join(name)).expect("a file")))
});

/// What openssl says first: one record.
static HELLO: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut hello = vec![0; 5];
    let (mut socket, _) = listener.accept().expect("openssl connects");
    socket.read_exact(&mut hello).expect("a record's head");
    hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
    socket.read_exact(&mut hello[5..]).expect("a record");
    drop(socket);
    client.wait().expect("openssl ends");
    hello
});

fn site(text: &str) -> Site {
    let text = format!(
        "listen 127.0.0.1:%%PORT%% ssl; listen 127.0.0.1:%%PORT_1%%; ssl_certificate a.crt; ssl_certificate_key a.key;
         ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 ok; }} {text}"
    );
    FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content))
}
fn failed(server: &Server, reason: &str) {
    let line =
        format!(r"\[(info|crit)\] .*{reason}.* while SSL handshaking, client: 127.0.0.1, server: 127.0.0.1:");
    server.error_log().wait_match(&line);
}
/// A record of a handshake.
fn record(content: &[u8]) -> Vec<u8> {
    [&[0x16, 3, 1], &(content.len() as u16).to_be_bytes()[..], content].concat()
}
/// Whether the server went on with the handshake: the first byte of its answer.
fn answer(client: &mut Client) -> Option<u8> {
    client.wire().read_exact(1).ok().map(|first| first[0])
}

#[test]
fn a_hello_may_come_in_any_pieces() {
    on_both(site(""), |server| {
        let mut bytewise = server.client();
        for byte in HELLO.iter() {
            bytewise.send([*byte]);
        }
        assert_eq!(answer(&mut bytewise), Some(0x16));
        let mut records = server.client();
        let small: Vec<u8> = HELLO[5..].chunks(9).flat_map(record).collect();
        records.send(small);
        assert_eq!(answer(&mut records), Some(0x16));
    });
}

#[test]
fn a_hello_that_breaks_off() {
    on_both(site(""), |server| {
        for length in [1, 4, 5, 6, 100, HELLO.len() - 1] {
            let mut client = server.client();
            client.send(&HELLO[..length]);
            client.half_close();
            client.read_to_end();
        }
        failed(server, "peer closed connection in SSL handshake");
        assert!(!server.error_log().text().contains("[error]"));
        // Behind the hello, too.
        let mut client = server.client();
        client.send(&*HELLO);
        client.half_close();
        client.read_to_end();
        assert_eq!(server.client_on(1).get("/").text(), "ok");
    });
}

#[test]
fn what_is_no_hello() {
    let content = |kind: u8, length: u32, rest: &[u8]| {
        let [_, a, b, c] = length.to_be_bytes();
        record(&[&[kind, a, b, c], rest].concat())
    };
    let broken: [Vec<u8>; 6] = [
        // Another message, a length beyond all bounds, an empty record and rubbish, a hello of zeros.
        content(2, 4, &[3, 3, 0, 0]),
        content(1, 0xff_ffff, &[0; 10_000]).repeat(40),
        [record(b""), record(&[0xff; 50])].concat(),
        content(1, 200, &[0; 200]),
        // A record longer than any.
        [&[0x16, 3, 1, 0xff, 0xff], &[1; 1000][..]].concat(),
        // What SSL 2 began with.
        [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80], &[0; 40][..]].concat(),
    ];
    for bytes in &broken {
        on_both(site("lingering_time 1s;"), |server| {
            let mut client = server.client();
            // The server need not read all of it.
            let _ = client.wire().send(bytes);
            let rest = client.wire().read_what_comes().0;
            assert!(rest.is_empty() || rest[0] == 0x15, "an alert: {rest:?}");
            failed(server, r"SSL_do_handshake\(\) failed \(SSL: ");
            assert_eq!(server.client_on(1).get("/").text(), "ok");
        });
    }
}

#[test]
fn rubbish_behind_the_hello() {
    on_both(site(""), |server| {
        let mut client = server.client();
        client.send(&*HELLO);
        assert_eq!(answer(&mut client), Some(0x16));
        client.send([0x17, 3, 3, 0, 40]);
        client.send([0xab; 40]);
        client.wire().read_what_comes();
        failed(server, r"SSL_do_handshake\(\) failed \(SSL: ");
    });
}

#[test]
fn what_is_logged_is_said_in_openssls_words() {
    let alert = [0x15, 3, 3, 0, 2, 2, 40];
    let rubbish = [&[0x17, 3, 3, 0, 40][..], &[0xab; 40]].concat();
    let sent: [(Vec<u8>, &str); 4] = [
        (
            [&HELLO[..], &alert].concat(),
            "0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40",
        ),
        ([&HELLO[..], &rubbish].concat(), "0A000119:SSL routines::decryption failed or bad record mac"),
        (record(&[1, 2, 3, 4, 5]), "0A000098:SSL routines::excessive message size"),
        (
            [&[0x16, 3, 1, 0xff, 0xff], &[1; 100][..]].concat(),
            "0A0000C6:SSL routines::packet length too long",
        ),
    ];
    let clients: [(&[&str], &str); 4] = [
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "0A0000C1:SSL routines::no shared cipher"),
        (&["-tls1_2", "-groups", "P-521"], "0A0000C1:SSL routines::no shared cipher"),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "0A000102:SSL routines::unsupported protocol"),
        (&["-alpn", "other"], "0A0000EB:SSL routines::no application protocol"),
    ];
    on_both(site("lingering_time 1s;"), |server| {
        for (bytes, words) in &sent {
            let mut client = server.client();
            let _ = client.wire().send(bytes);
            client.wire().read_what_comes();
            failed(server, &format!(r"SSL_do_handshake\(\) failed \(SSL: error:{words}\)"));
        }
        for (arguments, words) in &clients {
            Command::new("openssl")
                .args(["s_client", "-connect", &format!("127.0.0.1:{}", server.port())])
                .args(*arguments)
                .stdin(Stdio::null())
                .output()
                .expect("openssl runs");
            failed(server, &format!(r"SSL_do_handshake\(\) failed \(SSL: error:{words}"));
        }
        drop(server.client());
        failed(server, "client closed connection");
    });
}

#[test]
fn nothing_is_agreed_on_anew() {
    on_both(site(""), |server| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &format!("127.0.0.1:{}", server.port())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        let mut input = client.stdin.take().expect("a pipe");
        input.write_all(b"R\n").expect("openssl reads");
        let output = client.wait_with_output().expect("openssl ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("RENEGOTIATING") && errors.contains("no renegotiation"), "{errors}");
        assert_eq!(server.client_on(1).get("/").text(), "ok");
    });
}

#[test]
fn the_silent_give_their_seats_back() {
    let text = "worker_processes 1; events { worker_connections 12; } http { server { listen 127.0.0.1:%%PORT%% ssl;
        ssl_certificate a.crt; ssl_certificate_key a.key; client_header_timeout 500ms; location / { return 200 ok; } } }";
    let site = FILES.iter().fold(Site::new(text), |site, (name, content)| site.file(name, content));
    let server = testkit::serve(site);
    let mut silent: Vec<Client> = (0..6).map(|_| server.client()).collect();
    for (i, client) in silent.iter_mut().enumerate() {
        client.send(&HELLO[..HELLO.len() * i / 6]);
    }
    for client in &mut silent {
        client.wire().read_what_comes();
    }
    failed(&server, r"client timed out \(110: Connection timed out\)");
    let mut next: Vec<Client> = (0..6).map(|_| server.client()).collect();
    for client in &mut next {
        client.send(&*HELLO);
        assert_eq!(answer(client), Some(0x16));
    }
}

/// A handshake is one piece of work. Requests that were there before it do not wait for it, others for those only that were
/// there before them: counted in the log, where a handshake whose client left is a line, and so is a file that is not there.
#[test]
fn a_request_waits_for_the_handshakes_before_it_alone() {
    const EACH: usize = 4;
    on_both(site("location /none { root html; }"), |server| {
        let tell = |signal| {
            for pid in server.workers() {
                let pid = rustix::process::Pid::from_raw(pid).expect("a process");
                rustix::process::kill_process(pid, signal).expect("a signal arrives");
            }
        };
        let mut shaking: Vec<Client> = (0..2 * EACH).map(|_| server.client()).collect();
        let mut asking: Vec<Client> = (0..3).map(|_| server.client_on(1)).collect();
        for client in &mut asking {
            assert_eq!(client.get("/").status, 200);
        }
        tell(Signal::STOP);
        let (first, later) = shaking.split_at_mut(EACH);
        let hello = |clients: &mut [Client]| {
            for client in clients {
                client.send(&*HELLO);
                client.half_close();
            }
        };
        asking[0].send("GET /none/0 HTTP/1.1\r\nHost: a\r\n\r\n");
        hello(first);
        asking[1].send("GET /none/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        hello(later);
        asking[2].send("GET /none/2 HTTP/1.1\r\nHost: a\r\n\r\n");
        tell(Signal::CONT);
        for client in &mut asking {
            assert_eq!(client.response().status, 404);
        }
        let handshake = "while SSL handshaking";
        eventually("all handshakes are over", || {
            server.error_log().text().matches(handshake).count() == 2 * EACH
        });
        let log = server.error_log().text();
        let handshakes_before = |file: &str| {
            let lines = log.lines().take_while(|line| !line.contains(file));
            lines.filter(|line| line.contains(handshake)).count()
        };
        for (i, most) in [0, EACH, 2 * EACH].into_iter().enumerate() {
            let before = handshakes_before(&format!("none/{i}\" failed"));
            assert!(before <= most, "{before} handshakes before request {i}:\n{log}");
        }
    });
}
