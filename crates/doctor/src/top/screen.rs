//! One look as text: 80 columns, readable without colour.

use capacity::{FULL, Kind, Link, NEARLY_FULL, draw};

use super::seen::{Peer, Seen, Shown};
use crate::report::text::Colour;

const WIDTH: usize = 80;
const NAME: usize = 25;
const BAR: usize = 16;
/// As many servers of upstreams are shown: the rest would push the chain from the screen.
const MOST_PEERS: usize = 10;

/// The whole of it.
pub fn screen(seen: &Seen, colour: Colour) -> String {
    let mut out = String::new();
    let title = format!("plimsoll {}, process {}", seen.version, seen.pid);
    let time = jiff::Timestamp::from_second(i64::try_from(seen.time).unwrap_or(0)).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string();
    line(&mut out, &format!("{title}{time:>width$}", width = WIDTH.saturating_sub(title.chars().count())));
    line(&mut out, &colour.paint("1", &cut(&seen.sentence, WIDTH)));
    line(&mut out, "");
    line(&mut out, &format!("{:NAME$}{:>9}{:>9}{:>9}", "", "now", "peak", "ceiling"));
    seen.links.iter().for_each(|shown| line(&mut out, &link(seen, shown, colour)));
    line(&mut out, "");
    load(&mut out, seen);
    peers(&mut out, seen);
    advice(&mut out, seen);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

fn link(seen: &Seen, shown: &Shown, colour: Colour) -> String {
    let link = &shown.link;
    let binds = seen.binding.as_ref().is_some_and(|bound| bound.kind == link.kind && bound.of == link.of);
    let row = format!(
        "{:NAME$}{:>9}{:>9}{:>9} {}{}",
        label(link, NAME - 1),
        amount(link, Some(link.used)),
        amount(link, Some(link.peak)),
        amount(link, link.ceiling),
        draw::bar(link.fullness(), BAR),
        if binds { " <- binds" } else { "" }
    );
    match link.fullness() {
        part if part >= FULL => colour.paint("1;31", &row),
        part if part >= NEARLY_FULL => colour.paint("33", &row),
        _ => row,
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

fn load(out: &mut String, seen: &Seen) {
    let seats = &seen.seats;
    let clients = seats.reading + seats.writing + seats.waiting;
    line(out, &format!("requests   {} a second, {} refused", seen.now.requests, seen.now.refused));
    line(
        out,
        &format!(
            "clients    {clients}: {} reading, {} writing, {} waiting",
            seats.reading, seats.writing, seats.waiting
        ),
    );
    line(out, &format!("upstreams  {} at work, {} at rest", seats.upstream, seats.upstream_idle));
    let lag = seen.threads.iter().map(|thread| thread.lag).max().unwrap_or(0);
    let busy: Vec<String> = seen.threads.iter().map(|t| format!("{:.2}", t.busy as f64 / 1000.0)).collect();
    let loops = format!("loops      {} busy, the longest turn {:.1} ms", busy.join(" "), lag as f64 / 1000.0);
    line(out, &cut(&loops, WIDTH));
    let refused: Vec<String> = seen
        .refusals
        .iter()
        .filter(|refusal| refusal.count > 0)
        .map(|refusal| format!("{} {}", refusal.cause.replace('_', " "), refusal.count))
        .collect();
    if !refused.is_empty() {
        line(out, &cut(&format!("refused    {}", refused.join(", ")), WIDTH));
    }
}

fn peers(out: &mut String, seen: &Seen) {
    let all: Vec<(&str, &Peer)> =
        seen.upstreams.iter().flat_map(|u| u.peers.iter().map(move |peer| (u.name.as_str(), peer))).collect();
    if all.is_empty() {
        return;
    }
    line(out, "");
    let head =
        format!("{:36}{:>9}{:>7}{:>8}{:>8}{:>8}", "upstream", "at work", "fails", "p50 ms", "p90", "p99");
    line(out, &head);
    for (group, peer) in all.iter().take(MOST_PEERS) {
        let name = match group.contains(&peer.name) || peer.name.contains(group) {
            true => peer.name.clone(),
            false => format!("{group} {}", peer.name),
        };
        let times = peer.latency.as_ref().filter(|latency| latency.count > 0);
        let times = times.map(|t| format!("{:>8.1}{:>8.1}{:>8.1}", t.p50, t.p90, t.p99)).unwrap_or_default();
        let up = if peer.up { "" } else { " down" };
        line(
            out,
            &format!("{:36}{:>9}{:>7}{times}", cut(&format!("{name}{up}"), 35), peer.connections, peer.fails),
        );
    }
    if all.len() > MOST_PEERS {
        line(out, &format!("and {} more", all.len() - MOST_PEERS));
    }
}

/// What raises the link that binds, and what is wrong.
fn advice(out: &mut String, seen: &Seen) {
    let bound = seen.binding.as_ref();
    let binds = |shown: &&Shown| bound.is_some_and(|b| b.kind == shown.link.kind && b.of == shown.link.of);
    let change = seen.links.iter().find(binds).and_then(|shown| shown.raise.first());
    if change.is_none() && seen.findings.is_empty() {
        return;
    }
    line(out, "");
    if let Some(change) = change {
        let text = format!("raise it   {}   ({}, {})", change.setting, change.place, change.effect.words());
        line(out, &cut(&text, WIDTH));
    }
    for finding in seen.findings.iter().take(3) {
        let text = format!("{:<11}{}", finding.severity.name().to_lowercase(), finding.title);
        line(out, &cut(&text, WIDTH));
    }
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

    #[test]
    fn a_screen() {
        let text = screen(&seen(), Colour(false));
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
app a-host-of-a-name-that-is-much-…         0      0
";
        assert_eq!(after_the_time, expected, "{text}");
    }

    #[test]
    fn no_line_is_too_long_and_colour_is_only_colour() {
        let (plain, painted) = (screen(&seen(), Colour(false)), screen(&seen(), Colour(true)));
        assert!(plain.lines().all(|line| line.chars().count() <= WIDTH), "{plain}");
        assert!(painted.contains("\x1b[1;31m") && !plain.contains('\x1b'));
    }

    #[test]
    fn what_is_not_said_is_empty() {
        let seen: Seen = serde_json::from_str("{}").unwrap();
        assert!(screen(&seen, Colour(false)).contains("requests   0 a second"));
    }
}
