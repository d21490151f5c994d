//! The names nginx knows, to tell a directive we lack from one that is misspelt.

use crate::{
    EVENTS, HTTP, IF_LOCATION, IF_SERVER, LIMIT_EXCEPT, LOCATION, MAIN, SERVER, STREAM, STREAM_SERVER,
    STREAM_UPSTREAM, UPSTREAM, Within,
};

/// name, module, contexts, `commercial`; sorted by name. Looked at only when something is wrong.
const TABLE: &str = include_str!("nginx-directives.tsv");

/// A directive of nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The directive.
    pub name: &'static str,
    /// The module it belongs to.
    pub module: &'static str,
    /// Where it may stand, as in nginx's documentation, separated by commas.
    pub contexts: &'static str,
    /// Whether only the commercial edition has it.
    pub commercial: bool,
}

impl Known {
    /// Every directive in nginx's documentation; one that exists in several modules comes several times.
    pub fn all() -> impl Iterator<Item = Known> {
        TABLE.lines().filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Known {
                name: fields.next()?,
                module: fields.next()?,
                contexts: fields.next()?,
                commercial: fields.next() == Some("commercial"),
            })
        })
    }

    /// Whether nginx allows it in a block of this kind.
    pub fn allowed_in(&self, here: Within) -> bool {
        let stream = self.module.starts_with("ngx_stream_");
        self.contexts.split(',').any(|context| within(context, stream).allows(here))
    }
}

fn within(context: &str, stream: bool) -> Within {
    match (context, stream) {
        ("main", _) => MAIN,
        ("events", _) => EVENTS,
        ("http", _) => HTTP,
        ("stream", _) => STREAM,
        ("server", false) => SERVER,
        ("server", true) => STREAM_SERVER,
        ("upstream", false) => UPSTREAM,
        ("upstream", true) => STREAM_UPSTREAM,
        ("location", _) => LOCATION,
        ("if", _) => IF_SERVER | IF_LOCATION,
        ("if in location", _) => IF_LOCATION,
        ("limit_except", _) => LIMIT_EXCEPT,
        _ => Within::default(),
    }
}

/// nginx's directives of this name.
pub(crate) fn known(name: &str) -> impl Iterator<Item = Known> + '_ {
    Known::all().filter(move |known| known.name == name)
}

/// The one that was most likely meant: allowed here, rather free than paid for.
pub(crate) fn best(found: impl Iterator<Item = Known>, here: Within) -> Option<Known> {
    found.min_by_key(|known| (!known.allowed_in(here), known.commercial))
}

/// The name nearest to a misspelt one, if one is near enough to be it.
pub(crate) fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let most = (name.len() / 3).clamp(1, 3);
    let near = names.map(|other| (distance(name.as_bytes(), other.as_bytes()), other)).min()?;
    (near.0 <= most).then_some(near.1)
}

/// Edits from one to the other: letters put in, left out, replaced, or swapped with their neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(Known::all().count() > 900);
        let listen = best(known("listen"), STREAM_SERVER).unwrap();
        assert_eq!((listen.module, listen.commercial), ("ngx_stream_core_module", false));
        assert!(best(known("health_check"), LOCATION).unwrap().commercial);
        assert_eq!(best(known("no_such"), MAIN), None);
    }

    #[test]
    fn a_slip_of_the_finger_is_near() {
        let names = || ["proxy_pass", "proxy_bind", "root", "return"].into_iter();
        assert_eq!(nearest("proxy_psas", names()), Some("proxy_pass"));
        assert_eq!(nearest("proxypass", names()), Some("proxy_pass"));
        assert_eq!(nearest("rot", names()), Some("root"));
        assert_eq!(nearest("something", names()), None);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"ab", b"ba"), 1);
    }
}
