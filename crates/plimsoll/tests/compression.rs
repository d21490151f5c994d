//! Answers compressed by brotli and zstd, with the directives of the well-known modules for nginx. Those are others' modules: what is
//! expected here was compared with nginx 1.31.5 and both of them by hand, and no nginx of these tests has them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::process::Command;

use testkit::{Binary, Gate, Origin, Response, Server, Site, each, matches, peers};

/// Enough for several writes.
fn text() -> String {
    (0..4000).map(|n| format!("line {n} says hello\n")).collect()
}

fn reader<'a>(coding: Option<&str>, packed: &'a [u8]) -> Box<dyn Read + 'a> {
    match coding {
        Some("br") => Box::new(brotli::Decompressor::new(packed, 4096)),
        Some("zstd") => Box::new(zstd::Decoder::new(packed).unwrap()),
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(packed)),
        _ => Box::new(packed),
    }
}
fn unpacked(response: &Response) -> String {
    let mut text = String::new();
    reader(response.header("content-encoding"), &response.body).read_to_string(&mut text).unwrap();
    text
}

fn site(server: &str) -> Site {
    Site::new(format!("root html; default_type text/html; {server}"))
        .file("html/page", text())
        .file("html/small", "hello small")
        .file("html/20", "exactly twenty bytes")
}

/// Status, coding and `Vary` of an answer, whose text is the right one.
fn got(server: &Server, target: &str, accepted: &str) -> String {
    let answer = server.get_with(target, &[("Accept-Encoding", accepted)]);
    if target.ends_with("page") {
        assert!(unpacked(&answer) == text(), "{target} {accepted}: another text");
    }
    let header = |name| answer.header(name).unwrap_or("-");
    format!("{} {} {}", answer.status, header("content-encoding"), header("vary"))
}

#[test]
fn who_gets_which_coding() {
    let server = Binary::Plimsoll.serve(site(
        "location /br/ { alias html/; brotli on; } location /zstd/ { alias html/; zstd on; }
        location /all/ { alias html/; brotli on; zstd on; gzip on; gzip_vary on; }
        location /if/ { alias html/; if ($arg_b) { brotli on; } if ($arg_z) { zstd on; } }
        location /types/ { alias html/; default_type text/css; brotli on; brotli_types text/css; zstd on; zstd_types *; }
        location /long/ { alias html/; brotli on; brotli_min_length 100000; zstd on; zstd_min_length 70000; }
        location /moved/ { brotli on; brotli_types *; return 301 /; }
        location /error/ { brotli on; zstd on; }",
    ));
    for (target, accepted, expected) in [
        ("/br/page", "br", "200 br -"),
        ("/br/page", "gzip, deflate, br, zstd", "200 br -"),
        ("/br/page", "zstd, gzip", "200 - -"),
        ("/br/20", "br", "200 br -"),
        ("/br/small", "br", "200 - -"),
        ("/zstd/page", "gzip, deflate, br, zstd", "200 zstd -"),
        ("/zstd/small", "zstd", "200 - -"),
        // Of several that a client takes: brotli, then zstd, then gzip.
        ("/all/page", "gzip, deflate, br, zstd", "200 br Accept-Encoding"),
        ("/all/page", "gzip, br;q=0, zstd;q=0.5", "200 zstd Accept-Encoding"),
        ("/all/page", "gzip, brotli, zstandard", "200 gzip Accept-Encoding"),
        ("/all/page", "BR", "200 br Accept-Encoding"),
        ("/all/page", "zstd;q=0", "200 - Accept-Encoding"),
        ("/all/page", "*", "200 - Accept-Encoding"),
        ("/all/page", "", "200 - Accept-Encoding"),
        ("/if/page?b=1", "br, zstd", "200 br -"),
        ("/if/page?z=1", "br, zstd", "200 zstd -"),
        ("/if/page", "br, zstd", "200 - -"),
        ("/types/page", "br", "200 br -"),
        ("/long/page", "br", "200 - -"),
        ("/long/page", "zstd", "200 zstd -"),
        ("/moved/", "br", "301 - -"),
        ("/error/none", "br", "404 br -"),
        ("/error/none", "zstd", "404 zstd -"),
    ] {
        assert_eq!(got(&server, target, accepted), expected, "{target} {accepted}");
    }
}

#[test]
fn the_head_of_a_compressed_answer() {
    let server = Binary::Plimsoll
        .serve(site("location /br/ { alias html/; brotli on; } location /zstd/ { alias html/; zstd on; }"));
    for coding in ["br", "zstd"] {
        let accept = [("Accept-Encoding", coding)];
        let target = format!("/{coding}/page");
        let plain = server.get(&target);
        assert_eq!(plain.header("accept-ranges"), Some("bytes"));
        let packed = server.get_with(&target, &accept);
        let weak = format!("W/{}", plain.header("etag").unwrap());
        assert_eq!(packed.header("etag"), Some(&weak[..]));
        assert_eq!((packed.header("content-length"), packed.header("accept-ranges")), (None, None));
        assert!(packed.body.len() < text().len() / 5, "{coding}: {} bytes", packed.body.len());
        let head = server.request("HEAD", &target, &accept, b"");
        assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some(coding), None));
        // Parts of what is made anew each time cannot be had.
        let part = server.get_with(&target, &[accept[0], ("Range", "bytes=0-9")]);
        assert_eq!((part.status, unpacked(&part) == text()), (200, true));
        assert_eq!(server.get_with(&target, &[accept[0], ("If-None-Match", &weak)]).status, 304);
        let old = server.raw(format!("GET {target} HTTP/1.0\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let body = old.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut unpacked = String::new();
        reader(Some(coding), &old[body..]).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == text());
    }
}

/// Every level and every window that can be asked for.
#[test]
fn levels_and_windows() {
    let mut locations = String::new();
    let brotli: Vec<_> = (0..=11).map(|level| format!("brotli_comp_level {level}")).collect();
    let windows: Vec<_> =
        (0..15).map(|n| format!("brotli_comp_level 4; brotli_window {}k", 1 << n)).collect();
    let zstd: Vec<_> =
        (-7..=22).filter(|n| *n != 0).map(|level| format!("zstd_comp_level {level}")).collect();
    let all: Vec<_> = brotli.iter().chain(&windows).chain(&zstd).collect();
    for (i, setting) in all.iter().enumerate() {
        let coding = setting.split('_').next().unwrap();
        locations +=
            &format!("location /{i}/ {{ alias html/; {coding} on; {setting}; {coding}_buffers 4 1k; }}\n");
    }
    let server = Binary::Plimsoll.serve(site(&locations));
    let mut sizes = Vec::new();
    for (i, setting) in all.iter().enumerate() {
        let coding = if setting.starts_with("brotli") { "br" } else { "zstd" };
        let packed = server.get_with(&format!("/{i}/page"), &[("Accept-Encoding", coding)]);
        assert_eq!(packed.header("content-encoding"), Some(coding), "{setting}");
        assert!(unpacked(&packed) == text(), "{setting}");
        sizes.push(packed.body.len());
    }
    assert!(sizes[0] > sizes[6] && sizes[6] > sizes[11], "levels of brotli: {:?}", &sizes[..12]);
    assert!(sizes[12] > sizes[18], "windows: {:?}", &sizes[12..27]);
    assert!(sizes[27] > sizes[34] && sizes[34] > sizes[55], "levels of zstd: {:?}", &sizes[27..]);
}

/// A stream of events reaches the client event by event.
fn is_not_held_back(binary: Binary, module: &str, coding: &str) {
    let gate = Gate::new();
    let until = gate.clone();
    let origin = Origin::new(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\n\r\nfirst ");
        assert!(until.pass());
        exchange.send("second");
    });
    let text = format!(
        "proxy_buffering off; {module} on; {module}_min_length 0; location / {{ proxy_pass http://%%ORIGIN%%; }}"
    );
    let server = binary.serve(Site::new(text).with("ORIGIN", origin.address()));
    let mut client = server.client();
    client
        .send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n"));
    client.wire().read_through(b"\r\n\r\n").unwrap();
    let mut packed = Vec::new();
    let mut chunk = |packed: &mut Vec<u8>| {
        let length = client.wire().read_through(b"\r\n").unwrap();
        let length = usize::from_str_radix(str::from_utf8(&length).unwrap().trim(), 16).unwrap();
        packed.extend_from_slice(&client.read(length));
        client.read(2);
        length
    };
    let length = chunk(&mut packed);
    // The head of gzip's format, and a block with what was said.
    assert!(coding != "gzip" || length > 10);
    let mut first = [0; 6];
    reader(Some(coding), &packed).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first ", "{coding}");
    gate.open();
    while chunk(&mut packed) > 0 {}
    let mut all = String::new();
    reader(Some(coding), &packed).read_to_string(&mut all).unwrap();
    assert_eq!(all, "first second", "{coding}");
}
#[test]
fn what_an_unbuffered_upstream_said_is_not_held_back() {
    each(|binary| is_not_held_back(binary, "gzip", "gzip"));
    is_not_held_back(Binary::Plimsoll, "brotli", "br");
    is_not_held_back(Binary::Plimsoll, "zstd", "zstd");
}

/// In the company of other filters, and within a page that is put together.
#[test]
fn with_other_filters() {
    let server = Binary::Plimsoll.serve(
        site(
            "ssi on; sub_filter hello bye; sub_filter_once off; brotli on; zstd on; gzip on; gunzip on;
            location /whole { } location /included { brotli on; } location /proxied { proxy_pass http://127.0.0.1:%%PORT%%/page; }
            location /packed { proxy_pass http://127.0.0.1:%%PORT%%/page; proxy_set_header Accept-Encoding br; }",
        )
        .file("html/whole", "<p>hello <!--#include virtual=\"/included\" --> hello</p>")
        .file("html/included", "hello hello hello hello hello hello"),
    );
    for coding in ["br", "zstd", "gzip"] {
        let accept = [("Accept-Encoding", coding)];
        let page = server.get_with("/whole", &accept);
        assert_eq!(page.header("content-encoding"), Some(coding));
        assert_eq!(unpacked(&page), "<p>bye bye bye bye bye bye bye bye</p>");
        let page = server.get_with("/proxied", &accept);
        assert_eq!((page.header("content-encoding"), unpacked(&page).contains("bye")), (Some(coding), true));
    }
    // What an upstream compressed is left as it is.
    let page = server.get_with("/packed", &[("Accept-Encoding", "zstd")]);
    assert_eq!((page.header("content-encoding"), unpacked(&page).contains("bye")), (Some("br"), true));
}

#[test]
fn how_much_smaller_is_in_the_log() {
    let server = Binary::Plimsoll.serve(
        Site::new(
            "log_format ratios '$uri br=$brotli_ratio zstd=$zstd_ratio gzip=$gzip_ratio'; access_log logs/access.log ratios;
            server { listen 127.0.0.1:%%PORT%%; root html; default_type text/html; brotli on; zstd on; gzip on; }",
        )
        .file("html/page", text())
        .file("html/small", "small"),
    );
    for coding in ["br", "zstd", "gzip"] {
        server.get_with("/page", &[("Accept-Encoding", coding)]);
        server.get_with("/small", &[("Accept-Encoding", coding)]);
    }
    let lines = server.access_log().wait_lines(6);
    for (i, expected) in
        [r"br=\d+\.\d\d zstd=- gzip=-", r"br=- zstd=\d+\.\d{3} gzip=-", r"br=- zstd=- gzip=\d+\.\d\d"]
            .into_iter()
            .enumerate()
    {
        assert!(matches(&format!("^/page {expected}$"), &lines[2 * i]), "{lines:?}");
        assert_eq!(lines[2 * i + 1], "/small br=- zstd=- gzip=-");
    }
}

/// Clients that were given the same dictionary read what is compressed with it, and nobody else does.
#[test]
fn a_dictionary() {
    let dictionary: String = (0..4000).map(|n| format!("line {n} says hello\n")).collect();
    let server = Binary::Plimsoll.serve(
        Site::new(
            "zstd_dict_file dictionary;
            server { listen 127.0.0.1:%%PORT%%; default_type text/html; location /with { zstd on; alias html/page; } }",
        )
        .file("html/page", text())
        .file("dictionary", &dictionary),
    );
    let packed = server.get_with("/with", &[("Accept-Encoding", "zstd")]);
    assert!(packed.body.len() < 600, "{} bytes", packed.body.len());
    let mut read = String::new();
    let mut decoder = zstd::Decoder::with_dictionary(&packed.body[..], dictionary.as_bytes()).unwrap();
    decoder.read_to_string(&mut read).unwrap();
    assert!(read == text());
    assert!(reader(Some("zstd"), &packed.body).read_to_string(&mut String::new()).is_err());
}

/// A program of others reads it, too.
#[test]
fn curl_reads_it() {
    let Some(curl) = peers::require("curl") else { return };
    let server =
        Binary::Plimsoll.serve(site("brotli on; location /zstd/ { alias html/; zstd on; brotli off; }"));
    for target in ["/page", "/zstd/page"] {
        let url = format!("http://127.0.0.1:{}{target}", server.port());
        let output = Command::new(&curl).args(["-s", "--compressed", "-D", "-", &url]).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Encoding: br") || head.contains("Content-Encoding: zstd"), "{head}");
        assert!(body == text(), "{head}");
    }
}

#[test]
fn what_cannot_be_set() {
    for (text, expected) in [
        ("brotli 1;", "invalid value \"1\" in \"brotli\" directive, it must be \"on\" or \"off\""),
        ("brotli_comp_level 12;", "value must be between 0 and 11"),
        (
            "brotli_window 3k;",
            "\"brotli_window\" directive must be 1k, 2k, 4k, 8k, 16k, 32k, 64k, 128k, 256k, 512k, 1m, 2m, 4m, 8m or 16m",
        ),
        ("brotli_min_length x;", "\"brotli_min_length\" directive invalid value"),
        ("zstd_comp_level 0;", "zstd compress level must between -131072 and 22 excluding 0"),
        ("zstd_comp_level 23;", "zstd compress level must between -131072 and 22 excluding 0"),
        ("zstd_comp_level -131073;", "zstd compress level must between -131072 and 22 excluding 0"),
        ("zstd_comp_level -;", "\"zstd_comp_level\" directive invalid number"),
        ("zstd on; zstd off;", "\"zstd\" directive is duplicate"),
        ("location / { zstd_dict_file x; }", "\"zstd_dict_file\" directive is not allowed here"),
    ] {
        let exit = Binary::Plimsoll.check(text);
        assert!(exit.stderr.contains(expected), "{text}: {}", exit.stderr);
    }
    // A dictionary that nobody uses is not looked for.
    let dictionary = |on| {
        format!("zstd_dict_file none;\nserver {{ listen 127.0.0.1:%%PORT%%; location / {{ zstd {on}; }} }}")
    };
    assert_eq!(Binary::Plimsoll.check(dictionary("off")).code, Some(0));
    let exit = Binary::Plimsoll.check(dictionary("on"));
    assert!(
        exit.stderr.contains("none\" failed (2: No such file or directory) in %%DIR%%/nginx.conf:1"),
        "{}",
        exit.stderr
    );
}
