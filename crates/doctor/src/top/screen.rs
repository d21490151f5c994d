//! One look as text: 80 columns, readable without colour; on a terminal as wide as that, and no higher.

use capacity::{FULL, Kind, Link, NEARLY_FULL, draw};

use super::room::{Columns, Size, cut};
use super::seen::{Peer, Seen, Shown};
use crate::report::text::Colour;

/// How much is shown.
#[derive(Clone, Copy)]
struct Detail {
    /// Of each kind of link all, or the fullest alone.
    links: bool,
    /// Servers of upstreams.
    peers: usize,
    /// Lines about the load.
    load: usize,
    /// Lines about what to change.
    advice: usize,
    /// Empty lines in between.
    apart: bool,
}

/// From everything to the least.
const DETAILS: [Detail; 6] = [
    Detail { links: true, peers: usize::MAX, load: usize::MAX, advice: 4, apart: true },
    Detail { links: true, peers: 8, load: usize::MAX, advice: 4, apart: true },
    Detail { links: false, peers: 1, load: usize::MAX, advice: 4, apart: true },
    Detail { links: false, peers: 0, load: usize::MAX, advice: 2, apart: true },
    Detail { links: false, peers: 0, load: usize::MAX, advice: 1, apart: false },
    Detail { links: false, peers: 0, load: 1, advice: 1, apart: false },
];

/// As much as there is room for; above it that the server is lost, if it is.
pub fn screen(seen: &Seen, lost: Option<&str>, colour: Colour, size: Size) -> String {
    let page = Page { seen, lost, colour, columns: Columns::of(size.columns) };
    let fits = |detail: &Detail| page.lines(*detail).len() <= size.rows;
    let mut detail = *DETAILS.iter().find(|detail| fits(detail)).unwrap_or(&DETAILS[DETAILS.len() - 1]);
    if detail.peers > 0 && detail.peers < usize::MAX {
        // What is left is theirs.
        detail.peers += size.rows - page.lines(detail).len();
    }
    let mut lines = page.lines(detail);
    lines.truncate(size.rows);
    lines.join("\n") + "\n"
}

struct Page<'a> {
    seen: &'a Seen,
    lost: Option<&'a str>,
    colour: Colour,
    columns: Columns,
}

impl Page<'_> {
    fn lines(&self, detail: Detail) -> Vec<String> {
        let mut load = self.load();
        load.truncate(detail.load);
        let mut advice = self.advice();
        advice.truncate(detail.advice);
        let parts = [self.head(), self.chain(detail.links), load, self.peers(detail.peers), advice];
        let mut lines = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if detail.apart && !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(part);
        }
        lines
    }
    fn line(&self, text: &str) -> String {
        cut(text.trim_end(), self.columns.all)
    }
    fn head(&self) -> Vec<String> {
        let (seen, all) = (self.seen, self.columns.all);
        let title = format!("plimsoll {}, process {}", seen.version, seen.pid);
        let time = jiff::Timestamp::from_second(i64::try_from(seen.time).unwrap_or(0)).unwrap_or_default();
        let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string();
        let width = all.saturating_sub(title.chars().count());
        let mut head = vec![self.line(&format!("{title}{time:>width$}"))];
        head.extend(self.lost.map(|lost| self.colour.paint("1;31", &self.line(lost))));
        head.push(self.colour.paint("1", &self.line(&seen.sentence)));
        head
    }
    fn chain(&self, all: bool) -> Vec<String> {
        let heading = self.columns.numbers("now", "peak", "ceiling");
        let heading = format!("{:width$}{heading}", "", width = self.columns.name);
        let shown = |link: &&Shown| all || self.stands_for_its_kind(link);
        let rows = self.seen.links.iter().filter(shown).map(|link| self.link(link));
        std::iter::once(self.line(&heading)).chain(rows).collect()
    }
    fn binds(&self, link: &Link) -> bool {
        self.seen.binding.as_ref().is_some_and(|bound| bound.kind == link.kind && bound.of == link.of)
    }
    /// Of several links of a kind the one that binds, or the fullest.
    fn stands_for_its_kind(&self, shown: &Shown) -> bool {
        let kind =
            self.seen.links.iter().map(|shown| &shown.link).filter(|link| link.kind == shown.link.kind);
        let weight = |link: &Link| (self.binds(link), link.fullness());
        let heavier =
            |a: &Link, b: &Link| weight(a).partial_cmp(&weight(b)).is_some_and(|order| order.is_gt());
        let worst = kind.reduce(|worst, link| if heavier(link, worst) { link } else { worst });
        worst.is_some_and(|worst| worst.of == shown.link.of)
    }
    fn link(&self, shown: &Shown) -> String {
        let (link, columns) = (&shown.link, self.columns);
        let numbers = columns.numbers(
            &amount(link, Some(link.used)),
            &amount(link, Some(link.peak)),
            &amount(link, link.ceiling),
        );
        let bar = match columns.bar {
            0 => String::new(),
            width => format!(" {}", draw::bar(link.fullness(), width)),
        };
        let binds = if self.binds(link) { " <- binds" } else { "" };
        let name = label(link, columns.name - 1);
        let row = self.line(&format!("{name:width$}{numbers}{bar}{binds}", width = columns.name));
        match link.fullness() {
            part if part >= FULL => self.colour.paint("1;31", &row),
            part if part >= NEARLY_FULL => self.colour.paint("33", &row),
            _ => row,
        }
    }
    fn load(&self) -> Vec<String> {
        let (seen, seats) = (self.seen, &self.seen.seats);
        let clients = seats.reading + seats.writing + seats.waiting;
        let lag = seen.threads.iter().map(|thread| thread.lag).max().unwrap_or(0);
        let busy: Vec<String> =
            seen.threads.iter().map(|t| format!("{:.2}", t.busy as f64 / 1000.0)).collect();
        let mut lines = vec![
            format!("requests   {} a second, {} refused", seen.now.requests, seen.now.refused),
            format!(
                "clients    {clients}: {} reading, {} writing, {} waiting",
                seats.reading, seats.writing, seats.waiting
            ),
            format!("upstreams  {} at work, {} at rest", seats.upstream, seats.upstream_idle),
            format!("loops      {} busy, the longest turn {:.1} ms", busy.join(" "), lag as f64 / 1000.0),
        ];
        let refused: Vec<String> = seen
            .refusals
            .iter()
            .filter(|refusal| refusal.count > 0)
            .map(|refusal| format!("{} {}", refusal.cause.replace('_', " "), refusal.count))
            .collect();
        if !refused.is_empty() {
            lines.push(format!("refused    {}", refused.join(", ")));
        }
        lines.iter().map(|text| self.line(text)).collect()
    }
    fn peers(&self, most: usize) -> Vec<String> {
        let groups = self.seen.upstreams.iter();
        let all: Vec<(&str, &Peer)> =
            groups.flat_map(|u| u.peers.iter().map(move |peer| (u.name.as_str(), peer))).collect();
        if all.is_empty() || most == 0 {
            return Vec::new();
        }
        let width = (self.columns.all.saturating_sub(44)).clamp(16, 72);
        let head = format!(
            "{:width$}{:>9}{:>7}{:>8}{:>8}{:>8}",
            "upstream", "at work", "fails", "p50 ms", "p90", "p99"
        );
        let mut lines = vec![head];
        lines.extend(all.iter().take(most).map(|(group, peer)| row_of_peer(group, peer, width)));
        if all.len() > most {
            lines.push(format!("and {} more", all.len() - most));
        }
        lines.iter().map(|text| self.line(text)).collect()
    }
    /// What raises the link that binds, and what is wrong.
    fn advice(&self) -> Vec<String> {
        let bound = self.seen.links.iter().find(|shown| self.binds(&shown.link));
        let raise = bound.and_then(|shown| shown.raise.first()).map(|change| {
            format!("raise it   {}   ({}, {})", change.setting, change.place, change.effect.words())
        });
        let wrong = self.seen.findings.iter().take(3);
        let wrong = wrong.map(|f| format!("{:<11}{}", f.severity.name().to_lowercase(), f.title));
        raise.into_iter().chain(wrong).map(|text| self.line(&text)).collect()
    }
}

/// Its name; of a long address the end is shown.
fn label(link: &Link, width: usize) -> String {
    let kind = match (link.kind, link.of.as_str()) {
        (kind, "") => return kind.name().to_owned(),
        (Kind::AcceptQueue, _) => "accept",
        (Kind::UpstreamQueue, _) => "upstream",
        (kind, _) => kind.name(),
    };
    let (room, length) = (width - kind.len() - 1, link.of.chars().count());
    match length > room {
        true => format!("{kind} …{}", link.of.chars().skip(length - room + 1).collect::<String>()),
        false => format!("{kind} {}", link.of),
    }
}

fn amount(link: &Link, amount: Option<u64>) -> String {
    match (link.kind, amount) {
        (_, None) => "-".to_owned(),
        (Kind::Memory, Some(bytes)) => draw::bytes(bytes).replace(" bytes", " B"),
        (Kind::EventLoop, Some(busy)) => format!("{:.2}", busy as f64 / 1000.0),
        (_, Some(n)) => n.to_string(),
    }
}

/// With its group's, of which the beginning is enough.
fn name_of_peer(group: &str, peer: &str, width: usize) -> String {
    if group.contains(peer) || peer.contains(group) {
        return peer.to_owned();
    }
    match width.checked_sub(peer.chars().count() + 1) {
        Some(room) if room > 3 => format!("{} {peer}", cut(group, room)),
        _ => format!("{group} {peer}"),
    }
}

fn row_of_peer(group: &str, peer: &Peer, width: usize) -> String {
    let times = peer.latency.as_ref().filter(|latency| latency.count > 0);
    let times = times.map(|t| format!("{:>8.1}{:>8.1}{:>8.1}", t.p50, t.p90, t.p99)).unwrap_or_default();
    // Of a long name the state is still seen.
    let up = if peer.up { "" } else { " down" };
    let name = cut(&name_of_peer(group, &peer.name, width - 1 - up.len()), width - 1 - up.len()) + up;
    format!("{name:width$}{:>9}{:>7}{times}", peer.connections, peer.fails)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen() -> Seen {
        let json = r#"{"version":"0.1.0","pid":812,"time":1700000000,"sentence":"No room left: slots is full (1536 of 1536).",
            "binding":{"kind":"slots","of":"","why":"full"},"more":1,
            "links":[{"kind":"accept_queue","of":"0.0.0.0:80","name":"accept queue 0.0.0.0:80","ceiling":511,"fixed":0,
                      "used":3,"peak":3,"refused":0,"each":null,"set_by":"","requests":null,"raise":[]},
                     {"kind":"slots","of":"","name":"slots","ceiling":1536,"fixed":0,"used":1536,"peak":1536,"refused":9,
                      "each":null,"set_by":"","requests":768,"raise":[]},
                     {"kind":"event_loop","of":"","name":"event loops","ceiling":2000,"fixed":0,"used":210,"peak":210,
                      "refused":0,"each":null,"set_by":"","requests":null,"raise":[]},
                     {"kind":"memory","of":"","name":"memory","ceiling":2040109465,"fixed":0,"used":31457280,"peak":31457280,
                      "refused":0,"each":null,"set_by":"","requests":null,"raise":[]}],
            "seats":{"total":1536,"reading":12,"writing":280,"waiting":19,"upstream":1225,"upstream_idle":0},
            "threads":[{"busy":110,"lag":1500,"requests":7},{"busy":100,"lag":900,"requests":8}],
            "upstreams":[{"name":"app","peers":[{"name":"10.0.0.1:8000","backup":false,"up":true,"connections":12,"fails":0,
                          "latency":{"count":9,"p50":12.0,"p90":80.25,"p99":1500.0}},
                         {"name":"a-host-of-a-name-that-is-much-too-long-for-a-line.example.com:8000","up":false}]}],
            "refusals":[{"link":"slots","cause":"slots_on_accept","count":311},{"link":"ports","cause":"ports","count":0}],
            "now":{"requests":1234,"slots":1536,"clients":311,"refused":95,"busy":210,"lag":1500}}"#;
        serde_json::from_str(json).unwrap()
    }

    fn paper(seen: &Seen, colour: Colour) -> String {
        screen(seen, None, colour, Size::PAPER)
    }

    #[test]
    fn a_screen() {
        let text = paper(&seen(), Colour(false));
        let after_the_time = text.split_once('\n').unwrap().1;
        let expected = "No room left: slots is full (1536 of 1536).

                               now     peak  ceiling
accept 0.0.0.0:80                3        3      511 ▕▏               ▏
slots                         1536     1536     1536 ▕████████████████▏ <- binds
event loops                   0.21     0.21     2.00 ▕█▋              ▏
memory                    30.0 MiB 30.0 MiB  1.9 GiB ▕▎               ▏

requests   1234 a second, 95 refused
clients    311: 12 reading, 280 writing, 19 waiting
upstreams  1225 at work, 0 at rest
loops      0.11 0.10 busy, the longest turn 1.5 ms
refused    slots on accept 311

upstream                              at work  fails  p50 ms     p90     p99
app 10.0.0.1:8000                          12      0    12.0    80.2  1500.0
app a-host-of-a-name-that-is-… down         0      0
";
        assert_eq!(after_the_time, expected, "{text}");
    }

    #[test]
    fn no_line_is_too_long_and_colour_is_only_colour() {
        let (plain, painted) = (paper(&seen(), Colour(false)), paper(&seen(), Colour(true)));
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
        assert!(painted.contains("\x1b[1;31m") && !plain.contains('\x1b'));
    }

    #[test]
    fn what_is_not_said_is_empty() {
        let seen: Seen = serde_json::from_str("{}").unwrap();
        assert!(paper(&seen, Colour(false)).contains("requests   0 a second"));
    }

    /// Many listening sockets, and servers.
    fn crowded() -> Seen {
        let mut seen = seen();
        let first = seen.links[0].link.clone();
        for i in 1..30 {
            let link = first.clone().of(format!("[2001:db8:1234:5678:9abc:def0:1234:{i}]:8443")).used(i);
            seen.links.insert(1, Shown { link, raise: Vec::new() });
        }
        for i in 0..40 {
            seen.upstreams[0].peers.push(Peer {
                name: format!("10.0.1.{i}:80"),
                up: true,
                ..Peer::default()
            });
        }
        seen
    }

    #[test]
    fn it_fits_on_every_terminal() {
        for (columns, rows) in
            [(20, 4), (40, 10), (60, 15), (80, 24), (80, 60), (100, 30), (200, 50), (500, 200)]
        {
            for seen in [seen(), crowded()] {
                let text =
                    screen(&seen, Some("no answer for 3 s: refused"), Colour(false), Size { columns, rows });
                let widest = text.lines().map(|line| line.chars().count()).max();
                assert!(widest <= Some(columns) && text.lines().count() <= rows, "{columns}x{rows}:\n{text}");
                assert!(text.contains("no answer") || columns < 40, "{text}");
                let binds =
                    text.lines().any(|line| line.starts_with("slots ") && line.ends_with(" <- binds"));
                assert!(binds || rows < 15, "{columns}x{rows}:\n{text}");
            }
        }
    }

    #[test]
    fn what_there_is_no_room_for_gives_way_to_the_chain() {
        let small = screen(&crowded(), None, Colour(false), Size { columns: 60, rows: 15 });
        assert!(small.contains("accept …") && small.contains(":29]:8443"), "the fullest of thirty: {small}");
        assert_eq!(small.matches("\naccept ").count(), 1, "{small}");
        let high = screen(&crowded(), None, Colour(false), Size { columns: 200, rows: 50 });
        assert!(high.contains("and ") && high.lines().count() > 45, "{high}");
        let long = name_of_peer("a-group-of-applications.example.com", "10.0.0.1:80", 20);
        assert_eq!(long, "a-group… 10.0.0.1:80");
        let sentence = Seen { sentence: "\x1b]0;evil\x07".into(), ..Seen::default() };
        assert!(!paper(&sentence, Colour(false)).contains('\x1b'));
    }
}
