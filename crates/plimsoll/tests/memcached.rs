//! `memcached_pass` against a scripted server.
#![forbid(unsafe_code)]

use testkit::{Binary, Origin, Server, Site, each};

/// Answers on a connection until the client closes it.
fn memory() -> Origin {
    Origin::wires(|wire| {
        while let Ok(asked) = wire.read_through(b"\r\n") {
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let Some(key) = asked.strip_prefix("get ").map(str::trim_end) else { return };
            let large = "x".repeat(100_000);
            let answer = match key {
                "/a.txt" => format!("VALUE {key} 0 5\r\nhello\r\nEND\r\n"),
                "/empty" => format!("VALUE {key} 0 0\r\n\r\nEND\r\n"),
                "/large" => format!("VALUE {key} 0 {}\r\n{large}\r\nEND\r\n", large.len()),
                "/packed" => format!("VALUE {key} 6 4\r\nzzzz\r\nEND\r\n"),
                "/a%20b%25" => format!("VALUE {key} 0 7\r\nescaped\r\nEND\r\n"),
                "/other" => "VALUE /else 0 5\r\nhello\r\nEND\r\n".into(),
                "/flags" => format!("VALUE {key} x 5\r\nhello\r\nEND\r\n"),
                "/length" => format!("VALUE {key} 0 five\r\nhello\r\nEND\r\n"),
                "/trailer" => format!("VALUE {key} 0 5\r\nhello, world\r\n"),
                "/error" => "SERVER_ERROR out of memory\r\n".into(),
                "/pieces" => {
                    for byte in format!("VALUE {key} 0 5\r\nhello\r\nEND\r\n").bytes() {
                        if wire.send([byte]).is_err() {
                            return;
                        }
                    }
                    continue;
                }
                "/close" => return,
                _ => "END\r\n".into(),
            };
            if wire.send(answer).is_err() {
                return;
            }
        }
    })
}
const SITE: &str = "keepalive_timeout 0; memcached_gzip_flag 2; \
    location / { set $memcached_key $uri; memcached_pass %%ORIGIN%%; } \
    location /none { set $memcached_key ''; memcached_pass %%ORIGIN%%; } \
    location /back { set $memcached_key $uri; memcached_pass %%ORIGIN%%; error_page 404 = /found; } \
    location = /found { return 200 instead; }";

fn serve(binary: Binary, origin: &Origin, text: &str) -> Server {
    binary.serve(Site::new(text).with("ORIGIN", origin.address()))
}

#[test]
fn values_are_answers() {
    each(|binary| {
        let origin = memory();
        let server = serve(binary, &origin, SITE);
        for (path, body) in [
            ("/a.txt", "hello"),
            ("/empty", ""),
            ("/a%20b%25", "escaped"),
            ("/pieces", "hello"),
            ("/back", "instead"),
        ] {
            let answer = server.get(path);
            assert_eq!((answer.status, answer.text().as_str()), (200, body), "{path}");
            assert!(answer.header("server").is_some() && answer.header("date").is_some());
        }
        assert_eq!(server.get("/a.txt").header("content-type"), Some("text/plain"));
        assert_eq!(server.get("/a.txt").header("content-length"), Some("5"));
        assert_eq!(server.get("/a.txt").header("content-encoding"), None);
        assert_eq!(server.get("/packed").header("content-encoding"), Some("gzip"));
        assert_eq!(server.get("/large").body.len(), 100_000);
        let part = server.get_with("/a.txt", &[("Range", "bytes=1-2")]);
        assert_eq!((part.status, part.text().as_str()), (206, "el"));
        let head = server.request("HEAD", "/a.txt", &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        assert_eq!(server.post("/a.txt", "").status, 405);
        let missing = server.get("/missing");
        assert_eq!(missing.status, 404);
        assert!(missing.text().contains("404 Not Found"));
    });
}

#[test]
fn what_is_no_answer() {
    each(|binary| {
        let origin = memory();
        let server = serve(binary, &origin, SITE);
        for (path, status, line) in [
            ("/none", 500, "the \"$memcached_key\" variable is not set"),
            (
                "/other",
                502,
                "memcached sent invalid key in response \"VALUE /else 0 5\" for key \"/other\" \
                while reading response header from upstream",
            ),
            (
                "/flags",
                502,
                "memcached sent invalid flags in response \"VALUE /flags x 5\" for key \"/flags\"",
            ),
            (
                "/length",
                502,
                "memcached sent invalid length in response \"VALUE /length 0 five\" for key \"/length\"",
            ),
            ("/error", 502, "memcached sent invalid response: \"SERVER_ERROR out of memory"),
            (
                "/close",
                502,
                "upstream prematurely closed connection while reading response header from upstream",
            ),
        ] {
            assert_eq!(server.get(path).status, status, "{path}");
            server.error_log().wait_for(line);
        }
        assert_eq!(server.get("/trailer").text(), "hello");
        server.error_log().wait_for("memcached sent invalid trailer");
    });
}

#[test]
fn connections_are_kept_and_servers_tried() {
    each(|binary| {
        let (origin, dead) = (memory(), Origin::wires(|wire| drop(wire.read_through(b"\r\n"))));
        let text = format!(
            "upstream kept {{ server %%ORIGIN%%; keepalive 1; }} \
            upstream both {{ server {} max_fails=0; server %%ORIGIN%% max_fails=0; }} \
            server {{ listen 127.0.0.1:%%PORT%%; set $memcached_key /a.txt; \
            location / {{ memcached_pass kept; }} \
            location /both {{ memcached_pass both; }} \
            location /off {{ memcached_pass both; memcached_next_upstream off; }} }}",
            dead.address()
        );
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        for _ in 0..3 {
            assert_eq!(server.get("/").text(), "hello");
        }
        assert_eq!(origin.connections(), 1);
        for _ in 0..3 {
            assert_eq!(server.get("/both").text(), "hello");
        }
        let mut statuses = [server.get("/off").status, server.get("/off").status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 502]);
    });
}

#[test]
fn what_is_refused() {
    each(|binary| {
        for (text, error) in [
            ("location / { memcached_pass 127.0.0.1:1; }", "unknown \"memcached_key\" variable"),
            ("memcached_next_upstream http_500;", "invalid value \"http_500\""),
            ("memcached_pass 127.0.0.1:1;", "\"memcached_pass\" directive is not allowed here"),
        ] {
            let exit = binary.check(Site::new(text));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        }
    });
}
