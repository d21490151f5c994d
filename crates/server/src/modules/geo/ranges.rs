//! Ranges of IPv4 addresses: a later one may lie in an earlier one, but not reach over its ends.
//!
//! nginx judges each block of 65,536 addresses for itself, and so is it done here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::values::Number;

/// First and last address within a block, and value.
type Range = (u16, u16, Number);

/// While they are read: the ranges of each block, in order.
#[derive(Default)]
pub struct Ranges {
    /// For addresses in no range.
    pub default: Option<Number>,
    blocks: BTreeMap<u16, Vec<Range>>,
}

/// The parts of a range in the blocks it reaches into.
fn parts(start: u32, end: u32) -> impl Iterator<Item = (u16, u16, u16)> {
    let (first, last) = ((start >> 16) as u16, (end >> 16) as u16);
    (first..=last).map(move |high| {
        let from = if high == first { start as u16 } else { 0 };
        let to = if high == last { end as u16 } else { u16::MAX };
        (high, from, to)
    })
}

impl Ranges {
    /// The value of the same range, if it was there; the range that this one overlaps.
    pub fn add(
        &mut self,
        start: u32,
        end: u32,
        value: Number,
    ) -> Result<Option<Number>, (Ipv4Addr, Ipv4Addr)> {
        let mut same = None;
        for (high, from, to) in parts(start, end) {
            let ranges = self.blocks.entry(high).or_default();
            let full = |low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            match put(ranges, from, to, value) {
                Ok(old) => same = old.or(same),
                Err((from, to)) => return Err((full(from), full(to))),
            }
        }
        Ok(same)
    }
    /// Whether all of it was there.
    pub fn delete(&mut self, start: u32, end: u32) -> bool {
        let mut all = true;
        for (high, from, to) in parts(start, end) {
            let ranges = self.blocks.entry(high).or_default();
            let at = ranges.iter().position(|(start, end, _)| (*start, *end) == (from, to));
            all &= at.map(|at| ranges.remove(at)).is_some();
        }
        all
    }
    pub fn build(self) -> Found {
        let (mut starts, mut ends, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (high, ranges) in self.blocks {
            for (from, to, value) in ranges {
                let full = |low: u16| u32::from(high) << 16 | u32::from(low);
                // Ranges that reach over blocks become whole again.
                if values.last() == Some(&value) && ends.last().copied() == full(from).checked_sub(1) {
                    ends.pop();
                } else {
                    starts.push(full(from));
                    values.push(value);
                }
                ends.push(full(to));
            }
        }
        let default = self.default;
        Found { starts: starts.into(), ends: ends.into(), values: values.into(), default }
    }
}

/// Puts a range among those of its block, splitting the one it lies in.
fn put(ranges: &mut Vec<Range>, from: u16, to: u16, value: Number) -> Result<Option<Number>, (u16, u16)> {
    // The last one that does not begin behind it.
    let after = ranges.partition_point(|(start, _, _)| *start <= to);
    let Some(i) = after.checked_sub(1).filter(|i| ranges[*i].1 >= from) else {
        ranges.insert(after, (from, to, value));
        return Ok(None);
    };
    let (start, end, old) = ranges[i];
    if (start, end) == (from, to) {
        ranges[i].2 = value;
        return Ok(Some(old));
    }
    if start > from || end < to {
        return Err((start, end));
    }
    let before = (start < from).then(|| (start, from - 1, old));
    let behind = (to < end).then(|| (to + 1, end, old));
    ranges.splice(i..=i, before.into_iter().chain([(from, to, value)]).chain(behind));
    Ok(None)
}

/// Laid out to be searched.
pub struct Found {
    starts: Box<[u32]>,
    ends: Box<[u32]>,
    values: Box<[Number]>,
    default: Option<Number>,
}

impl Found {
    pub fn find(&self, address: u32) -> Option<Number> {
        let i = self.starts.partition_point(|start| *start <= address).checked_sub(1);
        let i = i.filter(|i| self.ends.get(*i).is_some_and(|end| address <= *end));
        i.and_then(|i| self.values.get(i)).copied().or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn later_ranges_lie_in_earlier_ones() {
        let mut ranges = Ranges::default();
        let ip = |text: &str| text.parse::<Ipv4Addr>().map_or(0, u32::from);
        let mut add = |start, end, value| ranges.add(ip(start), ip(end), value);
        assert_eq!(add("10.0.0.0", "10.3.255.255", 1), Ok(None));
        assert_eq!(add("10.1.0.5", "10.1.0.9", 2), Ok(None));
        assert_eq!(add("10.1.0.5", "10.1.0.9", 3), Ok(Some(2)));
        assert_eq!(
            add("10.1.0.9", "10.1.0.20", 4),
            Err((Ipv4Addr::new(10, 1, 0, 10), Ipv4Addr::new(10, 1, 255, 255)))
        );
        assert!(!ranges.delete(ip("10.1.0.1"), ip("10.1.0.2")));
        assert!(ranges.delete(ip("10.1.0.5"), ip("10.1.0.9")));
        ranges.default = Some(7);
        let found = ranges.build();
        let values =
            ["10.0.0.0", "10.1.0.4", "10.1.0.7", "10.1.0.10", "10.4.0.0"].map(|text| found.find(ip(text)));
        assert_eq!(values, [Some(1), Some(1), Some(7), Some(1), Some(7)]);
    }

    proptest! {
        /// The last range that was taken counts.
        #[test]
        fn finds_what_a_list_would(list in prop::collection::vec((0u32..0x30000, 0u32..0x20000, 0u32..5), 0..30), probes in prop::collection::vec(0u32..0x50000, 20)) {
            let mut ranges = Ranges::default();
            let mut taken: Vec<(u32, u32, u32)> = Vec::new();
            for (start, length, value) in list {
                if ranges.clone_and_add(start, start + length, value) {
                    taken.push((start, start + length, value));
                }
            }
            let found = ranges.build();
            for ip in probes {
                let want = taken.iter().rev().find(|(start, end, _)| (*start..=*end).contains(&ip));
                prop_assert_eq!(found.find(ip), want.map(|(_, _, value)| *value));
            }
        }
    }
    impl Ranges {
        /// Adds a range as a whole or not at all.
        fn clone_and_add(&mut self, start: u32, end: u32, value: Number) -> bool {
            let before = self.blocks.clone();
            let added = self.add(start, end, value).is_ok();
            if !added {
                self.blocks = before;
            }
            added
        }
    }
}
