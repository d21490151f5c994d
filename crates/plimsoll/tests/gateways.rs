//! PHP behind `fastcgi_pass`; scripted applications behind `scgi_pass` and `uwsgi_pass`.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};

use testkit::{App, Binary, Origin, Server, Site, Wire, each};

/// Runs the test on each server in front of PHP, on a unix socket and on a port.
fn with_php(test: impl Fn(&Server)) {
    let text = "fastcgi_split_path_info ^(.+?\\.php)(/.*)$; root %%ROOT%%; index index.php; \
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; \
        fastcgi_param SCRIPT_NAME $fastcgi_script_name; fastcgi_param PATH_INFO $fastcgi_path_info; \
        fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method; \
        fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length; \
        fastcgi_param REQUEST_URI $request_uri; fastcgi_param SERVER_PROTOCOL $server_protocol; \
        fastcgi_param HTTPS $https if_not_empty; fastcgi_param REMOTE_ADDR $remote_addr; \
        client_body_buffer_size 16k; client_max_body_size 10m;";
    let text = |keep: &str| {
        format!(
            "upstream php {{ server %%APP%%; keepalive 2; }} server {{ listen 127.0.0.1:%%PORT%%; location / {{ }} \
             location ~ \\.php(/|$) {{ {text} fastcgi_pass php; fastcgi_keep_conn {keep}; }} root %%ROOT%%; index index.php; }}"
        )
    };
    let root = App::php_scripts();
    for (start, keep) in [(App::php_unix as fn() -> Option<App>, "off"), (App::php_tcp, "on")] {
        let Some(app) = start() else { return };
        let site = Site::new(text(keep)).with("APP", app.address()).with("ROOT", root.display());
        each(|binary| test(&binary.serve(site.clone())));
    }
}

#[test]
fn php_gets_and_says_what_it_should() {
    with_php(|server| {
        let mut client = server.client();
        assert_eq!(client.get("/app.php?a=b").text(), "hello from /app.php GET a=b");
        assert_eq!(client.get("/").text(), "index of /index.php");
        let response =
            client.get("/app.php/server?names=PATH_INFO,SCRIPT_NAME,HTTP_USER_AGENT,REMOTE_ADDR,HTTPS");
        assert_eq!(response.header("content-type"), Some("application/json"));
        let want = r#"{"PATH_INFO":"\/server","REMOTE_ADDR":"127.0.0.1","SCRIPT_NAME":"\/app.php"}"#;
        assert_eq!(response.text(), want);
        let response = client.get("/app.php/redirect");
        assert_eq!((response.status, response.header("location")), (302, Some("/elsewhere?a=b")));
        let response = client.get("/app.php/status?code=418");
        assert_eq!((response.status, response.text().as_str()), (418, "with a body"));
        assert_eq!(client.get("/app.php/status?code=204").status, 204);
        let response = client.request("GET", "/app.php/cookies", &[("Cookie", "c=3; d=4")], b"");
        assert_eq!((response.all("set-cookie"), response.text().as_str()), (vec!["a=1", "b=2"], "34"));
        assert_eq!(client.get("/app.php/much").body.len(), 3000 * 1024);
        assert_eq!(client.request("HEAD", "/app.php/much", &[], b"").status, 200);
        assert_eq!(client.get("/none.php").status, 404);
        server.error_log().wait_for("FastCGI sent in stderr: \"Primary script unknown\"");
    });
}

#[test]
fn php_gets_bodies_and_complains() {
    with_php(|server| {
        let body = vec![b'x'; 300_000];
        let got = server.request("POST", "/app.php/body", &[("Content-Type", "x/y")], &body).text();
        assert_eq!(got, format!("300000 {} 300000", md5(&body)));
        let form = "--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nme\r\n--B\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n0123456789\r\n--B--\r\n";
        let fields = [("Content-Type", "multipart/form-data; boundary=B")];
        let got = server.request("POST", "/app.php/upload", &fields, form.as_bytes()).text();
        assert_eq!(got, format!("me f.txt 10 {}", md5(b"0123456789")));
        assert_eq!(server.get("/app.php/stderr").text(), "done");
        server.error_log().wait_for("FastCGI sent in stderr: \"PHP message: something is wrong\"");
        assert_eq!(server.get("/app.php/fatal").status, 500);
        server.error_log().wait_for("PHP Fatal error:  Uncaught Error: Call to undefined function");
    });
}

/// What is sent to an application, up to its end: `read` takes it from the connection.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

fn application(read: fn(&mut Wire) -> Vec<u8>, answer: &'static str) -> (Origin, Seen) {
    let seen = Seen::default();
    let list = seen.clone();
    let origin = Origin::wires(move |wire| {
        let request = read(wire);
        list.lock().expect("the list").push(request);
        wire.send(answer).ok();
    });
    (origin, seen)
}
fn last(seen: &Seen) -> Vec<u8> {
    seen.lock().expect("the list").last().cloned().expect("a request")
}

fn read_scgi(wire: &mut Wire) -> Vec<u8> {
    let size = wire.read_through(b":").expect("a length");
    let text = String::from_utf8_lossy(&size).trim_end_matches(':').parse::<usize>().expect("a number");
    let head = wire.read_exact(text + 1).expect("the head");
    let length =
        String::from_utf8_lossy(head.split(|b| *b == 0).nth(1).expect("a length")).parse().expect("a number");
    [size, head, wire.read_exact(length).expect("the body")].concat()
}

#[test]
fn scgi() {
    let text = "location / { scgi_pass %%APP%%; scgi_pass_request_headers off; scgi_param HTTP_HOST h; \
        scgi_param METHOD $request_method; scgi_param EMPTY '' if_not_empty; } \
        location /stream { scgi_pass %%APP%%; scgi_request_buffering off; scgi_param HTTP_HOST h; }";
    for (answer, status, body) in [
        ("Status: 201 Made\r\nX-A: b\r\n\r\nbody", 201, "body"),
        ("HTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\nbody", 202, "bo"),
        ("Location: /there\r\n\r\n", 302, ""),
    ] {
        each(|binary| {
            let (app, seen) = application(read_scgi, answer);
            let server = binary.serve(Site::new(text).with("APP", app.address()));
            let response = server.post("/", "12345");
            assert_eq!((response.status, response.text().as_str()), (status, body));
            assert_eq!(
                String::from_utf8_lossy(&last(&seen)),
                "41:CONTENT_LENGTH\x005\0HTTP_HOST\0h\0METHOD\0POST\0,12345"
            );
            assert_eq!(server.post("/stream", "678").status, status);
            assert!(last(&seen).ends_with(b",678"));
        });
    }
}

#[test]
fn what_comes_behind_the_announced_length_is_said() {
    each(|binary| {
        let (app, _) = application(read_scgi, "Content-Length: 2\r\n\r\nbody");
        let server = binary.serve(Site::new("location / { scgi_pass %%APP%%; }").with("APP", app.address()));
        assert_eq!(server.get("/").text(), "bo");
        let line = server
            .error_log()
            .wait_for("upstream sent more data than specified in \"Content-Length\" header");
        assert!(line.contains("[warn]") && line.contains("header while reading upstream, "), "{line}");
    });
}

/// Not compared: nginx looks at them since 1.23.0, the oracle is older.
#[test]
fn lengths_and_codings_that_contradict_each_other_are_refused() {
    for (head, error) in [
        (
            "Content-Length: 2\r\nContent-Length: 2",
            "upstream sent duplicate header line: \"Content-Length: 2\"",
        ),
        ("Transfer-Encoding: gzip", "upstream sent unknown \"Transfer-Encoding\": \"gzip\""),
    ] {
        let answer: &str = format!("{head}\r\n\r\nok").leak();
        let (app, _) = application(read_scgi, answer);
        let server =
            testkit::serve(Site::new("location / { scgi_pass %%APP%%; }").with("APP", app.address()));
        assert_eq!(server.get("/").status, 502);
        server.error_log().wait_for(error);
    }
}

fn read_uwsgi(wire: &mut Wire) -> Vec<u8> {
    let head = wire.read_exact(4).expect("the head");
    let size = usize::from(u16::from_le_bytes([head[1], head[2]]));
    [head, wire.read_exact(size).expect("parameters")].concat()
}

#[test]
fn uwsgi() {
    let text = "location / { uwsgi_pass uwsgi://%%APP%%; uwsgi_pass_request_headers off; uwsgi_param HTTP_HOST h; \
        uwsgi_param A bc; uwsgi_modifier1 5; uwsgi_modifier2 7; uwsgi_string end; } \
        location /big { uwsgi_pass %%APP%%; uwsgi_param LONG $arg_x$arg_x$arg_x$arg_x$arg_x$arg_x$arg_x$arg_x; \
        uwsgi_param LONGER $arg_x$arg_x$arg_x$arg_x$arg_x$arg_x$arg_x$arg_x; } large_client_header_buffers 4 16k;";
    each(|binary| {
        let (app, seen) = application(read_uwsgi, "HTTP/1.1 200 Fine\r\nContent-Type: a/b\r\n\r\nbody");
        let server = binary.serve(Site::new(text).with("APP", app.address()));
        let response = server.get("/");
        assert_eq!(
            (response.status, response.reason.as_str(), response.text().as_str()),
            (200, "Fine", "body")
        );
        assert_eq!(response.header("content-type"), Some("a/b"));
        assert_eq!(last(&seen), b"\x05\x18\x00\x07\x09\x00HTTP_HOST\x01\x00h\x01\x00A\x02\x00bcend");
        if binary == Binary::Plimsoll {
            let response = server.get(&format!("/big?x={}", "v".repeat(8000)));
            assert_eq!(response.status, 500);
            server.error_log().wait_for("uwsgi request is too big: 128");
        }
    });
}

/// As PHP's.
fn md5(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("md5sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("md5sum");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), bytes).expect("its input");
    let output = child.wait_with_output().expect("its output");
    String::from_utf8_lossy(&output.stdout[..32]).into_owned()
}
