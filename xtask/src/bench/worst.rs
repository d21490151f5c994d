//! `bench worst`: requests made to be dear. Each is compared with an ordinary one of its kind: what an attacker
//! sends may cost a bounded multiple of it, not more.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use testkit::{Binary, Server, Site};

use super::count::{on_both, work_of};
use crate::run::{has, spinner, target};

/// A pair of requests to the same server.
struct Pair {
    about: &'static str,
    server: &'static str,
    ordinary: fn() -> Request,
    worst: fn() -> Request,
    /// How many times the ordinary one it may cost at most: `budget` sees to it. Most cannot change without a test that
    /// fails; these depend on what is done for each piece that comes.
    most: Option<f64>,
}

/// Bytes for the wire, how many answers come, and in how many packets they go out.
struct Request {
    bytes: Vec<u8>,
    answers: usize,
    slowly: bool,
}

impl From<String> for Request {
    fn from(text: String) -> Request {
        Request { bytes: text.into_bytes(), answers: 1, slowly: false }
    }
}

const RETURN: &str = "large_client_header_buffers 4 64k; location / { return 200 hello; }";

const PAIRS: &[Pair] = &[
    Pair {
        about: "a body of 1000 bytes: in one chunk, in 1000",
        server: RETURN,
        ordinary: || chunked(1, 1000),
        worst: || chunked(1000, 1),
        most: Some(16.0),
    },
    Pair {
        about: "a head of 11 KB: 4 fields, 900",
        server: RETURN,
        ordinary: || fields(4, 2800),
        worst: || fields(900, 5),
        most: None,
    },
    Pair {
        about: "a request: alone, 100 in one packet",
        server: RETURN,
        ordinary: || get("/", "").into(),
        worst: || Request { bytes: get("/", "").repeat(100).into_bytes(), answers: 100, slowly: false },
        most: Some(1.0),
    },
    Pair {
        about: "a request: alone, 1000 in one packet",
        server: RETURN,
        ordinary: || get("/", "").into(),
        worst: || Request { bytes: get("/", "").repeat(1000).into_bytes(), answers: 1000, slowly: false },
        most: None,
    },
    Pair {
        about: "a head: in one packet, byte by byte",
        server: RETURN,
        ordinary: || get("/", "").into(),
        worst: || Request { slowly: true, ..get("/", "").into() },
        most: Some(10.0),
    },
    Pair {
        about: "a path of 3000 characters: plain, escaped",
        server: RETURN,
        ordinary: || get(&format!("/{}", "A".repeat(3000)), "").into(),
        worst: || get(&format!("/{}", "%41".repeat(1000)), "").into(),
        most: None,
    },
    Pair {
        about: "a path of 3000 characters: plain, a/../ again and again",
        server: RETURN,
        ordinary: || get(&format!("/{}", "A".repeat(3000)), "").into(),
        worst: || get(&format!("/{}", "a/../".repeat(600)), "").into(),
        most: None,
    },
    Pair {
        about: "an expression, (a+)+$: that matches, that does not",
        server: "location / { return 404; } location ~ ^/(a+)+$ { return 200 hello; }",
        ordinary: || get(&format!("/{}", "a".repeat(20)), "").into(),
        worst: || get(&format!("/{}!", "a".repeat(20)), "").into(),
        most: None,
    },
    Pair {
        about: "a file of 64 KB: one range, 300 ranges that overlap",
        server: "",
        ordinary: || get("/64k", "Range: bytes=0-65535\r\n").into(),
        worst: || {
            let ranges: Vec<String> = (0..300).map(|n| format!("{n}-")).collect();
            get("/64k", &format!("Range: bytes={}\r\n", ranges.join(","))).into()
        },
        most: None,
    },
    Pair {
        about: "$arg_z: first of 1000 arguments, last",
        server: "large_client_header_buffers 4 64k; location / { return 200 $arg_z; }",
        ordinary: || get(&format!("/?z=1{}", "&a=1".repeat(1000)), "").into(),
        worst: || get(&format!("/?{}z=1", "a=1&".repeat(1000)), "").into(),
        most: None,
    },
    Pair {
        about: "$cookie_z: first of 1000 cookies, last",
        server: "large_client_header_buffers 4 64k; location / { return 200 $cookie_z; }",
        ordinary: || get("/", &format!("Cookie: z=1{}\r\n", "; a=1".repeat(1000))).into(),
        worst: || get("/", &format!("Cookie: {}z=1\r\n", "a=1; ".repeat(1000))).into(),
        most: None,
    },
];

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn chunked(count: usize, length: usize) -> Request {
    let chunk = format!("{length:x}\r\n{}\r\n", "x".repeat(length));
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{}0\r\n\r\n", chunk.repeat(count)).into()
}

fn fields(count: usize, length: usize) -> Request {
    let lines: String = (0..count).map(|n| format!("X-{n}: {}\r\n", "x".repeat(length))).collect();
    get("/", &lines).into()
}

/// User instructions of both requests of a pair, on both servers.
#[derive(Serialize, Deserialize)]
pub struct Price {
    /// What the two are.
    pub about: String,
    /// The ordinary one and the dear one.
    pub nginx: (f64, f64),
    /// The ordinary one and the dear one.
    pub plimsoll: (f64, f64),
}

/// Measures every pair; a table, and JSON for `document`.
pub fn worst() -> Result<()> {
    if !has("valgrind") {
        bail!("valgrind is not installed: cargo xtask setup");
    }
    println!("user instructions per request");
    let (mut prices, mut failed) = (Vec::new(), Vec::new());
    for pair in PAIRS {
        println!("{}", pair.about);
        let spin = spinner(pair.about);
        let counted = on_both(|binary| both(binary, pair));
        spin.finish_and_clear();
        let (nginx, plimsoll) = match counted {
            Ok(counted) => counted,
            Err(error) => {
                eprintln!("FAILED: {}: {error:#}", pair.about);
                failed.push(pair.about);
                continue;
            }
        };
        for (binary, (ordinary, worst)) in [(Binary::Nginx, nginx), (Binary::Plimsoll, plimsoll)] {
            let times = worst / ordinary;
            println!("  {:<10} {ordinary:>13.0} {worst:>13.0} {times:>8.1} times", binary.name());
        }
        prices.push(Price { about: pair.about.to_owned(), nginx, plimsoll });
        // At once: on a busy machine a client may lose patience with what valgrind makes of the next one.
        fs::write(file(), serde_json::to_string_pretty(&prices)? + "\n")?;
    }
    println!("\n{}", file().display());
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join("; "));
    }
    Ok(())
}

fn both(binary: Binary, pair: &Pair) -> Result<(f64, f64)> {
    Ok((cost(binary, pair, (pair.ordinary)())?, cost(binary, pair, (pair.worst)())?))
}

/// Where the prices are kept.
pub fn file() -> PathBuf {
    target().join("worst.json")
}

/// What an earlier run measured.
pub fn measured() -> Vec<Price> {
    let read = fs::read(file()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    read.unwrap_or_default()
}

/// What of Plimsoll's costs more than it may.
pub fn over() -> Result<Vec<String>> {
    let mut over = Vec::new();
    for pair in PAIRS {
        let Some(most) = pair.most else { continue };
        let cost = |request| cost(Binary::Plimsoll, pair, request);
        let times = cost((pair.worst)())? / cost((pair.ordinary)())?;
        let verdict = if times > most { "OVER" } else { "ok" };
        eprintln!("    {}: {times:.1} times of {most:.1} {verdict}", pair.about);
        if times > most {
            over.push(format!("{}: {times:.1} times", pair.about));
        }
    }
    Ok(over)
}

fn cost(binary: Binary, pair: &Pair, request: Request) -> Result<f64> {
    let site = Site::new(format!(
        "master_process off; events {{ worker_connections 100; }}\n\
         http {{ access_log off; keepalive_requests 100000; max_ranges 1000; server {{ listen 127.0.0.1:%%PORT%%; {} }} }}\n",
        pair.server
    ))
    .file("html/64k", vec![b'x'; 65536]);
    let ask = |server: &Server, times: usize| {
        for _ in 0..times {
            // A connection each: some of the answers close it.
            let mut client = server.client();
            match request.slowly {
                true => client.send_slowly(&request.bytes),
                false => client.send(&request.bytes),
            }
            (0..request.answers).for_each(|_| drop(client.response()));
        }
        Ok(())
    };
    Ok(work_of(binary, &site, (3, 10), ask)?.instructions / request.answers as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_ends() {
        let request = chunked(2, 3);
        assert!(request.bytes.ends_with(b"\r\n\r\n3\r\nxxx\r\n3\r\nxxx\r\n0\r\n\r\n"));
    }
}
