//! No client ever gets another's bytes: bodies both ways, kept connections, retries, clients that leave half-way and
//! upstreams that break, all at once. Each body is made from its request's number, so a wrong byte shows.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use testkit::{Client, Exchange, Origin, Site, each};

const CLIENTS: u64 = 16;
const REQUESTS: u64 = 160;

/// Numbers without a pattern, the same in every run.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let size = match self.roll(4) {
            0 => self.roll(200),
            1 => self.roll(20_000),
            _ => self.roll(most),
        };
        (0..size).map(|_| self.roll(256) as u8).collect()
    }
}

/// What request `n` sends, and what it must get.
fn asked(n: u64) -> Vec<u8> {
    Dice(n * 2 + 1).bytes(60_000)
}
fn answer(n: u64) -> Vec<u8> {
    Dice(n * 2 + 2).bytes(300_000)
}

/// Answers by the number in the request's path; every tenth time or so it breaks, before or within the answer.
fn script(exchange: &mut Exchange) {
    let n: u64 = exchange.request.target.rsplit('/').next().unwrap().parse().unwrap();
    let mut dice = Dice(n ^ (exchange.nth as u64) << 32 ^ 0x5eed);
    if exchange.request.method == "POST" {
        assert_eq!(exchange.request.body, asked(n), "request {n} arrived with another body");
    }
    let body = answer(n);
    let whole = match dice.roll(20) {
        0 => return exchange.close(),
        1 => dice.roll(body.len() as u64 + 1) as usize,
        _ => body.len(),
    };
    let mut text = format!("HTTP/1.1 200 OK\r\nX-Number: {n}\r\n").into_bytes();
    match dice.roll(3) {
        0 => {
            text.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            text.extend(&body[..whole]);
        }
        1 => {
            text.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &body[..whole];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(1 + dice.roll(40_000) as usize));
                text.extend(format!("{:x}\r\n", piece.len()).bytes());
                text.extend(piece);
                text.extend(b"\r\n");
                rest = after;
            }
            if whole == body.len() {
                text.extend(b"0\r\n\r\n");
            }
        }
        // Ends with the connection: what is cut short looks whole, so it is not cut.
        _ => {
            text.extend(b"Connection: close\r\n\r\n");
            text.extend(&body);
            exchange.close();
        }
    }
    if whole < body.len() {
        exchange.close();
    }
    exchange.send(text);
}

/// What became of a client's connection.
enum After {
    Open,
    Gone,
}

fn one(client: &mut Client, n: u64, dice: &mut Dice, complete: &AtomicUsize) -> After {
    let path = if dice.roll(2) == 0 { "/on" } else { "/off" };
    let body = if dice.roll(3) == 0 { asked(n) } else { Vec::new() };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut text = format!("{method} {path}/{n} HTTP/1.1\r\nHost: a\r\n");
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    let leaves = dice.roll(12);
    let sent = if leaves == 0 { dice.roll(body.len() as u64 + 1) as usize } else { body.len() };
    let bytes = [text.as_bytes(), &body[..sent]].concat();
    if client.try_send(bytes).is_err() || leaves == 0 {
        return After::Gone;
    }
    if leaves == 1 {
        // Takes the first of the answer, and goes.
        let _ = client.wire().read_some(1 + dice.roll(50_000) as usize);
        return After::Gone;
    }
    let Ok(response) = client.try_response(method) else { return After::Gone };
    if response.status == 200 {
        assert_eq!(
            response.header("x-number"),
            Some(n.to_string().as_str()),
            "the answer to another request"
        );
        assert!(response.body == answer(n), "request {n} got other bytes");
        complete.fetch_add(1, Relaxed);
    } else {
        assert!(matches!(response.status, 502 | 504), "request {n}: {}", response.status);
    }
    match response.header("connection") {
        Some("close") => After::Gone,
        _ => After::Open,
    }
}

#[test]
fn every_client_gets_its_own_bytes() {
    let text = "worker_processes 2; events {}\n\
        http { upstream u { server %%A%% max_fails=0; server %%B%% max_fails=0; keepalive 8; }\n\
        proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_next_upstream error timeout non_idempotent;\n\
        server { listen 127.0.0.1:%%PORT%%; location /on/ { proxy_pass http://u; }\n\
        location /off/ { proxy_pass http://u; proxy_buffering off; proxy_request_buffering off; } } }";
    each(|binary| {
        let (a, b) = (Origin::new(script), Origin::new(script));
        let server = binary.serve(Site::new(text).with("A", a.address()).with("B", b.address()));
        let complete = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for me in 0..CLIENTS {
                let (server, complete) = (&server, &complete);
                scope.spawn(move || {
                    let mut dice = Dice(me);
                    let mut client = server.client();
                    for i in 0..REQUESTS {
                        if matches!(one(&mut client, me * REQUESTS + i, &mut dice, complete), After::Gone) {
                            client = server.client();
                        }
                    }
                });
            }
        });
        let complete = complete.load(Relaxed) as u64;
        assert!(complete > CLIENTS * REQUESTS / 2, "only {complete} answers were complete");
    });
}
