//! The client's connection, as a request sees it: bytes in, bytes and files out, plain or encrypted.

use std::cell::{Cell, OnceCell};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use reactor::Peer;

use super::response::FileBody;
use crate::connection::{Rest, Socket};
use crate::http2::stream::Stream;
use crate::modules::ssl::{Agreed, Tls};
use crate::network::{push_client, push_ip};
use crate::proxy_protocol::Proxied;
use crate::worker::thread::{BLOCK, Thread};

/// One client's connection while it is served, or a stream of it.
pub struct Client {
    socket: Option<Socket>,
    tls: Option<Box<Tls>>,
    /// One stream of HTTP/2: then there is no socket here.
    stream: Option<Box<Stream>>,
    /// What a stream knows of its connection's encryption.
    agreed: Option<Rc<Agreed>>,
    /// The number of the connection, `*N` in the error log and `$connection`.
    pub id: u64,
    /// Requests so far, the one in service included (`$connection_requests`).
    pub requests: u32,
    /// The client's address; that of the client behind a trusted proxy, where one spoke for it.
    pub peer: Peer,
    /// Who connected, where it spoke for another.
    proxy: Option<Peer>,
    /// Which listening socket it came by: an index into the generation's.
    pub listener: u32,
    /// When it was accepted.
    pub opened: Instant,
    kept: u32,
    /// Its place among the worker's connections, given back when it closes.
    pub seat: Option<crate::worker::Seat>,
    refused: bool,
    /// Who a load balancer speaks for (PROXY protocol).
    pub proxied: Option<Box<Proxied>>,
    /// A read or write was given up for its deadline.
    pub timed_out: bool,
    /// A write waits: its deadline is set.
    pub waiting_to_send: bool,
    /// The name in a ClientHello whose certificate is being looked for.
    pub asked_for: Option<Box<str>>,
    /// The client speaks plain HTTP to an encrypted port.
    pub plain_on_ssl: bool,
    local: OnceCell<Option<SocketAddr>>,
    /// There is no connection, but whom the answer is for may have left.
    left: Option<Rc<Cell<bool>>>,
}

impl Client {
    /// Stands in a pooled request that serves nobody.
    pub fn none(now: Instant) -> Client {
        Client {
            socket: None,
            tls: None,
            stream: None,
            agreed: None,
            id: 0,
            requests: 0,
            peer: Peer::Unix,
            proxy: None,
            listener: 0,
            opened: now,
            kept: 0,
            seat: None,
            refused: false,
            proxied: None,
            timed_out: false,
            waiting_to_send: false,
            asked_for: None,
            plain_on_ssl: false,
            local: OnceCell::new(),
            left: None,
        }
    }
    /// Takes up a connection that woke, in the place of a client that is gone or rests.
    pub fn wake(&mut self, socket: Socket, rest: Rest) {
        let Rest { peer, listener, id, requests, opened, tls, proxied, seat, kept: _ } = rest;
        self.refused = seat.kind() == crate::worker::Kind::Refused;
        self.socket = Some(socket);
        self.tls = tls;
        self.stream = None;
        self.agreed = None;
        self.id = id;
        self.requests = requests;
        self.peer = peer;
        self.proxy = None;
        self.listener = listener;
        self.opened = opened;
        self.kept = 0;
        self.seat = Some(seat);
        self.proxied = proxied;
        self.timed_out = false;
        self.waiting_to_send = false;
        self.asked_for = None;
        self.plain_on_ssl = false;
        self.local = OnceCell::new();
    }
    /// A seat kept for the upstream connection that a request needs.
    pub fn take_extra(&mut self) -> Option<crate::worker::Seat> {
        self.seat.as_mut()?.take_extra()
    }
    /// No upstream connection is needed: its seat is free for others.
    pub fn spare(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.spare();
        }
    }
    /// Whether it is only told that there is no room.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
    /// What a request beside a client's own shows of it; there is nothing to read, and nobody who could leave.
    pub fn shadow(&mut self) -> Client {
        let agreed = self.agreed();
        Client {
            id: self.id,
            requests: self.requests,
            peer: self.peer,
            proxy: self.proxy,
            listener: self.listener,
            proxied: self.proxied.clone(),
            local: OnceCell::from(self.local()),
            agreed,
            ..Client::none(self.opened)
        }
    }
    /// There is nobody but who gives a sign when the answer is not wanted any more.
    pub fn watch(&mut self, left: Rc<Cell<bool>>) {
        self.left = Some(left);
    }
    /// Whether the address is that of somebody behind who connected.
    pub fn speaks_for_another(&self) -> bool {
        self.proxy.is_some()
    }
    /// Who connected.
    pub fn connected_from(&self) -> Peer {
        self.proxy.unwrap_or(self.peer)
    }
    /// Takes the request for one of this client, until it is over.
    pub fn speak_for(&mut self, client: Peer) {
        self.proxy = Some(self.connected_from());
        self.peer = client;
    }
    /// The next request is the connection's own again.
    pub fn speak_for_itself(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            self.peer = proxy;
        }
    }
    /// A shutdown leaves the connection alone for a while from `now` on.
    pub fn keep_until(&mut self, now: Instant, while_idle: Duration) {
        self.kept = 0;
        if !while_idle.is_zero() {
            let until = now.saturating_duration_since(self.opened) + while_idle;
            self.kept = u32::try_from(until.as_millis()).unwrap_or(u32::MAX);
        }
    }
    /// Goes to rest until the next byte comes, at most for so long.
    pub fn rest(&mut self, timeout: Duration) {
        self.speak_for_itself();
        let (Some(socket), Some(mut seat)) = (self.socket.take(), self.seat.take()) else { return };
        seat.spare();
        let rest = Rest {
            peer: self.peer,
            listener: self.listener,
            id: self.id,
            requests: self.requests,
            opened: self.opened,
            kept: self.kept,
            tls: self.tls.take(),
            proxied: self.proxied.take(),
            seat,
        };
        socket.set_timeout(timeout);
        let handle = socket.handle().clone();
        handle.rest(socket, rest);
    }
    pub(crate) fn socket(&self) -> io::Result<&Socket> {
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
    /// The descriptor, for socket options.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|s| s.fd())
    }
    /// What the kernel knows of the connection; nothing where it is none over TCP.
    pub fn tcp_information(&self) -> Option<sys::net::TcpInfo> {
        match (&self.socket, &self.stream) {
            (Some(socket), _) => sys::net::tcp_information(socket.fd()).ok(),
            (None, Some(stream)) => stream.tcp_information(),
            (None, None) => None,
        }
    }
    /// Until when reads and writes may wait; after it they fail with `TimedOut`.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        if let Some(socket) = &self.socket {
            socket.set_deadline(deadline);
        } else if let Some(stream) = &self.stream {
            stream.set_deadline(deadline);
        }
    }
    /// From then on the connection gives way to others where slots are short: its deadline passes. `None`: it does not.
    pub fn set_yielding(&self, from: Option<Instant>) {
        if let Some(socket) = &self.socket {
            socket.set_yielding(from);
        }
    }
    /// Whether the peer is known to have closed its side.
    pub fn peer_closed(&self) -> bool {
        self.socket.as_ref().is_none_or(Socket::peer_closed)
    }
    /// Whether this is a stream of HTTP/2.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }
    /// The stream of HTTP/2.
    pub fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
    /// What the log says of a client that cancelled its stream.
    pub fn cancellation(&self) -> Option<String> {
        self.stream.as_ref()?.cancellation()
    }
    /// A client for one of the streams of this connection, its `requests`th.
    pub fn of_stream(&mut self, stream: Box<Stream>, requests: u32) -> Client {
        Client {
            stream: Some(stream),
            refused: self.refused,
            agreed: self.tls.as_mut().map(|tls| tls.agreed()),
            id: self.id,
            requests,
            peer: self.peer,
            listener: self.listener,
            proxied: self.proxied.clone(),
            local: OnceCell::from(self.local()),
            ..Client::none(self.opened)
        }
    }
    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some() || self.agreed.is_some()
    }
    /// Whether the handshake is not complete yet: the client's last word of it is still to come.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
    /// Whether client and server agreed on HTTP/2 in the handshake.
    pub fn speaks_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.speaks_http2())
    }
    /// What was agreed on in the handshake, if the connection is encrypted.
    pub fn agreed(&mut self) -> Option<Rc<Agreed>> {
        match &mut self.tls {
            Some(tls) => Some(tls.agreed()),
            None => self.agreed.clone(),
        }
    }
    /// Encrypts the connection from here on.
    pub fn set_tls(&mut self, tls: Box<Tls>) {
        self.tls = Some(tls);
    }
    /// Whether files can go out by `sendfile`.
    pub fn sends_files(&self) -> bool {
        self.tls.is_none() && self.stream.is_none()
    }
    /// The address the client connected to; `None` on a unix-domain socket.
    pub fn local(&self) -> Option<SocketAddr> {
        *self.local.get_or_init(|| sys::net::local_address(self.fd()?).ok().flatten())
    }
    /// The IP address the client connected to.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.local().map(|local| local.ip().to_canonical())
    }
    /// The port the client connected to; 0 on a unix-domain socket.
    pub fn local_port(&self) -> u16 {
        self.local().map_or(0, |local| local.port())
    }
    /// Appends the IP address the client connected to, as a URL has it.
    pub fn push_local_ip(&self, out: &mut Vec<u8>) {
        match self.local().map(|local| local.ip()) {
            Some(ip @ IpAddr::V4(_)) => push_ip(ip, out),
            Some(ip @ IpAddr::V6(_)) => {
                out.push(b'[');
                push_ip(ip, out);
                out.push(b']');
            }
            None => {}
        }
    }
    /// The client's address as logs show it: an IP address without port, or `unix:`.
    pub fn address_text(&self) -> String {
        self.peer.ip().map_or_else(|| "unix:".into(), |ip| ip.to_string())
    }
    /// Appends [`Client::address_text`].
    pub fn push_address(&self, out: &mut Vec<u8>) {
        push_client(self.peer, out);
    }
    /// Says that nothing more will be sent; the client may go on sending.
    ///
    /// # Errors
    /// When the client is gone already.
    pub fn shut_down(&mut self) -> io::Result<()> {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &self.socket) {
            tls.close(socket);
        }
        rustix::net::shutdown(self.socket()?.fd(), rustix::net::Shutdown::Write)?;
        Ok(())
    }
    /// Closes the connection, with a goodbye where it is encrypted.
    pub fn close(&mut self) {
        if let (Some(tls), Some(socket)) = (&mut self.tls, &self.socket) {
            tls.close(socket);
        }
        drop(self.take());
    }
    /// Takes the connection away: it closes when what is returned is dropped.
    pub fn take(&mut self) -> Client {
        let opened = self.opened;
        std::mem::replace(self, Client::none(opened))
    }

    /// Reads what is there, waiting for the first byte; 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let socket = self.socket.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        if let Some(tls) = &mut self.tls {
            return tls.poll_read(socket, cx, into);
        }
        loop {
            match socket.try_read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_readable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
    /// Reads as [`Client::poll_read`], behind what `out` holds, which is a block of the thread's pool afterwards; while
    /// nothing comes and it is empty, it is given back.
    pub fn poll_read_block(
        &mut self,
        cx: &mut Context<'_>,
        thread: &Thread,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            let mut scratch = thread.scratch();
            let n = ready!(self.poll_read(cx, &mut scratch))?;
            out.extend_from_slice(&scratch[..n]);
            return Poll::Ready(Ok(n));
        }
        let socket = self.socket()?;
        loop {
            if socket.maybe_readable() && out.capacity() < BLOCK {
                let mut block = thread.block();
                block.extend_from_slice(out);
                thread.give_buffer(std::mem::replace(out, block));
            }
            match socket.try_append(out) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if out.is_empty() {
                thread.give_buffer(std::mem::take(out));
            }
            ready!(socket.poll_readable(cx))?;
        }
    }
    /// As [`Client::poll_read`].
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into)).await
    }
    /// Writes what the connection takes at once, waiting until it takes something.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        if let Some(stream) = &mut self.stream {
            return stream.poll_write(cx, slices);
        }
        let socket = self.socket.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        if let Some(tls) = &mut self.tls {
            return tls.poll_write(socket, cx, slices);
        }
        loop {
            let written = match slices {
                [one] if more => socket.try_send_more(one),
                [one] => socket.try_write(one),
                several => socket.try_writev(several),
            };
            match written {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_writable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
    /// Sends what encryption holds back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (&mut self.tls, &self.socket) {
            (Some(tls), Some(socket)) => tls.poll_flush(socket, cx),
            _ => Poll::Ready(Ok(())),
        }
    }
    /// Sends a part of a file without reading it; only where [`Client::sends_files`].
    pub fn poll_sendfile(
        &mut self,
        cx: &mut Context<'_>,
        file: &mut FileBody,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = self.socket()?;
        loop {
            let left = usize::try_from(file.end - file.offset).unwrap_or(usize::MAX);
            match socket.try_sendfile(file.file.as_fd(), &mut file.offset, left.min(most)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_writable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
    /// Waits until the client closes its side (nothing is read).
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match (&self.socket, &self.stream) {
            (Some(socket), _) => socket.poll_closed(cx),
            (None, Some(stream)) => stream.poll_closed(cx),
            // A request that nobody waits for is not left, either. Who sets the sign wakes the task.
            (None, None) => match self.left.as_ref().is_some_and(|left| left.get()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            },
        }
    }
}
