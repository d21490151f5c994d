//! Answers that are kept: which, for how long, for whom, and what becomes of them.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use testkit::{Binary, Gate, Origin, Server, Site, each, eventually};

/// A zone, and a header that says what the cache did; `%%MORE%%` is the test's own.
const CACHE: &str = "proxy_cache_path %%DIR%%/cache levels=1:2 keys_zone=one:1m;\n\
    server { listen 127.0.0.1:%%PORT%%; add_header X-Cache \"$upstream_cache_status\" always;\n\
    location / { proxy_pass http://%%ORIGIN%%; proxy_cache one; %%MORE%% } %%LOCATIONS%% }";

fn site(origin: &Origin, more: &str) -> Site {
    Site::new(CACHE).with("ORIGIN", origin.address()).with("MORE", more).with("LOCATIONS", "")
}
fn serve(binary: Binary, origin: &Origin, more: &str) -> Server {
    binary.serve(site(origin, more))
}
/// What the cache did, and the body.
fn get(server: &Server, target: &str) -> (String, String) {
    get_with(server, target, &[])
}
fn get_with(server: &Server, target: &str, fields: &[(&str, &str)]) -> (String, String) {
    let response = server.get_with(target, fields);
    (response.header("x-cache").unwrap_or("-").to_owned(), response.text())
}
fn is(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}
/// Answers with `headers` and the number of the request.
fn counting(headers: &'static str) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::new(move |exchange| {
        let n = count.fetch_add(1, SeqCst) + 1;
        exchange.send(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 1\r\n\r\n{n}"));
    })
}

#[test]
fn an_answer_is_kept_for_as_long_as_it_says() {
    each(|binary| {
        let count = AtomicUsize::new(0);
        let origin = Origin::new(move |exchange| {
            let headers = exchange.request.header("x-headers").unwrap_or_default().replace('|', "\r\n");
            let body = count.fetch_add(1, SeqCst).to_string();
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        });
        let server = serve(binary, &origin, "");
        for (i, (headers, second)) in [
            ("X-A: 1", "MISS"),
            ("Cache-Control: max-age=60", "HIT"),
            ("Cache-Control: max-age=0", "MISS"),
            ("Cache-Control: private, max-age=60", "MISS"),
            ("Cache-Control: no-store", "MISS"),
            ("Cache-Control: max-age=60|Cache-Control: no-store", "MISS"),
            ("Cache-Control: max-age=\"60\"", "MISS"),
            ("Expires: Fri, 01 Jan 2100 00:00:00 GMT", "HIT"),
            ("Expires: Fri, 01 Jan 1999 00:00:00 GMT", "MISS"),
            ("Cache-Control: max-age=60|Expires: Fri, 01 Jan 1999 00:00:00 GMT", "HIT"),
            ("X-Accel-Expires: 60|Cache-Control: no-cache", "HIT"),
            ("Cache-Control: max-age=60|X-Accel-Expires: 0", "MISS"),
            ("X-Accel-Expires: @4102444800", "HIT"),
            ("X-Accel-Expires: @1", "EXPIRED"),
            ("Cache-Control: max-age=60|Set-Cookie: a=b", "MISS"),
            ("Cache-Control: max-age=60|Vary: *", "MISS"),
        ]
        .into_iter()
        .enumerate()
        {
            let fields = [("X-Headers", headers)];
            let first = get_with(&server, &format!("/{i}"), &fields);
            assert_eq!(first.0, "MISS", "{headers}");
            let again = get_with(&server, &format!("/{i}"), &fields);
            assert_eq!(again.0, second, "{headers}");
            assert_eq!(again.1 == first.1, second == "HIT", "{headers}");
        }
    });
}

#[test]
fn how_long_answers_hold_that_do_not_say() {
    let more = "proxy_cache_valid 404 500 1m; proxy_cache_valid 1m; proxy_ignore_headers Set-Cookie Cache-Control; \
        proxy_cache_methods POST; proxy_cache_key $request_uri$request_body;";
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let status = exchange.request.target[1..4].to_owned();
            exchange.send(format!(
                "HTTP/1.1 {status} X\r\nSet-Cookie: a=b\r\nCache-Control: private\r\nLocation: /\r\nContent-Length: 1\r\n\r\nx"
            ));
        });
        let server = serve(binary, &origin, more);
        for (status, second) in [(200, "HIT"), (301, "HIT"), (404, "HIT"), (500, "HIT"), (403, "MISS")] {
            let target = format!("/{status}");
            let first = server.get(&target);
            assert_eq!((first.status, first.header("x-cache")), (status, Some("MISS")));
            let again = server.get(&target);
            assert_eq!((again.status, again.header("x-cache")), (status, Some(second)));
            assert_eq!(again.all("set-cookie"), ["a=b"]);
        }
        for (body, status) in [("one", "MISS"), ("two", "MISS"), ("one", "HIT")] {
            assert_eq!(server.post("/200", body).header("x-cache"), Some(status));
        }
        assert_eq!(server.request("PUT", "/200", &[], b"").header("x-cache"), None);
    });
}

#[test]
fn bypass_and_no_cache_and_min_uses() {
    let more = "proxy_cache_valid 1m; proxy_cache_bypass $arg_bypass; proxy_no_cache $arg_no $http_x_no; proxy_cache_key $uri;";
    each(|binary| {
        let origin = counting("");
        let server = serve(binary, &origin, more);
        assert_eq!(get(&server, "/?no=1"), is("MISS", "1"));
        assert_eq!(get(&server, "/?no=0"), is("MISS", "2"));
        assert_eq!(get(&server, "/"), is("HIT", "2"));
        assert_eq!(get(&server, "/?bypass=1"), is("BYPASS", "3"));
        assert_eq!(get(&server, "/"), is("HIT", "3"));
        assert_eq!(get(&server, "/?bypass=1&no=1"), is("BYPASS", "4"));
        assert_eq!(get(&server, "/?bypass=0"), is("HIT", "3"));

        let origin = counting("");
        let server = serve(binary, &origin, "proxy_cache_valid 1m; proxy_cache_min_uses 3;");
        for (status, body) in [("MISS", "1"), ("MISS", "2"), ("MISS", "3"), ("HIT", "3")] {
            assert_eq!(get(&server, "/"), is(status, body));
        }
    });
}

#[test]
fn variants() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            let coding = exchange.request.header("accept-encoding").unwrap_or("none").to_owned();
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nVary: Accept-Encoding, X-B\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{coding}",
                coding.len()
            ));
        });
        let server = serve(binary, &origin, "");
        for (coding, status) in [
            ("gzip, br", "MISS"),
            ("gzip,br", "HIT"),
            ("br", "MISS"),
            ("zstd", "MISS"),
            ("gzip, br", "HIT"),
            ("br", "HIT"),
            ("zstd", "HIT"),
        ] {
            let (cache, body) = get_with(&server, "/", &[("Accept-Encoding", coding)]);
            assert_eq!(
                (cache.as_str(), body.replace(' ', "")),
                (status, coding.replace(' ', "")),
                "{coding}"
            );
        }
        assert_eq!(origin.requests().len(), 3);
    });
}

#[test]
fn a_stale_answer_is_better_than_none() {
    let more = "proxy_cache_use_stale error http_500 invalid_header; proxy_intercept_errors on;";
    each(|binary| {
        let fails = Arc::new(AtomicUsize::new(0));
        let how = fails.clone();
        let origin = Origin::new(move |exchange| match how.load(SeqCst) {
            0 => exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nContent-Length: 2\r\n\r\nok"),
            1 => exchange.close(),
            2 => exchange.send("HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"),
            3 => exchange.send("HTTP/1.1 200 OK\r\n\x01: x\r\n\r\n"),
            _ => exchange.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        });
        let server = serve(binary, &origin, more);
        assert_eq!(get(&server, "/"), is("MISS", "ok"));
        assert_eq!(get(&server, "/"), is("EXPIRED", "ok"));
        for how in 1..=3 {
            fails.store(how, SeqCst);
            assert_eq!(get(&server, "/"), is("STALE", "ok"), "{how}");
        }
        fails.store(4, SeqCst);
        assert_eq!(server.get("/").status, 503);
    });
}

#[test]
fn what_the_answer_itself_says_of_staleness() {
    let fails = Arc::new(AtomicBool::new(false));
    let how = fails.clone();
    let origin = Origin::new(move |exchange| {
        match how.load(SeqCst) {
            true => exchange.close(),
            false => exchange.send(
                "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nCache-Control: stale-if-error=4000000000\r\nContent-Length: 2\r\n\r\nok",
            ),
        }
    });
    let server = serve(Binary::Plimsoll, &origin, "");
    assert_eq!(get(&server, "/"), is("MISS", "ok"));
    fails.store(true, SeqCst);
    assert_eq!(get(&server, "/"), is("STALE", "ok"));
}

#[test]
fn a_failure_that_is_an_answer_is_not_covered_by_what_the_old_one_says() {
    each(|binary| {
        let count = AtomicUsize::new(0);
        let origin = Origin::new(move |exchange| {
            match count.fetch_add(1, SeqCst) {
            0 => exchange.send(
                "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nCache-Control: stale-if-error=4000000000\r\nContent-Length: 2\r\n\r\nok",
            ),
            _ => exchange.send("HTTP/1.1 500 Bad\r\nContent-Length: 3\r\n\r\nbad"),
        }
        });
        let server = serve(binary, &origin, "");
        assert_eq!(get(&server, "/"), is("MISS", "ok"));
        assert_eq!(get(&server, "/"), is("EXPIRED", "bad"));
    });
}

#[test]
fn kept_answers_get_no_headers_that_they_must_not_have() {
    each(|binary| {
        let head = "Cache-Control: max-age=60\r\nETag: \"a\"\r\nX-Own: 1\r\n";
        let empty = Origin::answering(format!("HTTP/1.1 204 No Content\r\n{head}\r\n"));
        let server = serve(binary, &empty, "");
        for status in ["MISS", "HIT"] {
            let answer = server.get("/");
            assert_eq!((answer.header("x-cache"), answer.header("content-length")), (Some(status), None));
        }
        let whole = Origin::answering(format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 2\r\n\r\nok"));
        let server = serve(binary, &whole, "");
        assert_eq!(get(&server, "/"), is("MISS", "ok"));
        let answer = server.get_with("/", &[("If-Match", "\"b\"")]);
        assert_eq!(
            (answer.status, answer.header("x-own"), answer.header("cache-control")),
            (412, None, None)
        );
    });
}

#[test]
fn an_old_answer_is_asked_about() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            match exchange.request.header("if-none-match") {
            Some("\"t\"") => exchange.send("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n"),
            _ => exchange.send(
                "HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nETag: \"t\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 Content-Length: 2\r\n\r\nok",
            ),
        }
        });
        let server = serve(binary, &origin, "proxy_cache_revalidate on;");
        assert_eq!(get_with(&server, "/", &[("If-None-Match", "\"t\""), ("Range", "bytes=0-0")]).0, "MISS");
        let seen = origin.last();
        assert_eq!((seen.header("if-none-match"), seen.header("range")), (None, None));
        assert_eq!(get(&server, "/"), is("REVALIDATED", "ok"));
        let seen = origin.last();
        assert_eq!(seen.header("if-modified-since"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(get(&server, "/"), is("HIT", "ok"));
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn one_fetches_and_the_others_wait() {
    each(|binary| {
        let gate = Gate::new();
        let opens = gate.clone();
        let origin = Origin::new(move |exchange| {
            opens.pass();
            exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok");
        });
        let server = serve(binary, &origin, "proxy_cache_lock on;");
        let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        origin.wait_requests(1);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().text(), "ok");
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn an_old_answer_is_served_while_a_new_one_comes() {
    let more = "proxy_cache_use_stale updating; proxy_cache_background_update on; proxy_cache_key $uri;";
    each(|binary| {
        let gate = Gate::new();
        let opens = gate.clone();
        let count = AtomicUsize::new(0);
        let origin = Origin::new(move |exchange| match count.fetch_add(1, SeqCst) {
            0 => exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Expires: @1\r\nContent-Length: 3\r\n\r\nold"),
            _ => {
                opens.pass();
                exchange.send("HTTP/1.1 200 OK\r\nX-Accel-Expires: 60\r\nContent-Length: 3\r\n\r\nnew");
            }
        });
        let server = serve(binary, &origin, more);
        assert_eq!(get(&server, "/"), is("MISS", "old"));
        assert_eq!(get(&server, "/"), is("STALE", "old"));
        origin.wait_requests(2);
        assert_eq!(get(&server, "/"), is("UPDATING", "old"));
        gate.open();
        eventually("a new answer", || get(&server, "/") == is("HIT", "new"));
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn head_ranges_and_conditions() {
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAccept-Ranges: bytes\r\nETag: \"t\"\r\nContent-Length: 10\r\n\r\n0123456789",
        );
        let server = serve(binary, &origin, "");
        let head = server.request("HEAD", "/", &[], b"");
        assert_eq!((head.header("x-cache"), head.header("content-length")), (Some("MISS"), Some("10")));
        assert_eq!(origin.last().method, "GET");
        eventually("the whole is kept", || get(&server, "/") == is("HIT", "0123456789"));
        let part = server.get_with("/", &[("Range", "bytes=2-4")]);
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        let parts = server.get_with("/", &[("Range", "bytes=2-4,6-7")]);
        assert_eq!(parts.status, 206);
        assert_eq!(server.get_with("/", &[("If-None-Match", "\"t\"")]).status, 304);
        let part = server.get_with("/range", &[("Range", "bytes=2-4")]);
        assert_eq!((part.status, part.text().as_str(), part.header("x-cache")), (206, "234", Some("MISS")));
        assert_eq!(get(&server, "/range"), is("HIT", "0123456789"));
    });
}

#[test]
fn ranges_far_behind_are_not_kept() {
    each(|binary| {
        let origin = Origin::answering(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAccept-Ranges: bytes\r\nContent-Length: 3\r\n\r\n012",
        );
        let server = serve(binary, &origin, "proxy_cache_max_range_offset 2;");
        assert_eq!(get_with(&server, "/", &[("Range", "bytes=2-2")]), is("MISS", "012"));
        assert_eq!(origin.last().header("range"), Some("bytes=2-2"));
        assert_eq!(get_with(&server, "/", &[("Range", "bytes=1-1")]), is("MISS", "1"));
        assert_eq!(get_with(&server, "/", &[("Range", "bytes=2-2")]), is("HIT", "2"));
    });
}

#[test]
fn large_and_chunked_bodies() {
    each(|binary| {
        let body: Vec<u8> = (0..500_000).map(|n: usize| (n * 7 + n / 256) as u8).collect();
        let sent = body.clone();
        let origin = Origin::new(move |exchange| {
            exchange
                .send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in sent.chunks(70_000) {
                exchange.send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
            }
            exchange.send("0\r\n\r\n");
        });
        let server = serve(binary, &origin, "");
        let first = server.get("/");
        assert!(first.body == body && first.is_chunked());
        let again = server.get("/");
        assert!(again.body == body);
        assert_eq!(again.header("x-cache"), Some("HIT"));
        // How long it is remains unsaid, as the upstream did not.
        assert!(again.is_chunked() && again.header("content-length").is_none());
        // The name is nginx's: whoever computes it finds the file.
        let path = files(&server).pop().expect("a file in the cache");
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        assert!(path.ends_with(&format!("/{}/{}/{name}", &name[31..], &name[29..31])), "{path}");
    });
}

/// The files in the cache.
fn files(server: &Server) -> Vec<String> {
    files_in(&server.path("cache"))
}
fn files_in(folder: &std::path::Path) -> Vec<String> {
    fn walk(folder: std::path::PathBuf, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => walk(path, all),
                path => all.push(path.to_string_lossy().into_owned()),
            }
        }
    }
    let mut all = Vec::new();
    walk(folder.to_path_buf(), &mut all);
    all
}

#[test]
fn a_broken_answer_is_not_kept() {
    each(|binary| {
        let origin = Origin::new(|exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf");
            exchange.close();
        });
        let server = serve(binary, &origin, "");
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.wire().read_what_comes();
        eventually("nothing is left of it", || files(&server).is_empty());
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn an_answer_is_kept_though_its_client_left() {
    each(|binary| {
        let gate = Gate::new();
        let opens = gate.clone();
        let origin = Origin::new(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nfirst");
            opens.pass();
            exchange.send("other");
        });
        let server = serve(binary, &origin, "");
        let mut client = server.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        drop(client);
        gate.open();
        eventually("the whole is kept", || get(&server, "/") == is("HIT", "firstother"));
    });
}

#[test]
fn files_outlive_reloads_and_processes_and_broken_ones_do_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = CACHE.replace("%%DIR%%/cache", &folder.path().join("cache").to_string_lossy());
    let origin = counting("Cache-Control: max-age=600\r\n");
    let site = || Site::new(&text).with("ORIGIN", origin.address()).with("MORE", "").with("LOCATIONS", "");
    let server = Binary::Plimsoll.serve(site());
    assert_eq!(get(&server, "/a"), is("MISS", "1"));
    let first = files_in(&folder.path().join("cache"));
    assert_eq!(get(&server, "/b"), is("MISS", "2"));
    server.reload(&format!("{text}\n# changed"));
    assert_eq!(get(&server, "/a"), is("HIT", "1"));
    drop(server);

    let broken = first.first().expect("a file");
    let mut bytes = std::fs::read(broken).expect("a file of the cache");
    bytes.truncate(bytes.len() - 1);
    std::fs::write(broken, bytes).expect("a file of the cache");
    let server = Binary::Plimsoll.serve(site());
    assert_eq!(get(&server, "/b"), is("HIT", "2"));
    assert_eq!(get(&server, "/a"), is("MISS", "3"));
    assert_eq!(get(&server, "/a"), is("HIT", "3"));
}

#[test]
fn what_is_too_much_is_removed() {
    let text = CACHE.replace("keys_zone=one:1m", "keys_zone=one:1m max_size=20k");
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 1\r\n\r\nx");
    let site = Site::new(text).with("ORIGIN", origin.address()).with("MORE", "").with("LOCATIONS", "");
    let server = Binary::Plimsoll.serve(site);
    for i in 0..20 {
        assert_eq!(get(&server, &format!("/{i}")).0, "MISS");
    }
    eventually("five files stay", || files(&server).len() == 5);
    assert_eq!(get(&server, "/19").0, "HIT");
    assert_eq!(get(&server, "/0").0, "MISS");
}

#[test]
fn what_is_written_wrong_is_refused() {
    for (text, error) in [
        (
            "%%SERVER%% location / { proxy_pass http://127.0.0.1; proxy_cache none; }",
            "\"proxy_cache\" zone \"none\" is unknown",
        ),
        ("proxy_cache_path a;", "invalid number of arguments in \"proxy_cache_path\" directive"),
        ("proxy_cache_path a levels=1;", "\"proxy_cache_path\" must have \"keys_zone\" parameter"),
        ("proxy_cache_path a keys_zone=a:1;", "keys zone \"keys_zone=a:1\" is too small"),
        ("proxy_cache_path a keys_zone=a;", "invalid keys zone size \"keys_zone=a\""),
        ("proxy_cache_path a keys_zone=a:1m levels=3;", "invalid \"levels\" \"levels=3\""),
        ("proxy_cache_path a keys_zone=a:1m inactive=x;", "invalid inactive value \"inactive=x\""),
        ("proxy_cache_path a keys_zone=a:1m b=c;", "invalid parameter \"b=c\""),
        ("proxy_cache_path a keys_zone=a:1m; proxy_cache_path b keys_zone=a:1m;", "duplicate zone \"a\""),
        ("proxy_cache_valid x;", "invalid time value \"x\""),
        ("proxy_cache_valid 99 1m;", "invalid status \"99\""),
        ("proxy_cache_methods GOT;", "invalid value \"GOT\""),
    ] {
        each(|binary| {
            let server = "server { listen 127.0.0.1:%%PORT%%;";
            let whole = match text.strip_prefix("%%SERVER%%") {
                Some(inner) => format!("{server} {inner} }}"),
                None => format!("{text} {server} }}"),
            };
            let exit = binary.refuses(whole);
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        });
    }
}

#[test]
fn answers_are_taken_out_on_request() {
    let text = "proxy_cache_path %%DIR%%/cache keys_zone=z:1m; server { listen %%PORT%%;\n\
        proxy_cache z; proxy_cache_valid 1h; proxy_cache_key $uri; add_header X-Cache $upstream_cache_status;\n\
        location / { proxy_pass http://%%ORIGIN%%; proxy_cache_purge $http_x_purge; } }";
    let origin = Origin::new(|exchange| {
        let kind = exchange.request.header("x-kind").unwrap_or("none").to_owned();
        let vary = if exchange.request.target == "/v" { "Vary: X-Kind\r\n" } else { "" };
        exchange.send(format!("HTTP/1.1 200 OK\r\n{vary}Content-Length: {}\r\n\r\n{kind}", kind.len()));
    });
    let server = Binary::Plimsoll.serve(Site::new(text).with("ORIGIN", origin.address()));
    let cached = |path: &str, kind: &str| {
        server.get_with(path, &[("X-Kind", kind)]).header("x-cache").unwrap_or_default().to_owned()
    };
    let purge = |path: &str| server.request("PURGE", path, &[("X-Purge", "1")], b"").status;
    for path in ["/a", "/b/1", "/b/2"] {
        assert_eq!((cached(path, "k"), cached(path, "k")), ("MISS".into(), "HIT".into()));
    }
    assert_eq!((purge("/none"), purge("/a"), purge("/a")), (404, 204, 404));
    assert_eq!((cached("/a", "k").as_str(), cached("/b/1", "k").as_str()), ("MISS", "HIT"));
    assert_eq!((purge("/b/*"), purge("/b/*")), (204, 404));
    assert_eq!((cached("/a", "k").as_str(), cached("/b/1", "k").as_str()), ("HIT", "MISS"));
    assert_eq!(
        (cached("/v", "x").as_str(), cached("/v", "y").as_str(), cached("/v", "x").as_str()),
        ("MISS", "MISS", "HIT")
    );
    assert_eq!(purge("/v"), 204);
    assert_eq!((cached("/v", "y").as_str(), cached("/v", "x").as_str()), ("MISS", "MISS"));
    assert_eq!(
        server.request("PURGE", "/a", &[], b"").status,
        200,
        "a method like any other without the header"
    );
}
