//! One encrypted connection: rustls between the socket and the request.

use std::cell::Cell;
use std::io::{self, IoSlice, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, AcceptedAlert, Acceptor, ServerConfig};
use rustls::{NamedGroup, ProtocolVersion, ServerConnection};

use super::clients::{Clients, Shown};
use super::offered::Offered;
use super::records::Records;
use crate::ciphertext::Wire;
use crate::connection::Socket;
use crate::http::request::Request;

/// The state of a connection's encryption.
pub struct Tls {
    connection: ServerConnection,
    records: Records,
    /// The configuration it was made with: a connection whose server has another one now is closed.
    pub config: Arc<ServerConfig>,
    clients: Option<Arc<Clients>>,
    /// What the client offered, where anybody asks for it.
    offered: Option<Box<Offered>>,
    agreed: Option<Rc<Agreed>>,
    /// What the client sent before the handshake was complete (`ssl_early_data`), and nobody read yet.
    early: Vec<u8>,
    /// What responders say against the client's certificate.
    ocsp: Option<&'static str>,
}

/// What a handshake goes on with.
pub struct Chosen {
    /// What rustls works with.
    pub config: Arc<ServerConfig>,
    /// Who judges the client's certificate.
    pub clients: Option<Arc<Clients>>,
}

/// What was agreed on in a handshake, for the variables.
pub struct Agreed {
    /// The protocol's version as nginx names it.
    pub protocol: &'static str,
    /// The cipher suite by OpenSSL's name.
    pub cipher: &'static str,
    /// The group of the key exchange by OpenSSL's name.
    pub curve: Option<&'static str>,
    /// The protocol that client and server agreed on by ALPN.
    pub alpn_protocol: Option<Box<str>>,
    /// The name the client asked for.
    pub server_name: Option<Box<str>>,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
    /// Who judged the client's certificate.
    pub clients: Option<Arc<Clients>>,
    /// The certificate that the client showed.
    pub shown: Option<Shown>,
    /// What responders say against that.
    pub ocsp: Option<&'static str>,
    /// What the client offered, where anybody asks for it.
    pub offered: Option<Box<Offered>>,
    /// The handshake is not complete: what the client sent may be somebody's who heard it before.
    pub early: Cell<bool>,
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Tls {
    /// Reads decrypted bytes; 0 at the end.
    pub fn poll_read(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.early.is_empty() {
                return Poll::Ready(Ok(self.take_early(into)));
            }
            match self.connection.reader().read(into) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
                Err(_) => ready!(self.poll_receive(socket, cx))?,
            }
        }
    }
    fn take_early(&mut self, into: &mut [u8]) -> usize {
        let n = self.early.len().min(into.len());
        into[..n].copy_from_slice(&self.early[..n]);
        self.early.drain(..n);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        n
    }
    /// The handshake goes on, or ends: what came early, and what others have to know.
    fn note_handshake(&mut self) -> io::Result<()> {
        if let Some(mut data) = self.connection.early_data() {
            data.read_to_end(&mut self.early)?;
        }
        if let Some(scheme) = super::offered::take_client()
            && let Some(offered) = &mut self.offered
        {
            offered.set_client(scheme);
        }
        if let Some(agreed) = &self.agreed {
            agreed.early.set(self.connection.is_handshaking());
        }
        Ok(())
    }
    /// Takes in ciphertext, and sends what rustls answers to it.
    fn poll_receive(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let handshaking = self.connection.is_handshaking();
        match self.connection.read_tls(&mut Wire(socket)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return socket.poll_readable(cx),
            Err(e) => return Poll::Ready(Err(e)),
            // The end stays readable: nobody may wait for more.
            Ok(0) if handshaking => {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(_) => {}
        }
        let processed = self.connection.process_new_packets().map_err(broken);
        if handshaking {
            self.note_handshake()?;
        }
        // An alert about broken packets goes out too, as far as the socket takes it.
        match self.flush(socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
            _ => {}
        }
        Poll::Ready(processed.map(drop))
    }
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Wire(socket))?;
        }
        Ok(())
    }
    /// Sends all ciphertext there is.
    pub fn poll_flush(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.flush(socket) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_writable(cx))?,
                result => return Poll::Ready(result),
            }
        }
    }
    /// Encrypts and sends; what the socket does not take at once is kept, and goes first the next time.
    pub fn poll_write(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(socket, cx))?;
        let taken = self.records.write(&mut self.connection, slices, socket.handle().now())?;
        match self.flush(socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Poll::Ready(Err(e)),
            _ => Poll::Ready(Ok(taken)),
        }
    }
    /// Says goodbye, as far as the socket takes it at once.
    pub fn close(&mut self, socket: &Socket) {
        self.connection.send_close_notify();
        let _ = self.flush(socket);
    }
    /// Whether requests came before the handshake is complete.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }
    /// Whether HTTP/2 was agreed on by ALPN.
    pub fn speaks_http2(&self) -> bool {
        self.connection.alpn_protocol() == Some(crate::http2::ALPN)
    }
    fn shown(&self) -> Option<Shown> {
        self.clients.as_ref()?.judge(self.connection.peer_certificates()?)
    }
    /// A client's certificate that responders are to be asked about, with those who signed it, and who asks.
    pub fn to_be_asked_about(&self) -> Option<(Arc<Clients>, Vec<CertificateDer<'static>>)> {
        let clients = self.clients.as_ref().filter(|clients| clients.asks())?;
        let shown = self.connection.peer_certificates()?;
        let good = clients.judge(shown)?.fault.is_none();
        good.then(|| (clients.clone(), clients.chain(shown)))
    }
    /// What they said.
    pub fn note_ocsp(&mut self, what: Option<&'static str>) {
        self.ocsp = what;
    }
    /// What the variables tell; found out when it is asked for first.
    pub fn agreed(&mut self) -> Rc<Agreed> {
        if let Some(agreed) = &self.agreed {
            return agreed.clone();
        }
        let offered = self.offered.take().map(|offered| offered.settled(&self.connection));
        let agreed = Rc::new(Agreed {
            protocol: self.protocol(),
            cipher: self.cipher(),
            curve: self.curve(),
            alpn_protocol: self.alpn_protocol().map(Into::into),
            server_name: self.connection.server_name().map(Into::into),
            shown: self.shown(),
            clients: self.clients.clone(),
            ocsp: self.ocsp,
            offered,
            early: Cell::new(self.connection.is_handshaking()),
            resumed: self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        });
        self.agreed.insert(agreed).clone()
    }
    fn protocol(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        }
    }
    fn cipher(&self) -> &'static str {
        let suite = self.connection.negotiated_cipher_suite();
        suite.map_or("", |suite| super::ciphers::openssl_name(suite.suite()))
    }
    fn curve(&self) -> Option<&'static str> {
        let group = self.connection.negotiated_key_exchange_group()?;
        Some(match group.name() {
            NamedGroup::X25519 => "X25519",
            NamedGroup::secp256r1 => "prime256v1",
            NamedGroup::secp384r1 => "secp384r1",
            NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
            NamedGroup::secp256r1MLKEM768 => "SecP256r1MLKEM768",
            _ => return None,
        })
    }
    fn alpn_protocol(&self) -> Option<&str> {
        std::str::from_utf8(self.connection.alpn_protocol()?).ok()
    }
}

/// A fatal alert: no such name here (RFC 6066, 3).
const UNRECOGNIZED_NAME: &[u8] = &[0x15, 3, 3, 0, 2, 2, 112];

/// A fatal alert: our own fault.
const INTERNAL_ERROR: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// How a handshake failed, for the log.
pub enum Failure {
    /// The client left or broke off.
    Io(io::Error),
    /// What rustls says of the client's messages.
    Refused(rustls::Error),
    /// The certificate that is named by variables cannot be had.
    Unreadable(conf::Error),
    /// The server that was asked for wants no handshake.
    Rejected,
    /// No server of this address has a certificate.
    NoCertificate,
}

/// Receives a ClientHello, lets `choose` find the configuration for the name in it, and completes the handshake.
/// `request.buffer` holds what was read already.
pub async fn accept(
    request: &mut Request,
    choose: impl FnOnce(&mut Request, Option<&str>) -> Result<Chosen, Failure>,
) -> Result<Box<Tls>, Failure> {
    let accepted = hello(request).await?;
    let name = accepted.client_hello().server_name().map(str::to_owned);
    let wanted = request.generation.shared.wants_offers;
    let mut offered = wanted.then(|| Box::new(Offered::of(&accepted.client_hello())));
    let Chosen { config, clients } = match choose(request, name.as_deref()) {
        Ok(chosen) => {
            if let Some(offered) = &mut offered {
                offered.key = chosen.config.cert_resolver.resolve(accepted.client_hello());
            }
            chosen
        }
        Err(failure) => {
            match failure {
                Failure::Rejected => send(request, UNRECOGNIZED_NAME).await,
                Failure::Unreadable(_) => send(request, INTERNAL_ERROR).await,
                _ => {}
            }
            return Err(failure);
        }
    };
    let mut connection = match accepted.into_connection(config.clone()) {
        Ok(connection) => connection,
        Err((error, alert)) => return Err(refused(request, error, alert).await),
    };
    if let Some(offered) = &mut offered {
        let mut hello = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut hello).map_err(Failure::Io)?;
        }
        offered.take_session(&hello);
        send(request, &hello).await;
    }
    let records = Records::new(config.max_fragment_size.is_none());
    let tls =
        Tls { connection, records, config, clients, offered, agreed: None, early: Vec::new(), ocsp: None };
    finish(request, Box::new(tls)).await
}

/// The client's first message.
async fn hello(request: &mut Request) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    loop {
        let mut received = &request.buffer[..];
        while !received.is_empty() {
            acceptor.read_tls(&mut received).map_err(Failure::Io)?;
        }
        request.buffer.clear();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, alert)) => return Err(refused(request, error, alert).await),
        }
        if request.receive().await.map_err(Failure::Io)? == 0 {
            return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Tells the client what rustls says of its messages.
async fn refused(request: &mut Request, error: rustls::Error, mut alert: AcceptedAlert) -> Failure {
    let mut bytes = Vec::new();
    let _ = alert.write_all(&mut bytes);
    send(request, &bytes).await;
    Failure::Refused(error)
}

/// Sends what is not encrypted; who is gone is found out by whoever reads next.
async fn send(request: &mut Request, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let slices = [IoSlice::new(bytes)];
        match std::future::poll_fn(|cx| request.client.poll_write(cx, &slices, false)).await {
            Ok(n) => bytes = &bytes[n..],
            Err(_) => break,
        }
    }
}

async fn finish(request: &mut Request, mut tls: Box<Tls>) -> Result<Box<Tls>, Failure> {
    let socket = request.client.socket().map_err(Failure::Io)?;
    std::future::poll_fn(|cx| {
        ready!(tls.poll_flush(socket, cx))?;
        // What came together with the ClientHello.
        tls.connection.process_new_packets().map_err(broken)?;
        tls.note_handshake()?;
        // What came early is served before the handshake is complete.
        while tls.connection.is_handshaking() && tls.early.is_empty() {
            ready!(tls.poll_receive(socket, cx))?;
            ready!(tls.poll_flush(socket, cx))?;
        }
        tls.poll_flush(socket, cx)
    })
    .await
    .map_err(|error| match error.downcast::<rustls::Error>() {
        Ok(refused) => Failure::Refused(refused),
        Err(error) => Failure::Io(error),
    })?;
    Ok(tls)
}
