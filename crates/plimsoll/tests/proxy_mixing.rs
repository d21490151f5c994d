//! No client ever gets another's bytes: bodies both ways, kept connections, retries, clients that leave half-way and
//! upstreams that break, all at once. Each body is made from its request's number, so a wrong byte shows.
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use testkit::http2::{END_STREAM, Frames, kind};
use testkit::{Client, Exchange, Origin, Server, Site, each};

const CLIENTS: u64 = 16;

/// Numbers without a pattern, the same in every run.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
    /// A piece of the noise: making each byte anew would take most of the time.
    fn bytes(&mut self, most: u64) -> &'static [u8] {
        let size = match self.roll(16) {
            0..4 => self.roll(200),
            4..10 => self.roll(20_000),
            15 => self.roll(most * 4),
            _ => self.roll(most),
        } as usize;
        let noise = NOISE.get_or_init(|| {
            let mut dice = Dice(0);
            (0..1 << 20).map(|_| dice.roll(256) as u8).collect()
        });
        let from = self.roll((noise.len() - size) as u64) as usize;
        &noise[from..from + size]
    }
}
static NOISE: OnceLock<Vec<u8>> = OnceLock::new();

/// What request `n` sends, and what it must get.
fn asked(n: u64) -> &'static [u8] {
    Dice(n * 2 + 1).bytes(40_000)
}
fn answer(n: u64) -> &'static [u8] {
    Dice(n * 2 + 2).bytes(120_000)
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
            text.extend(body);
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

fn one(client: &mut Client, path: &str, n: u64, dice: &mut Dice, complete: &AtomicUsize) -> After {
    let body = if path != KEPT && dice.roll(3) == 0 { asked(n) } else { &[] };
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

/// Passed on as it comes or buffered, and kept in a cache.
const PASSED: [&str; 2] = ["/on", "/off"];
const KEPT: &str = "/kept";

/// Two servers behind two threads, and what `client` does there; `least` of its requests must be answered whole.
fn mix(listen: &str, least: u64, client: impl Fn(&Server, u64, &AtomicUsize) + Sync) {
    let text = format!(
        "worker_processes 2; events {{}} http {{
        upstream u {{ server %%A%% max_fails=0; server %%B%% max_fails=0; keepalive 8; }}
        proxy_cache_path cache keys_zone=z:1m; proxy_cache_key $uri; proxy_cache_valid 200 1m;
        proxy_http_version 1.1; proxy_set_header Connection \"\";
        proxy_next_upstream error timeout non_idempotent;
        server {{ listen {listen}; keepalive_requests 100000;
            location /on/ {{ proxy_pass http://u; }} location /kept/ {{ proxy_pass http://u; proxy_cache z; }}
            location /off/ {{ proxy_pass http://u; proxy_buffering off; proxy_request_buffering off; }} }} }}"
    );
    each(|binary| {
        let (a, b) = (Origin::new(script), Origin::new(script));
        let server = binary.serve(Site::new(&text).with("A", a.address()).with("B", b.address()));
        let complete = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for me in 0..CLIENTS {
                let (server, complete, client) = (&server, &complete, &client);
                scope.spawn(move || client(server, me, complete));
            }
        });
        let complete = complete.load(Relaxed) as u64;
        assert!(complete >= least, "only {complete} answers were complete");
        assert!(!server.error_log().text().contains("[alert]"));
    });
}

/// `requests` over HTTP/1, to `place` of the client's dice, each with the number that `number` makes of its own.
fn talk(
    server: &Server,
    me: u64,
    requests: u64,
    complete: &AtomicUsize,
    place: impl Fn(&mut Dice, u64) -> (&'static str, u64),
) {
    let mut dice = Dice(me);
    let mut client = server.client();
    for i in 0..requests {
        let (path, n) = place(&mut dice, me * requests + i);
        if matches!(one(&mut client, path, n, &mut dice, complete), After::Gone) {
            client = server.client();
        }
    }
}

#[test]
fn every_client_gets_its_own_bytes() {
    const REQUESTS: u64 = 150;
    mix("127.0.0.1:%%PORT%%", CLIENTS * REQUESTS / 2, |server, me, complete| {
        talk(server, me, REQUESTS, complete, |dice, n| (PASSED[dice.roll(2) as usize], n));
    });
}

#[test]
fn what_is_kept_is_what_was_asked_for() {
    const REQUESTS: u64 = 60;
    mix("127.0.0.1:%%PORT%%", CLIENTS * REQUESTS / 2, |server, me, complete| {
        // Few numbers: most are asked for while another client's answer is written, or from the cache.
        talk(server, me, REQUESTS, complete, |dice, n| match dice.roll(4) {
            0 => (PASSED[0], n),
            _ => (KEPT, dice.roll(50)),
        });
    });
}

#[test]
fn every_stream_gets_its_own_bytes() {
    const ROUNDS: u64 = 10;
    mix("127.0.0.1:%%PORT%% http2", CLIENTS * ROUNDS * STREAMS / 2, |server, me, complete| {
        let mut dice = Dice(me);
        let mut connection = Streams::connect(server);
        for i in 0..ROUNDS {
            if connection.round((me * ROUNDS + i) * STREAMS, &mut dice, complete).is_none() {
                connection = Streams::connect(server);
            }
        }
    });
}

/// So many streams are under way at a time.
const STREAMS: u64 = 8;

/// A connection with streams side by side.
struct Streams {
    frames: Frames,
    next: u32,
}

/// A stream under way.
struct Stream {
    id: u32,
    n: u64,
    good: bool,
    body: Vec<u8>,
}

impl Streams {
    fn connect(server: &Server) -> Streams {
        let mut frames = Frames::connect(server, &[(4, 1 << 30)]);
        let _ = frames.try_send(kind::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
        Streams { frames, next: 1 }
    }
    /// Opens streams for the requests from `first` on and reads all answers; `None` if the connection is gone.
    fn round(&mut self, first: u64, dice: &mut Dice, complete: &AtomicUsize) -> Option<()> {
        let mut open = Vec::new();
        for n in first..first + STREAMS {
            let stream = Stream { id: self.next, n, good: false, body: Vec::new() };
            self.next += 2;
            self.ask(&stream, dice)?;
            match dice.roll(10) {
                0 => self.frames.try_send(kind::RST_STREAM, 0, stream.id, &[0, 0, 0, 8]).ok()?,
                _ => open.push(stream),
            }
        }
        while !open.is_empty() {
            let frame = self.frames.receive()?;
            let Some(at) = open.iter().position(|stream| stream.id == frame.stream) else { continue };
            let stream = &mut open[at];
            match frame.kind {
                // The first is the head, with `:status 200` as HPACK's table has it; there are no trailers.
                kind::HEADERS => stream.good = frame.payload.first() == Some(&0x88),
                kind::DATA => stream.body.extend(frame.payload),
                kind::RST_STREAM => drop(open.swap_remove(at)),
                _ => {}
            }
            if matches!(frame.kind, kind::HEADERS | kind::DATA) && frame.flags & END_STREAM != 0 {
                let Stream { n, good, body, .. } = open.swap_remove(at);
                assert!(!good || body == answer(n), "request {n} got other bytes");
                complete.fetch_add(usize::from(good), Relaxed);
            }
        }
        Some(())
    }
    fn ask(&mut self, stream: &Stream, dice: &mut Dice) -> Option<()> {
        let body = Some(asked(stream.n)).filter(|body| body.len() < 8000).unwrap_or_default();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let path = format!("{}/{}", PASSED[dice.roll(2) as usize], stream.n);
        let head = testkit::http2::head(method, &path, &[("content-length", &body.len().to_string())]);
        let end = if body.is_empty() { END_STREAM } else { 0 };
        self.frames.try_send(kind::HEADERS, testkit::http2::END_HEADERS | end, stream.id, &head).ok()?;
        if !body.is_empty() {
            self.frames.try_send(kind::DATA, END_STREAM, stream.id, body).ok()?;
        }
        Some(())
    }
}
