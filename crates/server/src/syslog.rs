//! `syslog:` as a target of `access_log` and `error_log`: one datagram a message, in the form of RFC 3164.
//!
//! Logging never holds up a request: sockets do not block, and a message that cannot be sent at once is dropped.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use conf::{Args, Error, Inputs};

use crate::log::{Errno, Level};
use crate::program::Address;
use crate::upstream::resolve;
use crate::worker::ledger::{Class, Counted};

/// The port of syslog over UDP (RFC 5426, 3.3).
const PORT: u16 = 514;
const LONGEST_TAG: usize = 32;
/// RFC 3164's facilities by number, in nginx's words.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

static HOSTNAME: LazyLock<String> = LazyLock::new(|| sys::process::hostname().to_ascii_lowercase());

/// The machine's name in lower case (`$hostname`).
pub fn hostname() -> &'static str {
    &HOSTNAME
}

/// A syslog server and how messages to it are marked.
#[derive(Debug)]
pub struct Syslog {
    settings: Settings,
    /// Connected with the first message; again after an error, because a restarted server has a new socket.
    socket: RwLock<Option<Socket>>,
    /// When a lost message was last reported, in seconds since 1970.
    reported: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    server: Server,
    facility: u8,
    severity: Level,
    tag: String,
    hostname: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Socket {
    Udp(Counted<UdpSocket>),
    Unix(Counted<UnixDatagram>),
}

impl Syslog {
    /// Reads what follows `syslog:`, e.g. `server=unix:/dev/log,tag=web`, from a directive's argument.
    ///
    /// # Errors
    /// What nginx says of it.
    pub fn parse(parameters: &str, args: &Args<'_>) -> Result<Syslog, Error> {
        let settings = Settings::parse(parameters, args.inputs()).map_err(|message| args.error(message))?;
        Ok(Syslog { settings, socket: RwLock::default(), reported: AtomicU64::new(0) })
    }
    /// Whether a lost message is to be reported at this second since 1970: once a second.
    pub fn complains(&self, now: u64) -> bool {
        crate::log::once_in(1, &self.reported, now)
    }
    /// What is said of a lost message. One that found no room is dropped for want of it, which is no fault.
    pub fn fault(&self, error: &io::Error) -> Option<(Level, String)> {
        // A server that is not there shows when it is connected, or when something is sent.
        let (level, what) = match &*self.socket.read().unwrap_or_else(PoisonError::into_inner) {
            _ if error.kind() == io::ErrorKind::WouldBlock => return None,
            Some(_) if error.kind() == io::ErrorKind::ConnectionRefused => (Level::Error, "send()"),
            Some(_) => (Level::Alert, "send()"),
            None => (Level::Alert, "connect()"),
        };
        let (error, server) = (Errno(error), &self.settings.server);
        Some((level, format!("{what} failed ({error}) while logging to syslog, server: {server}")))
    }
    /// The severity of access log lines.
    pub fn severity(&self) -> Level {
        self.settings.severity
    }
    /// Begins a message: `<190>Nov  6 08:49:37 host tag: `. `time` is local.
    pub fn begin(&self, severity: Level, time: &[u8; 15], message: &mut Vec<u8>) {
        let settings = &self.settings;
        message.push(b'<');
        wire::push_decimal(message, u64::from(settings.facility) * 8 + severity as u64);
        message.push(b'>');
        message.extend_from_slice(time);
        message.push(b' ');
        if settings.hostname {
            message.extend_from_slice(hostname().as_bytes());
            message.push(b' ');
        }
        message.extend_from_slice(settings.tag.as_bytes());
        message.extend_from_slice(b": ");
    }
    /// Sends a whole message.
    ///
    /// # Errors
    /// When the message was lost: the server is not there, or has no room.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        match self.try_send(message) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                *self.socket.write().unwrap_or_else(PoisonError::into_inner) = None;
                self.try_send(message)?;
                match self.settings.server {
                    // What is refused over UDP is the message before: it is lost.
                    Server::Udp(_) => Err(error),
                    Server::Unix(_) => Ok(()),
                }
            }
            result => result,
        }
    }
    fn try_send(&self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &*self.socket.read().unwrap_or_else(PoisonError::into_inner) {
            return socket.send(message);
        }
        let mut socket = self.socket.write().unwrap_or_else(PoisonError::into_inner);
        if socket.is_none() {
            *socket = Some(self.settings.server.connect()?);
        }
        socket.as_ref().map_or(Ok(()), |socket| socket.send(message))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Udp(server) => server.fmt(f),
            Server::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Server {
    fn connect(&self) -> io::Result<Socket> {
        match self {
            Server::Udp(server) => {
                let any = match server.ip() {
                    IpAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
                    IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(server)?;
                Ok(Socket::Udp(Counted::new(Class::Log, socket)))
            }
            Server::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Socket::Unix(Counted::new(Class::Log, socket)))
            }
        }
    }
}

impl Socket {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Socket::Udp(socket) => socket.send(message),
            Socket::Unix(socket) => socket.send(message),
        }
        .map(drop)
    }
}

/// The parameters as written.
#[derive(Default)]
struct Written<'a> {
    server: Option<&'a str>,
    facility: Option<u8>,
    severity: Option<Level>,
    tag: Option<&'a str>,
    no_hostname: bool,
}

impl Settings {
    fn parse(parameters: &str, inputs: &dyn Inputs) -> Result<Settings, String> {
        let mut written = Written::default();
        for parameter in parameters.split(',') {
            written.parameter(parameter)?;
        }
        let server = written.server.ok_or("no syslog server specified")?;
        Ok(Settings {
            server: Server::parse(server, inputs)?,
            facility: written.facility.unwrap_or(FACILITIES.len() as u8 - 1),
            severity: written.severity.unwrap_or(Level::Info),
            tag: written.tag.unwrap_or("nginx").to_owned(),
            hostname: !written.no_hostname,
        })
    }
}

impl<'a> Written<'a> {
    fn parameter(&mut self, parameter: &'a str) -> Result<(), String> {
        if parameter == "nohostname" {
            self.no_hostname = true;
            return Ok(());
        }
        match parameter.split_once('=') {
            Some(("server", value)) => once(&mut self.server, "server", value),
            Some(("facility", value)) => {
                let number = FACILITIES.iter().position(|name| *name == value);
                let number = number.ok_or_else(|| format!("unknown syslog facility \"{value}\""))?;
                once(&mut self.facility, "facility", number as u8)
            }
            Some(("severity", value)) => {
                let level = Level::NAMES.iter().find(|(name, _)| *name == value);
                let level = level.ok_or_else(|| format!("unknown syslog severity \"{value}\""))?.1;
                once(&mut self.severity, "severity", level)
            }
            Some(("tag", value)) => {
                check_tag(value)?;
                once(&mut self.tag, "tag", value)
            }
            _ => Err(format!("unknown syslog parameter \"{parameter}\"")),
        }
    }
}

fn once<T>(setting: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match setting.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("duplicate syslog \"{name}\"")),
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    if tag.len() > LONGEST_TAG {
        return Err(format!("syslog tag length exceeds {LONGEST_TAG}"));
    }
    if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("syslog \"tag\" only allows alphanumeric characters and underscore".into());
    }
    Ok(())
}

impl Server {
    fn parse(text: &str, inputs: &dyn Inputs) -> Result<Server, String> {
        let fault = |what: &str| format!("{what} in syslog server \"{text}\"");
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(fault("no path in the unix domain socket")),
                _ => Ok(Server::Unix(path.into())),
            };
        }
        match resolve(inputs, text, PORT).map_err(fault)?.into_iter().next() {
            Some(Address::Tcp(first)) => Ok(Server::Udp(first)),
            _ => Err(fault("host not found")),
        }
    }
}

/// Sends a line of the error log, whose time is now; what is to be said elsewhere of one that was lost.
pub fn send_error(syslog: &Syslog, level: Level, line: &[u8]) -> Option<(Level, String)> {
    let mut message = Vec::with_capacity(line.len() + 96);
    syslog.begin(level, &crate::clock::Local::now().syslog(), &mut message);
    message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
    let lost = syslog.send(&message).err()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    syslog.fault(&lost).filter(|_| syslog.complains(now.as_secs()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, &conf::SystemInputs)
    }
    fn server(text: &str) -> Server {
        parse(&format!("server={text}")).unwrap().server
    }

    #[test]
    fn defaults() {
        let expected = Settings {
            server: Server::Udp("127.0.0.1:514".parse().unwrap()),
            facility: 23,
            severity: Level::Info,
            tag: "nginx".into(),
            hostname: true,
        };
        assert_eq!(parse("server=127.0.0.1").unwrap(), expected);
    }

    #[test]
    fn servers() {
        assert_eq!(server("127.0.0.1:5140"), Server::Udp("127.0.0.1:5140".parse().unwrap()));
        assert_eq!(server("[::1]"), Server::Udp("[::1]:514".parse().unwrap()));
        assert_eq!(server("[2001:db8::1]:12345"), Server::Udp("[2001:db8::1]:12345".parse().unwrap()));
        assert_eq!(server("unix:/dev/log"), Server::Unix("/dev/log".into()));
        let Server::Udp(named) = server("localhost:1") else { panic!("no address") };
        assert!(named.ip().is_loopback() && named.port() == 1, "{named}");
    }

    #[test]
    fn all_parameters() {
        let all = parse("nohostname,tag=a_1,severity=crit,facility=mail,server=[::1]:9").unwrap();
        assert_eq!(
            (all.facility, all.severity, all.tag.as_str(), all.hostname),
            (2, Level::Crit, "a_1", false)
        );
    }

    #[test]
    fn faults_in_the_words_of_nginx() {
        for (text, message) in [
            ("", "unknown syslog parameter \"\""),
            ("tag=x", "no syslog server specified"),
            ("server=", "no host in syslog server \"\""),
            ("server=127.0.0.1:99999", "invalid port in syslog server \"127.0.0.1:99999\""),
            ("server=nohost.invalid", "host not found in syslog server \"nohost.invalid\""),
            ("server=[::1", "invalid host in syslog server \"[::1\""),
            ("server=[zz]", "invalid IPv6 address in syslog server \"[zz]\""),
            ("server=unix:", "no path in the unix domain socket in syslog server \"unix:\""),
            ("server=127.0.0.1,server=127.0.0.2", "duplicate syslog \"server\""),
            ("server=127.0.0.1,facility=x", "unknown syslog facility \"x\""),
            ("server=127.0.0.1,facility=user,facility=user", "duplicate syslog \"facility\""),
            ("server=127.0.0.1,severity=x", "unknown syslog severity \"x\""),
            ("server=127.0.0.1,tag=a-b", "syslog \"tag\" only allows alphanumeric characters and underscore"),
            ("server=127.0.0.1,tag=aaaaaaaaaabbbbbbbbbbccccccccccddd", "syslog tag length exceeds 32"),
            ("server=127.0.0.1,bogus", "unknown syslog parameter \"bogus\""),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    fn syslog(settings: &str) -> Syslog {
        Syslog { settings: parse(settings).unwrap(), socket: RwLock::default(), reported: AtomicU64::new(0) }
    }

    #[test]
    fn sends_datagrams() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        let syslog = syslog(&format!("server=127.0.0.1:{port},nohostname,facility=mail,tag=t"));
        let mut message = Vec::new();
        syslog.begin(Level::Warn, b"Nov  6 08:49:37", &mut message);
        message.extend_from_slice(b"hello");
        syslog.send(&message).unwrap();
        let mut got = [0; 100];
        let n = receiver.recv(&mut got).unwrap();
        assert_eq!(&got[..n], b"<20>Nov  6 08:49:37 t: hello");
    }

    #[test]
    fn what_nobody_takes_is_lost() {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let syslog = syslog(&format!("server=127.0.0.1:{port}"));
        syslog.send(b"nobody is there").unwrap();
        let refused = (0..1000).find_map(|_| syslog.send(b"nor now").err()).unwrap();
        let said = format!(
            "send() failed (111: Connection refused) while logging to syslog, server: 127.0.0.1:{port}"
        );
        assert_eq!(syslog.fault(&refused), Some((Level::Error, said)));
    }

    #[test]
    fn finds_a_server_that_came_back() {
        let folder = std::env::temp_dir().join(format!("syslog-{}-{:p}", std::process::id(), &0));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let syslog = syslog(&format!("server=unix:{}", path.display()));
        assert!(syslog.send(b"nobody is there").is_err());
        for round in 0..2 {
            let receiver = UnixDatagram::bind(&path).unwrap();
            syslog.send(b"x").unwrap();
            assert_eq!(receiver.recv(&mut [0; 10]).unwrap(), 1, "round {round}");
            drop(receiver);
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_server_holds_nobody_up() {
        let folder = std::env::temp_dir().join(format!("syslog-full-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let syslog = syslog(&format!("server=unix:{}", path.display()));
        let refused = (0..100_000).find_map(|_| syslog.send(&[b'x'; 1000]).err()).unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
