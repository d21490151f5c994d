//! Networks within networks: the smallest one that an address is in counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::values::Number;
use crate::network::Network;

/// While they are read: by address and mask, so in order, and what lies in another behind it. Long lists are made by
/// programs and in order already, which a tree takes quickly.
#[derive(Default)]
pub struct Networks {
    v4: BTreeMap<(u32, u32), Number>,
    v6: BTreeMap<(u128, u128), Number>,
}

impl Networks {
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
    /// The value that was there.
    pub fn add(&mut self, network: Network, value: Number) -> Option<Number> {
        match network {
            Network::V4(net, mask) => self.v4.insert((net, mask), value),
            Network::V6(net, mask) => self.v6.insert((net, mask), value),
            Network::Unix => None,
        }
    }
    /// Whether it was there.
    pub fn delete(&mut self, network: Network) -> bool {
        match network {
            Network::V4(net, mask) => self.v4.remove(&(net, mask)).is_some(),
            Network::V6(net, mask) => self.v6.remove(&(net, mask)).is_some(),
            Network::Unix => false,
        }
    }
    pub fn build(self) -> Found {
        let v4 = self.v4.into_iter().map(|((net, mask), value)| (net, net | !mask, value));
        let v6 = self.v6.into_iter().map(|((net, mask), value)| (net, net | !mask, value));
        Found { v4: flat(v4, |n| n.checked_add(1)), v6: flat(v6, |n| n.checked_add(1)) }
    }
}

/// Laid out to be searched: where each stretch of addresses begins, and its value.
pub struct Found {
    v4: Stretches<u32>,
    v6: Stretches<u128>,
}
struct Stretches<A> {
    starts: Box<[A]>,
    values: Box<[Option<Number>]>,
}

impl Found {
    pub fn find(&self, ip: IpAddr) -> Option<Number> {
        match ip {
            IpAddr::V4(ip) => self.v4.find(ip.into()),
            IpAddr::V6(ip) => self.v6.find(ip.into()),
        }
    }
}
impl<A: Ord + Copy> Stretches<A> {
    fn find(&self, address: A) -> Option<Number> {
        let i = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        *self.values.get(i)?
    }
}

/// Of networks (first address, last address, value) in order, which lie in one another (the outer ones come first) or apart.
fn flat<A: Ord + Copy>(
    networks: impl Iterator<Item = (A, A, Number)>,
    after: impl Fn(A) -> Option<A>,
) -> Stretches<A> {
    let mut out: Vec<(A, Option<Number>)> = Vec::new();
    let mut put = |start, value| {
        // What begins where another begins hides it.
        if out.last().is_some_and(|(last, _)| *last == start) {
            out.pop();
        }
        if out.last().is_none_or(|(_, last)| *last != value) {
            out.push((start, value));
        }
    };
    let mut open: Vec<(A, Number)> = Vec::new();
    let close = |open: &mut Vec<(A, Number)>, put: &mut dyn FnMut(A, Option<Number>)| {
        if let Some((end, _)) = open.pop()
            && let Some(next) = after(end)
        {
            put(next, open.last().map(|(_, value)| *value));
        }
    };
    for (start, end, value) in networks {
        while open.last().is_some_and(|(end, _)| *end < start) {
            close(&mut open, &mut put);
        }
        put(start, Some(value));
        open.push((end, value));
    }
    while !open.is_empty() {
        close(&mut open, &mut put);
    }
    let (starts, values): (Vec<A>, Vec<_>) = out.into_iter().unzip();
    Stretches { starts: starts.into(), values: values.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_list_would(list in prop::collection::vec((any::<u32>(), 0u32..33, 0u32..4), 0..40), probes: Vec<u32>) {
            let mut networks = Networks::default();
            let mut known: HashMap<(u32, u32), u32> = HashMap::new();
            for (address, bits, value) in list {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                networks.add(Network::V4(address & mask, mask), value);
                known.insert((address & mask, mask), value);
            }
            let found = networks.build();
            let near = known.keys().flat_map(|(net, mask)| [*net, net | !mask, net.wrapping_sub(1), (net | !mask).wrapping_add(1)]);
            for ip in probes.into_iter().chain(near) {
                let fitting = known.iter().filter(|((net, mask), _)| ip & mask == *net);
                let want = fitting.max_by_key(|((_, mask), _)| *mask).map(|(_, value)| *value);
                prop_assert_eq!(found.find(IpAddr::V4(ip.into())), want);
            }
        }
    }
}
