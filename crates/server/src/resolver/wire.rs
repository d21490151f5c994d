//! A question over UDP or TCP, on a socket of its own: its port is one more thing that a forger has to guess.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Instant;

use dns::{Over, Question, Reply};

use crate::connection::Socket;
use crate::log::Level;
use crate::upstream;
use crate::worker::ledger::{Class, Line};
use crate::worker::thread::Thread;

/// What went wrong, and while doing what.
pub(super) struct Failure {
    pub call: &'static str,
    pub error: io::Error,
}

fn during(call: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure { call, error }
}

/// Asks in a datagram. What is no answer to the question is passed over.
pub(super) async fn datagram(
    thread: &Rc<Thread>,
    server: SocketAddr,
    question: &Question,
    until: Instant,
) -> Result<Reply, Failure> {
    let _seat = upstream::seat(thread).ok_or_else(|| during("socket()")(full()))?;
    let socket = connected(server).map_err(during("socket()"))?;
    let _line = Line::new(Class::Upstream);
    let socket = Socket::new(&thread.handle, socket.into()).map_err(during("epoll_ctl()"))?;
    socket.set_deadline(Some(until));
    socket.try_write(&question.bytes()).map_err(during("send()"))?;
    let mut buffer = [0; 4096];
    loop {
        socket.readable().await.map_err(during("recv()"))?;
        // To the last datagram: only an empty socket tells of the next.
        loop {
            match socket.try_read_early(&mut buffer) {
                Ok(n) => {
                    if let Some(reply) = read(thread, question, &buffer[..n], Over::Udp) {
                        return Ok(reply);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(during("recv()")(error)),
            }
        }
    }
}

fn full() -> io::Error {
    rustix::io::Errno::NFILE.into()
}

fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

/// Asks over TCP.
pub(super) async fn stream(
    thread: &Rc<Thread>,
    server: SocketAddr,
    question: &Question,
    until: Instant,
) -> Result<Reply, Failure> {
    let _seat = upstream::seat(thread).ok_or_else(|| during("socket()")(full()))?;
    let (fd, _) = sys::net::connect(server).map_err(during("connect()"))?;
    let _line = Line::new(Class::Upstream);
    let socket = Socket::connecting(&thread.handle, fd).map_err(during("epoll_ctl()"))?;
    socket.set_deadline(Some(until));
    socket.writable().await.map_err(during("connect()"))?;
    sys::net::take_error(socket.fd()).map_err(during("connect()"))?;
    let bytes = question.bytes();
    let mut message = (bytes.len() as u16).to_be_bytes().to_vec();
    message.extend_from_slice(&bytes);
    socket.write_all(&message).await.map_err(during("send()"))?;
    loop {
        let mut length = [0; 2];
        fill(&socket, &mut length).await.map_err(during("recv()"))?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        fill(&socket, &mut answer).await.map_err(during("recv()"))?;
        if let Some(reply) = read(thread, question, &answer, Over::Tcp) {
            return Ok(reply);
        }
    }
}

/// The answer, if that is what it is; what is wrong with it is logged.
fn read(thread: &Thread, question: &Question, bytes: &[u8], over: Over) -> Option<Reply> {
    question.read(bytes, over, &mut |complaint| {
        thread.process.log(Level::Error, format_args!("{complaint}"));
    })
}

async fn fill(socket: &Socket, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = 0;
    while at < buffer.len() {
        match socket.read(&mut buffer[at..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(())
}
