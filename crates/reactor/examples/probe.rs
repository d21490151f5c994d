//! What the loop costs, on this machine: `cargo run --release -p reactor --example probe`.
//!
//! Wake-ups and shares on shared listeners; bytes per idle connection; CPU time per keep-alive request and per new
//! connection, against nginx's `return 200` under the same load if nginx and wrk are installed.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Worker, serve};

const IDLE: usize = 8000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", threads] => serve_until_told(threads.parse().unwrap()),
        ["load", address] => load(address.parse().unwrap()),
        [] => report(),
        _ => eprintln!("usage: probe"),
    }
}

fn report() {
    let mut limit = sys::limits::descriptors();
    limit.soft = limit.hard;
    sys::limits::set_descriptors(limit).unwrap();
    for threads in [1, 4, 16] {
        one_by_one(threads);
        burst(threads);
    }
    costs("ours", &mut Server::ours());
    match Server::nginx() {
        Some(mut nginx) => costs("nginx", &mut nginx),
        None => println!("nginx is not installed: nothing to compare with"),
    }
}

fn print_shares(kind: &str, workers: &[Worker], wakes: u64, count: u64) {
    let largest = workers.iter().map(Worker::accepted).max().unwrap();
    let per = wakes as f64 / count as f64;
    let share = largest as f64 * workers.len() as f64 / count as f64;
    println!(
        "{:2} threads, {kind}: {per:.2} wake-ups per connection, largest share {share:.2}",
        workers.len()
    );
}

fn accepted(workers: &[Worker]) -> u64 {
    workers.iter().map(Worker::accepted).sum()
}

fn switches(workers: &[Worker]) -> u64 {
    workers.iter().map(Worker::switches).sum()
}

/// Each connection finds all threads asleep.
fn one_by_one(threads: usize) {
    let (address, workers) = serve(threads);
    let before = switches(&workers);
    let mut streams = Vec::new();
    for n in 1..=2000 {
        streams.push(TcpStream::connect(address).unwrap());
        while accepted(&workers) < n {
            std::thread::yield_now();
        }
    }
    print_shares("one by one", &workers, switches(&workers) - before, 2000);
}

/// Connections as fast as one client can make them.
fn burst(threads: usize) {
    let (address, workers) = serve(threads);
    let before = switches(&workers);
    let streams: Vec<_> = (0..4000).map(|_| TcpStream::connect(address).unwrap()).collect();
    while accepted(&workers) < 4000 {
        std::thread::yield_now();
    }
    print_shares("burst", &workers, switches(&workers) - before, 4000);
    drop(streams);
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
    folder: Option<PathBuf>,
}

impl Server {
    fn ours() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let mut child =
            child.args(["serve", "1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, address: line.trim().parse().unwrap(), folder: None }
    }

    fn nginx() -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("probe-nginx-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let f = folder.display();
        let conf = format!(
            "daemon off; master_process off; error_log {f}/error.log; pid {f}/pid; worker_rlimit_nofile 20000;\n\
             events {{ worker_connections 20000; }}\n\
             http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {f}/b; proxy_temp_path {f}/p;\n\
             fastcgi_temp_path {f}/f; uwsgi_temp_path {f}/u; scgi_temp_path {f}/s; default_type text/plain;\n\
             server {{ listen {address} backlog=4096; location / {{ return 200 \"ok\\n\"; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), conf).unwrap();
        let mut command = Command::new("nginx");
        let child = command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).spawn().ok()?;
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "nginx does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Server { child, address, folder: Some(folder) })
    }

    /// Time on the CPU of all threads.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = tasks.map(|t| {
            let text = fs::read_to_string(t.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident bytes that are this process's own.
    fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let dirty = text.lines().find_map(|l| l.strip_prefix("Private_Dirty:")).unwrap();
        dirty.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.folder.take().map(fs::remove_dir_all);
    }
}

fn costs(name: &str, server: &mut Server) {
    let keepalive = per_request(server, &[]);
    let connection = per_request(server, &["-H", "Connection: close"]);
    let idle = bytes_per_idle(server);
    let show = |cost: Option<f64>| cost.map_or("?".into(), |us| format!("{us:.2}"));
    println!(
        "{name}: {} us per keep-alive request, {} us per connection and request, {idle} bytes per idle connection",
        show(keepalive),
        show(connection)
    );
}

/// CPU microseconds of the server per request under wrk; `None` without wrk.
fn per_request(server: &Server, options: &[&str]) -> Option<f64> {
    let wrk = |seconds: &str| {
        let url = format!("http://{}/", server.address);
        let mut command = Command::new("wrk");
        command.args(["-t1", "-c64", "-d", seconds]).args(options).arg(url).output().ok()
    };
    wrk("1")?;
    let before = server.cpu();
    let output = String::from_utf8(wrk("4")?.stdout).unwrap();
    let spent = server.cpu() - before;
    let requests = output.lines().find(|l| l.contains("requests in"))?.split_whitespace().next()?;
    Some(spent.as_secs_f64() * 1e6 / requests.parse::<f64>().ok()?)
}

/// What connections that have made a request cost while idle, beyond the first thousand.
fn bytes_per_idle(server: &Server) -> u64 {
    let mut load = Command::new(std::env::current_exe().unwrap());
    let load = load.args(["load", &server.address.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut load = load.spawn().unwrap();
    let mut lines = BufReader::new(load.stdout.take().unwrap()).lines();
    let mut before = 0;
    for (stage, line) in lines.by_ref().take(2).enumerate() {
        line.unwrap();
        if stage == 0 {
            before = server.memory();
        } else {
            before = (server.memory() - before) / (IDLE as u64 - 1000);
        }
        load.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
    load.wait().unwrap();
    before
}

fn serve_until_told(threads: usize) {
    let (address, workers) = serve(threads);
    println!("{address}");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(workers);
}

/// Opens idle connections in two stages, and waits for a line after each.
fn load(address: SocketAddr) {
    use std::io::Read;
    let mut streams = Vec::new();
    for stage in [1000, IDLE] {
        while streams.len() < stage {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            streams.push(stream);
        }
        println!("{stage}");
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}
