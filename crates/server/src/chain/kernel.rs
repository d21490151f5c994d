//! What only the kernel knows of the chain: accept queues, open descriptors, ports in use.

use std::collections::HashMap;
use std::net::SocketAddr;

use sys::sock_diag::{self, States};

/// A listening socket of this machine, ours or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Connections that wait to be accepted.
    pub waiting: u64,
    /// How many may wait.
    pub ceiling: u64,
    /// How many found no room since the socket was made.
    pub dropped: u64,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    tcp: Vec<(SocketAddr, Queue)>,
    unix: Vec<(String, Queue)>,
    /// By destination: local ports in use, resting ones included.
    ports: HashMap<SocketAddr, u64>,
    /// Open descriptors of this process.
    pub descriptors: Option<u64>,
    /// Bytes of memory that this process has in use.
    pub memory: Option<u64>,
    /// TcpExt ListenOverflows of the machine.
    pub overflows: u64,
    /// TcpExt ListenDrops of the machine.
    pub drops: u64,
}

impl Kernel {
    /// Looks. What cannot be read stays empty. Waits for the kernel: nothing for an event loop.
    pub fn read(destinations: &[String]) -> Kernel {
        let counters = machine::kernel::Counters::read();
        let mut kernel = Kernel {
            descriptors: sys::proc::open_descriptors(),
            memory: sys::proc::resident_memory(),
            overflows: counters.listen_overflows,
            drops: counters.listen_drops,
            ..Kernel::default()
        };
        let _ = sock_diag::tcp(States::LISTENING, |socket| {
            let (waiting, ceiling) = (socket.receive.into(), socket.send.into());
            kernel.tcp.push((socket.local, Queue { waiting, ceiling, dropped: socket.drops.into() }));
        });
        let _ = sock_diag::unix(States::LISTENING, |socket| {
            let queue = Queue { waiting: socket.receive.into(), ceiling: socket.send.into(), dropped: 0 };
            kernel.unix.push((socket.path, queue));
        });
        kernel.count_ports(destinations);
        kernel
    }
    fn count_ports(&mut self, destinations: &[String]) {
        self.ports = destinations.iter().filter_map(|to| Some((to.parse().ok()?, 0))).collect();
        if self.ports.is_empty() {
            return;
        }
        let _ = sock_diag::tcp(States::CONNECTIONS, |socket| {
            if let Some(count) = self.ports.get_mut(&socket.remote) {
                *count += 1;
            }
        });
    }
    /// Local ports in use towards a destination.
    pub fn ports(&self, to: &str) -> u64 {
        to.parse().ok().and_then(|to: SocketAddr| self.ports.get(&to).copied()).unwrap_or(0)
    }
    /// The queue at an address as written (`127.0.0.1:80`, `unix:/path`): its own socket's, or that of a wildcard one.
    /// Several sockets of one address (`reuseport`) count together.
    pub fn queue(&self, address: &str) -> Option<Queue> {
        if let Some(path) = address.strip_prefix("unix:") {
            return self.unix.iter().find(|(theirs, _)| theirs == path).map(|(_, queue)| queue.clone());
        }
        let address: SocketAddr = address.parse().ok()?;
        let exact = self.together(|theirs| *theirs == address);
        exact.or_else(|| {
            let local = address.ip().is_loopback();
            self.together(|theirs| local && theirs.port() == address.port() && theirs.ip().is_unspecified())
        })
    }
    fn together(&self, which: impl Fn(&SocketAddr) -> bool) -> Option<Queue> {
        let all = self.tcp.iter().filter(|(address, _)| which(address)).map(|(_, queue)| queue.clone());
        all.reduce(|a, b| Queue {
            waiting: a.waiting + b.waiting,
            ceiling: a.ceiling + b.ceiling,
            dropped: a.dropped + b.dropped,
        })
    }
}
