//! Clients that hold their slot and do nothing with it, or next to nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::{Client, Response, Server};

use super::load::Outcome;
use super::stage::{Row, Stage, Wanted, measured, taking, watched};

/// Clients that asked once and stay.
fn stay(server: &Server, count: usize) -> Vec<Client> {
    let one = |_| {
        let mut client = server.client();
        client.try_send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        client.try_response("GET").ok()?;
        Some(client)
    };
    (0..count).filter_map(one).collect()
}

pub fn idle(stage: &Stage) -> Result<Vec<Row>> {
    let slots = stage.pick(200, 10_000);
    let server = stage.serve(slots, "", "keepalive_timeout 600s; location / { return 200 x; }");
    let idle = stay(&server, slots);
    let [row, page] = watched(&server, "20 clients ask", stage.load(&server, 20, "/"));
    drop(idle);
    Ok(vec![row.wanted(Wanted::Served), page])
}

fn ask(client: &mut Client) -> std::io::Result<Response> {
    client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    client.try_response("GET")
}

pub fn wake(stage: &Stage) -> Result<Vec<Row>> {
    let slots = stage.pick(64, 512);
    let origin = taking(20);
    let locations =
        format!("location / {{ proxy_pass http://{}; }} location /x {{ return 200 x; }}", origin.address());
    let server = stage.serve(slots, "", &locations);
    let idle = stay(&server, slots - 8);
    let (together, crossed) = (Barrier::new(idle.len()), AtomicU64::new(0));
    let mut row = measured("all wake at once", stage.load(&server, 0, "/"));
    let begun = Instant::now();
    let outcomes = std::thread::scope(|scope| {
        let wakes = |mut client: Client| {
            let (together, crossed, server) = (&together, &crossed, &server);
            scope.spawn(move || {
                together.wait();
                ask(&mut client).or_else(|_| {
                    // It was closed while the request was on its way: as every client, it asks over a new one.
                    crossed.fetch_add(1, Relaxed);
                    ask(&mut server.client())
                })
            })
        };
        let all: Vec<_> = idle.into_iter().map(wakes).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    (row.outcome, row.time) = (Outcome::default(), begun.elapsed());
    row.notes
        .push(format!("requests that crossed with the end of an idle connection: {}", crossed.into_inner()));
    for outcome in &outcomes {
        let retry = outcome.as_ref().is_ok_and(|answer| answer.header("retry-after").is_some());
        row.outcome.note(outcome.as_ref().map(|answer| (answer.status, retry)).map_err(|error| error.kind()));
    }
    Ok(vec![row])
}

pub fn slowloris(stage: &Stage) -> Result<Vec<Row>> {
    let (slots, drips) = (stage.pick(64, 512), stage.pick(150, 1000));
    let server = stage.serve(slots, "", "location / { return 200 x; }");
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let (over, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| drip(address, drips, &over, &bytes));
        while bytes.load(Relaxed) < slots as u64 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let [mut row, page] = watched(&server, "50 others ask", stage.load(&server, 50, "/"));
        over.store(true, Relaxed);
        row.notes.push(format!("bytes dripped meanwhile: {}", bytes.load(Relaxed)));
        Ok(vec![row, page])
    })
}

/// Heads that get a byte longer ten times a second; who is cut off comes again.
fn drip(address: SocketAddr, count: usize, over: &AtomicBool, bytes: &AtomicU64) {
    let mut streams: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while !over.load(Relaxed) {
        for slot in &mut streams {
            let Some(mut stream) = slot.take().or_else(|| begin(address)) else { continue };
            if stream.write_all(b"a").is_ok() && !is_over(&mut stream) {
                bytes.fetch_add(1, Relaxed);
                *slot = Some(stream);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn begin(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(20)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Whether the server has said anything, or closed.
fn is_over(stream: &mut TcpStream) -> bool {
    !stream.read(&mut [0; 1024]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
