//! What the kernel knows about a server's processes: CPU time, memory, where they may run.

use std::fs;

use anyhow::{Context, Result};

/// CPU time of all threads of all processes so far, user and system, in nanoseconds.
pub fn cpu_nanoseconds(processes: &[i32]) -> Result<u64> {
    let mut total = 0;
    for task in tasks(processes) {
        let text = fs::read_to_string(format!("{task}/schedstat")).context("schedstat")?;
        let first = text.split(' ').next().unwrap_or_default();
        total += first.parse::<u64>().context("schedstat")?;
    }
    Ok(total)
}

/// Memory of all processes, shared pages divided among those who share them, in bytes.
pub fn memory(processes: &[i32]) -> Result<u64> {
    let mut total = 0;
    for pid in processes {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("smaps_rollup")?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(1).unwrap_or_default();
        total += 1024 * kilobytes.parse::<u64>().context("Pss")?;
    }
    Ok(total)
}

/// Keeps all threads of the server on one processor.
pub fn pin(processes: &[i32], processor: usize) -> Result<()> {
    for task in tasks(processes) {
        let id = task.rsplit('/').next().unwrap_or_default().to_owned();
        let list = processor.to_string();
        let mut taskset = std::process::Command::new("taskset");
        crate::run::quiet_status("taskset", taskset.args(["-p", "-c", &list, &id]))?;
    }
    Ok(())
}

fn tasks(processes: &[i32]) -> Vec<String> {
    let mut tasks = Vec::new();
    for pid in processes {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        tasks.extend(entries.flatten().map(|entry| entry.path().display().to_string()));
    }
    tasks
}
