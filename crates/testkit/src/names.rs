//! A name server whose answers a test decides, over UDP and TCP on one port of loopback.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use domain::base::iana::{Rcode, Rtype};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Aaaa, Cname, Srv};

/// One record, or what is said instead of records.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address, of either kind.
    Address(IpAddr),
    /// Another name.
    Alias(&'static str),
    /// Priority, weight, port and host of a service.
    Service(u16, u16, u16, &'static str),
    /// This code instead of an answer.
    Code(u8),
    /// Nothing at all is sent.
    Silence,
    /// These bytes of the message are others.
    Changed(&'static [(usize, u8)]),
    /// For questions about IPv6 addresses, this code.
    CodeForSix(u8),
}

impl Record {
    fn changes(&self) -> Option<&'static [(usize, u8)]> {
        match self {
            Record::Changed(changes) => Some(changes),
            _ => None,
        }
    }
}

/// A running name server. A name without records does not exist.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    records: Mutex<HashMap<String, (u32, Vec<Record>)>>,
    asked: Mutex<Vec<String>>,
    truncating: AtomicBool,
    stopping: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NameServer {
    /// Starts one that knows no name.
    #[allow(clippy::new_without_default)]
    pub fn new() -> NameServer {
        let (listener, socket) = sockets();
        let address = socket.local_addr().expect("the name server's address");
        let shared = Arc::new(Shared::default());
        let (over_udp, over_tcp) = (shared.clone(), shared.clone());
        let threads = vec![
            thread::spawn(move || datagrams(&socket, &over_udp)),
            thread::spawn(move || streams(&listener, &over_tcp)),
        ];
        NameServer { address, shared, threads }
    }
    /// For `resolver`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
    /// From now on a name has these records.
    pub fn set(&self, name: &str, ttl: u32, records: &[Record]) {
        lock(&self.shared.records).insert(name.to_ascii_lowercase(), (ttl, records.to_vec()));
    }
    /// From now on a name has this IPv4 address alone.
    pub fn address_of(&self, name: &str, ttl: u32, ip: &str) {
        self.set(name, ttl, &[Record::Address(ip.parse().expect("an address"))]);
    }
    /// From now on answers over UDP are cut off: the question must come again over TCP.
    pub fn truncate(&self) {
        self.shared.truncating.store(true, SeqCst);
    }
    /// What was asked so far: `A a.test`, with `tcp` behind it where it came over TCP.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, SeqCst);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(b"", self.address);
        }
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() && !thread::panicking() {
                panic!("a name server panicked");
            }
        }
    }
}

/// Both sockets on one port.
fn sockets() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a name server");
        let address = listener.local_addr().expect("the name server's address");
        if let Ok(socket) = UdpSocket::bind(address) {
            return (listener, socket);
        }
    }
    panic!("no port is free for both UDP and TCP")
}

fn datagrams(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        if shared.stopping.load(SeqCst) {
            return;
        }
        if let Some(answer) = answer(&buffer[..length], shared, false) {
            let _ = socket.send_to(&answer, client);
        }
    }
}

fn streams(listener: &TcpListener, shared: &Shared) {
    while let Ok((mut stream, _)) = listener.accept() {
        if shared.stopping.load(SeqCst) {
            return;
        }
        let _ = one_stream(&mut stream, shared);
    }
}

fn one_stream(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut question)?;
    let Some(answer) = answer(&question, shared, true) else { return Ok(()) };
    stream.write_all(&(answer.len() as u16).to_be_bytes())?;
    stream.write_all(&answer)
}

fn answer(question: &[u8], shared: &Shared, tcp: bool) -> Option<Vec<u8>> {
    let message = Message::from_octets(question).ok()?;
    let asked = message.sole_question().ok()?;
    let name = asked.qname().to_string().to_ascii_lowercase();
    let over = if tcp { " tcp" } else { "" };
    lock(&shared.asked).push(format!("{} {name}{over}", asked.qtype()));
    let (ttl, records) = lock(&shared.records).get(&name).cloned().unwrap_or((0, vec![Record::Code(3)]));
    if records.iter().any(|record| matches!(record, Record::Silence)) {
        return None;
    }
    let code = records.iter().find_map(|record| match record {
        Record::Code(code) => Some(Rcode::masked_from_int(*code)),
        Record::CodeForSix(code) if asked.qtype() == Rtype::AAAA => Some(Rcode::masked_from_int(*code)),
        _ => None,
    });
    let mut builder =
        MessageBuilder::new_vec().start_answer(&message, code.unwrap_or(Rcode::NOERROR)).ok()?;
    if !tcp && shared.truncating.load(SeqCst) {
        builder.header_mut().set_tc(true);
        return Some(builder.finish());
    }
    for record in &records {
        let owner: Name<Vec<u8>> = name.parse().ok()?;
        push(&mut builder, owner, asked.qtype(), ttl, record).ok()?;
    }
    let mut bytes = builder.finish();
    for (at, byte) in records.iter().filter_map(Record::changes).flatten() {
        *bytes.get_mut(*at)? = *byte;
    }
    Some(bytes)
}

type Builder = domain::base::message_builder::AnswerBuilder<Vec<u8>>;

fn push(
    builder: &mut Builder,
    owner: Name<Vec<u8>>,
    asked: Rtype,
    ttl: u32,
    record: &Record,
) -> Result<(), PushError> {
    let name = |text: &str| text.parse::<Name<Vec<u8>>>().expect("a name");
    match record {
        Record::Address(IpAddr::V4(ip)) if asked == Rtype::A => builder.push((owner, ttl, A::new(*ip))),
        Record::Address(IpAddr::V6(ip)) if asked == Rtype::AAAA => builder.push((owner, ttl, Aaaa::new(*ip))),
        Record::Alias(other) => builder.push((owner, ttl, Cname::new(name(other)))),
        Record::Service(priority, weight, port, host) if asked == Rtype::SRV => {
            builder.push((owner, ttl, Srv::new(*priority, *weight, *port, name(host))))
        }
        _ => Ok(()),
    }
}
