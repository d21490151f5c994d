//! Requests by chance: valid, odd and hostile.

use super::dice::Dice;
use super::themes::Themes;

const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/x.html",
    "/a/deep/",
    "/a/deep/x.html",
    "/b/",
    "/b/x",
    "/old/x.html",
    "/old/",
    "/found.txt",
    "/found.txt",
    "/dir",
    "/dir/",
    "/dir/x.txt",
    "/r/1",
    "/p/2",
    "/e",
    "/none",
    "/big.txt",
    "/empty.txt",
    "/pic.png",
    "/a%20b",
    "/a//x.html",
    "//a/x.html",
    "/a/./x.html",
    "/a/../found.txt",
    "/../found.txt",
    "/%61/x.html",
    "/a/%2e%2e/found.txt",
    "/a%2fx.html",
    "/found.txt/",
    "/a/x.html?",
    "/%",
    "/%zz",
    "/%00",
    "/a#frag",
    "/a?b#c",
    "http://main.example/a/x.html",
    "http://other.example",
    "*",
    "",
    "a",
    "/a b",
    "/\u{e9}",
    "/?if=1",
    "/?ret=403",
    "/a/?ret=404&v=1",
    "/b/?m=1",
    "/?m=xyz&v=%41",
    "/dir/?i=x.txt",
    "/a/x.html?i=../found.txt",
    // What the origin does is in the path.
    "/b/o/ok",
    "/b/o/chunked",
    "/b/o/close",
    "/b/o/empty",
    "/b/o/304",
    "/b/o/204",
    "/b/o/404",
    "/b/o/500",
    "/b/o/redirect",
    "/b/o/accel",
    "/b/o/accel404",
    "/b/o/cookie",
    "/b/o/long",
    "/b/o/trailer",
    "/b/o/headers",
    "/b/o/status",
    "/b/o/range",
    "/a/o/ok",
    "/a/o/chunked",
    "/a/o/500",
    "/a/o/close",
    "/o/ok",
    "/o/chunked",
    "/o/404",
    "/o/echo",
    "/b/o/echo",
];
const METHODS: &[&str] = &[
    "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH",
    "PROPFIND", "FOO", "get", "TRACE", "CONNECT", "G_T",
];
const FIELDS: &[&str] = &[
    "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
    "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
    "If-Modified-Since: rubbish",
    "If-None-Match: *",
    "If-None-Match: \"x\", W/\"y\"",
    "Range: bytes=0-3",
    "Range: bytes=-3",
    "Range: bytes=2-",
    "Range: bytes=0-1,3-4",
    "Range: bytes=9999999-",
    "Range: bytes=3-1",
    "Range: x",
    "Range: bytes=-0",
    "Range: bytes=0-0,-1,1-",
    "If-Range: \"x\"",
    "If-Range: Thu, 01 Jan 2026 00:00:00 GMT",
    "Accept-Encoding: gzip",
    "Accept-Encoding: gzip;q=0",
    "Accept-Encoding: deflate, gzip",
    "Cookie: id=7; b=c",
    "Cookie: a=1",
    "Referer: http://r/",
    "User-Agent: MSIE 6.0",
    "User-Agent: agent/1",
    "X_Under: score",
    "X-Bad\x01: v",
    "X-Empty:",
    "X-Spaces:   a  b  ",
    "X-Colon: a:b",
    "X-Forwarded-For: 10.0.0.1",
    "X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    "Via: 1.1 proxy",
    "Upgrade: websocket",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: upgrade",
    "Connection: foo, close",
    "Keep-Alive: 5",
    "TE: trailers",
    "Authorization: Basic YTpi",
    "Accept: */*",
    "Content-Type: text/plain",
    "Expect: nothing",
    "Host: main.example",
    "Host: other.example",
    "Host: a.wild.example",
    "Host: re12.example",
    "Host: MAIN.example:80",
    "Host: x.dot.example",
    "Host: bad/host",
    "Host: [::1]",
    "Host: a..b",
    "Host: main.example.",
    "Host:",
    "Transfer-Encoding: gzip",
    "Content-Length: x",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    " folded: x",
    "NoColon",
    ": empty",
];

/// What goes over one connection, the last request of which closes it.
pub fn connection(dice: &mut Dice, themes: Themes) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + dice.below(3) {
        request(dice, themes, &mut bytes);
    }
    bytes.extend_from_slice(b"GET /end HTTP/1.1\r\nHost: main.example\r\nConnection: close\r\n\r\n");
    bytes
}

fn request(dice: &mut Dice, themes: Themes, out: &mut Vec<u8>) {
    if themes.each().any(|theme| !theme.raw.is_empty()) && dice.once_in(4) {
        let raw = themes.pick(dice, |theme| theme.raw).unwrap_or("\r\n");
        return out.extend_from_slice(raw.as_bytes());
    }
    if dice.once_in(40) {
        out.extend_from_slice(
            dice.one(&[
                "\r\n",
                "\n",
                "GET\r\n\r\n",
                "GET / HTTP/9.9\r\n\r\n",
                "GET / HTTP/2.0\r\n\r\n",
                "\x16\x03\x01\r\n\r\n",
                "GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / HTTP/1.1\nHost: a\n\n",
                "GET / http/1.1\r\nHost: a\r\n\r\n",
                "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
                "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n",
            ])
            .as_bytes(),
        );
        return;
    }
    let version = if dice.once_in(12) { "1.0" } else { "1.1" };
    let method = themes.pick(dice, |theme| theme.methods).unwrap_or_else(|| dice.one(METHODS));
    let target = themes.pick(dice, |theme| theme.targets).unwrap_or_else(|| dice.one(TARGETS));
    out.extend_from_slice(format!("{method} {target} HTTP/{version}\r\n").as_bytes());
    let mut fields = dice.some(3, FIELDS);
    fields.extend(themes.pick(dice, |theme| theme.fields));
    fields.extend(themes.pick(dice, |theme| theme.fields));
    // Which of two is one too many is a matter of the log alone.
    let name = |field: &str| field.split(':').next().map(str::to_owned);
    fields.dedup_by_key(|field| name(field));
    if themes.each().next().is_some() {
        let all = fields.clone();
        let mut at = 0..;
        fields
            .retain(|field| !all.iter().take(at.next().unwrap_or(0)).any(|other| name(other) == name(field)));
    }
    if !fields.iter().any(|field| field.starts_with("Host")) && !dice.once_in(30) {
        out.extend_from_slice(dice.one(&["Host: main.example\r\n", "Host: nobody\r\n"]).as_bytes());
    }
    for field in &fields {
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let framed = fields.iter().any(|f| f.starts_with("Content-Length") || f.starts_with("Transfer"));
    body(dice, framed, out);
}

fn body(dice: &mut Dice, framed: bool, out: &mut Vec<u8>) {
    let end: &[u8] = match dice.below(8) {
        0 if !framed => b"Content-Length: 5\r\n\r\nhello",
        1 if !framed => b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        2 if !framed && dice.once_in(3) => b"Content-Length: 12\r\n\r\nhello world!",
        3 if !framed && dice.once_in(4) => {
            b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n"
        }
        4 if !framed && dice.once_in(6) => b"Content-Length: 0\r\n\r\n",
        _ => b"\r\n",
    };
    out.extend_from_slice(end);
}
