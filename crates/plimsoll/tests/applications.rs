//! Real applications behind the server: a WSGI site under gunicorn, Express on Node, a websocket server, files.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use testkit::{App, Binary, Client, Gate, Origin, Server, Site, each, on_both};

/// What a deployment guide tells people to write.
const SITE: &str = "
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
upstream app { server %%APP%%; keepalive 4; }
server {
    listen 127.0.0.1:%%PORT%%;
    client_max_body_size 64m;
    location /static/ { alias %%DIR%%/html/; expires 1h; }
    location / {
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_redirect off;
        MORE
    }
}";

fn site(app: &App, more: &str) -> Site {
    Site::new(SITE.replace("MORE", more)).with("APP", app.address())
}

/// Runs a test with both servers, before one application.
fn before(app: &App, more: &str, test: impl Fn(&Server)) {
    on_both(site(app, more), test);
}

/// Bytes without a pattern that a misplaced piece would fit into.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum runs");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("sha256sum reads");
    let output = child.wait_with_output().expect("sha256sum ends").stdout;
    String::from_utf8_lossy(&output[..64]).into_owned()
}

fn both_gunicorns() -> impl Iterator<Item = App> {
    [App::gunicorn_unix as fn() -> Option<App>, App::gunicorn_tcp].into_iter().filter_map(|start| start())
}

#[test]
fn pages_of_a_wsgi_site() {
    for app in both_gunicorns() {
        before(&app, "", |server| {
            let mut client = server.client();
            for _ in 0..3 {
                let home = client.get("/");
                assert_eq!((home.status, home.text().as_str()), (200, "hello from wsgi\n"));
            }
            assert_eq!(client.get("/nothing").status, 404);
            let crash = client.get("/crash");
            assert_eq!(crash.status, 500);
            let streamed = client.get("/stream");
            let expected: String = (0..100).map(|n| format!("line {n}\n")).collect();
            assert_eq!(streamed.text(), expected);
            assert_eq!(client.request("HEAD", "/", &[], b"").header("content-length"), Some("16"));
        });
    }
}

#[test]
fn what_a_wsgi_site_is_told() {
    for app in both_gunicorns() {
        before(&app, "", |server| {
            let fields =
                [("Host", "example.org:81"), ("X-Forwarded-For", "10.1.1.1"), ("Cookie", "a=b; c=d")];
            let seen = server.get_with("/environ?x=1&y=%20", &fields).text();
            for part in [
                r#""HTTP_HOST": "example.org:81""#,
                r#""HTTP_X_FORWARDED_FOR": "10.1.1.1, 127.0.0.1""#,
                r#""HTTP_X_FORWARDED_PROTO": "http""#,
                r#""HTTP_COOKIE": "a=b; c=d""#,
                r#""QUERY_STRING": "x=1&y=%20""#,
                r#""REQUEST_METHOD": "GET""#,
            ] {
                assert!(seen.contains(part), "{part} in {seen}");
            }
        });
    }
}

#[test]
fn redirects_and_cookies_of_a_wsgi_site() {
    let Some(app) = App::gunicorn_unix() else { return };
    before(&app, "", |server| {
        let response = server.get("/redirect");
        assert_eq!((response.status, response.header("location")), (302, Some("/login?next=/")));
        assert_eq!(response.all("set-cookie"), ["a=1", "b=2; Path=/"]);
    });
}

#[test]
fn large_bodies_to_and_from_a_wsgi_site() {
    let upload = bytes(20_000_000);
    let digest = sha256(&upload);
    for app in both_gunicorns() {
        for more in ["", "proxy_request_buffering off; proxy_buffering off;"] {
            before(&app, more, |server| {
                let mut client = server.client();
                let answer = client.request("POST", "/upload", &[], &upload).text();
                assert_eq!(answer, format!("{} {digest}", upload.len()));
                let block: Vec<u8> = (0..=255).collect();
                let page = client.get("/download?300").body;
                assert_eq!(page.len(), 300 * 65536);
                assert!(page.chunks(256).all(|chunk| chunk == block), "{more}");
            });
        }
    }
}

#[test]
fn a_chunked_upload_to_a_wsgi_site() {
    let Some(app) = App::gunicorn_unix() else { return };
    let upload = bytes(300_000);
    let digest = sha256(&upload);
    before(&app, "", |server| {
        let mut client = server.client();
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in upload.chunks(7001) {
            client.send(format!("{:x}\r\n", chunk.len()));
            client.send(chunk);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), format!("{} {digest}", upload.len()));
    });
}

#[test]
fn many_clients_of_a_wsgi_site() {
    let Some(app) = App::gunicorn_unix() else { return };
    before(&app, "", |server| {
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    let mut client = server.client();
                    for turn in 0..20 {
                        let seen = client.get(&format!("/environ?n={n}.{turn}")).text();
                        assert!(seen.contains(&format!("\"QUERY_STRING\": \"n={n}.{turn}\"")), "{seen}");
                    }
                });
            }
        });
    });
}

#[test]
fn an_application_that_is_gone_is_502() {
    let Some(app) = App::gunicorn_unix() else { return };
    let address = app.address().to_owned();
    drop(app);
    on_both(Site::new(SITE.replace("MORE", "")).with("APP", &address), |server| {
        assert_eq!(server.get("/").status, 502);
        let reason =
            r"connect\(\) to unix:.* failed \(2: No such file or directory\) while connecting to upstream";
        server.error_log().wait_match(&format!(r"\[(crit|error)\] .*{reason}"));
    });
}

#[test]
fn pages_of_an_express_site() {
    let Some(app) = App::express() else { return };
    before(&app, "", |server| {
        let mut client = server.client();
        let home = client.get("/");
        assert_eq!(home.text(), "hello from express\n");
        let tag = home.header("etag").expect("a tag").to_owned();
        assert_eq!(client.request("GET", "/", &[("If-None-Match", &tag)], b"").status, 304);
        let seen =
            client.request("GET", "/seen", &[("Host", "example.org"), ("X-Forwarded-For", "10.1.1.1")], b"");
        let seen = seen.text();
        for part in [r#""ip":"10.1.1.1""#, r#""host":"example.org""#, r#""protocol":"http""#] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        let json = [("Content-Type", "application/json")];
        assert_eq!(client.request("POST", "/json", &json, br#"{"a":[1,2]}"#).text(), r#"{"a":[1,2]}"#);
        assert_eq!(client.get("/cookies").all("set-cookie"), ["a=1; Path=/", "b=2; Path=/x"]);
        assert_eq!(client.get("/redirect").header("location"), Some("/elsewhere"));
        assert_eq!(client.get("/nothing").status, 404);
    });
}

#[test]
fn an_upload_to_an_express_site() {
    let Some(app) = App::express() else { return };
    let upload = bytes(20_000_000);
    let expected = format!("{} {}", upload.len(), sha256(&upload));
    for more in ["", "proxy_request_buffering off;"] {
        before(&app, more, |server| assert_eq!(server.post("/upload", &upload).text(), expected));
    }
}

#[test]
fn events_arrive_when_they_are_sent() {
    let Some(app) = App::express() else { return };
    before(&app, "", |server| {
        let mut client = server.client();
        client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
        let begun = Instant::now();
        let until = |client: &mut Client, text: &str| {
            client.wire().read_through(text.as_bytes()).expect(text);
            begun.elapsed()
        };
        let first = until(&mut client, "data: 0\n\n");
        let last = until(&mut client, "data: 2\n\n");
        assert!(last > first, "the application waits in between");
        client.wire().read_through(b"0\r\n\r\n").expect("the end");
        assert_eq!(client.get("/").text(), "hello from express\n");
    });
}

/// A client's frame: masked, final.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's frame.
fn read_frame(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.read(2);
    let length = match head[1] {
        126 => client.read(2).iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
        127 => client.read(8).iter().fold(0, |n, byte| n << 8 | usize::from(*byte)),
        short => usize::from(short),
    };
    (head[0] & 15, client.read(length))
}

#[test]
fn websockets() {
    let Some(app) = App::websocket_echo() else { return };
    before(&app, "", |server| {
        let mut client = server.client();
        client.send(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let response = client.response();
        assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for size in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
            let message = bytes(size);
            client.send(frame(2, &message));
            assert!(read_frame(&mut client) == (2, message), "{size} bytes");
        }
        client.send(frame(9, b"ping"));
        assert_eq!(read_frame(&mut client), (10, b"ping".to_vec()));
        client.send(frame(8, &1000u16.to_be_bytes()));
        assert_eq!(read_frame(&mut client), (8, 1000u16.to_be_bytes().to_vec()));
        client.expect_close();
        server.access_log().wait_for("\"GET /ws HTTP/1.1\" 101 ");
    });
}

#[test]
fn files_beside_an_application() {
    let Some(app) = App::express() else { return };
    let big = bytes(30_000_000);
    before(&app, "", |server| {
        server.write("html/big.bin", &big);
        server.write("html/style.css", "body {}");
        let mut client = server.client();
        assert!(client.get("/static/big.bin").body == big);
        let css = client.get("/static/style.css");
        assert_eq!((css.text().as_str(), css.header("cache-control")), ("body {}", Some("max-age=3600")));
        let part = client.request("GET", "/static/big.bin", &[("Range", "bytes=-5")], b"");
        assert_eq!((part.status, &part.body[..]), (206, &big[big.len() - 5..]));
        assert_eq!(client.get("/static/none").status, 404);
        assert_eq!(client.get("/").text(), "hello from express\n");
    });
}

/// A slow application delays only those who wait for it.
#[test]
fn a_slow_upstream() {
    each(|binary: Binary| {
        let gate = Gate::new();
        let inside = gate.clone();
        let origin = Origin::new(move |exchange| {
            if exchange.request.target == "/slow" {
                inside.pass();
            }
            exchange.ok("done");
        });
        let text = "location / { proxy_pass http://%%ORIGIN%%; } location /files/ { alias %%DIR%%/html/; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()).file("html/a", "a file"));
        let mut waiting: Vec<Client> = (0..10).map(|_| server.client()).collect();
        for client in &mut waiting {
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for _ in 0..20 {
            assert_eq!(server.get("/fast").text(), "done");
            assert_eq!(server.get("/files/a").text(), "a file");
        }
        gate.open();
        for client in &mut waiting {
            assert_eq!(client.response().text(), "done");
        }
    });
}
