//! Whose sockets are whose: queues of listening sockets, and for a server's processes, their clients and upstreams.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sys::sock_diag::{State, States, Tcp, Unix, tcp, unix};

/// A listening socket's accept queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// `127.0.0.1:80`, `[::]:80`, `unix:/run/app.sock`.
    pub address: String,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// How many may wait.
    pub ceiling: u32,
    /// The socket's inode.
    pub inode: u32,
    /// Connections lost since it was opened (TCP).
    pub drops: u32,
    /// How many of them while looking.
    pub drops_grown: u32,
}

impl Queue {
    fn of(socket: &Tcp) -> Queue {
        Queue {
            address: socket.local.to_string(),
            waiting: socket.receive,
            ceiling: socket.send,
            inode: socket.inode,
            drops: socket.drops,
            drops_grown: 0,
        }
    }
}

/// The accept queues of TCP sockets alone.
pub fn listening() -> io::Result<Vec<Queue>> {
    let mut queues = Vec::new();
    tcp(States::LISTENING, |socket| queues.push(Queue::of(&socket)))?;
    Ok(queues)
}

/// What goes on towards one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Towards {
    /// Connections that the server has open.
    pub open: u64,
    /// Connections that are not answered yet.
    pub connecting: u64,
    /// Local ports that rest after a connection.
    pub time_wait: u64,
}

/// What one process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Listening sockets.
    pub listening: u64,
    /// Connections of clients.
    pub clients: u64,
    /// Connections to upstreams.
    pub upstreams: u64,
}

/// All the sockets that concern a server.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Every listening socket of the machine.
    pub queues: Vec<Queue>,
    /// For each process asked about, in the order asked.
    pub held: Vec<Held>,
    /// By destination, TCP and unix.
    pub towards: HashMap<String, Towards>,
}

/// Reads them for a server whose processes hold these sockets.
pub fn read(processes: &[Vec<u32>]) -> io::Result<Sockets> {
    let mut sockets = Sockets { held: vec![Held::default(); processes.len()], ..Sockets::default() };
    // One process per connection, but every process of a server has its listening sockets.
    let mut owners: HashMap<u32, Vec<usize>> = HashMap::new();
    for (owner, inodes) in processes.iter().enumerate() {
        inodes.iter().for_each(|inode| owners.entry(*inode).or_default().push(owner));
    }
    sockets.read_tcp(&owners)?;
    sockets.read_unix(&owners)?;
    Ok(sockets)
}

type Owners = HashMap<u32, Vec<usize>>;

/// What a service says goes there: its logs, not its requests.
const JOURNAL: &str = "/run/systemd/journal/";

impl Sockets {
    /// The queue behind this address: its own, or that of a socket which listens to all addresses.
    pub fn queue(&self, address: &str) -> Option<&Queue> {
        let exact = self.queues.iter().find(|queue| queue.address == address);
        exact.or_else(|| {
            let wanted: SocketAddr = address.parse().ok()?;
            self.queues.iter().find(|queue| {
                let theirs = queue.address.parse::<SocketAddr>().ok();
                theirs.is_some_and(|theirs| theirs.ip().is_unspecified() && theirs.port() == wanted.port())
            })
        })
    }

    fn read_tcp(&mut self, owners: &Owners) -> io::Result<()> {
        let mut ports = HashSet::new();
        tcp(States::LISTENING, |socket| {
            self.queues.push(Queue::of(&socket));
            for owner in owners.get(&socket.inode).into_iter().flatten() {
                self.held[*owner].listening += 1;
                ports.insert(socket.local.port());
            }
        })?;
        tcp(States::CONNECTIONS, |socket| {
            if ports.contains(&socket.local.port()) {
                owners
                    .get(&socket.inode)
                    .into_iter()
                    .flatten()
                    .for_each(|owner| self.held[*owner].clients += 1);
                return;
            }
            let owners = owners.get(&socket.inode);
            // What no process holds any more may have been ours; towards one of our upstreams it was.
            if owners.is_none() && socket.inode != 0 {
                return;
            }
            owners.into_iter().flatten().for_each(|owner| self.held[*owner].upstreams += 1);
            let towards = self.towards.entry(plain(socket.remote).to_string()).or_default();
            match socket.state {
                State::TimeWait => towards.time_wait += 1,
                State::SynSent => towards.connecting += 1,
                _ if socket.inode != 0 => towards.open += 1,
                _ => {}
            }
        })
    }

    fn read_unix(&mut self, owners: &Owners) -> io::Result<()> {
        let mut ours = HashSet::new();
        let mut names: HashMap<u32, String> = HashMap::new();
        let mut connected: Vec<Unix> = Vec::new();
        unix(States::ALL, |socket| match socket.listening {
            _ if socket.path.starts_with(JOURNAL) => {}
            true => {
                let address = name(&socket.path);
                for owner in owners.get(&socket.inode).into_iter().flatten() {
                    self.held[*owner].listening += 1;
                    ours.insert(address.clone());
                }
                for waiting in socket.waiting.iter().filter(|inode| owners.contains_key(inode)) {
                    self.towards.entry(address.clone()).or_default().connecting += 1;
                    names.insert(*waiting, address.clone());
                }
                let Unix { receive, send, inode, .. } = socket;
                self.queues.push(Queue {
                    address,
                    waiting: receive,
                    ceiling: send,
                    inode,
                    ..Queue::default()
                });
            }
            false => {
                if !socket.path.is_empty() {
                    names.insert(socket.inode, name(&socket.path));
                }
                if owners.contains_key(&socket.inode) {
                    connected.push(socket);
                }
            }
        })?;
        for socket in connected {
            self.connected(&socket, owners, &names, &ours);
        }
        Ok(())
    }

    /// A unix connection of ours: to somebody who listens under a name, or from somebody under one of ours.
    fn connected(
        &mut self,
        socket: &Unix,
        owners: &Owners,
        names: &HashMap<u32, String>,
        ours: &HashSet<String>,
    ) {
        let holders = owners.get(&socket.inode).into_iter().flatten();
        if names.get(&socket.inode).is_some_and(|own| ours.contains(own)) {
            holders.for_each(|owner| self.held[*owner].clients += 1);
            return;
        }
        let accepted = names.get(&socket.peer);
        let waiting = names.get(&socket.inode);
        if accepted.or(waiting).is_none() {
            return;
        }
        holders.for_each(|owner| self.held[*owner].upstreams += 1);
        if let Some(name) = accepted {
            self.towards.entry(name.clone()).or_default().open += 1;
        }
    }
}

/// A socket by the path that others know. haproxy listens as `PATH.PID.tmp` and renames that; the kernel keeps the name.
fn name(path: &str) -> String {
    let renamed = || {
        let (before, pid) = path.strip_suffix(".tmp")?.rsplit_once('.')?;
        (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then_some(before)
    };
    format!("unix:{}", renamed().unwrap_or(path))
}

/// An IPv4 address that an IPv6 socket wears, as itself.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn clients_and_upstreams_are_told_apart() {
        let inode = |socket: &dyn std::os::fd::AsFd| sys::file::identity(socket.as_fd()).unwrap().1 as u32;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listening = vec![inode(&listener)];
        let client = TcpStream::connect(address).unwrap();
        let sockets = read(std::slice::from_ref(&listening)).unwrap();
        assert_eq!(sockets.held, [Held { listening: 1, clients: 0, upstreams: 0 }]);
        assert_eq!(sockets.queue(&address.to_string()).unwrap().waiting, 1);
        let (accepted, _) = listener.accept().unwrap();
        let server = vec![listening[0], inode(&accepted)];
        let proxy = vec![inode(&client)];
        let sockets = read(&[server, proxy]).unwrap();
        let [server, proxy] = sockets.held[..] else { panic!("two were asked about") };
        assert_eq!(server, Held { listening: 1, clients: 1, upstreams: 0 });
        assert_eq!(proxy, Held { listening: 0, clients: 0, upstreams: 1 });
        assert_eq!(sockets.towards[&address.to_string()].open, 1);
    }

    #[test]
    fn unix_upstreams_are_found_before_and_after_they_accept() {
        let path = std::env::temp_dir().join(format!("machine-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let (one, two) = (UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        let (pair, _other) = UnixStream::pair().unwrap();
        let inode = |socket: &UnixStream| sys::file::identity(socket).unwrap().1 as u32;
        let sockets = read(&[vec![inode(&one), inode(&two), inode(&pair)]]).unwrap();
        assert_eq!(sockets.held, [Held { listening: 0, clients: 0, upstreams: 2 }]);
        let name = format!("unix:{}", path.display());
        assert_eq!(sockets.towards[&name], Towards { open: 1, connecting: 1, time_wait: 0 });
        assert_eq!(sockets.queue(&name).unwrap().waiting, 1);
    }

    #[test]
    fn a_socket_that_was_renamed() {
        assert_eq!(
            (&*name("/run/h.sock.77.tmp"), &*name("/run/x.tmp")),
            ("unix:/run/h.sock", "unix:/run/x.tmp")
        );
    }

    #[test]
    fn a_socket_that_listens_to_all_is_found_by_its_port() {
        let queue = Queue { address: "0.0.0.0:80".into(), ..Queue::default() };
        let sockets = Sockets { queues: vec![queue], ..Sockets::default() };
        assert!(sockets.queue("127.0.0.1:80").is_some() && sockets.queue("127.0.0.1:81").is_none());
    }
}
