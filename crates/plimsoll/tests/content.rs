//! What answers besides files and upstreams: listings, files compressed beforehand, pictures and films.
#![forbid(unsafe_code)]

use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use testkit::{Binary, Server, Site, each, on_both};

/// Gives a file or folder the time 784111777: Sun, 06 Nov 1994 08:49:37 GMT.
fn date(server: &Server, path: &str) {
    let file = std::fs::File::open(server.path(path)).expect("the file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).expect("its time");
}

fn folder(server: &Server) {
    server.write("html/d/b.txt", "12345");
    server.write("html/d/A <&>\"'\\ %.txt", "");
    server.write("html/d/.hidden", "");
    server.write(&format!("html/d/{}", "x".repeat(60)), "1");
    server.write(&format!("html/d/{}", "y".repeat(50)), "1");
    server.write(&format!("html/d/{}", "ü".repeat(40)), "1");
    server.write("html/d/sub/in", "");
    server.write(&format!("html/d/{}/in", "z".repeat(50)), "");
    for (name, size) in [("k", 10_000), ("k2", 10_752), ("m", 1_572_864), ("small", 9999)] {
        let file = std::fs::File::create(server.path(&format!("html/d/{name}"))).expect("a file");
        file.set_len(size).expect("its size");
    }
    symlink("nowhere", server.path("html/d/broken")).expect("a link");
    for item in std::fs::read_dir(server.path("html/d")).expect("the folder") {
        let name = item.expect("an item").file_name();
        if name != "broken" {
            date(server, &format!("html/d/{}", name.to_string_lossy()));
        }
    }
    std::fs::remove_file(server.path("html/d/broken")).expect("the link");
}

#[test]
fn listings_are_the_same_to_the_byte() {
    let text = "location / { autoindex on; } \
        location /rounded/ { alias html/; autoindex on; autoindex_exact_size off; autoindex_localtime on; } \
        location /xml/ { alias html/; autoindex on; autoindex_format xml; } \
        location /json/ { alias html/; autoindex on; autoindex_format json; } \
        location /jsonp/ { alias html/; autoindex on; autoindex_format jsonp; }";
    let all = std::sync::Mutex::new(Vec::new());
    on_both(text, |server| {
        folder(server);
        let mut answers = Vec::new();
        for path in ["/", "/rounded/", "/xml/", "/json/", "/jsonp/"] {
            for query in ["", "?callback=a.b_1", "?callback="] {
                let request = format!("GET {path}d/{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                answers.push(server.normal(request));
            }
        }
        assert!(answers[0].contains("<a href=\"b.txt\">b.txt</a>"), "{}", answers[0]);
        assert!(answers[0].contains("06-Nov-1994 08:49                   5\r\n"), "{}", answers[0]);
        assert_eq!(server.get("/jsonp/d/?callback=a-b").status, 400);
        server.error_log().wait_for("client sent invalid callback name: \"a-b\"");
        assert_eq!(server.get(&format!("/jsonp/d/?callback={}", "a".repeat(129))).status, 400);
        all.lock().expect("the list").push(answers);
    });
    let all = all.into_inner().expect("the list");
    for (one, other) in all.iter().skip(1).flat_map(|other| all[0].iter().zip(other)) {
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert_eq!((differs, one.len()), (None, other.len()));
    }
}

#[test]
fn what_a_listing_says_of_a_directory_that_is_not_there() {
    on_both("autoindex on; location /up/ { }", |server| {
        server.write("html/file", "");
        server.expect_statuses(&[
            ("GET /none/ HTTP/1.0\r\n\r\n", "404"),
            ("GET /file/ HTTP/1.0\r\n\r\n", "404"),
            ("POST / HTTP/1.0\r\n\r\n", "403"),
            ("PUT / HTTP/1.0\r\n\r\n", "405"),
        ]);
        assert_eq!(server.request("HEAD", "/", &[], b"").status, 200);
        server.error_log().wait_for("is not found (2: No such file or directory)");
        server.write("html/index.html", "index");
        assert_eq!(server.get("/").text(), "index");
    });
}

#[test]
fn any_file_of_a_directory() {
    on_both("location / { random_index on; }", |server| {
        server.write("html/d/one", "one");
        server.write("html/d/two", "two");
        server.write("html/d/.three", "three");
        server.write("html/d/four/five", "five");
        symlink("one", server.path("html/d/link")).expect("a link");
        let mut client = server.client();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            seen.insert(client.get("/d/").text());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(client.get("/none/").status, 404);
        server.error_log().wait_for("opendir() \"");
        std::fs::create_dir(server.path("html/empty")).expect("a folder");
        server.write("html/empty/sub/x", "");
        assert_eq!(client.get("/empty/").status, 403);
    });
}

#[test]
fn a_picture_of_one_pixel() {
    on_both("location = /_.gif { empty_gif; }", |server| {
        let response = server.get("/_.gif");
        assert_eq!((response.status, response.body.len()), (200, 43));
        assert_eq!(response.header("content-type"), Some("image/gif"));
        assert_eq!(response.header("last-modified"), Some("Mon, 28 Sep 1970 06:00:00 GMT"));
        assert_eq!(&response.body[..6], b"GIF89a");
        assert_eq!(&response.body[37..], b"\x02\x02\x4c\x01\x00\x3b");
        assert_eq!(server.post("/_.gif", "x").status, 405);
        let same = server.get_with("/_.gif", &[("If-Modified-Since", "Mon, 28 Sep 1970 06:00:00 GMT")]);
        assert_eq!(same.status, 304);
    });
}

#[test]
fn flash_video_from_a_byte_on() {
    on_both("location / { flv; }", |server| {
        server.write("html/a.flv", "0123456789");
        assert_eq!(server.get("/a.flv").text(), "0123456789");
        let part = server.get("/a.flv?start=7");
        assert_eq!(part.body, b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00789");
        for whole in ["?start=10", "?start=x", "?start=0", "?start=-1", "?start="] {
            assert_eq!(server.get(&format!("/a.flv{whole}")).text(), "0123456789", "{whole}");
        }
        let part = server.get_with("/a.flv?start=7", &[("Range", "bytes=12-14")]);
        assert_eq!((part.status, part.body), (206, b"\x0078".to_vec()));
        assert_eq!(server.post("/a.flv", "").status, 405);
        assert_eq!(server.get("/none.flv").status, 404);
        assert_eq!(server.get("/").status, 403);
    });
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// Modules of others: the behaviour is theirs, and no nginx here has them.
#[test]
fn files_compressed_by_other_tools() {
    let text = "brotli_static on; zstd_static on; gzip_static on; gzip_vary on; ssi on; gunzip on; gzip_http_version 1.1; \
        location /always/ { alias html/; brotli_static always; zstd_static off; gzip_vary off; } \
        location /page { default_type text/html; return 200 '<!--#include virtual=\"/a.txt\" -->'; }";
    let server = testkit::serve(text);
    for (name, text) in [("a.txt", "plain"), ("a.txt.br", "br"), ("a.txt.zst", "zstd"), ("b.txt", "plain")] {
        server.write(&format!("html/{name}"), text);
    }
    server.write("html/a.txt.gz", "gz");
    let got = |target: &str, accepted: &str| {
        let answer = server.get_with(target, &[("Accept-Encoding", accepted)]);
        let header = |name| answer.header(name).unwrap_or("-").to_owned();
        format!("{} {} {} {}", answer.status, answer.text(), header("content-encoding"), header("vary"))
    };
    for (target, accepted, expected) in [
        ("/a.txt", "gzip, zstd, br", "200 br br Accept-Encoding"),
        ("/a.txt", "gzip, zstd", "200 zstd zstd Accept-Encoding"),
        ("/a.txt", "gzip, br;q=0, zstd;q=0", "200 gz gzip Accept-Encoding"),
        ("/a.txt", "brotli, zstandard", "200 plain - Accept-Encoding"),
        ("/b.txt", "br", "200 plain - Accept-Encoding"),
        ("/always/a.txt", "identity", "200 br br -"),
        ("/page", "br", "200 plain - -"),
    ] {
        assert_eq!(got(target, accepted), expected, "{target} {accepted}");
    }
    let answer = server.get_with("/a.txt", &[("Accept-Encoding", "br"), ("Range", "bytes=0-0")]);
    assert_eq!(
        (answer.status, answer.header("content-type"), &answer.body[..]),
        (206, Some("text/plain"), &b"b"[..])
    );
    assert_eq!(server.request("POST", "/a.txt", &[("Accept-Encoding", "br")], b"").status, 405);
}

#[test]
fn files_compressed_beforehand() {
    let text = "gzip_static on; gzip_vary on; \
        location /always/ { alias html/; gzip_static always; } \
        location /plain/ { alias html/; gzip_static on; gzip_vary off; gzip_http_version 1.0; gzip_disable Old; }";
    on_both(text, |server| {
        let packed = gzip(b"packed");
        server.write("html/a.txt", "plain");
        server.write("html/a.txt.gz", &packed);
        server.write("html/b.txt", "only plain");
        std::fs::create_dir(server.path("html/b.txt.gz")).expect("a folder");
        let yes = [("Accept-Encoding", "gzip")];
        let answer = server.get_with("/a.txt", &yes);
        assert_eq!((answer.status, &answer.body), (200, &packed));
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        let part = server.get_with("/a.txt", &[("Accept-Encoding", "gzip"), ("Range", "bytes=0-1")]);
        if server.binary() == Binary::Plimsoll {
            // An older nginx sends the whole.
            assert_eq!((part.status, &part.body[..]), (206, &packed[..2]));
        }
        let plain = server.get("/a.txt");
        assert_eq!((plain.text().as_str(), plain.header("vary")), ("plain", Some("Accept-Encoding")));
        let none = server.get_with("/b.txt", &yes);
        assert_eq!((none.text().as_str(), none.header("content-encoding")), ("only plain", None));
        assert_eq!(server.get("/always/a.txt").body, packed);
        assert_eq!(server.get("/always/a.txt").header("vary"), None);
        assert_eq!(server.get("/plain/a.txt").header("vary"), None);
        let old = [("Accept-Encoding", "gzip"), ("User-Agent", "Old")];
        assert_eq!(server.get_with("/plain/a.txt", &old).text(), "plain");
        assert_eq!(server.get_with("/none.txt", &yes).status, 404);
        assert_eq!(server.request("POST", "/a.txt", &yes, b"").status, 405);
    });
}

#[test]
fn compressed_answers_unpacked_for_those_who_cannot() {
    let text =
        "location / { alias html/; gzip_static always; gunzip on; gzip_vary on; gunzip_buffers 2 1k; }";
    on_both(text, |server| {
        let content: Vec<u8> = (0..100_000_u32).flat_map(|n| (n % 1000).to_string().into_bytes()).collect();
        let (front, back) = content.split_at(1000);
        server.write("html/a.txt.gz", [gzip(front), gzip(back)].concat());
        server.write("html/zeros.txt.gz", gzip(&vec![0; 4_000_000]));
        let answer = server.get("/a.txt");
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert!(answer.header("etag").is_some_and(|tag| tag.starts_with("W/")), "{answer:?}");
        assert!(answer.is_chunked() && answer.body == content);
        assert!(server.get("/zeros.txt").body == vec![0; 4_000_000]);
        let packed = server.get_with("/a.txt", &[("Accept-Encoding", "gzip")]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_eq!(server.request("HEAD", "/a.txt", &[], b"").header("content-length"), None);
        let unmodified = server.get_with("/a.txt", &[("Accept-Encoding", "gzip"), ("If-None-Match", "*")]);
        assert_eq!((unmodified.status, unmodified.header("content-encoding")), (304, None));
    });
}

#[test]
fn a_broken_file_ends_the_answer_early() {
    on_both("location / { gzip_static always; gunzip on; }", |server| {
        let packed = gzip(&b"some text that is long enough ".repeat(100));
        server.write("html/cut.txt.gz", &packed[..packed.len() - 12]);
        let mut client = server.client();
        client.send("GET /cut.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        server.error_log().wait_match(r"\[error\] .*inflate\(\) returned -5 on response end");
    });
}

#[test]
fn mistakes_in_the_configuration() {
    each(|binary| {
        for (text, error) in [
            (
                "autoindex maybe;",
                "invalid value \"maybe\" in \"autoindex\" directive, it must be \"on\" or \"off\"",
            ),
            ("autoindex_format yaml;", "invalid value \"yaml\""),
            ("gzip_static sometimes;", "invalid value \"sometimes\""),
            ("empty_gif;", "\"empty_gif\" directive is not allowed here"),
            ("location / { flv on; }", "invalid number of arguments in \"flv\" directive"),
            ("random_index on;", "\"random_index\" directive is not allowed here"),
        ] {
            let exit = binary.check(Site::new(text));
            assert!(exit.stderr.contains(error), "{text}: {}", exit.stderr);
        }
    });
}
