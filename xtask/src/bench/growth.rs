//! `bench growth`: what a request costs while something about the server grows from 1 to 10,000. The price should
//! not grow with it.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use testkit::{Binary, Server, Site};

use super::cases;
use super::count::work_of;
use super::load;
use super::process;
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
#[derive(Serialize, Deserialize)]
pub struct Line {
    axis: String,
    /// What its values are.
    unit: String,
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
    let mut lines = Vec::new();
    println!("{:<12} {:>7} {:>12} {:>12} {:>6}", "", "", "nginx", "plimsoll", "ratio");
    for axis in AXES.iter().filter(|axis| names.is_empty() || names.iter().any(|name| name == axis.name)) {
        lines.push(along(axis)?);
    }
    let mut all = measured();
    for line in lines {
        match all.iter_mut().find(|old| old.axis == line.axis) {
            Some(old) => *old = line,
            None => all.push(line),
        }
    }
    fs::write(file(), serde_json::to_string_pretty(&all)? + "\n")?;
    println!("\n{}", file().display());
    Ok(())
}

fn file() -> PathBuf {
    target().join("growth.json")
}

/// What earlier runs measured.
pub fn measured() -> Vec<Line> {
    let read = fs::read(file()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    read.unwrap_or_default()
}

fn along(axis: &Axis) -> Result<Line> {
    let unit = if axis.name == "connections" { "us" } else { "instructions" };
    let mut line = Line {
        axis: axis.name.to_owned(),
        unit: unit.to_owned(),
        points: axis.points.to_vec(),
        nginx: Vec::new(),
        plimsoll: Vec::new(),
    };
    println!("{} ({unit} per request)", axis.about);
    for point in axis.points {
        let spin = spinner(&format!("{point} {}", axis.about));
        let (nginx, plimsoll) = ((axis.cost)(Binary::Nginx, *point)?, (axis.cost)(Binary::Plimsoll, *point)?);
        spin.finish_and_clear();
        println!("{:<12} {point:>7} {nginx:>12.1} {plimsoll:>12.1} {:>6.2}", "", plimsoll / nginx);
        line.nginx.push(nginx);
        line.plimsoll.push(plimsoll);
    }
    Ok(line)
}

impl Line {
    /// The name of its axis, and what its values are.
    pub fn title(&self) -> String {
        let about = AXES.iter().find(|axis| axis.name == self.axis).map_or("", |axis| axis.about);
        format!("{about} ({} per request)", self.unit)
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

/// Instructions of a request for this target at this host, once everything is warm.
fn instructions(binary: Binary, site: &Site, host: &str, target: &str) -> Result<f64> {
    let ask = |server: &Server, requests: usize| {
        let mut client = server.client();
        for _ in 0..requests {
            client.request("GET", target, &[("Host", host)], b"");
        }
        Ok(())
    };
    Ok(work_of(binary, site, (50, 500), ask)?.instructions)
}

fn many_servers(binary: Binary, count: usize) -> Result<f64> {
    let site = site(&servers(count), "return 404;");
    instructions(binary, &site, &format!("s{count}.test"), "/")
}

fn many_locations(binary: Binary, count: usize) -> Result<f64> {
    let text: String = (1..=count).map(|n| format!("location /part{n}/ {{ return 200 hello; }}\n")).collect();
    instructions(binary, &site("", &text), "localhost", &format!("/part{count}/"))
}

fn many_regexes(binary: Binary, count: usize) -> Result<f64> {
    let text: String =
        (1..=count).map(|n| format!("location ~ ^/part{n}/ {{ return 200 hello; }}\n")).collect();
    instructions(binary, &site("", &text), "localhost", &format!("/part{count}/"))
}

fn many_peers(binary: Binary, count: usize) -> Result<f64> {
    let origin = Binary::Nginx.serve(cases::origin());
    let servers = format!("server 127.0.0.1:{};\n", origin.port()).repeat(count);
    let http = format!("upstream many {{ {servers} keepalive 16; keepalive_requests 100000000; }}");
    let server =
        "location / { proxy_pass http://many; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
    instructions(binary, &site(&http, server), "localhost", "/small")
}

fn many_entries(binary: Binary, count: usize) -> Result<f64> {
    let entries: String = (1..=count).map(|n| format!("/entry/of/the/map/{n} value{n};\n")).collect();
    let site = site(&format!("map $uri $found {{ default none; {entries} }}"), "return 200 $found;");
    instructions(binary, &site, "localhost", &format!("/entry/of/the/map/{count}"))
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
    Ok(work_of(binary, &site, (50, 500), ask)?.instructions)
}

/// Microseconds per request, as the kernel has a part in this one.
fn many_connections(binary: Binary, count: usize) -> Result<f64> {
    let case = &cases::CASES[0];
    let server = binary.serve(case.site("127.0.0.1:1", false));
    process::pin(&server.processes(), 0)?;
    let others = load::idle(&server, count)?;
    load::run(server.port(), case, Some(1), 1)?;
    let before = process::cpu_nanoseconds(&server.processes())?;
    let requests = load::run(server.port(), case, Some(1), 2)?;
    let spent = process::cpu_nanoseconds(&server.processes())? - before;
    drop(others);
    Ok(spent as f64 / 1000.0 / requests as f64)
}
