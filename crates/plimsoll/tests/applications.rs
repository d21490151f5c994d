//! Real applications behind the server: gunicorn, Express, a websocket server.
#![forbid(unsafe_code)]

use testkit::{App, Binary, Server, Site, each};

/// What sites write before an application.
const PROXY: &str = "client_max_body_size 100m;\n\
    location / { proxy_pass http://%%APP%%; proxy_http_version 1.1; proxy_set_header Host $host;\n\
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Upgrade $http_upgrade;\n\
    proxy_set_header Connection $connection_upgrade; }\n\
    location /static/ { alias html/; expires 1d; }\n";

fn serve(binary: Binary, app: &App) -> Server {
    let map = "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }";
    let site = Site::new(format!("{map}\nserver {{ listen 127.0.0.1:%%PORT%%; {PROXY} }}"));
    binary.serve(site.with("APP", app.address()))
}

/// Some bytes that no two positions of which look alike.
fn sample(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn a_wsgi_site(app: &App) {
    each(|binary| {
        let server = serve(binary, app);
        server.write("html/site.css", "body {}");
        let mut client = server.client();
        assert_eq!(client.get("/").text(), "hello from wsgi\n");
        assert_eq!(client.get("/static/site.css").header("content-type"), Some("text/plain"));
        assert_eq!(client.get("/none").status, 404);

        let seen = client
            .request("GET", "/environ?a=b%20c", &[("Host", "shop.example"), ("Cookie", "c=d")], b"")
            .text();
        for part in [
            "\"HTTP_HOST\": \"shop.example\"",
            "\"QUERY_STRING\": \"a=b%20c\"",
            "\"HTTP_COOKIE\": \"c=d\"",
            "\"HTTP_X_FORWARDED_FOR\": \"127.0.0.1\"",
            "\"HTTP_X_FORWARDED_PROTO\": \"http\"",
        ] {
            assert!(seen.contains(part), "{part} in {seen}");
        }

        let upload = client.request("POST", "/upload", &[], &sample(5_000_000)).text();
        assert!(upload.starts_with("5000000 "), "{upload}");
        let lines = client.get("/stream").text();
        assert_eq!((lines.lines().count(), lines.lines().last()), (100, Some("line 99")));
        let download = client.get("/download?160");
        let block: Vec<u8> = (0..=255).collect();
        assert!(download.body.len() == 160 * 65536 && download.body.chunks(256).all(|c| c == block));

        let redirect = client.get("/redirect");
        assert_eq!((redirect.status, redirect.header("location")), (302, Some("/login?next=/")));
        assert_eq!(redirect.all("set-cookie"), ["a=1", "b=2; Path=/"]);
        assert_eq!(server.get("/crash").status, 500);
    });
}

#[test]
fn gunicorn_on_a_unix_socket() {
    let Some(app) = App::gunicorn_unix() else { return };
    a_wsgi_site(&app);
}

#[test]
fn gunicorn_on_tcp() {
    let Some(app) = App::gunicorn_tcp() else { return };
    a_wsgi_site(&app);
}

#[test]
fn express() {
    let Some(app) = App::express() else { return };
    each(|binary| {
        let server = serve(binary, &app);
        let mut client = server.client();
        assert_eq!(client.get("/").text(), "hello from express\n");
        let seen = client
            .request("GET", "/seen", &[("Host", "shop.example"), ("X-Forwarded-For", "192.0.2.9")], b"")
            .text();
        assert!(
            seen.contains("\"host\":\"shop.example\"") && seen.contains("\"protocol\":\"http\""),
            "{seen}"
        );
        assert!(seen.contains("\"x-forwarded-for\":\"192.0.2.9, 127.0.0.1\""), "{seen}");

        let json = client.request("POST", "/json", &[("Content-Type", "application/json")], b"{\"a\":[1,2]}");
        assert_eq!(json.text(), "{\"a\":[1,2]}");
        let upload = client.request("POST", "/upload", &[], &sample(3_000_000)).text();
        assert!(upload.starts_with("3000000 "), "{upload}");

        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5\r\nhello\r\n");
        client.send("0\r\n\r\n");
        assert!(client.response().text().starts_with("5 2cf24dba5fb0a30e26e83b2ac5b9e29e"));

        let fresh = client.get("/");
        let etag = fresh.header("etag").expect("Express sends one").to_owned();
        assert_eq!(client.request("GET", "/", &[("If-None-Match", &etag)], b"").status, 304);
        assert_eq!(client.request("HEAD", "/", &[], b"").header("content-length"), Some("19"));

        let events = client.get("/events");
        assert_eq!(events.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
        assert_eq!(client.get("/cookies").all("set-cookie").len(), 2);
        assert_eq!(client.get("/redirect").header("location"), Some("/elsewhere"));
        client.expect_open();
    });
}

/// A frame as a client sends it: masked, with a key of zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
        longer => {
            frame.push(0x80 | 127);
            frame.extend((longer as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The same frame as the server sends it back: without mask.
fn echoed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(opcode, payload);
    let head = frame.len() - payload.len();
    frame.drain(head - 4..head);
    frame[1] &= 0x7f;
    frame
}

#[test]
fn websockets() {
    let Some(app) = App::websocket_echo() else { return };
    each(|binary| {
        let server = serve(binary, &app);
        let mut client = server.client();
        client.send(
            "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let head = client.wire().read_through(b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        for payload in [&b"hello"[..], &[b'x'; 300], &[b'y'; 100_000]] {
            client.send(frame(1, payload));
            let expected = echoed(1, payload);
            assert!(client.read(expected.len()) == expected, "{} bytes", payload.len());
        }
        client.send(frame(9, b"ping"));
        assert_eq!(client.read(6), echoed(10, b"ping"));
        client.send(frame(8, b""));
        assert_eq!(client.read(2), echoed(8, b""));
        client.expect_close();
    });
}
