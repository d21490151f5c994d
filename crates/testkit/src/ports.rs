//! Ports for servers that cannot bind port 0 themselves.
//!
//! Tests run in parallel, in threads and in processes. A port is taken by locking a file named after it, for as long
//! as the [`Port`] lives, from below the range the kernel uses for outgoing connections, so that no client's socket
//! can land on it either.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A TCP port on loopback that no other test uses.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Panics
    /// If all of them are taken, or the folder for the locks cannot be written.
    pub fn free() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = (std::process::id().wrapping_mul(977) % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (u32::from(start) + u32::from(step)).rem_euclid(u32::from(COUNT)) as u16;
            if let Some(port) = Port::take(number) {
                return port;
            }
        }
        panic!("no free port from {FIRST} to {}", FIRST + COUNT)
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn take(number: u16) -> Option<Port> {
        let lock = File::create(folder().join(number.to_string())).expect("a lock file for a port");
        lock.try_lock().ok()?;
        let free = TcpListener::bind(("0.0.0.0", number)).is_ok() && ipv6_is_free(number);
        free.then_some(Port { number, _lock: lock })
    }
}

/// Where IPv6 is missing, a port is free there.
fn ipv6_is_free(number: u16) -> bool {
    match TcpListener::bind(("::1", number)) {
        Ok(_) => true,
        Err(e) => e.kind() != std::io::ErrorKind::AddrInUse,
    }
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join("plimsoll-test-ports");
    fs::create_dir_all(&folder).expect("a folder for the locks of ports");
    folder
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_ports_are_equal_and_all_can_be_bound() {
        let ports: Vec<Port> = (0..50).map(|_| Port::free()).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        for number in numbers {
            assert!(TcpListener::bind(("127.0.0.1", number)).is_ok());
        }
    }

    #[test]
    fn a_taken_port_is_not_given_twice() {
        let port = Port::free();
        assert!(Port::take(port.number()).is_none());
    }
}
