//! How often links refused somebody lately: from one look at them to the next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use capacity::{Kind, Link};

/// What happened within this time is told, at least.
const SPAN: Duration = Duration::from_secs(10);
/// Looks are remembered when they are so far apart.
const APART: Duration = Duration::from_secs(1);
/// What was counted longer ago does not say when the rest happened.
const TOO_OLD: Duration = Duration::from_secs(90);

/// What the last looks saw.
#[derive(Default)]
pub struct Looks(VecDeque<Look>);

struct Look {
    at: Instant,
    refused: Vec<(Kind, String, u64)>,
}

impl Looks {
    /// Says of each link how many found no place since the look `SPAN` ago, or the first one.
    pub fn compare(&mut self, now: Instant, links: &mut [Link]) {
        self.forget(now);
        if let Some(before) = self.0.front() {
            for link in links.iter_mut() {
                link.lately = before.refused(link).map_or(0, |count| link.refused.saturating_sub(count));
            }
        }
        if self.0.back().is_none_or(|last| now >= last.at + APART) {
            let refused = links.iter().map(|link| (link.kind, link.of.clone(), link.refused)).collect();
            self.0.push_back(Look { at: now, refused });
        }
    }
    fn forget(&mut self, now: Instant) {
        while self.0.get(1).is_some_and(|next| now >= next.at + SPAN) {
            self.0.pop_front();
        }
        if self.0.front().is_some_and(|first| now >= first.at + TOO_OLD) {
            self.0.pop_front();
        }
    }
}

impl Look {
    fn refused(&self, link: &Link) -> Option<u64> {
        let same = |(kind, of, _): &&(Kind, String, u64)| *kind == link.kind && *of == link.of;
        self.refused.iter().find(same).map(|(.., count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_within_ten_seconds_is_told() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let mut at = |seconds, refused| {
            let mut links = [Link { refused, ..Link::new(Kind::Slots, Some(8), "") }];
            looks.compare(start + Duration::from_secs(seconds), &mut links);
            links[0].lately
        };
        assert_eq!(at(0, 7), 0, "nobody knows when those were");
        assert_eq!((at(1, 9), at(5, 12)), (2, 5));
        assert_eq!(at(11, 12), 3, "since the look ten seconds ago");
        assert_eq!(at(16, 12), 0);
        assert_eq!(at(60, 14), 2, "who looks seldom hears of it, too");
        assert_eq!(at(1000, 20), 0, "but not of yesterday");
        assert_eq!(at(1001, 21), 1);
    }
}
