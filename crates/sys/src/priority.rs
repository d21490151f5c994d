//! Scheduling priority (`worker_priority`).

use std::io;

/// Sets the nice value, -20 to 20. Linux keeps it per thread, and new threads inherit it: set before starting any.
pub fn set(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// The nice value of the calling thread.
pub fn current() -> io::Result<i32> {
    Ok(rustix::process::getpriority_process(None)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lowering_needs_no_rights() {
        std::thread::spawn(|| {
            let nice = current().unwrap().max(5) + 1;
            set(nice).unwrap();
            assert_eq!(current().unwrap(), nice);
        })
        .join()
        .unwrap();
    }
}
