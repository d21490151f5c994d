//! `bench growth`: what a request costs while something about the server grows from 1 to 10,000. The price should
//! not grow with it.

use std::cell::RefCell;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use testkit::{Binary, Server, Site};

use super::cases;
use super::count::{on_both, work_of};
use super::load;
use crate::run::{has, spinner, target};

/// Something that grows.
struct Axis {
    name: &'static str,
    about: &'static str,
    points: &'static [usize],
    /// User instructions per request with so many of it.
    cost: fn(Binary, usize) -> Result<f64>,
}

const POINTS: &[usize] = &[1, 10, 100, 1000, 10_000];

const AXES: &[Axis] = &[
    Axis { name: "servers", about: "server blocks", points: POINTS, cost: many_servers },
    Axis { name: "locations", about: "locations by prefix", points: POINTS, cost: many_locations },
    Axis { name: "regexes", about: "locations by regex", points: &[1, 10, 100, 1000], cost: many_regexes },
    Axis { name: "peers", about: "servers of an upstream", points: POINTS, cost: many_peers },
    Axis { name: "map", about: "entries of a map", points: POINTS, cost: many_entries },
    Axis { name: "keys", about: "keys in a limit_req zone", points: POINTS, cost: many_keys },
    Axis { name: "connections", about: "other connections, idle", points: POINTS, cost: many_connections },
];

/// The line of one server along one axis.
#[derive(Clone, Serialize, Deserialize)]
pub struct Line {
    axis: String,
    /// How many of it there were.
    pub points: Vec<usize>,
    /// What a request cost then.
    pub nginx: Vec<f64>,
    /// What a request cost then.
    pub plimsoll: Vec<f64>,
}

/// Whether there is an axis of this name.
pub fn known(name: &str) -> bool {
    AXES.iter().any(|axis| axis.name == name)
}

/// Measures the named axes, or all; a table, and JSON for `document`.
pub fn growth(names: &[String]) -> Result<()> {
    if !has("valgrind") {
        bail!("valgrind is not installed: cargo xtask setup");
    }
    load::room_for_connections(12_000)?;
    println!("{:<12} {:>7} {:>12} {:>12} {:>6}", "", "", "nginx", "plimsoll", "ratio");
    let mut failed = Vec::new();
    for axis in AXES.iter().filter(|axis| names.is_empty() || names.iter().any(|name| name == axis.name)) {
        // What fails is told, and told again at the end, but takes nothing from the others.
        if let Err(error) = along(axis) {
            eprintln!("FAILED: {}: {error:#}", axis.name);
            failed.push(axis.name);
        }
    }
    println!("\n{}", file().display());
    if !failed.is_empty() {
        bail!("not measured to the end: {}", failed.join(", "));
    }
    Ok(())
}

/// Keeps a line among those of earlier runs, in the order of the axes.
fn save(line: &Line) -> Result<()> {
    let mut all: Vec<Line> = measured().into_iter().filter(|old| old.axis != line.axis).collect();
    all.push(line.clone());
    all.sort_by_key(|line| AXES.iter().position(|axis| axis.name == line.axis));
    Ok(fs::write(file(), serde_json::to_string_pretty(&all)? + "\n")?)
}

/// Where the lines are kept.
pub fn file() -> PathBuf {
    target().join("growth.json")
}

/// What earlier runs measured.
pub fn measured() -> Vec<Line> {
    let read = fs::read(file()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    read.unwrap_or_default()
}

/// Each point is saved at once.
fn along(axis: &Axis) -> Result<()> {
    let mut line =
        Line { axis: axis.name.to_owned(), points: Vec::new(), nginx: Vec::new(), plimsoll: Vec::new() };
    println!("{} (instructions per request)", axis.about);
    for point in axis.points {
        let spin = spinner(&format!("{point} {}", axis.about));
        let (nginx, plimsoll) = on_both(|binary| (axis.cost)(binary, *point))?;
        spin.finish_and_clear();
        println!("{:<12} {point:>7} {nginx:>12.1} {plimsoll:>12.1} {:>6.2}", "", plimsoll / nginx);
        line.points.push(*point);
        line.nginx.push(nginx);
        line.plimsoll.push(plimsoll);
        save(&line)?;
    }
    Ok(())
}

impl Line {
    /// The name of its axis.
    pub fn title(&self) -> &'static str {
        AXES.iter().find(|axis| axis.name == self.axis).map_or("", |axis| axis.about)
    }
}

/// So many server blocks for the http block, the last of which is `sN.test`.
pub fn servers(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, number| {
        let _ = writeln!(
            text,
            "server {{ listen 127.0.0.1:%%PORT%%; server_name s{number}.test; location / {{ return 200 hello; }} }}"
        );
        text
    })
}

/// A configuration with this in its http block, and this in its default server.
pub fn text(http: &str, server: &str) -> String {
    format!(
        "worker_rlimit_nofile 16384; error_log logs/error.log error;\n\
         events {{ worker_connections 12000; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;\n\
         server_names_hash_max_size 100000; map_hash_max_size 1000000; map_hash_bucket_size 128;\n\
         {http}\nserver {{ listen 127.0.0.1:%%PORT%% default_server; server_name localhost; {server} }} }}\n"
    )
}

fn site(http: &str, server: &str) -> Site {
    Site::new(format!("master_process off; {}", text(http, server)))
}

/// Requests that warm it up, and those that count.
const REQUESTS: (usize, usize) = (50, 500);
/// Where much is loaded by way of hashes, what that takes differs from run to run: more requests share it.
const MANY_REQUESTS: (usize, usize) = (50, 4000);

/// Instructions of a request for this target at this host, once everything is warm.
fn instructions(
    binary: Binary,
    site: &Site,
    requests: (usize, usize),
    host: &str,
    target: &str,
) -> Result<f64> {
    let ask = |server: &Server, requests: usize| {
        let mut client = server.client();
        for _ in 0..requests {
            client.request("GET", target, &[("Host", host)], b"");
        }
        Ok(())
    };
    Ok(work_of(binary, site, requests, ask)?.instructions)
}

fn many_servers(binary: Binary, count: usize) -> Result<f64> {
    let site = site(&servers(count), "return 404;");
    instructions(binary, &site, MANY_REQUESTS, &format!("s{count}.test"), "/")
}

fn many_locations(binary: Binary, count: usize) -> Result<f64> {
    let text: String = (1..=count).map(|n| format!("location /part{n}/ {{ return 200 hello; }}\n")).collect();
    instructions(binary, &site("", &text), REQUESTS, "localhost", &format!("/part{count}/"))
}

fn many_regexes(binary: Binary, count: usize) -> Result<f64> {
    let text: String =
        (1..=count).map(|n| format!("location ~ ^/part{n}/ {{ return 200 hello; }}\n")).collect();
    instructions(binary, &site("", &text), REQUESTS, "localhost", &format!("/part{count}/"))
}

fn many_peers(binary: Binary, count: usize) -> Result<f64> {
    let origin = Binary::Nginx.serve(cases::origin());
    let servers = format!("server 127.0.0.1:{};\n", origin.port()).repeat(count);
    let http = format!("upstream many {{ {servers} keepalive 16; keepalive_requests 100000000; }}");
    let server =
        "location / { proxy_pass http://many; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
    instructions(binary, &site(&http, server), REQUESTS, "localhost", "/small")
}

fn many_entries(binary: Binary, count: usize) -> Result<f64> {
    let entries: String = (1..=count).map(|n| format!("/entry/of/the/map/{n} value{n};\n")).collect();
    let site = site(&format!("map $uri $found {{ default none; {entries} }}"), "return 200 $found;");
    instructions(binary, &site, MANY_REQUESTS, "localhost", &format!("/entry/of/the/map/{count}"))
}

/// As many keys are in the zone before counting begins, and come in turn while it goes on.
fn many_keys(binary: Binary, count: usize) -> Result<f64> {
    let http = "limit_req_zone $arg_key zone=keys:10m rate=1000000r/s;";
    let site = site(http, "location / { limit_req zone=keys burst=1000000 nodelay; }");
    let ask = |server: &Server, requests: usize| {
        let mut client = server.client();
        for number in 0..count + requests {
            client.get(&format!("/small?key=client-{:06}", number % count));
        }
        Ok(())
    };
    // A file: `return` answers before any limit is looked at.
    let site = site.file("html/small", "hello");
    Ok(work_of(binary, &site, REQUESTS, ask)?.instructions)
}

/// While so many others have been answered once and wait.
fn many_connections(binary: Binary, count: usize) -> Result<f64> {
    // One server after the other: this process may not have so many descriptors twice.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let site = site("", "location / { return 200 hello; }");
    // They outlive their server: how many it would still see close is left to chance.
    let others = RefCell::new(Vec::new());
    let ask = |server: &Server, requests: usize| {
        drop(others.take());
        others.replace(load::idle(server, count)?);
        let mut client = server.client();
        for _ in 0..requests {
            client.get("/");
        }
        Ok(())
    };
    Ok(work_of(binary, &site, REQUESTS, ask)?.instructions)
}
