//! The links together.

use serde::{Deserialize, Serialize};

use crate::link::{FULL, Kind, Link};
use crate::mix::Mix;

/// The links of one server, and the traffic that they are compared for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// In any order; there may be several of a kind.
    pub links: Vec<Link>,
    /// What the traffic is made of.
    pub mix: Mix,
}

/// The link that is full first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binding<'a> {
    /// Which.
    pub link: &'a Link,
    /// Why it and no other.
    pub why: Why,
}

/// Why a link binds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// It is full now.
    Full,
    /// It has room again, but so many found none in the last seconds.
    Refused(u64),
    /// Its use grows to its ceiling first: the present load fits so many times.
    Headroom(f64),
    /// Nothing is used yet; this many requests fit.
    Requests(u64),
}

impl Chain {
    /// A chain of links, compared for a mix.
    pub fn new(links: Vec<Link>, mix: Mix) -> Chain {
        Chain { links, mix }
    }
    /// How many concurrent requests of the mix the whole chain lets through; `None` where no link bounds them.
    pub fn requests(&self) -> Option<u64> {
        self.links.iter().filter_map(|link| link.requests(&self.mix)).min()
    }
    /// How many concurrent requests the tightest link of this kind lets through; of a queue: how many can wait in it.
    pub fn requests_through(&self, kind: Kind) -> Option<u64> {
        let all = self.links.iter().filter(|link| link.kind == kind);
        all.filter_map(|link| if kind.is_queue() { link.ceiling } else { link.requests(&self.mix) }).min()
    }
    /// How many times the present load fits; `None` while the use of no link says anything.
    pub fn headroom(&self) -> Option<f64> {
        self.links.iter().filter_map(Link::headroom).min_by(f64::total_cmp)
    }
    /// How many times the load at its peak fits.
    pub fn peak_headroom(&self) -> Option<f64> {
        self.links.iter().filter_map(Link::peak_headroom).min_by(f64::total_cmp)
    }
    /// The link that binds. Of several that are full, or were a moment ago, it is the last a request meets: those before it
    /// are full because it is. Else the one that grows to its ceiling first; while nothing is used, the one that lets the
    /// fewest through.
    pub fn binding(&self) -> Option<Binding<'_>> {
        self.full().or_else(|| self.tightest()).or_else(|| self.smallest())
    }
    fn full(&self) -> Option<Binding<'_>> {
        let is_full = |link: &Link| link.used > 0 && link.fullness() >= FULL;
        let full = self.links.iter().filter(|link| is_full(link) || link.lately > 0);
        let last = full.max_by(|a, b| (a.kind, &b.of).cmp(&(b.kind, &a.of)))?;
        let why = if is_full(last) { Why::Full } else { Why::Refused(last.lately) };
        Some(Binding { link: last, why })
    }
    fn tightest(&self) -> Option<Binding<'_>> {
        let all = self.links.iter().filter_map(|link| Some((link, link.headroom()?)));
        let (link, times) = all.min_by(|(a, x), (b, y)| x.total_cmp(y).then_with(|| a.order(b)))?;
        Some(Binding { link, why: Why::Headroom(times) })
    }
    fn smallest(&self) -> Option<Binding<'_>> {
        let all = self.links.iter().filter_map(|link| Some((link, link.requests(&self.mix)?)));
        let (link, requests) = all.min_by(|(a, x), (b, y)| x.cmp(y).then_with(|| a.order(b)))?;
        Some(Binding { link, why: Why::Requests(requests) })
    }
    /// In the order in which a request meets them.
    pub fn sorted(mut self) -> Chain {
        self.links.sort_by(Link::order);
        self
    }
    /// One sentence: how much room there is, and what ends it.
    pub fn sentence(&self) -> String {
        match self.binding() {
            None => "Nothing known bounds the load.".to_owned(),
            Some(Binding { link, why: Why::Full }) => {
                let (name, are) = (link.name(), link.are());
                format!("No room left: {name} {are} full ({} of {}).", link.used, shown(link.ceiling))
            }
            Some(Binding { link, why: Why::Refused(count) }) => {
                let (name, are) = (link.name(), link.are());
                format!("Too little room: {count} found none lately; {name} {are} full at times.")
            }
            Some(Binding { link, why: Why::Headroom(times) }) => {
                format!(
                    "Room for {} the present load; {} would bind first.",
                    crate::draw::times(times),
                    link.name()
                )
            }
            Some(Binding { link, why: Why::Requests(n) }) => {
                format!("Room for {n} {} at once; {} would bind first.", self.mix.words(), link.name())
            }
        }
    }
}

impl Link {
    fn are(&self) -> &'static str {
        match self.kind {
            Kind::Slots | Kind::Descriptors | Kind::EventLoop | Kind::Ports => "are",
            Kind::AcceptQueue | Kind::UpstreamQueue | Kind::Memory => "is",
        }
    }
    fn order(&self, other: &Link) -> std::cmp::Ordering {
        (self.kind, &self.of).cmp(&(other.kind, &other.of))
    }
}

fn shown(ceiling: Option<u64>) -> String {
    ceiling.map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
}
