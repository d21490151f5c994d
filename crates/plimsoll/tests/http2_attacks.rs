//! Clients of HTTP/2 that want to wear the server out: they are told to go, it is in the log, little memory is spent, and
//! others are served.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::http2::{END_HEADERS, END_STREAM, Frames, block, frame, head, kind};
use testkit::{Server, Site, serve};

const PRIORITY: u8 = 2;
const UNKNOWN: u8 = 0x55;
const ENHANCE_YOUR_CALM: u32 = 11;
/// No attack may cost more memory than this.
const MEMORY: u64 = 24 << 20;

fn site(text: &str) -> Site {
    let text =
        format!("listen 127.0.0.1:%%PORT%%; http2 on; lingering_time 1s; lingering_timeout 1s; {text}");
    Site::new(text).file("html/large", vec![b'x'; 4_000_000])
}

/// Memory of the server's processes.
fn memory(server: &Server) -> u64 {
    let resident = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    server.processes().into_iter().map(resident).sum()
}

/// Runs an attack, and looks at what it left.
fn attack(text: &str, logged: &str, attack: impl Fn(&Server)) {
    let server = serve(site(text));
    assert_eq!(server.get("/").status, 200);
    let before = memory(&server);
    attack(&server);
    let spent = memory(&server).saturating_sub(before);
    assert!(spent < MEMORY, "{spent} bytes");
    server.error_log().wait_for(logged);
    assert_eq!(server.get("/").status, 200, "others are served");
    let mut client = Frames::connect(&server, &[]);
    client.request(1, "GET", "/", &[], true);
    assert_eq!(client.answer(1).0, 0x88, "others are served");
}

/// Sends the same again and again until the server has had enough, and reads what it says meanwhile: its last word.
fn flood(server: &Server, first: &[u8], again: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let mut client = Frames::connect(server, &[]);
    let mut ears = client.twin();
    let told = Arc::new(AtomicBool::new(false));
    let listener = thread::spawn({
        let told = told.clone();
        move || {
            let heard = std::iter::from_fn(|| ears.receive());
            let goodbyes = heard.filter(|frame| frame.kind == kind::GOAWAY);
            goodbyes.map(|frame| frame.code()).inspect(|_| told.store(true, Ordering::Relaxed)).last()
        }
    });
    let _ = client.send_raw(first);
    let (mut sent, mut n) = (0, 0);
    loop {
        let mut batch = Vec::new();
        while batch.len() < 32 * 1024 {
            batch.extend(again(n));
            n += 1;
        }
        sent += batch.len();
        // A server that told it to go reads on for a while.
        if client.send_raw(&batch).is_err() || told.load(Ordering::Relaxed) {
            break;
        }
        assert!(sent < 64 << 20, "nobody minds");
    }
    client.leave();
    listener.join().expect("a listener")
}
/// The last word may have been lost with the connection; if it was heard, it is this.
#[track_caller]
fn says_calm_down(word: Option<u32>) {
    assert!(matches!(word, None | Some(ENHANCE_YOUR_CALM)), "{word:?}");
}

const OK: &str = "location = / { return 200 ok; }";

#[test]
fn rapid_reset() {
    attack(OK, "while processing HTTP/2 connection", |server| {
        let block = head("GET", "/", &[]);
        says_calm_down(flood(server, b"", |n| {
            let stream = 2 * n + 1;
            let open = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block);
            [open, frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
        }));
    });
}

#[test]
fn resets_that_the_server_is_made_to_send() {
    attack(OK, "while processing HTTP/2 connection", |server| {
        // A length, and no body.
        let block = head("POST", "/", &[("content-length", "5")]);
        says_calm_down(flood(server, b"", |n| {
            let stream = 2 * n + 1;
            frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block)
        }));
    });
}

#[test]
fn heads_without_end() {
    attack(OK, "client sent too large header while processing HTTP/2 connection", |server| {
        let first = frame(kind::HEADERS, 0, 1, &head("GET", "/", &[]));
        let field = block(&[("x", &"v".repeat(100))]);
        says_calm_down(flood(server, &first, |_| frame(kind::CONTINUATION, 0, 1, &field)));
        flood(server, &first, |_| frame(kind::CONTINUATION, 0, 1, b""));
    });
}

#[test]
fn frames_for_the_frames_sake() {
    attack(OK, "http2 flood detected while processing HTTP/2 connection", |server| {
        let word = flood(server, b"", |_| frame(UNKNOWN, 0, 0, &[0; 16_000]));
        says_calm_down(word);
    });
}

#[test]
fn settings_without_end() {
    attack(OK, "http2 flood detected", |server| {
        let settings = [0, 4, 0, 0, 0xff, 0xff].repeat(2500);
        says_calm_down(flood(server, b"", |_| frame(kind::SETTINGS, 0, 0, &settings)));
    });
}

#[test]
fn empty_frames() {
    attack(
        "location = / { proxy_pass http://127.0.0.1:%%PORT%%/ok; } location /ok { return 200 ok; }",
        "while processing HTTP/2 connection",
        |server| {
            let first = frame(kind::HEADERS, END_HEADERS, 1, &head("POST", "/", &[]));
            says_calm_down(flood(server, &first, |_| frame(kind::DATA, 0, 1, b"")));
        },
    );
}

/// Whoever asks and does not listen: nothing is gathered for it.
#[test]
fn questions_of_the_deaf() {
    let late = "client timed out (110: Connection timed out) while processing HTTP/2 connection";
    attack(&format!("send_timeout 300ms; {OK}"), late, |server| {
        let pings: Vec<u8> = (0..2000).flat_map(|_| frame(kind::PING, 0, 0, &[0; 8])).collect();
        let mut client = Frames::connect(server, &[]);
        while client.send_raw(&pings).is_ok() {}
    });
}

#[test]
fn answers_that_nobody_takes() {
    attack(&format!("send_timeout 300ms; {OK}"), "client timed out (110: Connection timed out)", |server| {
        // No window, and none for the connection.
        let mut client = Frames::connect(server, &[(4, 0)]);
        for stream in (1..200).step_by(2) {
            client.request(stream, "GET", "/large", &[], true);
        }
        client.wait(kind::RST_STREAM, 1);
    });
}

#[test]
fn a_few_bytes_that_stand_for_many() {
    attack(OK, "", |server| {
        // An entry of 4,000 bytes, and then one byte for each time it is meant.
        let mut bomb = head("GET", "/", &[]);
        bomb.extend_from_slice(b"\x40\x01x\x7f\xa1\x1e");
        bomb.extend_from_slice(&[b'v'; 4000]);
        bomb.extend_from_slice(&[0xbe; 12_000]);
        let mut client = Frames::connect(server, &[]);
        for stream in [1, 3, 5, 7] {
            let flags = END_HEADERS | END_STREAM;
            if client.try_send(kind::HEADERS, flags, stream, &bomb).is_err() {
                break;
            }
        }
        client.send(kind::PING, 0, 0, b"12345678");
        // Refused one by one, or the connection as a whole.
        while client.receive().is_some_and(|frame| !matches!(frame.kind, kind::PING | kind::GOAWAY)) {}
    });
}

#[test]
fn priorities_without_end() {
    attack(OK, "client sent too many PRIORITY frames", |server| {
        says_calm_down(flood(server, b"", |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9])));
    });
}
