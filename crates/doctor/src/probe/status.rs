//! What a server says of itself: `stub_status`, and Plimsoll's `capacity_status`, over a plain connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use capacity::Link;
use machine::namespace;
use serde::Deserialize;

use super::Wanted;
use crate::facts::{Facts, Status};

/// A server that is full does not answer, and its doctor must not wait for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any page of this kind.
const MOST: u64 = 4 << 20;

/// Asks for the page that is given, or for those that are configured.
pub(super) fn ask_server(wanted: &Wanted, facts: &mut Facts, pid: u32) {
    let config = facts.config.clone().unwrap_or_default();
    let places = match wanted.status.as_deref().map(split) {
        Some(given) => [Some(given), None],
        None => [config.capacity, config.status],
    };
    for (address, path) in places.into_iter().flatten() {
        let path = path.trim_start_matches(['=', '^', '~', ' ']);
        // stub_status has nothing against arguments.
        let asked = || page(&address, &format!("{path}?format=json"));
        let (answer, _) = namespace::in_network_of(pid, asked);
        match answer.map(|text| (parse_own(&text), parse(&text))) {
            Ok((Some(own), _)) => {
                (facts.own, facts.status) = (own.links, Some(own.status));
                return;
            }
            Ok((None, Some(status))) => facts.status = Some(status),
            Ok((None, None)) => facts.unread.push(format!("{address}{path}: that is no status page")),
            Err(error) => facts.unread.push(format!("status at {address}{path}: {error}")),
        }
    }
}

/// The body of a page.
///
/// # Errors
/// What keeps it from being had, and a status other than 200.
pub fn body(address: &str, path: &str) -> io::Result<String> {
    let answer = page(address, path)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(io::Error::other(format!("{path} is answered with {status}"))),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "that is no answer of HTTP")),
    }
}

/// A page of the server at this address.
fn page(address: &str, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: plimsoll-doctor\r\n\r\n");
    match address.strip_prefix("unix:") {
        Some(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &request)
        }
        None => {
            let stream = TcpStream::connect_timeout(&reachable(address)?, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &request)
        }
    }
}

/// `http://127.0.0.1:8080/status` or `unix:/path:/status`, in two parts.
pub fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let found = match rest.strip_prefix("unix:") {
        Some(path) => path.split_once(':').map(|(path, uri)| (format!("unix:{path}"), uri.to_owned())),
        None => rest.find('/').map(|slash| (rest[..slash].to_owned(), rest[slash..].to_owned())),
    };
    let (address, path) = found.unwrap_or_else(|| (rest.to_owned(), "/".to_owned()));
    let has_port =
        address.starts_with("unix:") || address.rsplit(']').next().is_some_and(|end| end.contains(':'));
    (if has_port { address } else { format!("{address}:80") }, path)
}

/// A socket that listens to all addresses is reached on loopback.
fn reachable(address: &str) -> io::Result<SocketAddr> {
    let address = address.replacen("localhost", "127.0.0.1", 1);
    let address: SocketAddr = address.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    Ok(SocketAddr::new(ip, address.port()))
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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

    #[test]
    fn urls() {
        assert_eq!(split("http://127.0.0.1:8080/s"), ("127.0.0.1:8080".into(), "/s".into()));
        assert_eq!(split("localhost/s"), ("localhost:80".into(), "/s".into()));
        assert_eq!(split("unix:/run/n.sock:/s"), ("unix:/run/n.sock".into(), "/s".into()));
    }

    proptest! {
        #[test]
        fn any_page(text in ".{0,80}") {
            let _ = (parse_own(&text), parse(&text), parse(&format!("Active connections: {text}")), split(&text));
        }
    }
}
