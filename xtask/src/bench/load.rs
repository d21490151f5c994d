//! Load: wrk for throughput, and connections by hand where every request has to be counted exactly.

use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::{Client, Server};

use super::cases::{CONNECTIONS, Case};

/// Runs wrk on a processor of its own for so many seconds; how many requests were answered.
pub fn wrk(server: &Server, case: &Case, processor: usize, seconds: u64) -> Result<u64> {
    let mut command = Command::new("taskset");
    command.args(["-c", &processor.to_string(), "wrk", "-t", "1", "-c", &CONNECTIONS.to_string()]);
    command.args(["-d", &format!("{seconds}s")]);
    if case.close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://127.0.0.1:{}{}", server.port(), case.path));
    let output = command.output().context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("{}: not all requests were answered well:\n{text}", server.binary().name());
    }
    requests(&text).with_context(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// `  123456 requests in 2.00s, 20MB read`
fn requests(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Sends so many requests one after the other.
pub fn one_by_one(server: &Server, case: &Case, count: usize) {
    let mut client = server.client();
    for _ in 0..count {
        if case.close {
            client = server.client();
            client.request("GET", case.path, &[("Connection", "close")], b"");
        } else {
            client.get(case.path);
        }
    }
}

/// Opens so many connections and makes one request on each; they stay open until dropped.
pub fn idle(server: &Server, count: usize) -> Vec<Client> {
    let open = |_| {
        let mut client = server.client();
        client.get("/");
        client
    };
    (0..count).map(open).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_count_is_found_in_what_wrk_prints() {
        let text =
            "Running 1s test @ http://127.0.0.1/\n  101234 requests in 1.10s, 16.4MB read\nRequests/sec: 9\n";
        assert_eq!(super::requests(text), Some(101_234));
        assert_eq!(super::requests("unable to connect"), None);
    }
}
