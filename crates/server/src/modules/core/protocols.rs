//! What several servers at one address say of its protocols: all of it counts, and what looks like a mistake is a warning.

/// PROXY protocol, TLS and HTTP/2, as one `listen` or several name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// `proxy_protocol`
    pub proxy: bool,
    /// `ssl`
    pub ssl: bool,
    /// `http2`
    pub http2: bool,
}

impl Protocols {
    /// Whether all that `other` names is named.
    fn covers(self, other: Protocols) -> bool {
        self.proxy >= other.proxy && self.ssl >= other.ssl && self.http2 >= other.http2
    }
}

/// What was said of an address so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    last: Option<Protocols>,
    changed: bool,
}

impl Said {
    /// One more `listen` names `now`, where all before it named `before` together; whether that is odd. `has_options`: it
    /// has options of the socket, `had_options`: one before it had.
    pub fn again(&mut self, before: Protocols, now: Protocols, has_options: bool, had_options: bool) -> bool {
        let differs = self.last.is_some_and(|last| last != now);
        if !before.covers(now) {
            let odd = (had_options && !has_options) || self.changed || !now.covers(before);
            *self = Said { last: Some(before), changed: true };
            return odd;
        }
        let fewer = !now.covers(before);
        let odd = differs || has_options && (fewer || self.changed);
        *self = Said { last: Some(now), changed: self.changed || fewer };
        odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(all: &[(&str, bool)]) -> Vec<bool> {
        let named = |words: &str| Protocols {
            proxy: words.contains('p'),
            ssl: words.contains('s'),
            http2: words.contains('h'),
        };
        let mut said = Said::default();
        let (mut before, mut had) = (named(all[0].0), all[0].1);
        let next = |(words, has): &(&str, bool)| {
            let now = named(words);
            let odd = said.again(before, now, *has, had || *has);
            before = Protocols {
                proxy: before.proxy | now.proxy,
                ssl: before.ssl | now.ssl,
                http2: before.http2 | now.http2,
            };
            had |= has;
            odd
        };
        all[1..].iter().map(next).collect()
    }

    #[test]
    fn what_is_odd() {
        assert_eq!(odd(&[("s", false), ("s", false)]), [false]);
        assert_eq!(odd(&[("s", false), ("", false), ("", false)]), [false, false]);
        assert_eq!(odd(&[("", false), ("s", false), ("s", false)]), [false, true]);
        assert_eq!(odd(&[("", true), ("s", false)]), [true]);
        assert_eq!(odd(&[("s", false), ("p", false)]), [true]);
        assert_eq!(odd(&[("s", false), ("", true)]), [true]);
    }
}
