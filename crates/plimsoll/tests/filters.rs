//! What changes a body on its way out: gzip, sub_filter, ranges, and all of them at once.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};

use testkit::{Origin, Response, Server, Site, each, on_both};

/// Enough for gzip to be worth it, and for several writes.
fn text() -> String {
    (0..4000).map(|n| format!("line {n} says hello\n")).collect()
}

fn unpacked(response: &Response) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&response.body[..]).read_to_string(&mut text).unwrap();
    text
}

fn site(server: &str) -> Site {
    Site::new(format!("root html; default_type text/plain; {server}"))
        .file("html/text.txt", text())
        .file("html/page.html", text())
        .file("html/small.txt", "hello small")
        .file("html/empty.txt", "")
}

/// Whether the answer to these header fields is compressed; it is the right text either way.
fn is_compressed(server: &Server, target: &str, fields: &[(&str, &str)]) -> bool {
    let response = server.get_with(target, fields);
    let compressed = response.header("content-encoding") == Some("gzip");
    let body = if compressed { unpacked(&response) } else { response.text() };
    assert!(body == text(), "{target} {fields:?}: another text");
    compressed
}

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

#[test]
fn a_compressed_answer() {
    on_both(site("gzip on; gzip_types text/plain; gzip_vary on;"), |server| {
        let plain = server.get("/text.txt");
        let etag = plain.header("etag").unwrap().to_owned();
        assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
        assert_eq!(plain.header("accept-ranges"), Some("bytes"));
        let packed = server.get_with("/text.txt", &[GZIP]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        assert_eq!(packed.header("etag"), Some(format!("W/{etag}").as_str()));
        assert_eq!((packed.header("content-length"), packed.header("accept-ranges")), (None, None));
        assert!(packed.body.len() < text().len() / 4 && unpacked(&packed) == text());
        let head = server.request("HEAD", "/text.txt", &[GZIP], b"");
        assert_eq!(head.header("content-encoding"), Some("gzip"));
        assert_eq!(head.header("content-length"), None);
        // What a client has is recognised by the weak tag, too.
        let known = server.get_with("/text.txt", &[GZIP, ("If-None-Match", &format!("W/{etag}"))]);
        assert_eq!(known.status, 304);
    });
}

/// `gzip` alone is level 1: what it leaves is no more than zlib leaves at that level, or traffic grows.
#[test]
fn the_lowest_level_packs_well() {
    let records = (0..500)
        .map(|n| format!("{{\"id\": {n}, \"name\": \"user {n}\", \"mail\": \"u{n}@example.com\"}}\n"));
    let site = site("gzip on; gzip_types *;").file("html/records.txt", records.collect::<String>());
    on_both(site, |server| {
        let packed = server.get_with("/records.txt", &[GZIP]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        let (before, after) = (unpacked(&packed).len(), packed.body.len());
        assert!(after * 7 < before, "{before} to {after}");
    });
}

#[test]
fn who_gets_it_compressed() {
    on_both(site("gzip on; gzip_types text/plain;"), |server| {
        for (accepts, expected) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip", true),
            ("gzip;q=0.5", true),
            ("gzip;q=1.000", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip ; q=0", false),
            ("deflate", false),
            ("*", false),
            ("identity", false),
            ("gzipped", false),
        ] {
            assert_eq!(
                is_compressed(server, "/text.txt", &[("Accept-Encoding", accepts)]),
                expected,
                "{accepts}"
            );
        }
        assert!(is_compressed(server, "/page.html", &[GZIP]));
        assert!(!is_compressed(server, "/text.txt", &[GZIP, ("Via", "1.1 proxy")]));
        let old = server.raw("GET /text.txt HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        assert!(!String::from_utf8_lossy(&old).contains("Content-Encoding"));
        assert_eq!(server.get_with("/small.txt", &[GZIP]).header("content-encoding"), None, "below 20 bytes");
    });
}

#[test]
fn what_the_rules_leave_out() {
    let text = "gzip on; gzip_types *; gzip_min_length 11; gzip_comp_level 9; gzip_http_version 1.0; gzip_buffers 2 4k;
        gzip_disable \"Old/[0-3]\"; location = /off.txt { gzip off; alias html/text.txt; }
        location = /min.txt { gzip_min_length 12; alias html/small.txt; }
        location = /untyped { types {} default_type ''; alias html/text.txt; }
        location = /gone { return 410 'a text that is long enough for it'; }
        location = /none { return 404 'a text that is long enough for it'; }";
    on_both(site(text), |server| {
        assert!(is_compressed(server, "/text.txt", &[GZIP, ("User-Agent", "Old/4")]));
        assert!(!is_compressed(server, "/text.txt", &[GZIP, ("User-Agent", "Old/3")]));
        assert!(!is_compressed(server, "/off.txt", &[GZIP]));
        assert!(is_compressed(server, "/untyped", &[GZIP]), "all types: also none");
        let encoding = |target: &str| server.get_with(target, &[GZIP]).header("content-encoding").is_some();
        assert!(encoding("/small.txt") && !encoding("/min.txt"));
        assert!(encoding("/none") && !encoding("/gone"), "only 200, 403 and 404");
        let old = server.raw("GET /text.txt HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
        assert!(String::from_utf8_lossy(&old).contains("Content-Encoding: gzip"));
    });
}

#[test]
fn answers_for_other_proxies() {
    let table = [
        ("off", "", false),
        ("any", "", true),
        ("expired", "Expires: Thu, 01 Jan 1970 00:00:00 GMT", true),
        ("expired", "Expires: Thu, 01 Jan 2099 00:00:00 GMT", false),
        ("no-cache", "Cache-Control: no-cache", true),
        ("no-cache", "Cache-Control: private", false),
        ("no-store private", "Cache-Control: private", true),
        ("no_last_modified", "X: y", true),
        ("no_last_modified", "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", false),
        ("no_etag", "ETag: \"x\"", false),
        ("no_etag", "X: y", true),
        ("no_etag no_last_modified", "", true),
        ("private no-store", "Cache-Control: max-age=1, No-Store", true),
        ("private", "Cache-Control: x-private, private=\"set-cookie\"", false),
        ("expired", "Expires: soon", false),
        ("auth", "ETag: \"x\"\r\nX: y", true),
        ("auth", "Cache-Control: private", false),
    ];
    each(|binary| {
        let origin = Origin::new(move |exchange| {
            let row: usize = exchange.request.target.trim_start_matches('/').parse().unwrap();
            let (body, field) = (text(), table[row].1);
            let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{field}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        });
        let locations = table.iter().enumerate().map(|(row, (allowed, ..))| {
            format!("location = /{row} {{ gzip_proxied {allowed}; proxy_pass http://%%ORIGIN%%; }}\n")
        });
        let site = Site::new(format!("gzip on; {}", locations.collect::<String>()));
        let server = binary.serve(site.with("ORIGIN", origin.address()));
        for (row, (allowed, field, expected)) in table.iter().enumerate() {
            let target = format!("/{row}");
            assert_eq!(
                is_compressed(&server, &target, &[GZIP, ("Via", "x")]),
                *expected,
                "{allowed}: {field}"
            );
        }
        assert!(is_compressed(&server, "/16", &[GZIP, ("Via", "x"), ("Authorization", "Basic YTpi")]));
    });
}

#[test]
fn texts_are_replaced() {
    let text = "sub_filter HELLO 'bye $arg_n'; sub_filter line LINE; sub_filter_types text/plain;
        location = /all.txt { sub_filter_once off; sub_filter hello bye; sub_filter says ''; sub_filter_types *; alias html/text.txt; }
        location = /kept.txt { sub_filter a b; sub_filter_last_modified on; sub_filter_types text/plain; alias html/small.txt; }
        location = /one.txt { sub_filter hello bye; sub_filter_types *; alias html/small.txt; }
        location = /some.txt { sub_filter $arg_none x; sub_filter hello bye; sub_filter $arg_a Z; sub_filter_types *; alias html/small.txt; }
        location = /no.txt { sub_filter $arg_none x; sub_filter_types *; alias html/small.txt; }
        location = /types.bin { sub_filter hello bye; alias html/small.txt; types { application/x bin; } }";
    on_both(site(text), |server| {
        let once = server.get("/text.txt?n=7");
        assert_eq!(once.text(), crate::text().replacen("hello", "bye 7", 1).replacen("line", "LINE", 1));
        assert_eq!((once.header("content-length"), once.header("accept-ranges")), (None, None));
        assert_eq!((once.header("last-modified"), once.header("etag")), (None, None));
        assert_eq!(server.get("/all.txt").text(), crate::text().replace("hello", "bye").replace("says", ""));
        assert!(server.get("/kept.txt").header("last-modified").is_some());
        // Nothing is held back in which no text to be replaced can begin: one chunk.
        let raw = server.raw("GET /one.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(raw.ends_with(b"\r\n\r\n9\r\nbye small\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&raw));
        // Where a text to be replaced turns out to be empty, the others are replaced all the same.
        assert_eq!(server.get("/some.txt?a=small").text(), "bye Z");
        assert_eq!(server.get("/no.txt").header("content-length"), Some("11"));
        let other = server.get("/types.bin");
        assert_eq!((other.text().as_str(), other.header("content-length")), ("hello small", Some("11")));
        let head = server.request("HEAD", "/text.txt", &[], b"");
        assert_eq!((head.status, head.header("content-length")), (200, None));
    });
}

#[test]
fn a_text_may_come_in_parts() {
    each(|binary| {
        // Every place at which the text that is looked for can be cut in two, and what only begins like it.
        let pieces: Vec<String> =
            (0..=6).map(|cut| format!("{}|{}", &"needle"[..cut], &"needle"[cut..])).collect();
        let origin = Origin::new(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in
                pieces.iter().flat_map(|piece| piece.split('|')).chain(["need", "ful needneedle", "needl"])
            {
                if !part.is_empty() {
                    exchange.send(format!("{:x}\r\n{part}\r\n", part.len()));
                }
            }
            exchange.send("0\r\n\r\n");
        });
        let text = "proxy_http_version 1.1; proxy_buffering off; sub_filter needle pin; sub_filter_once off; gzip on;
            location / { proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let expected = format!("{}needful needpinneedl", "pin".repeat(7));
        assert_eq!(server.get("/").text(), expected);
        assert_eq!(unpacked(&server.get_with("/", &[GZIP])), expected);
    });
}

#[test]
fn what_was_unpacked_before_it_broke_off_is_sent() {
    each(|binary| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&b"hello ".repeat(100)).unwrap();
        let packed = packed.finish().unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
        let answer = [head.as_bytes(), &packed[..packed.len() - 9]].concat();
        let origin = Origin::new(move |exchange| {
            exchange.send(&answer);
            exchange.close();
        });
        let text = "gunzip on; location / { proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let answer = String::from_utf8(client.read_to_end()).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{}", "hello ".repeat(100))), "{answer}");
        server.error_log().wait_for("inflate() returned -5 on response end");
    });
}

/// The client gets as much of it as without compression.
#[test]
fn what_came_before_an_upstream_broke_off_is_compressed() {
    each(|binary| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9999\r\n\r\n";
        let origin = Origin::new(move |exchange| {
            exchange.send(head.to_owned() + &text()[..999]);
            exchange.close();
        });
        let site = "gzip on; gzip_http_version 1.0; location / { proxy_pass http://%%ORIGIN%%; }";
        let server = binary.serve(Site::new(site).with("ORIGIN", origin.address()));
        let mut client = server.client();
        client.send("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
        client.wire().read_through(b"\r\n\r\n").unwrap();
        let (packed, mut unpacked) = (client.read_to_end(), Vec::new());
        assert!(
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).is_err(),
            "it is no whole"
        );
        assert_eq!(String::from_utf8_lossy(&unpacked), text()[..999]);
    });
}

#[test]
fn streams_behind_one_another_are_unpacked_and_rubbish_is_not() {
    let pack = |text: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let (one, other) = (pack(b"one"), pack(b"other"));
    let mut changed = one.clone();
    let checksum = changed.len() - 8;
    changed[checksum] ^= 1;
    for (body, expected) in [
        ([&*one, &*other].concat(), Some("oneother")),
        ([&*one, b"rubbish"].concat(), None),
        (changed, None),
        (b"rubbish".to_vec(), None),
    ] {
        each(|binary| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let origin = Origin::answering([head.as_bytes(), &body].concat());
            let text = "gunzip on; location / { proxy_pass http://%%ORIGIN%%; }";
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            let got = server.raw("GET / HTTP/1.0\r\n\r\n");
            let got = String::from_utf8_lossy(&got);
            assert_eq!(got.rsplit("\r\n\r\n").next(), Some(expected.unwrap_or_default()), "{binary:?}");
            if expected.is_none() {
                server
                    .error_log()
                    .wait_match(r"\[error\] .*inflate\(\) failed: 0, -3 while sending to client");
            }
        });
    }
}

#[test]
fn tags_are_weakened_or_left_out() {
    for (tag, expected) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)] {
        each(|binary| {
            let head = format!("Content-Type: text/html\r\nETag: {tag}\r\nContent-Length: 30\r\n");
            let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n{}", "x".repeat(30)));
            let text = "gzip on; location / { proxy_pass http://%%ORIGIN%%; }";
            let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
            assert_eq!(server.get_with("/", &[GZIP]).header("etag"), expected, "{tag}");
        });
    }
}

#[test]
fn ranges_compression_and_replacement_at_once() {
    let text = "gzip on; gzip_types text/plain;
        location /sub/ { sub_filter hello goodbye; sub_filter_once off; sub_filter_types *; alias html/; }
        location /framed/ { add_before_body /before; add_after_body /before; addition_types *; sub_filter hello goodbye;
            sub_filter_once off; sub_filter_types *; alias html/; }
        location = /before { return 200 'before: hello|'; }";
    let range = ("Range", "bytes=5-9");
    on_both(site(text), |server| {
        let whole = crate::text().replace("hello", "goodbye");
        // What stays as it is can be had in parts, what is changed cannot.
        let part = server.get_with("/text.txt", &[range]);
        assert_eq!((part.status, part.text().as_str()), (206, &crate::text()[5..10]));
        let packed = server.get_with("/text.txt", &[range, GZIP]);
        assert_eq!((packed.status, unpacked(&packed) == crate::text()), (200, true));
        let changed = server.get_with("/sub/text.txt", &[range]);
        assert_eq!((changed.status, changed.text() == whole), (200, true));
        let both = server.get_with("/sub/text.txt", &[range, GZIP]);
        assert_eq!((both.status, unpacked(&both) == whole), (200, true));
        let framed = unpacked(&server.get_with("/framed/text.txt", &[range, GZIP]));
        assert!(framed.contains(&whole), "{:.80}", framed);
        assert_eq!(framed.matches("before: ").count(), 2);
        // What is added makes a page of what is none.
        let empty = server.get("/framed/empty.txt");
        assert_eq!((empty.text().as_str(), empty.header("etag")), ("before: hello|before: hello|", None));
        assert_eq!(server.client().get("/sub/small.txt").text(), "goodbye small");
    });
}
