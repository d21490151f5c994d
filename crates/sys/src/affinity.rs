//! Which CPUs a thread may run on (`worker_cpu_affinity`).

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The CPUs the calling thread may run on, in order.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(SELF)?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Binds the calling thread to CPUs; those that do not exist are ignored as long as one does.
pub fn bind(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(SELF, &set)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bound_thread_stays_where_it_was_put() {
        let first = allowed().unwrap()[0];
        // On a thread of its own: the harness's keeps its freedom.
        std::thread::spawn(move || {
            bind(&[first]).unwrap();
            assert_eq!(allowed().unwrap(), [first]);
            assert!(bind(&[]).is_err());
            assert!(bind(&[1 << 20]).is_err());
        })
        .join()
        .unwrap();
    }
}
