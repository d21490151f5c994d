//! The origin behind both servers: what it does is in the last part of the path.

use testkit::{Exchange, Origin};

/// Starts it.
pub fn origin() -> Origin {
    Origin::new(|exchange| {
        let path = exchange.request.target.split(['?', '#']).next().unwrap_or_default();
        let what = path.rsplit('/').next().unwrap_or_default().to_owned();
        answer(exchange, &what);
    })
}

fn answer(exchange: &mut Exchange<'_>, what: &str) {
    let text: &[u8] = match what {
        "chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n",
        "trailer" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\nX-T: t\r\n\r\n",
        "close" => b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\none text until the end",
        "none" => b"",
        "empty" => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Origin: empty\r\n\r\n",
        "304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "204" => b"HTTP/1.1 204 No Content\r\n\r\n",
        "404" => b"HTTP/1.1 404 Nope\r\nContent-Length: 4\r\n\r\nnope",
        "500" => b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh",
        "redirect" => b"HTTP/1.1 302 Found\r\nLocation: http://origin.example/x\r\nContent-Length: 0\r\n\r\n",
        "accel" => b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /found.txt?y\r\nContent-Length: 0\r\n\r\n",
        "accel404" => b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /nothing\r\nContent-Length: 0\r\n\r\n",
        "cookie" => b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Domain=origin.example; Path=/x\r\nContent-Length: 2\r\n\r\nok",
        "garbage" => b"rubbish\r\n\r\nmore",
        "short" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!",
        "long" => b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nthree and more",
        "headers" => b"HTTP/1.1 200 OK\r\nX-Origin: a\r\nX-Origin: b\r\nServer: s/1\r\nContent-Type: text/html\r\n\
            Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"x\"\r\nCache-Control: no-cache\r\nContent-Length: 8\r\n\r\none text",
        "status" => b"HTTP/1.1 299 Odd One\r\nContent-Length: 2\r\n\r\nok",
        "range" => b"HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n0123456789",
        "ok" => b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\none text",
        _ => return echo(exchange),
    };
    exchange.send(if exchange.request.method == "HEAD" { head_of(text) } else { text });
    if matches!(what, "close" | "none" | "short" | "long") {
        exchange.close();
    }
}

fn head_of(text: &[u8]) -> &[u8] {
    let end = text.windows(4).position(|w| w == b"\r\n\r\n").map_or(text.len(), |at| at + 4);
    &text[..end]
}

/// What the server made of the request.
fn echo(exchange: &mut Exchange<'_>) {
    let mut text = exchange.request.head.clone().into_bytes();
    text.extend_from_slice(&exchange.request.body);
    if exchange.request.method == "HEAD" {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        exchange.send(head);
        return;
    }
    exchange.ok(text);
}
