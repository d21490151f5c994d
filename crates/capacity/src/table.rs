//! The chain of a setup as a table: one line a link, 80 columns, readable without colour.

use crate::advice::{self, ceiling_words};
use crate::chain::Binding;
use crate::draw;
use crate::link::{Kind, Link};
use crate::setup::Setup;

/// Columns of a line's parts.
const NAME: usize = 14;
const DETAIL: usize = 25;
const BAR: usize = 18;
/// A line.
const WIDTH: usize = 80;
/// Where what stands below a line begins.
const ASIDE: usize = 12;

impl Setup {
    /// The links that a configuration decides about, what each lets through, which one binds, and what raises it.
    pub fn table(&self) -> String {
        let chain = self.chain();
        let binding = chain.binding();
        let mut lines = vec![self.heading()];
        let shortest =
            chain.links.iter().filter(|link| link.kind == Kind::AcceptQueue).min_by_key(|l| l.ceiling);
        let others = [Kind::Slots, Kind::Descriptors, Kind::Memory];
        let others = others.iter().filter_map(|kind| chain.links.iter().find(|link| link.kind == *kind));
        let slots = chain.links.iter().find(|l| l.kind == Kind::Slots).and_then(|l| l.requests(&self.mix));
        lines.extend(shortest.map(|link| self.queue_line(link)));
        lines.extend(others.map(|link| self.line(link, slots, binding)));
        if let Some(change) = binding.and_then(|b| advice::raise(b.link, self).into_iter().next()) {
            let (raise, how) = (
                format!("  raise it: {}", change.setting),
                format!("({}, {})", change.place, change.effect.words()),
            );
            match raise.chars().count() + how.chars().count() + 3 <= WIDTH {
                true => lines.push(format!("{raise}   {how}")),
                false => lines.extend([raise, format!("{:ASIDE$}{how}", "")]),
            }
            if !change.note.is_empty() {
                lines.push(format!("{:ASIDE$}{}", "", change.note));
            }
        }
        lines.join("\n") + "\n"
    }
    fn heading(&self) -> String {
        let cores = self.quota.map_or(self.online as f64, |quota| quota.min(self.online as f64));
        let cores = format!("{cores} {}", if cores == 1.0 { "core" } else { "cores" });
        let place = match self.service.as_str() {
            "" => cores,
            service => format!("{service}, {cores}"),
        };
        format!("  {:<46} ({place})", format!("capacity, in concurrent {}", self.mix.words()))
    }
    fn queue_line(&self, link: &Link) -> String {
        let allowed = self.somaxconn.map(|most| format!(" of {most} allowed")).unwrap_or_default();
        let ceiling = link.ceiling.unwrap_or(0);
        let part = self.somaxconn.map_or(1.0, |most| ceiling as f64 / most.max(1) as f64);
        let detail = format!("{}{allowed}", draw::limit(link.ceiling));
        row(link.kind.name(), &detail, part, &format!("{ceiling} waiting"))
    }
    fn line(&self, link: &Link, slots: Option<u64>, binding: Option<Binding<'_>>) -> String {
        let detail = match link.kind {
            Kind::Slots => format!("{} x {}", self.workers, self.connections),
            Kind::Descriptors if link.set_by.starts_with("hard") => {
                format!("{} (hard limit)", draw::limit(link.ceiling))
            }
            Kind::Descriptors if link.set_by.starts_with("soft") => {
                format!("{} (soft; hard {})", draw::limit(self.soft), draw::limit(self.hard))
            }
            _ => ceiling_words(link),
        };
        let requests = link.requests(&self.mix);
        let part = match (requests, slots) {
            (Some(requests), Some(slots)) => requests as f64 / slots.max(1) as f64,
            _ => 1.0,
        };
        let binds = if binding.is_some_and(|b| b.link.kind == link.kind) { "  <- binds" } else { "" };
        row(link.kind.name(), &detail, part, &format!("{}{binds}", draw::limit(requests)))
    }
}

fn row(name: &str, detail: &str, part: f64, end: &str) -> String {
    format!("  {name:<NAME$} {detail:<DETAIL$} {} {end}", draw::bar(part, BAR))
}

#[cfg(test)]
mod tests {
    use crate::setup::{Listening, Server, Setup};

    #[test]
    fn the_table_of_a_default_nginx() {
        let setup = Setup {
            server: Server::Nginx,
            conf: "/etc/nginx/nginx.conf".into(),
            service: "nginx.service".into(),
            workers: 2,
            connections: 4096,
            soft: Some(1024),
            hard: Some(524_288),
            somaxconn: Some(4096),
            online: 2,
            memory: Some(2_040_109_465),
            listens: vec![Listening { address: "0.0.0.0:80".into(), ..Listening::default() }],
            ..Setup::default()
        };
        let table = setup.table();
        let expected = "  capacity, in concurrent proxied requests       (nginx.service, 2 cores)
  accept queue   511 of 4096 allowed       ▕██▎               ▏ 511 waiting
  slots          2 x 4096                  ▕██████████████████▏ 4094
  descriptors    1024 (soft; hard 524288)  ▕████▌             ▏ 1023  <- binds
  memory         1.9 GiB                   ▕██████████████████▏ 31129
  raise it: worker_rlimit_nofile 8192;
            (main context of /etc/nginx/nginx.conf, reload is enough)
";
        assert_eq!(table, expected, "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 80));
    }
}
