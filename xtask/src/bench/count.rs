//! Counts that do not depend on the machine's mood: instructions and allocations (callgrind), system calls (strace).

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use testkit::{Binary, Server, Site};

use super::cases::{Case, Load};
use super::load::one_by_one;

/// What one request costs in user space.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Instructions.
    pub instructions: f64,
    /// Calls of the C library's allocator.
    pub allocations: f64,
}

/// Counts on nginx and on Plimsoll at the same time: these counts do not mind company.
pub fn on_both<T: Send>(count: impl Fn(Binary) -> Result<T> + Sync) -> Result<(T, T)> {
    std::thread::scope(|scope| {
        let [nginx, plimsoll] = [Binary::Nginx, Binary::Plimsoll].map(|binary| {
            let count = &count;
            scope.spawn(move || count(binary))
        });
        // What panics takes nothing else with it: a client lost patience, or a server did not start.
        let nginx = nginx.join().unwrap_or_else(|_| bail!("nginx was not counted"));
        let plimsoll = plimsoll.join().unwrap_or_else(|_| bail!("Plimsoll was not counted"));
        Ok((nginx?, plimsoll?))
    })
}

const WARM: usize = 200;
const MEASURED: usize = 1000;

/// One request's share of what the server does for so many: `ask` makes the requests. It runs twice under callgrind,
/// with different numbers: the difference has no start-up in it.
pub fn work_of(
    binary: Binary,
    site: &Site,
    (warm, measured): (usize, usize),
    ask: impl Fn(&Server, usize) -> Result<()>,
) -> Result<Work> {
    let few = callgrind(binary, site, |server| ask(server, warm))?;
    let many = callgrind(binary, site, |server| ask(server, warm + measured))?;
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / measured as f64;
    Ok(Work { instructions: each(few.0, many.0), allocations: each(few.1, many.1) })
}

/// As [`work_of`], for a case.
pub fn work(binary: Binary, case: &Case, origin: &str) -> Result<Work> {
    // A handshake for each: under valgrind that is work for a minute, and clients do not wait so long.
    let part = if case.heavy() || case.load == Load::TlsClose { 20 } else { 1 };
    let site = case.site(origin, true);
    work_of(binary, &site, (WARM / part, MEASURED / part), |server, requests| {
        one_by_one(server, case, requests)
    })
}

/// Instructions and allocations of a whole run.
fn callgrind(binary: Binary, site: &Site, ask: impl Fn(&Server) -> Result<()>) -> Result<(u64, u64)> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let file = format!("--callgrind-out-file={}", out.display());
    let wrapper = ["valgrind", "--quiet", "--tool=callgrind", &file].map(str::to_owned);
    let mut server = binary.serve_under(&wrapper, site.clone());
    ask(&server)?;
    server.stop();
    read_profile(&out).with_context(|| format!("callgrind's output for {}", binary.name()))
}

fn read_profile(path: &Path) -> Result<(u64, u64)> {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
    let total = text.lines().find_map(|l| l.strip_prefix("totals: ").or(l.strip_prefix("summary: ")));
    let total = total.and_then(|number| number.trim().parse().ok()).context("no total")?;
    Ok((total, allocations(&text)))
}

/// Sums `calls=` of edges into the allocator. Names are given once, as `(12) malloc`, later as `(12)`.
fn allocations(text: &str) -> u64 {
    const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
    let mut names: HashMap<&str, bool> = HashMap::new();
    let (mut sum, mut into) = (0, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("cfn=").or(line.strip_prefix("fn=")) {
            let (id, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                names.insert(id, ALLOCATORS.contains(&name));
            }
            if line.starts_with("cfn=") {
                into = names.get(id).copied().unwrap_or(false);
            }
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| into) {
            sum += calls.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}

/// System calls per request, over requests that come one by one.
pub fn system_calls(binary: Binary, case: &Case, origin: &str) -> Result<f64> {
    let server = binary.serve(case.site(origin, false));
    one_by_one(&server, case, WARM)?;
    let folder = tempfile::tempdir()?;
    let table = folder.path().join("table");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&table);
    let processes = server.processes();
    for pid in &processes {
        strace.arg("-p").arg(pid.to_string());
    }
    let mut child = strace.stderr(Stdio::piped()).spawn().context("strace")?;
    let errors = child.stderr.take().context("strace's standard error")?;
    // Kept to the end: strace would die of SIGPIPE at its next word, and take its table with it.
    let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
    let attached = lines.by_ref().filter(|line| line.contains("attached")).take(processes.len()).count();
    if attached < processes.len() {
        bail!("strace could not attach");
    }
    one_by_one(&server, case, MEASURED)?;
    let mut stop = Command::new("kill");
    crate::run::quiet_status("kill", stop.args(["-INT", &child.id().to_string()]))?;
    child.wait()?;
    drop(lines);
    let calls = total_calls(&fs::read_to_string(&table)?).context("strace's table has no total")?;
    Ok(calls as f64 / MEASURED as f64)
}

fn total_calls(table: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.contains("total"))?;
    line.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_the_calls_into_the_allocator() {
        let text = "fn=(1) main\n10 5\ncfn=(2) malloc\ncalls=3 0\n10 100\ncfn=(3) free\ncalls=4 0\n1 1\n\
                    fn=(4) b\ncfn=(2)\ncalls=7 +1\n";
        assert_eq!(allocations(text), 10);
    }

    #[test]
    fn the_total_of_a_table() {
        let table =
            "syscall              calls\n---------------- ---------\nwritev  4\n------\ntotal     8\n";
        assert_eq!(total_calls(table), Some(8));
    }
}
