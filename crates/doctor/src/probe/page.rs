//! A page of a server on this machine, and how it is asked for: over TCP, over a unix socket, behind TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};

use super::tls;

/// A server that is full does not answer, and its doctor must not wait for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any page of this kind.
const MOST: u64 = 4 << 20;

/// Where a page is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// `127.0.0.1:80`, `unix:/run/nginx.sock`.
    pub address: String,
    /// `/status`; empty where nobody can say.
    pub path: String,
    /// The server's name, which may be what tells it from others; `localhost` if it is empty.
    pub host: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it wants to hear first whom somebody else speaks for.
    pub proxy_protocol: bool,
}

impl Page {
    /// A plain one.
    pub fn new(address: &str, path: &str) -> Page {
        Page { address: address.to_owned(), path: path.to_owned(), ..Page::default() }
    }

    /// `http://127.0.0.1:8080/status`, `https://name/status` or `unix:/path:/status`.
    pub fn of_url(url: &str) -> Page {
        let tls = url.starts_with("https://");
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let found = match rest.strip_prefix("unix:") {
            Some(path) => path.split_once(':').map(|(path, uri)| (format!("unix:{path}"), uri.to_owned())),
            None => rest.find('/').map(|slash| (rest[..slash].to_owned(), rest[slash..].to_owned())),
        };
        let (address, path) = found.unwrap_or_else(|| (rest.to_owned(), "/".to_owned()));
        let (host, port) = match address.rsplit_once(':') {
            _ if address.starts_with("unix:") => (String::new(), String::new()),
            Some((host, port)) if !port.contains(']') => (host.to_owned(), port.to_owned()),
            _ => (address.clone(), if tls { "443" } else { "80" }.to_owned()),
        };
        let address = if port.is_empty() { address } else { format!("{host}:{port}") };
        Page { address, path, host: host.trim_matches(['[', ']']).to_owned(), tls, proxy_protocol: false }
    }

    /// With what is asked of it besides.
    pub fn with_argument(&self, argument: &str) -> Page {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        Page { path: format!("{}{mark}{argument}", self.path), ..self.clone() }
    }

    /// In words.
    pub fn words(&self) -> String {
        format!("{}{}{}", if self.tls { "https://" } else { "" }, self.address, self.path)
    }

    /// Its body, from where files lie below this root.
    ///
    /// # Errors
    /// What keeps it from being had, and a status other than 200.
    pub fn body(&self, root: &Path) -> io::Result<String> {
        let answer = self.ask(root)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or(("", &answer));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            Some(status) => {
                let why = if status == "403" { ": `allow` this machine there" } else { "" };
                Err(io::Error::other(format!("{} is answered with {status}{why}", self.path)))
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "that is no answer of HTTP")),
        }
    }

    fn ask(&self, root: &Path) -> io::Result<String> {
        match self.address.strip_prefix("unix:") {
            Some(path) => {
                let stream = unix(&root.join(path.trim_start_matches('/')))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.exchange(stream)
            }
            None => {
                let stream = TcpStream::connect_timeout(&reachable(&self.address)?, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.exchange(stream)
            }
        }
    }

    fn exchange(&self, mut stream: impl Read + Write) -> io::Result<String> {
        if self.proxy_protocol {
            stream.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n")?;
        }
        match self.tls {
            true => self.ask_on(tls::over(stream, self.host())?),
            false => self.ask_on(stream),
        }
    }

    fn ask_on(&self, mut stream: impl Read + Write) -> io::Result<String> {
        let (path, host) = (&self.path, self.host());
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: plimsoll-doctor\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        match stream.take(MOST).read_to_end(&mut answer) {
            // Not every server ends TLS before it closes.
            Err(error) if answer.is_empty() || error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    }

    fn host(&self) -> &str {
        if self.host.is_empty() { "localhost" } else { &self.host }
    }
}

/// Without waiting where its accept queue is full.
fn unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A socket that listens to all addresses is reached on loopback.
fn reachable(address: &str) -> io::Result<SocketAddr> {
    let address = address.replacen("localhost", "127.0.0.1", 1);
    let address: SocketAddr = address.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    Ok(SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls() {
        let parts = |url: &str| {
            let page = Page::of_url(url);
            (page.address, page.path, page.host, page.tls)
        };
        let of = |address: &str, path: &str, host: &str, tls| (address.into(), path.into(), host.into(), tls);
        assert_eq!(parts("http://127.0.0.1:8080/s"), of("127.0.0.1:8080", "/s", "127.0.0.1", false));
        assert_eq!(parts("localhost/s"), of("localhost:80", "/s", "localhost", false));
        assert_eq!(parts("https://[::1]"), of("[::1]:443", "/", "::1", true));
        assert_eq!(parts("unix:/run/n.sock:/s"), of("unix:/run/n.sock", "/s", "", false));
        assert_eq!(Page::new("a", "/s?x").with_argument("y").path, "/s?x&y");
    }

    proptest! {
        #[test]
        fn any_url(url in ".{0,60}") {
            Page::of_url(&url);
        }
    }
}
