//! `server` and `listen`: which addresses a server answers at, and how their sockets are made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use conf::{Args, Error, Inherit, Scope};

use super::addresses;
use super::protocols::{Protocols, Said};
use crate::program::{Address, KeepAlive, Listen};

/// What one server says of itself; not for the locations inside.
#[derive(Default)]
pub struct ServerConf {
    /// Which addresses, as indices into [`Listens`].
    pub addresses: Vec<usize>,
}
impl Inherit for ServerConf {
    fn inherit(&mut self, _: &ServerConf) {}
    fn reaches(_: conf::Within) -> bool {
        false
    }
}

/// All addresses of a configuration, in the order of their first mention.
#[derive(Default)]
pub struct Listens(Mutex<Vec<Entry>>);

/// One address and port, or path.
#[derive(Clone)]
pub struct Entry {
    /// Address and socket options.
    pub listen: Listen,
    /// Its socket options were given: they may be given once.
    options_given: bool,
    /// `bind` or any socket option: it has a socket of its own even beside a wildcard.
    pub own_socket: bool,
    /// TLS at this address.
    pub ssl: bool,
    /// HTTP/2 at this address.
    pub http2: bool,
    said: Said,
    /// PROXY protocol at this address.
    pub proxy_protocol: bool,
    /// Seats beside the pool for its connections.
    pub reserve: bool,
    /// Number of the server declared `default_server`.
    pub default_server: Option<usize>,
    /// The servers here, by number, in order.
    pub servers: Vec<usize>,
}

impl Entry {
    /// The address of a server without `listen`.
    pub fn implicit(address: Address, server: usize) -> Entry {
        Entry {
            listen: Listen::new(address),
            options_given: false,
            own_socket: false,
            ssl: false,
            http2: false,
            said: Said::default(),
            proxy_protocol: false,
            reserve: false,
            default_server: None,
            servers: vec![server],
        }
    }
}

impl Listens {
    /// The addresses.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the servers: their order decides which is the default of an address.
#[derive(Default)]
pub struct Count(Mutex<usize>);
/// The number of a server, in the order of the file.
#[derive(Default)]
pub struct Number(pub usize);
impl Inherit for Number {
    fn inherit(&mut self, _: &Number) {}
    fn reaches(_: conf::Within) -> bool {
        false
    }
}

/// `server {`
pub fn open_server(at: &mut Scope) -> Result<(), Error> {
    let count = at.shared::<Count>();
    let mut next = count.0.lock().unwrap_or_else(PoisonError::into_inner);
    at.own::<Number>().0 = *next;
    *next += 1;
    Ok(())
}

const HTTP2_DEPRECATED: &str =
    "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead";

/// What the words after the address say.
struct Options {
    listen: Listen,
    ssl: bool,
    http2: bool,
    proxy_protocol: bool,
    reserve: bool,
    default_server: bool,
    socket_options: bool,
}

/// `listen address[:port[-port]] | port[-port] | unix:path [options];`
pub fn listen(at: &mut Scope, a: &Args<'_>) -> Result<(), Error> {
    let addresses = addresses::addresses(a)?;
    if (1..a.words.len()).any(|i| a.str(i) == "http2") {
        at.warn(Error::warn(HTTP2_DEPRECATED).at(a.at()));
    }
    for word in (1..a.words.len()).map(|i| a.str(i)).filter(|word| word.starts_with("accept_filter=")) {
        at.warn(a.warning(format!("accept filters \"{word}\" are not supported on this platform, ignored")));
    }
    for address in addresses {
        let options = options(a, address)?;
        add(at, a, options)?;
    }
    Ok(())
}

fn add(at: &mut Scope, a: &Args<'_>, options: Options) -> Result<(), Error> {
    let server = at.conf::<Number>().map_or(0, |n| n.0);
    let listens = at.shared::<Listens>();
    let mut all = listens.lock();
    let found = all.iter().position(|entry| entry.listen.address == options.listen.address);
    let i = match found {
        None => {
            all.push(Entry {
                listen: options.listen,
                options_given: options.socket_options,
                own_socket: options.socket_options,
                ssl: options.ssl,
                http2: options.http2,
                said: Said::default(),
                proxy_protocol: options.proxy_protocol,
                reserve: options.reserve,
                default_server: options.default_server.then_some(server),
                servers: vec![server],
            });
            all.len() - 1
        }
        Some(i) => {
            if join(&mut all[i], a, options, server)? {
                at.warn(a.warning(format!("protocol options redefined for {}", all[i].listen.address)));
            }
            i
        }
    };
    at.own::<ServerConf>().addresses.push(i);
    Ok(())
}

/// Another server at an address that is known; whether what it says of protocols is odd.
fn join(entry: &mut Entry, a: &Args<'_>, options: Options, server: usize) -> Result<bool, Error> {
    let address = &entry.listen.address;
    if entry.servers.last() == Some(&server) {
        return Err(a.error(format!("a duplicate listen {address}")));
    }
    if options.socket_options {
        if entry.options_given {
            return Err(a.error(format!("duplicate listen options for {address}")));
        }
        entry.listen = options.listen;
        entry.options_given = true;
        entry.own_socket = true;
    }
    if options.default_server {
        if entry.default_server.is_some() {
            return Err(a.error(format!("a duplicate default server for {}", entry.listen.address)));
        }
        entry.default_server = Some(server);
    }
    let before = Protocols { proxy: entry.proxy_protocol, ssl: entry.ssl, http2: entry.http2 };
    let now = Protocols { proxy: options.proxy_protocol, ssl: options.ssl, http2: options.http2 };
    let odd = entry.said.again(before, now, options.socket_options, entry.options_given);
    entry.ssl |= options.ssl;
    entry.http2 |= options.http2;
    entry.proxy_protocol |= options.proxy_protocol;
    entry.reserve |= options.reserve;
    entry.servers.push(server);
    Ok(odd)
}

fn options(a: &Args<'_>, address: Address) -> Result<Options, Error> {
    let mut o = Options {
        listen: Listen::new(address),
        ssl: false,
        http2: false,
        proxy_protocol: false,
        reserve: false,
        default_server: false,
        socket_options: false,
    };
    for i in 1..a.words.len() {
        option(a, a.str(i), &mut o)?;
    }
    Ok(o)
}

fn option(a: &Args<'_>, word: &str, o: &mut Options) -> Result<(), Error> {
    match word {
        "default_server" | "default" => o.default_server = true,
        "ssl" => o.ssl = true,
        "proxy_protocol" => o.proxy_protocol = true,
        "capacity_reserve" => o.reserve = true,
        "http2" => o.http2 = true,
        "quic" => {
            return Err(
                a.error(format!("the \"{word}\" parameter of \"listen\" is not supported by plimsoll"))
            );
        }
        _ => {
            socket_option(a, word, &mut o.listen)?;
            o.socket_options = true;
        }
    }
    Ok(())
}

fn socket_option(a: &Args<'_>, word: &str, listen: &mut Listen) -> Result<(), Error> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let invalid = |what: &str| a.error(format!("invalid {what} \"{word}\""));
    match name {
        "bind" if value.is_empty() => {}
        "reuseport" if value.is_empty() => listen.reuseport = true,
        "multipath" if value.is_empty() => listen.multipath = true,
        "deferred" if value.is_empty() => listen.deferred = true,
        "backlog" => {
            let backlog = number::<i32>(value).filter(|n| *n != 0);
            listen.backlog = Some(backlog.ok_or_else(|| invalid("backlog"))?);
        }
        "rcvbuf" => listen.rcvbuf = Some(buffer(value).ok_or_else(|| invalid("rcvbuf"))?),
        "sndbuf" => listen.sndbuf = Some(buffer(value).ok_or_else(|| invalid("sndbuf"))?),
        "fastopen" => listen.fastopen = Some(number(value).ok_or_else(|| invalid("fastopen"))?),
        "accept_filter" => {}
        "ipv6only" if value.starts_with('o') => ipv6only(a, value, listen)?,
        "so_keepalive" => listen.keepalive = Some(keepalive(a, value)?),
        _ => return Err(a.error(format!("invalid parameter \"{word}\""))),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Option<T> {
    value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()))
}

fn buffer(value: &str) -> Option<usize> {
    let size = conf::size(value.as_bytes())?;
    usize::try_from(size).ok()
}

fn ipv6only(a: &Args<'_>, value: &str, listen: &mut Listen) -> Result<(), Error> {
    let only = match value {
        "on" => true,
        "off" => false,
        _ => return Err(a.error(format!("invalid ipv6only flags \"{value}\""))),
    };
    if let Address::Tcp(SocketAddr::V6(_)) = listen.address {
        listen.ipv6only = Some(only);
    }
    Ok(())
}

/// `so_keepalive=on|off|[idle]:[interval]:[count]`
fn keepalive(a: &Args<'_>, value: &str) -> Result<KeepAlive, Error> {
    let invalid = || a.error(format!("invalid so_keepalive value: \"{value}\""));
    match value {
        "on" => return Ok(KeepAlive { on: true, ..KeepAlive::default() }),
        "off" => return Ok(KeepAlive::default()),
        _ => {}
    }
    let (idle, rest) = value.split_once(':').ok_or_else(invalid)?;
    let (interval, count) = rest.split_once(':').unwrap_or((rest, ""));
    let seconds = |text: &str| match text {
        "" => Ok(None),
        _ => conf::sec(text.as_bytes()).and_then(|s| u32::try_from(s).ok()).map(Some).ok_or_else(invalid),
    };
    let count = match count {
        "" => None,
        _ => Some(count.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(invalid)?),
    };
    let keepalive = KeepAlive { on: true, idle: seconds(idle)?, interval: seconds(interval)?, count };
    match keepalive {
        KeepAlive { idle: None, interval: None, count: None, .. } => Err(invalid()),
        _ => Ok(keepalive),
    }
}

/// The socket that serves an address: a wildcard of the same port, unless the address has options of its own.
pub fn socket_of(entries: &[Entry], i: usize) -> usize {
    let Address::Tcp(address) = entries[i].listen.address else { return i };
    if entries[i].own_socket || address.ip().is_unspecified() {
        return i;
    }
    let wildcard: IpAddr = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let wanted = Address::Tcp(SocketAddr::new(wildcard, address.port()));
    entries.iter().position(|entry| entry.listen.address == wanted).unwrap_or(i)
}
