//! How much processor time a server with 10,000 server blocks takes until it answers, and until it answers by its next
//! configuration.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testkit::{Binary, Server};

use super::growth;
use super::process;
use super::report::Figure;

const BLOCKS: usize = 10_000;
/// A server that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Milliseconds of processor time, of all processes of each server, round by round: to start, and to reload.
pub fn times(rounds: usize) -> Result<(Figure, Figure)> {
    let (mut start, mut reload) = (Figure::default(), Figure::default());
    for _ in 0..rounds {
        let (nginx, plimsoll) = (once(Binary::Nginx)?, once(Binary::Plimsoll)?);
        start.push(&[nginx.0, plimsoll.0]);
        reload.push(&[nginx.1, plimsoll.1]);
    }
    Ok((start, reload))
}

fn once(binary: Binary) -> Result<(f64, f64)> {
    let text = |status: u16| growth::text(&growth::servers(BLOCKS), &format!("return {status};"));
    let server = binary.serve(text(404));
    until(&server, 404)?;
    let before = spent(&server);
    server.reload(&text(403));
    until(&server, 403)?;
    // A worker that has ended meanwhile is left out, with what it had spent before.
    let reload = spent(&server).iter().map(|(pid, time)| time - before.get(pid).unwrap_or(&0.0)).sum();
    Ok((before.values().sum(), reload))
}

/// Milliseconds that each process of the server has spent so far.
fn spent(server: &Server) -> HashMap<i32, f64> {
    let time = |pid: i32| process::cpu_nanoseconds(&[pid]).map_or(0.0, |time| time as f64 / 1e6);
    server.processes().into_iter().map(|pid| (pid, time(pid))).collect()
}

fn until(server: &Server, status: u16) -> Result<()> {
    let begun = Instant::now();
    while server.get("/").status != status {
        if begun.elapsed() > PATIENCE {
            bail!("{} does not answer with {status}", server.binary().name());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
