//! Settings and counters of the kernel. Those of the network are those of the reader's network namespace.

use std::fs;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the kernel allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// net.core.somaxconn
    pub somaxconn: Option<u32>,
    /// net.ipv4.ip_local_port_range
    pub ports: Option<(u16, u16)>,
    /// How many of them net.ipv4.ip_local_reserved_ports takes away.
    pub reserved_ports: u32,
    /// fs.file-max
    pub file_max: Option<u64>,
    /// Files open on the machine, as the kernel counts them against `file_max`.
    pub files: Option<u64>,
    /// fs.nr_open
    pub nr_open: Option<u64>,
}

/// What the kernel counts, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Connections lost because an accept queue was full.
    pub listen_overflows: u64,
    /// Connections lost on their way into one, for that or another reason.
    pub listen_drops: u64,
    /// SYN cookies sent: the queue before the accept queue was full.
    pub syn_cookies: u64,
}

impl Settings {
    /// Reads them.
    pub fn read() -> Settings {
        let range: Vec<u16> = numbers("/proc/sys/net/ipv4/ip_local_port_range");
        let ports = range.first().copied().zip(range.get(1).copied());
        let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
        Settings {
            somaxconn: sys::proc::somaxconn(),
            ports,
            reserved_ports: ports.map_or(0, |range| reserved_in(&reserved, range)),
            file_max: sys::proc::file_max(),
            files: numbers("/proc/sys/fs/file-nr").first().copied(),
            nr_open: sys::proc::nr_open(),
        }
    }

    /// How many local ports there are towards one destination.
    pub fn local_ports(&self) -> Option<u64> {
        let (first, last) = self.ports?;
        let all = u64::from(last.checked_sub(first)?) + 1;
        Some(all.saturating_sub(u64::from(self.reserved_ports)))
    }
}

impl Counters {
    /// Reads them.
    pub fn read() -> Counters {
        Counters::of(&fs::read_to_string("/proc/net/netstat").unwrap_or_default())
    }

    /// Names stand in one line, numbers in the next.
    fn of(netstat: &str) -> Counters {
        let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return Counters::default() };
        let mut counters = Counters::default();
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            let place = match name {
                "ListenOverflows" => &mut counters.listen_overflows,
                "ListenDrops" => &mut counters.listen_drops,
                "SyncookiesSent" => &mut counters.syn_cookies,
                _ => continue,
            };
            *place = value.parse().unwrap_or(0);
        }
        counters
    }

    /// What was added since an earlier reading.
    pub fn since(&self, before: &Counters) -> Counters {
        Counters {
            listen_overflows: self.listen_overflows.saturating_sub(before.listen_overflows),
            listen_drops: self.listen_drops.saturating_sub(before.listen_drops),
            syn_cookies: self.syn_cookies.saturating_sub(before.syn_cookies),
        }
    }
}

fn numbers<T: FromStr>(path: &str) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// How many of a list like `8080,40000-40099` lie within a range.
fn reserved_in(list: &str, (first, last): (u16, u16)) -> u32 {
    let count = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        let (from, to) = (from.max(first), to.min(last));
        Some((u32::from(to) + 1).saturating_sub(u32::from(from)))
    };
    list.trim().split(',').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 3 7 9\nIpExt: a\nIpExt: 1\n";
        let counters = Counters { listen_overflows: 7, listen_drops: 9, syn_cookies: 3 };
        assert_eq!(Counters::of(text), counters);
        assert_eq!(Counters::of("TcpExt: x"), Counters::default());
        let later = Counters { listen_overflows: 8, ..counters };
        assert_eq!(later.since(&counters), Counters { listen_overflows: 1, ..Counters::default() });
    }

    #[test]
    fn reserved_ports_count_where_they_matter() {
        assert_eq!(reserved_in("8080,40000-40099,60999-61005", (32768, 60999)), 101);
        assert_eq!(reserved_in("", (1, 2)), 0);
        let settings = Settings { ports: Some((32768, 60999)), reserved_ports: 32, ..Settings::default() };
        assert_eq!(settings.local_ports(), Some(28200));
    }

    #[test]
    fn this_machine_has_settings() {
        let settings = Settings::read();
        assert!(settings.somaxconn.is_some() && settings.local_ports() > Some(0));
        assert!(settings.files > Some(0) && settings.nr_open.is_some());
    }
}
