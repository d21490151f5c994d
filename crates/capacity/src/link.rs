//! One link of the chain.

use serde::{Deserialize, Serialize};

use crate::mix::Mix;

/// From here on a link is called nearly full: the time to act.
pub const NEARLY_FULL: f64 = 0.8;
/// From here on a link is called full: what comes now finds no place, or the next one will not.
pub const FULL: f64 = 0.99;
/// An event loop that is less busy than this says nothing about how much more it could do.
const TELLING: f64 = 0.2;

/// The seven links, in the order in which a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Connections that the kernel has established and the server has not accepted, per listening socket.
    AcceptQueue,
    /// Connections that the server manages.
    Slots,
    /// File descriptors.
    Descriptors,
    /// Time of the processors that the server may use, in thousandths of one.
    EventLoop,
    /// The accept queue of an upstream on the same machine.
    UpstreamQueue,
    /// Local ports towards one destination.
    Ports,
    /// Bytes of memory.
    Memory,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Kind; 7] = [
        Kind::AcceptQueue,
        Kind::Slots,
        Kind::Descriptors,
        Kind::EventLoop,
        Kind::UpstreamQueue,
        Kind::Ports,
        Kind::Memory,
    ];
    /// Its number in the chain, from 1.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::AcceptQueue => "accept queue",
            Kind::Slots => "slots",
            Kind::Descriptors => "descriptors",
            Kind::EventLoop => "event loops",
            Kind::UpstreamQueue => "upstream queue",
            Kind::Ports => "ports",
            Kind::Memory => "memory",
        }
    }
    /// What programs call it: labels of metrics, keys of JSON.
    pub fn key(self) -> &'static str {
        match self {
            Kind::AcceptQueue => "accept_queue",
            Kind::Slots => "slots",
            Kind::Descriptors => "descriptors",
            Kind::EventLoop => "event_loop",
            Kind::UpstreamQueue => "upstream_queue",
            Kind::Ports => "ports",
            Kind::Memory => "memory",
        }
    }
    /// Whether it is a queue: empty as long as whoever empties it keeps up, so that some waiting says nothing about how
    /// much more would fit.
    pub fn is_queue(self) -> bool {
        matches!(self, Kind::AcceptQueue | Kind::UpstreamQueue)
    }
}

/// One link: what it holds at most, now and at its worst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Which.
    pub kind: Kind,
    /// Which one, where there are several: an address, a destination. Else empty.
    pub of: String,
    /// What fits; `None` where nothing known bounds it.
    pub ceiling: Option<u64>,
    /// Of the ceiling, what is spent whatever the traffic: listening sockets, logs, the program itself.
    pub fixed: u64,
    /// What is taken now, with `fixed`; 0 where it is not known.
    pub used: u64,
    /// The most that was taken, with `fixed`.
    pub peak: u64,
    /// How often somebody found no place.
    pub refused: u64,
    /// The same in the last seconds, where that is known.
    #[serde(default)]
    pub lately: u64,
    /// What one average request takes, where the mix does not say (memory).
    pub each: Option<u64>,
    /// What makes the ceiling what it is: a setting, a sysctl, a limit, with its value.
    pub set_by: String,
}

impl Link {
    /// A link of which nothing is used yet.
    pub fn new(kind: Kind, ceiling: Option<u64>, set_by: impl Into<String>) -> Link {
        let set_by = set_by.into();
        Link {
            kind,
            of: String::new(),
            ceiling,
            fixed: 0,
            used: 0,
            peak: 0,
            refused: 0,
            lately: 0,
            each: None,
            set_by,
        }
    }
    /// Which one of several it is.
    pub fn of(self, of: impl Into<String>) -> Link {
        Link { of: of.into(), ..self }
    }
    /// What is spent whatever the traffic.
    pub fn fixed(self, fixed: u64) -> Link {
        Link { fixed, ..self }
    }
    /// What is taken now. The peak follows.
    pub fn used(self, used: u64) -> Link {
        Link { used, peak: self.peak.max(used), ..self }
    }
    /// So many found no place in the last seconds.
    pub fn lately(self, lately: u64) -> Link {
        Link { lately, refused: self.refused.max(lately), ..self }
    }
    /// The most that was taken.
    pub fn peak(self, peak: u64) -> Link {
        Link { peak: self.used.max(peak), ..self }
    }
    /// Its name, and which one it is.
    pub fn name(&self) -> String {
        match self.of.as_str() {
            "" => self.kind.name().to_owned(),
            of => format!("{} {of}", self.kind.name()),
        }
    }

    /// What one request of this mix takes of it; `None` where that cannot be said: queues, processor time, and memory
    /// whose cost is not known.
    pub fn cost(&self, mix: &Mix) -> Option<f64> {
        match self.kind {
            Kind::Slots => Some(mix.average(|need| need.slots)),
            Kind::Descriptors => Some(mix.average(|need| need.descriptors)),
            Kind::Ports => Some(mix.average(|need| need.ports)),
            Kind::Memory => self.each.map(|each| each as f64),
            Kind::AcceptQueue | Kind::EventLoop | Kind::UpstreamQueue => None,
        }
    }
    /// What is left for traffic.
    pub fn room(&self) -> Option<u64> {
        self.ceiling.map(|ceiling| ceiling.saturating_sub(self.fixed))
    }
    /// How many requests of this mix fit at once; `None` where it does not bound them.
    pub fn requests(&self, mix: &Mix) -> Option<u64> {
        let cost = self.cost(mix).filter(|cost| *cost > 0.0)?;
        // Rounded down, and never by a cost below one place's.
        self.room().map(|room| (room as f64 / cost) as u64)
    }
    /// How full it is, 0 to 1 and above.
    pub fn fullness(&self) -> f64 {
        self.part(self.used)
    }
    /// How full it was at its worst.
    pub fn peak_fullness(&self) -> f64 {
        self.part(self.peak)
    }
    fn part(&self, taken: u64) -> f64 {
        match self.ceiling {
            None => 0.0,
            Some(0) => f64::from(u8::from(taken > 0)),
            Some(ceiling) => taken as f64 / ceiling as f64,
        }
    }
    /// How many times the present traffic fits; `None` where its use says nothing about that.
    pub fn headroom(&self) -> Option<f64> {
        self.times(self.used)
    }
    /// How many times the traffic at its peak fits.
    pub fn peak_headroom(&self) -> Option<f64> {
        self.times(self.peak)
    }
    fn times(&self, taken: u64) -> Option<f64> {
        let room = self.room()? as f64;
        let traffic = taken.saturating_sub(self.fixed) as f64;
        let telling = match self.kind {
            Kind::AcceptQueue | Kind::UpstreamQueue => traffic >= NEARLY_FULL * room,
            Kind::EventLoop => traffic >= TELLING * room,
            _ => true,
        };
        (traffic > 0.0 && telling).then(|| room / traffic)
    }
}
