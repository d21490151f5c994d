//! Host names with wildcards: `*.example.com`, `.example.com`, `www.example.*`.

use crate::hash::Table;

/// Values by names with an asterisk at one end.
#[derive(Clone, Debug)]
pub struct Hosts<V> {
    /// By what follows the asterisk, dot first.
    leading: Table<V>,
    /// By what precedes the asterisk, dot last.
    trailing: Table<V>,
}
impl<V> Default for Hosts<V> {
    fn default() -> Self {
        Hosts { leading: Table::default(), trailing: Table::default() }
    }
}

/// What became of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    Fresh,
    /// It was there.
    Conflict,
    /// It is no name.
    Invalid,
}

/// Adds a text without wildcards.
pub fn add_exact<V>(text: &[u8], value: V, to: &mut Table<V>) -> Added {
    if to.contains_key(text) {
        return Added::Conflict;
    }
    to.insert(text.into(), value);
    Added::Fresh
}

/// Where names without wildcards go.
pub trait Exactly<V> {
    /// Adds a text that is not there yet.
    fn add_exact(&mut self, text: &[u8], value: V) -> Added;
}
impl<V> Exactly<V> for Table<V> {
    fn add_exact(&mut self, text: &[u8], value: V) -> Added {
        add_exact(text, value, self)
    }
}

impl<V: Clone> Hosts<V> {
    /// Whether there is no name with an asterisk.
    pub fn is_empty(&self) -> bool {
        self.leading.is_empty() && self.trailing.is_empty()
    }
    /// Adds a name in lower case; one without a wildcard goes to `exact`.
    pub fn add(&mut self, name: &[u8], value: V, exact: &mut impl Exactly<V>) -> Added {
        let stars = name.iter().filter(|b| **b == b'*').count();
        if stars > 1 || name.windows(2).any(|w| w == b"..") {
            return Added::Invalid;
        }
        match name {
            [b'.', rest @ ..] if !rest.is_empty() && stars == 0 => {
                // `.example.com` is `example.com` and `*.example.com`.
                if self.leading.contains_key(name) {
                    return Added::Conflict;
                }
                match exact.add_exact(rest, value.clone()) {
                    Added::Fresh => add_exact(name, value, &mut self.leading),
                    other => other,
                }
            }
            [b'*', b'.', _, ..] => add_exact(&name[1..], value, &mut self.leading),
            [_, .., b'.', b'*'] => add_exact(&name[..name.len() - 1], value, &mut self.trailing),
            _ if stars > 0 => Added::Invalid,
            _ => exact.add_exact(name, value),
        }
    }
    /// The longest name with a leading asterisk, else the longest with a trailing one.
    pub fn find(&self, host: &[u8]) -> Option<&V> {
        if self.leading.is_empty() && self.trailing.is_empty() {
            return None;
        }
        let dots = || memchr::memchr_iter(b'.', host);
        let leading = dots().find_map(|at| self.leading.get(&host[at..]));
        leading.or_else(|| dots().rev().find_map(|at| self.trailing.get(&host[..=at])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> (Hosts<usize>, Table<usize>) {
        let (mut hosts, mut exact) = (Hosts::default(), Table::default());
        for (i, name) in names.iter().enumerate() {
            assert_eq!(hosts.add(name.as_bytes(), i, &mut exact), Added::Fresh, "{name}");
        }
        (hosts, exact)
    }

    #[test]
    fn the_longest_wildcard_wins_and_leading_ones_come_first() {
        let (hosts, exact) = table(&["*.com", "*.example.com", "www.example.*", ".both.org", "www.*"]);
        let find = |host: &str| hosts.find(host.as_bytes()).copied();
        assert_eq!(find("a.com"), Some(0));
        assert_eq!(find("a.b.example.com"), Some(1));
        assert_eq!(find("example.com"), Some(0));
        assert_eq!(find("www.example.net"), Some(2));
        assert_eq!(find("www.example.com"), Some(1));
        assert_eq!(find("x.both.org"), Some(3));
        assert_eq!(find("both.org"), None);
        assert_eq!(exact.get(&b"both.org"[..]), Some(&3));
        assert_eq!(find("www.other.net"), Some(4));
        assert_eq!(find("nothing"), None);
        assert_eq!(find(".com"), Some(0));
    }

    #[test]
    fn a_name_that_was_there_is_no_part_of_another() {
        let (mut hosts, mut exact) = table(&["*.b", "c"]);
        assert_eq!(hosts.add(b".b", 2, &mut exact), Added::Conflict);
        assert_eq!(hosts.add(b".c", 2, &mut exact), Added::Conflict);
        assert_eq!((exact.get(&b"b"[..]), hosts.find(b"x.c")), (None, None));
    }

    /// What a name with an asterisk matches, said without tables.
    fn matches(name: &str, host: &str) -> bool {
        match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(end), _) => host.ends_with(end),
            (_, Some(start)) => host.starts_with(start),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn tables_find_what_a_list_would(
            names in proptest::collection::vec("(\\*\\.[ab](\\.[ab]){0,2})|([ab](\\.[ab]){0,2}\\.\\*)", 0..8),
            host in "[ab](\\.[ab]){0,4}",
        ) {
            let (mut hosts, mut exact) = (Hosts::default(), Table::default());
            for name in &names {
                hosts.add(name.as_bytes(), name.clone(), &mut exact);
            }
            let matching = |leading: bool| {
                let fitting = names.iter().filter(|n| n.starts_with('*') == leading && matches(n, &host));
                fitting.max_by_key(|n| n.len()).cloned()
            };
            let want = matching(true).or_else(|| matching(false));
            proptest::prop_assert_eq!(hosts.find(host.as_bytes()).cloned(), want);
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let (mut hosts, mut exact) = table(&["a.com", "*.b.com"]);
        for (name, why) in [
            ("*", Added::Invalid),
            ("*.a.*", Added::Invalid),
            ("a*.com", Added::Invalid),
            ("a..com", Added::Invalid),
            ("a.com", Added::Conflict),
            (".a.com", Added::Conflict),
            ("*.b.com", Added::Conflict),
        ] {
            assert_eq!(hosts.add(name.as_bytes(), 9, &mut exact), why, "{name}");
        }
    }
}
