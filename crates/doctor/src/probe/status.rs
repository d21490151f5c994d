//! What a server says of itself: `stub_status`, and Plimsoll's `capacity_status`, over a plain connection.

use std::path::{Path, PathBuf};

use capacity::Link;
use machine::namespace;
use serde::Deserialize;

use super::Wanted;
use super::page::Page;
use crate::facts::{Facts, Status};

/// Pages that are asked before it is given up.
const MOST_PAGES: usize = 4;

/// The pages that are given, or those that are configured.
pub(super) struct Pages {
    all: Vec<Page>,
    pid: u32,
    root: PathBuf,
}

impl Pages {
    pub(super) fn of(wanted: &Wanted, facts: &Facts, pid: u32) -> Pages {
        let config = facts.config.clone().unwrap_or_default();
        let all = match wanted.status.as_deref() {
            Some(given) => vec![Page::of_url(given)],
            None => config.capacity.into_iter().chain(config.status).take(MOST_PAGES).collect(),
        };
        Pages { all, pid, root: namespace::root_of(pid) }
    }

    /// Asks until one answers.
    pub(super) fn ask(&self, facts: &mut Facts) {
        let mut failed = Vec::new();
        for page in &self.all {
            match ask(page, self.pid, &self.root) {
                Ok((Some(own), _)) => {
                    (facts.own, facts.status) = (own.links, Some(own.status));
                    return;
                }
                Ok((None, status)) => facts.status = facts.status.or(status),
                Err(error) => failed.push(format!("status at {}: {error}", page.words())),
            }
            if facts.status.is_some() {
                return;
            }
        }
        facts.unread.extend(failed);
    }

    /// What grew meanwhile is what is wrong now.
    pub(super) fn ask_again(&self, facts: &mut Facts) {
        let before = std::mem::take(&mut facts.own);
        let (Some(page), false) = (self.all.first(), before.is_empty()) else { return };
        let now = ask(page, self.pid, &self.root).ok().and_then(|(own, _)| own);
        facts.own = now.map_or_else(|| before.clone(), |own| own.links);
        let grown = |now: &Link| {
            let then = before.iter().find(|then| then.kind == now.kind && then.of == now.of);
            then.map_or(0, |then| now.refused.saturating_sub(then.refused))
        };
        facts.own_grown = facts.own.iter().map(grown).collect();
    }
}

/// What Plimsoll says of itself, or what every nginx does.
fn ask(page: &Page, pid: u32, root: &Path) -> Result<(Option<Own>, Option<Status>), String> {
    if page.path.is_empty() {
        return Err("its location is a pattern; give the address with --stub-status".to_owned());
    }
    // stub_status has nothing against arguments.
    let asked = page.with_argument("format=json");
    let (answer, _) = namespace::in_network_of(pid, || asked.body(root));
    let text = answer.map_err(|error| error.to_string())?;
    match (parse_own(&text), parse(&text)) {
        (None, None) => Err("that is no status page".to_owned()),
        found => Ok(found),
    }
}

/// The page, with or without a head before it.
pub fn parse(text: &str) -> Option<Status> {
    let text = &text[text.find("Active connections:")?..];
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let mut next = || numbers.next();
    Some(Status {
        active: next()?,
        accepts: next()?,
        handled: next()?,
        requests: next()?,
        reading: next()?,
        writing: next()?,
        waiting: next()?,
    })
}

/// What Plimsoll says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Own {
    /// Its links, with the most that was ever taken of each.
    pub links: Vec<Link>,
    /// What stub_status would say.
    #[serde(skip)]
    pub status: Status,
    #[serde(default)]
    seats: Seats,
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    handled: u64,
    #[serde(default)]
    served: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Seats {
    reading: u64,
    writing: u64,
    waiting: u64,
}

/// `capacity_status` as JSON, with or without a head before it.
pub fn parse_own(text: &str) -> Option<Own> {
    let mut own: Own = serde_json::from_str(text.get(text.find('{')?..)?.trim_end()).ok()?;
    let Seats { reading, writing, waiting } = own.seats;
    own.status = Status {
        active: reading.saturating_add(writing).saturating_add(waiting),
        accepts: own.accepted,
        handled: own.handled,
        requests: own.served,
        reading,
        writing,
        waiting,
    };
    Some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page() {
        let page = "HTTP/1.1 200 OK\r\n\r\nActive connections: 291 \nserver accepts handled requests\n 16630948 16630946 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n";
        let status = parse(page);
        assert_eq!(status.map(|s| (s.active, s.accepts - s.handled, s.waiting)), Some((291, 2, 106)));
        assert_eq!(parse("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }

    #[test]
    fn what_plimsoll_says() {
        let link = "{\"kind\":\"slots\",\"of\":\"\",\"ceiling\":9,\"fixed\":0,\"used\":1,\"peak\":9,\"refused\":3,\"each\":null,\"set_by\":\"\",\"name\":\"slots\"}";
        let page = format!(
            "HTTP/1.1 200 OK\r\n\r\n{{\"links\":[{link}],\"seats\":{{\"reading\":1,\"writing\":2,\"waiting\":3}},\"served\":7}}"
        );
        let own = parse_own(&page).unwrap_or_default();
        assert_eq!((own.links[0].refused, own.status.active, own.status.requests), (3, 6, 7));
        assert_eq!(parse_own("HTTP/1.1 404 Not Found\r\n\r\n{}"), None);
    }

    proptest! {
        #[test]
        fn any_page(text in ".{0,80}") {
            let _ = (parse_own(&text), parse(&text), parse(&format!("Active connections: {text}")));
        }
    }
}
