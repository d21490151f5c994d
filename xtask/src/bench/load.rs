//! Load: wrk and h2load for throughput, and connections by hand where every request has to be counted exactly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::Server;

use super::cases::{Case, Load};

/// How many connections h2load holds: its streams make up for the rest.
const HTTP2_CONNECTIONS: usize = 4;

/// Loads the server from a processor of its own for so many seconds; how many requests were answered.
pub fn run(port: u16, case: &Case, processor: Option<usize>, seconds: u64) -> Result<u64> {
    match case.load {
        Load::Http2(streams) => h2load(port, case, streams, processor, seconds),
        _ => wrk(port, case, processor, seconds),
    }
}

/// A call of the program, kept on a processor if one is given.
fn pinned(program: &str, processor: Option<usize>) -> Command {
    match processor {
        None => Command::new(program),
        Some(processor) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &processor.to_string(), program]);
            command
        }
    }
}

fn wrk(port: u16, case: &Case, processor: Option<usize>, seconds: u64) -> Result<u64> {
    let mut command = pinned("wrk", processor);
    command.args(["-t", "1", "-c", &case.connections().to_string(), "-d", &format!("{seconds}s")]);
    if matches!(case.load, Load::Close | Load::TlsClose) {
        command.args(["-H", "Connection: close"]);
    }
    for (name, value) in case.fields {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    let mut script = tempfile::NamedTempFile::new()?;
    if let Load::Upload(length) = case.load {
        writeln!(script, "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {length})")?;
        command.arg("-s").arg(script.path());
    }
    command.arg(format!("{}://127.0.0.1:{port}{}", case.scheme(), case.path));
    let output = command.output().context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = text.contains("Non-2xx") && !case.errors;
    if failed || text.contains("Socket errors") {
        bail!("{}: not all requests were answered well:\n{text}", case.name);
    }
    requests(&text).with_context(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn h2load(port: u16, case: &Case, streams: usize, processor: Option<usize>, seconds: u64) -> Result<u64> {
    let mut command = pinned("h2load", processor);
    let connections = HTTP2_CONNECTIONS.to_string();
    command.args(["-t", "1", "-c", &connections, "-m", &streams.to_string(), "-D", &seconds.to_string()]);
    let output = command.arg(format!("https://127.0.0.1:{port}{}", case.path)).output().context("h2load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = outcome(&text).with_context(|| format!("h2load said: {text}"))?;
    if counts.failed > 0 {
        bail!("{}: not all requests were answered well:\n{text}", case.name);
    }
    Ok(counts.succeeded)
}

/// Sends so many requests one after the other, over one connection where the case keeps it.
pub fn one_by_one(server: &Server, case: &Case, count: usize) -> Result<()> {
    match case.load {
        Load::Kept | Load::Upload(_) => {
            let mut client = server.client();
            for _ in 0..count {
                ask(&mut client, case, &[]);
            }
        }
        Load::Close => {
            for _ in 0..count {
                ask(&mut server.client(), case, &[("Connection", "close")]);
            }
        }
        Load::Tls | Load::TlsClose | Load::Http2(_) => return one_by_one_over_tls(server, case, count),
    }
    Ok(())
}

fn ask(client: &mut testkit::Client, case: &Case, more: &[(&str, &str)]) {
    let fields: Vec<(&str, &str)> = case.fields.iter().chain(more).copied().collect();
    match case.load {
        Load::Upload(length) => client.request("POST", case.path, &fields, &vec![b'x'; length]),
        _ => client.request("GET", case.path, &fields, b""),
    };
}

fn one_by_one_over_tls(server: &Server, case: &Case, count: usize) -> Result<()> {
    let url = format!("https://127.0.0.1:{}{}", server.port(), case.path);
    let count = count.to_string();
    let mut command = Command::new("h2load");
    command.args(["-n", &count, "-m", "1", "-c", if case.load == Load::TlsClose { &count } else { "1" }]);
    if !matches!(case.load, Load::Http2(_)) {
        command.arg("--h1");
    }
    let output = command.arg(url).output().context("h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match outcome(&text) {
        Some(Counts { failed: 0, .. }) => Ok(()),
        _ => bail!("{}: not all requests were answered well:\n{text}", case.name),
    }
}

/// `  123456 requests in 2.00s, 20MB read`
fn requests(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What became of h2load's requests.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    succeeded: u64,
    failed: u64,
}

/// `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout`
fn outcome(text: &str) -> Option<Counts> {
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<u64>().ok()
    };
    Some(Counts { succeeded: count("succeeded")?, failed: count("failed")? + count("errored")? })
}

/// Opens so many connections and makes one request on each; they stay open until dropped. A client's address has
/// some 28,000 ports for one server, so they come from several.
pub fn idle(server: &Server, count: usize) -> Result<Vec<TcpStream>> {
    const PER_ADDRESS: usize = 20_000;
    let mut buffer = [0; 4096];
    let mut open = |index: usize| -> Result<TcpStream> {
        let last = u8::try_from(1 + index / PER_ADDRESS).context("too many connections")?;
        let mut stream = from_address(Ipv4Addr::new(127, 0, 0, last), server.port())?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        if stream.read(&mut buffer)? == 0 {
            bail!("connection {index} was closed");
        }
        Ok(stream)
    };
    (0..count).map(&mut open).collect()
}

/// How many connections this process and the servers it starts may have: raises the limits if it is allowed to.
pub fn room_for_connections(wanted: usize) -> Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let need = wanted as u64 + 2000;
    let raised =
        Rlimit { current: Some(need), maximum: Some(limit.maximum.map_or(need, |hard| hard.max(need))) };
    if limit.current.is_none_or(|current| current >= need) || setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(wanted);
    }
    let hard = limit.maximum.unwrap_or(need);
    setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    Ok(usize::try_from(hard)?.saturating_sub(2000))
}

fn from_address(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let (peer, local) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((source, 0)));
    let (socket, _) = sys::net::connect_prepared(peer, |fd| sys::net::bind(fd, local))?;
    let stream = TcpStream::from(socket);
    // The first write waits until the connection stands.
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_wrk_prints() {
        let text =
            "Running 1s test @ http://127.0.0.1/\n  101234 requests in 1.10s, 16.4MB read\nRequests/sec: 9\n";
        assert_eq!(requests(text), Some(101_234));
        assert_eq!(requests("unable to connect"), None);
    }

    #[test]
    fn the_counts_are_found_in_what_h2load_prints() {
        let text = "finished in 1s\nrequests: 12 total, 12 started, 11 done, 10 succeeded, 1 failed, 1 errored, 0 timeout\n";
        assert_eq!(outcome(text), Some(Counts { succeeded: 10, failed: 2 }));
        assert_eq!(outcome("no"), None);
    }
}
