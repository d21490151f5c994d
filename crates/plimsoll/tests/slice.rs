//! `slice`: large answers asked for, and kept, in pieces.
#![forbid(unsafe_code)]

use testkit::{Binary, Exchange, Origin, Server, Site, each};

const TEXT: &[u8] = b"0123456789";

/// Pieces of four bytes, kept by their place.
const SLICED: &str = "proxy_cache_path %%DIR%%/cache keys_zone=one:1m;\n\
    server { listen 127.0.0.1:%%PORT%%; %%SERVER%% location / { slice 4; proxy_pass http://%%ORIGIN%%; proxy_cache one;\n\
    proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range; proxy_http_version 1.1; proxy_cache_valid 200 206 1h;\n\
    add_header X-Cache $upstream_cache_status; } }";

fn serve(binary: Binary, origin: &Origin) -> Server {
    binary.serve(Site::new(SLICED).with("ORIGIN", origin.address()).with("SERVER", ""))
}
/// What of the text is asked for, as first and last byte.
fn asked(exchange: &Exchange) -> Option<(usize, usize)> {
    let (first, last) = exchange.request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
/// Answers with a part of the text.
fn part(exchange: &mut Exchange, headers: &str) {
    let Some((first, last)) = asked(exchange) else { return exchange.ok(TEXT) };
    let last = last.min(TEXT.len() - 1);
    let Some(part) = TEXT.get(first..=last) else {
        return exchange.send("HTTP/1.1 416 X\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n");
    };
    let head = format!(
        "HTTP/1.1 206 X\r\n{headers}Content-Range: bytes {first}-{last}/10\r\nAccept-Ranges: bytes\r\n"
    );
    exchange.send(format!("{head}Content-Length: {}\r\n\r\n", part.len()).into_bytes());
    exchange.send(part);
}
fn text() -> Origin {
    Origin::new(|exchange| part(exchange, "ETag: \"a\"\r\n"))
}
/// The ranges that were asked for since so many requests.
fn ranges(origin: &Origin, since: usize) -> Vec<String> {
    let range = |request: &testkit::Request| request.header("range").unwrap_or("-").to_owned();
    origin.requests()[since..].iter().map(range).collect()
}

#[test]
fn the_whole_is_put_together_and_kept_in_pieces() {
    each(|binary| {
        let origin = text();
        let server = serve(binary, &origin);
        for cache in ["MISS", "HIT"] {
            let whole = server.get("/a");
            assert_eq!(
                (whole.status, whole.body.as_slice(), whole.header("x-cache")),
                (200, TEXT, Some(cache))
            );
            assert_eq!(
                (whole.header("content-length"), whole.header("accept-ranges")),
                (Some("10"), Some("bytes"))
            );
            assert_eq!((whole.header("content-range"), whole.header("etag")), (None, Some("\"a\"")));
        }
        assert_eq!(ranges(&origin, 0), ["bytes=0-3", "bytes=4-7", "bytes=8-11"]);
        let head = server.request("HEAD", "/a", &[], b"");
        assert_eq!(
            (head.status, head.header("content-length"), origin.requests().len()),
            (200, Some("10"), 3)
        );
    });
}

#[test]
fn only_the_pieces_of_a_range_are_asked_for() {
    each(|binary| {
        let origin = text();
        let server = serve(binary, &origin);
        for (i, (range, more, status, body, pieces)) in [
            ("bytes=5-8", "", 206, "5678", "bytes=4-7 bytes=8-11"),
            ("bytes=1-2", "", 206, "12", "bytes=0-3"),
            ("bytes=3-4", "", 206, "34", "bytes=0-3 bytes=4-7"),
            ("bytes=8-", "", 206, "89", "bytes=8-11"),
            ("bytes=4-7", "", 206, "4567", "bytes=4-7"),
            // Where it begins is known only when the length is.
            ("bytes=-1", "", 206, "9", "bytes=0-3 bytes=8-11"),
            ("bytes=-7", "", 206, "3456789", "bytes=0-3 bytes=4-7 bytes=8-11"),
            ("bytes=9-9", "\"a\"", 206, "9", "bytes=0-3 bytes=8-11"),
            ("bytes=9-9", "\"b\"", 200, "0123456789", "bytes=0-3 bytes=4-7 bytes=8-11"),
            ("bytes=1-2,4-5", "", 200, "0123456789", "bytes=0-3 bytes=4-7 bytes=8-11"),
            ("lines=1", "", 200, "0123456789", "bytes=0-3 bytes=4-7 bytes=8-11"),
        ]
        .into_iter()
        .enumerate()
        {
            for _ in 0..2 {
                let before = origin.requests().len();
                let mut fields = vec![("Range", range)];
                fields.extend((!more.is_empty()).then_some(("If-Range", more)));
                let response = server.get_with(&format!("/{i}"), &fields);
                assert_eq!((response.status, response.text().as_str()), (status, body), "{range}");
                let asked = ranges(&origin, before).join(" ");
                assert!(asked == pieces || asked.is_empty(), "{range}: {asked}");
            }
        }
        let beyond = server.get_with("/beyond", &[("Range", "bytes=100-")]);
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    });
}

#[test]
fn a_server_without_parts_gives_the_whole() {
    each(|binary| {
        let origin = Origin::new(|exchange| exchange.ok(TEXT));
        let server = serve(binary, &origin);
        let whole = server.get("/");
        assert_eq!((whole.status, whole.body.as_slice(), origin.requests().len()), (200, TEXT, 1));
    });
}

#[test]
fn pieces_that_do_not_fit_break_the_answer_off() {
    each(|binary| {
        // The path says what is wrong, and from which piece on.
        let origin = Origin::new(|exchange| {
            let (wrong, from) = exchange.request.target[1..].split_once('/').unwrap_or_default();
            let (wrong, from) = (wrong.to_owned(), from.parse().unwrap_or(0));
            match (&*wrong, asked(exchange).unwrap_or_default()) {
                ("tag", (first, _)) if first >= from => part(exchange, "ETag: \"b\"\r\n"),
                ("status", (first, _)) if first >= from => exchange.ok("x"),
                (what, (first, _)) if first >= from => {
                    let range = match what {
                        "none" => String::new(),
                        "length" => format!("Content-Range: bytes {first}-{}/*\r\n", first + 3),
                        "place" => format!("Content-Range: bytes {}-{}/10\r\n", first + 1, first + 3),
                        _ => "Content-Range: bytes 0-18446744073709551615/1\r\n".into(),
                    };
                    exchange.send(format!("HTTP/1.1 206 X\r\n{range}Content-Length: 4\r\n\r\nxxxx"));
                }
                _ => part(exchange, "ETag: \"a\"\r\n"),
            }
        });
        let server = serve(binary, &origin);
        for (wrong, words) in [
            ("tag/4", "etag mismatch in slice response"),
            ("status/8", "unexpected status code 200 in slice response"),
            ("none/0", "invalid range in slice response"),
            ("much/0", "invalid range in slice response"),
            ("length/0", "no complete length in slice response"),
            ("place/0", "unexpected range in slice response: 1-4"),
        ] {
            let bytes = server.raw(format!("GET /{wrong} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = String::from_utf8_lossy(&bytes);
            match wrong.ends_with("/0") {
                true => assert_eq!(answer, "", "{wrong}"),
                false => {
                    assert!(answer.contains("Content-Length: 10\r\n") && !answer.ends_with("9"), "{answer}")
                }
            }
            let line = server.error_log().wait_for(words);
            assert!(line.contains(" while reading response header from upstream, client: "), "{line}");
            assert_eq!(
                line.contains(&format!(", subrequest: \"/{wrong}\", ")),
                !wrong.ends_with("/0"),
                "{line}"
            );
        }
    });
}

#[test]
fn without_the_variable_nothing_is_sliced() {
    each(|binary| {
        let origin = text();
        let text = "server { listen 127.0.0.1:%%PORT%%; slice 4; location / { proxy_pass http://%%ORIGIN%%; }\n\
            location /off { slice 0; proxy_pass http://%%ORIGIN%%; proxy_set_header X-Range =$slice_range; }\n\
            location /early { return 200 =$slice_range; } }";
        let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
        assert_eq!(server.get("/").body, TEXT);
        assert_eq!(server.get("/off").body, TEXT);
        assert_eq!(origin.last().header("x-range"), Some("="));
        assert_eq!(server.get("/early").text(), "=");
        assert_eq!(origin.requests().len(), 2);
    });
}
