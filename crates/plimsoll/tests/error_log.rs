//! `error_log`: levels, targets and the form of a line.
#![forbid(unsafe_code)]

use std::net::UdpSocket;

use testkit::{Site, each, on_both};

const LINE: &str = r#"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[error\] \d+#\d+: \*\d+ open\(\) "[^"]*/html/missing" failed \(2: No such file or directory\), client: 127\.0\.0\.1, server: srv, request: "GET /missing\?a HTTP/1\.1", host: "a:1", referrer: "http://r/"$"#;

#[test]
fn a_line() {
    on_both("server_name srv; root html;", |server| {
        server.get_with("/missing?a", &[("Host", "a:1"), ("Referer", "http://r/")]);
        server.error_log().wait_match(LINE);
    });
}

#[test]
fn what_is_no_text_is_there_byte_for_byte() {
    let text = "rewrite_log on; root html; error_log logs/error.log notice; location /r { rewrite ^/r(.*)$ /none$1; }";
    on_both(text, |server| {
        let said = |target: &[u8], before: &str, bytes: &[u8], after: &str| {
            server.raw([b"GET ", target, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat());
            server.error_log().wait_for(&format!("{after}, client:"));
            let log = std::fs::read(server.path("logs/error.log")).unwrap();
            let wanted = [before.as_bytes(), bytes, after.as_bytes()].concat();
            assert!(log.windows(wanted.len()).any(|part| part == wanted), "{}", wanted.escape_ascii());
        };
        // A name in Latin-1, in what is no encoding at all, and in UTF-8.
        said(b"/%e9t%e9", "/html/", b"\xe9t\xe9", "\" failed (2: No such file or directory)");
        said(
            b"/\xff\x80%bf%f4/b",
            "/html/",
            b"\xff\x80\xbf\xf4",
            "/b\" failed (2: No such file or directory)",
        );
        said(b"/%c3%a9/c", "/html/", b"\xc3\xa9", "/c\" failed (2: No such file or directory)");
        said(b"/%f4%8f%be%80/x", "/html/", b"\xf4\x8f\xbe\x80", "/x\" failed (2: No such file or directory)");
        said(b"/r%e9/d", "\"^/r(.*)$\" matches \"/r", b"\xe9", "/d\"");
        said(b"/r%e9/e", "rewritten data: \"/none", b"\xe9", "/e\", args: \"\"");
    });
}

#[test]
fn levels_and_several_logs() {
    let site = Site::new(
        "error_log logs/crit.log crit; error_log logs/info.log info; error_log logs/plain.log;
         server { listen 127.0.0.1:%%PORT%%; root html;
           location /own { error_log logs/own.log notice; }
           location /quiet { error_log logs/quiet.log alert; } }",
    );
    on_both(site, |server| {
        for target in ["/missing", "/own", "/quiet", "/again"] {
            server.get(target);
        }
        server.log("logs/info.log").wait_for("/again");
        server.log("logs/plain.log").wait_for("/again");
        server.log("logs/own.log").wait_for("/own");
        assert_eq!(server.log("logs/crit.log").text(), "");
        assert_eq!(server.log("logs/quiet.log").text(), "");
        let text = server.log("logs/plain.log").text();
        assert!(text.contains("/missing") && !text.contains("/own") && !text.contains("/quiet"), "{text}");
    });
}

#[test]
fn what_clients_do_wrong_is_info() {
    on_both("location / { return 200; }", |server| {
        let log = server.error_log();
        server.raw("GET /a HTTP/1.1\r\nHost: a\r\nX_y: 1\r\nConnection: close\r\n\r\n");
        let line = log.wait_for("client sent invalid header line");
        assert!(line.contains("[info]"), "{line}");
        assert!(
            line.contains("line: \"X_y: 1\" while reading client request headers, client: 127.0.0.1"),
            "{line}"
        );
        let mut client = server.client();
        client.send("GET / HT");
        client.half_close();
        client.expect_close();
        let line = log.wait_for("client prematurely closed connection while reading client request line");
        assert!(line.ends_with(", client: 127.0.0.1, server: , request: \"GET / HT\""), "{line}");
        let mut client = server.client();
        client.get("/");
        drop(client);
        let line = log.wait_for("client 127.0.0.1 closed keepalive connection");
        assert!(line.ends_with("closed keepalive connection"), "{line}");
    });
}

#[test]
fn to_syslog() {
    each(|binary| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(testkit::PATIENCE)).expect("a time limit");
        let site = Site::new(
            "error_log syslog:server=%%SYSLOG%%,tag=web,severity=alert,nohostname;
             server { listen 127.0.0.1:%%PORT%%; root html; }",
        )
        .with("SYSLOG", socket.local_addr().expect("an address"));
        let server = binary.serve(site);
        server.get("/missing");
        let mut bytes = [0; 4096];
        let n = socket.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..n]);
        assert!(text.starts_with("<187>") && text[20..].starts_with(" web: 2"), "{text}");
        assert!(text.contains(" [error] ") && text.contains("open() ") && !text.ends_with('\n'), "{text}");
    });
}

#[test]
fn that_syslog_lost_a_message_is_said_elsewhere() {
    each(|binary| {
        let nobody =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
        let text = "error_log logs/error.log; error_log syslog:server=unix:%%DIR%%/nobody; error_log syslog:server=%%NOBODY%%;\n\
            server { listen 127.0.0.1:%%PORT%%; root html; }";
        let server = binary.serve(Site::new(text).with("NOBODY", nobody));
        let log = server.error_log();
        server.get("/missing");
        let line = log.wait_for("connect() failed (2: No such file or directory)");
        assert!(line.contains("[alert]"), "{line}");
        // A datagram is sent before it is known that nobody takes it.
        server.get("/missing");
        let line = log.wait_for("send() failed (111: Connection refused)");
        assert!(line.contains("[error]"), "{line}");
    });
}

#[test]
fn faults_in_the_words_of_nginx() {
    for (directive, message) in [
        ("error_log;", "invalid number of arguments in \"error_log\" directive in"),
        ("error_log l x;", "invalid log level \"x\" in"),
        ("error_log l error warn;", "duplicate log level \"warn\" in"),
        ("error_log syslog:tag=x;", "no syslog server specified in"),
    ] {
        each(|binary| {
            let site = Site::new(format!("server {{ listen 127.0.0.1:%%PORT%%; {directive} }}"));
            let exit = binary.check(site);
            assert_eq!(exit.code, Some(1), "{directive}");
            assert!(exit.stderr.contains(message), "{directive}: {}", exit.stderr);
        });
    }
}

#[test]
fn messages_in_memory() {
    let text = "error_log memory:64k notice; error_log logs/error.log; server { listen %%PORT%%; location / { root html; } }";
    on_both(text, |server| {
        assert_eq!(server.get("/none").status, 404);
        server.error_log().wait_for("html/none\" failed (2: No such file or directory)");
        assert_eq!(server.get("/none").status, 404);
    });
}
