//! A server as configured, on the machine and in the service it runs in.

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::link::{Kind, Link};
use crate::mix::{Mix, Need};

/// Whose arithmetic holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Server {
    /// A process for each worker: slots and descriptors are each worker's own.
    Nginx,
    /// One process, whose threads share slots and descriptors; idle connections give way.
    #[default]
    Plimsoll,
}

/// Where a setting stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file; empty: not known.
    pub file: String,
    /// The line, from 1; 0: not known.
    pub line: u64,
}

impl Place {
    /// `file:line`, as far as it is known.
    pub fn words(&self) -> String {
        match (self.file.as_str(), self.line) {
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        }
    }
}

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Its address: `0.0.0.0:80`.
    pub address: String,
    /// `backlog=` as written.
    pub backlog: Option<u64>,
    /// What the kernel was really given; `None`: worked out from `backlog` and the machine.
    pub ceiling: Option<u64>,
    /// Sockets of this address: one, or one a worker (`reuseport`).
    pub sockets: u64,
    /// Where `listen` stands.
    pub place: Place,
}

/// Everything about a server that its capacity follows from. Whoever does not know a figure leaves it as it is in
/// `Setup::default()`, and nothing is said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Whose arithmetic holds.
    pub server: Server,
    /// The main configuration file.
    pub conf: String,
    /// The service it runs in (`nginx.service`); empty: none is known.
    pub service: String,
    /// Worker processes, or threads.
    pub workers: u64,
    /// `worker_connections`, each.
    pub connections: u64,
    /// Whether `worker_connections` was written; else it follows from the limits, or is the default.
    pub connections_written: bool,
    /// `worker_rlimit_nofile`, each.
    pub rlimit_nofile: Option<u64>,
    /// The soft limit of descriptors that the service starts with; `None`: unlimited.
    pub soft: Option<u64>,
    /// The hard one.
    pub hard: Option<u64>,
    /// Whether it may raise the hard limit (it starts as root).
    pub privileged: bool,
    /// The soft limit of whoever looks, where it is another than the service's.
    pub shell_soft: Option<u64>,
    /// fs.nr_open
    pub nr_open: Option<u64>,
    /// fs.file-max
    pub file_max: Option<u64>,
    /// net.core.somaxconn
    pub somaxconn: Option<u64>,
    /// The listening sockets.
    pub listens: Vec<Listening>,
    /// Log files and what else each process holds open.
    pub others: u64,
    /// Idle upstream connections that the configuration lets each worker keep.
    pub idle_upstream: u64,
    /// Destinations of proxied requests that are listening addresses of this very server: destination, and where the
    /// directive stands.
    pub loops: Vec<(String, Place)>,
    /// TCP destinations of proxied requests; unix sockets need no port.
    pub destinations: Vec<String>,
    /// net.ipv4.ip_local_port_range: how many ports there are, less those reserved.
    pub ports: Option<u64>,
    /// Processors online.
    pub online: u64,
    /// Processors' worth of time that the service may use: affinity and cgroup quota.
    pub quota: Option<f64>,
    /// Bytes of memory that the service may use.
    pub memory: Option<u64>,
    /// Bytes that one request of the mix takes at most while it is served.
    pub request_memory: u64,
    /// What the traffic is made of.
    pub mix: Mix,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            server: Server::Plimsoll,
            conf: String::new(),
            service: String::new(),
            workers: 1,
            connections: 512,
            connections_written: false,
            rlimit_nofile: None,
            soft: None,
            hard: None,
            privileged: false,
            shell_soft: None,
            nr_open: None,
            file_max: None,
            somaxconn: None,
            listens: Vec::new(),
            others: 0,
            idle_upstream: 0,
            loops: Vec::new(),
            destinations: Vec::new(),
            ports: None,
            online: 1,
            quota: None,
            memory: None,
            request_memory: 64 * 1024,
            mix: Mix::PROXIED,
        }
    }
}

/// nginx's `listen backlog=` on Linux.
pub const DEFAULT_BACKLOG: u64 = 511;
/// Plimsoll's descriptors beside connections and listening sockets: logs, event loops, files being sent.
pub const OTHERS: u64 = 64;
/// The most slots a thread of Plimsoll gets unasked.
const MOST_UNASKED: u64 = 16_384;

/// Plimsoll's slots for each thread where none are configured: with every client there may be an upstream's connection
/// or a file, so half of what the limit of descriptors has room for.
pub fn slots_unasked(limit: u64, listens: u64, threads: u64) -> u64 {
    let fixed = listens.saturating_add(1 + OTHERS);
    let least = listens.saturating_add(2);
    (limit.saturating_sub(fixed) / 2 / threads.max(1)).clamp(least, MOST_UNASKED.max(least))
}

impl Setup {
    /// Slots of all workers together that connections can have: each worker spends one on every listening socket and
    /// one on the channel to its master.
    pub fn slots(&self) -> u64 {
        let spent = self.listens.len() as u64 + 1;
        self.connections.saturating_sub(spent).saturating_mul(self.workers).max(1)
    }
    /// The limit of descriptors of one process as it will be when it serves; `None`: unlimited.
    pub fn descriptors_each(&self) -> Option<u64> {
        let most = match self.server {
            Server::Nginx => self.rlimit_nofile,
            Server::Plimsoll => self.rlimit_nofile.map(|each| each.saturating_mul(self.workers)),
        };
        match (most, self.server) {
            (Some(asked), _) => Some(self.granted(asked)),
            (None, Server::Nginx) => self.soft,
            // The soft limit is raised to the hard one.
            (None, Server::Plimsoll) => self.hard,
        }
    }
    /// What becomes of a limit that is asked for.
    fn granted(&self, asked: u64) -> u64 {
        let asked = self.nr_open.map_or(asked, |most| asked.min(most));
        match self.hard {
            Some(hard) if asked > hard && !self.privileged => match self.server {
                // setrlimit() fails and nothing changes.
                Server::Nginx => self.soft.unwrap_or(asked),
                Server::Plimsoll => hard,
            },
            _ => asked,
        }
    }
    /// How many processes share the work.
    pub fn processes(&self) -> u64 {
        match self.server {
            Server::Nginx => self.workers,
            Server::Plimsoll => 1,
        }
    }
    /// Descriptors that one process needs beside those of traffic.
    pub fn fixed_descriptors(&self) -> u64 {
        self.listens.iter().map(|listen| listen.sockets.max(1)).sum::<u64>().saturating_add(self.others)
    }
    /// Descriptors that one process needs so that its slots, and not they, bind.
    pub fn needed_descriptors(&self) -> u64 {
        let slots = self.slots() / self.processes().max(1);
        let each = self.mix.average(|need: Need| need.descriptors);
        let slots_each = self.mix.average(|need: Need| need.slots).max(1.0);
        let traffic = slots as f64 / slots_each * each.max(slots_each);
        self.fixed_descriptors().saturating_add(traffic.ceil() as u64)
    }
    /// The length an accept queue really gets.
    pub fn queue_ceiling(&self, listen: &Listening) -> Option<u64> {
        let backlog = listen.backlog.unwrap_or(match self.server {
            Server::Nginx => DEFAULT_BACKLOG,
            Server::Plimsoll => self.somaxconn.unwrap_or(DEFAULT_BACKLOG),
        });
        listen.ceiling.or_else(|| Some(self.somaxconn.map_or(backlog, |most| backlog.min(most))))
    }
    /// The chain of this server, of which nothing is used yet.
    pub fn chain(&self) -> Chain {
        let mut links: Vec<Link> = self.listens.iter().map(|listen| self.queue(listen)).collect();
        links.push(Link::new(
            Kind::Slots,
            Some(self.slots()),
            format!("{} x worker_connections {}", self.workers, self.connections),
        ));
        links.push(self.descriptors());
        links.push(self.loops_link());
        for destination in &self.destinations {
            let set_by = "net.ipv4.ip_local_port_range";
            links.push(Link::new(Kind::Ports, self.ports, set_by).of(destination.clone()));
        }
        let memory = Link::new(Kind::Memory, self.memory, "memory of the service");
        links.push(Link { each: Some(self.request_memory), ..memory });
        Chain::new(links, self.mix)
    }
    fn queue(&self, listen: &Listening) -> Link {
        let set_by = match listen.backlog {
            Some(backlog) => format!("backlog={backlog}"),
            None => "the default backlog".to_owned(),
        };
        let clamped = self.somaxconn.filter(|most| self.queue_ceiling(listen) == Some(*most));
        let set_by = clamped.map_or(set_by, |most| format!("net.core.somaxconn {most}"));
        Link::new(Kind::AcceptQueue, self.queue_ceiling(listen), set_by).of(listen.address.clone())
    }
    fn descriptors(&self) -> Link {
        let processes = self.processes();
        let all = self.descriptors_each().map(|each| each.saturating_mul(processes));
        let (ceiling, set_by) = match (all, self.file_max) {
            (Some(all), Some(most)) if most < all => (Some(most), format!("fs.file-max {most}")),
            (None, Some(most)) => (Some(most), format!("fs.file-max {most}")),
            _ => (all, self.descriptors_set_by()),
        };
        Link::new(Kind::Descriptors, ceiling, set_by)
            .fixed(self.fixed_descriptors().saturating_mul(processes))
    }
    fn descriptors_set_by(&self) -> String {
        let hard = crate::draw::limit(self.hard);
        match (self.rlimit_nofile, self.server) {
            (Some(each), _) => format!("worker_rlimit_nofile {each}"),
            (None, Server::Nginx) => format!("soft limit {} (hard {hard})", crate::draw::limit(self.soft)),
            (None, Server::Plimsoll) => format!("hard limit {hard}"),
        }
    }
    fn loops_link(&self) -> Link {
        let cores = self.quota.unwrap_or(self.online as f64).min(self.workers as f64);
        Link::new(Kind::EventLoop, Some((cores * 1000.0) as u64), format!("{} workers", self.workers))
    }
}
