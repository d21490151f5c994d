//! One encrypted connection: rustls between the socket and the request.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, AcceptedAlert, Acceptor, ServerConfig};
use rustls::{CommonState, NamedGroup, ProtocolVersion};

use super::clients::{Clients, Shown};
use super::engine::Engine;
use super::offered::Offered;
use crate::connection::Socket;
use crate::http::request::Request;

/// The state of a connection's encryption.
pub struct Tls {
    engine: Engine,
    /// The configuration it was made with: a connection whose server has another one now is closed.
    pub config: Arc<ServerConfig>,
    clients: Option<Arc<Clients>>,
    /// What the client offered, where anybody asks for it.
    offered: Option<Box<Offered>>,
    agreed: Option<Rc<Agreed>>,
    /// The name the client asked for.
    name: Option<Box<str>>,
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

impl Tls {
    fn state(&self) -> &CommonState {
        self.engine.state()
    }
    /// Reads decrypted bytes; 0 at the end.
    pub fn poll_read(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(n) = self.engine.take(into) {
                return Poll::Ready(Ok(n));
            }
            let n = ready!(self.poll_receive(socket, cx, into))?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
        }
    }
    /// The handshake goes on, or ends: what others have to know.
    fn note_handshake(&mut self) {
        if let Some(scheme) = super::offered::take_client()
            && let Some(offered) = &mut self.offered
        {
            offered.set_client(scheme);
        }
        if let Some(agreed) = &self.agreed {
            agreed.early.set(self.is_handshaking());
        }
    }
    /// Takes in ciphertext, and sends what rustls answers to it.
    fn poll_receive(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let handshaking = self.is_handshaking();
        let received = match self.engine.receive(socket, into) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return socket.poll_readable(cx).map_ok(|()| 0);
            }
            received => received,
        };
        if handshaking {
            self.note_handshake();
        }
        // An alert about broken packets goes out too, as far as the socket takes it.
        match self.engine.flush(socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock && received.is_ok() => Poll::Ready(Err(e)),
            _ => Poll::Ready(received),
        }
    }
    /// Sends all ciphertext there is.
    pub fn poll_flush(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.engine.flush(socket) {
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
        match self.engine.write(socket, slices, socket.handle().now()) {
            Some(written) => Poll::Ready(written),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    /// Says goodbye, as far as the socket takes it at once.
    pub fn close(&mut self, socket: &Socket) {
        self.engine.say_goodbye();
        let _ = self.engine.flush(socket);
    }
    /// Whether requests came before the handshake is complete.
    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }
    /// Whether HTTP/2 was agreed on by ALPN.
    pub fn speaks_http2(&self) -> bool {
        self.state().alpn_protocol() == Some(crate::http2::ALPN)
    }
    fn shown(&self) -> Option<Shown> {
        self.clients.as_ref()?.judge(self.state().peer_certificates()?)
    }
    /// A client's certificate that responders are to be asked about, with those who signed it, and who asks.
    pub fn to_be_asked_about(&self) -> Option<(Arc<Clients>, Vec<CertificateDer<'static>>)> {
        let clients = self.clients.as_ref().filter(|clients| clients.asks())?;
        let shown = self.state().peer_certificates()?;
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
        let offered = self.offered.take().map(|offered| offered.settled(self.state()));
        let agreed = Rc::new(Agreed {
            protocol: self.protocol(),
            cipher: self.cipher(),
            curve: self.curve(),
            alpn_protocol: self.alpn_protocol().map(Into::into),
            server_name: self.name.clone(),
            shown: self.shown(),
            clients: self.clients.clone(),
            ocsp: self.ocsp,
            offered,
            early: Cell::new(self.state().is_handshaking()),
            resumed: self.state().handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        });
        self.agreed.insert(agreed).clone()
    }
    fn protocol(&self) -> &'static str {
        match self.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        }
    }
    fn cipher(&self) -> &'static str {
        let suite = self.state().negotiated_cipher_suite();
        suite.map_or("", |suite| super::ciphers::openssl_name(suite.suite()))
    }
    fn curve(&self) -> Option<&'static str> {
        let group = self.state().negotiated_key_exchange_group()?;
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
        std::str::from_utf8(self.state().alpn_protocol()?).ok()
    }
}

/// A fatal alert: no such name here (RFC 6066, 3).
const UNRECOGNIZED_NAME: &[u8] = &[0x15, 3, 3, 0, 2, 2, 112];

/// A fatal alert: our own fault.
const INTERNAL_ERROR: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

/// How a handshake failed, for the log.
pub enum Failure {
    /// The client left without a word.
    Silent,
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
    let (accepted, said) = hello(request).await?;
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
    let engine = Engine::new(config.clone(), said).map_err(Failure::Refused)?;
    let name = name.map(Into::into);
    finish(request, Box::new(Tls { engine, config, clients, name, offered, agreed: None, ocsp: None })).await
}

/// The client's first message, and the bytes it came in.
async fn hello(request: &mut Request) -> Result<(Accepted, Vec<u8>), Failure> {
    let mut acceptor = Acceptor::default();
    let mut said = Vec::new();
    loop {
        let mut received = &request.buffer[..];
        while !received.is_empty() {
            acceptor.read_tls(&mut received).map_err(Failure::Io)?;
        }
        said.extend_from_slice(&request.buffer);
        request.buffer.clear();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok((accepted, said)),
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
    let mut begun = tls.engine.begin();
    if let Some(offered) = &mut tls.offered {
        offered.take_session(tls.engine.unsent());
    }
    tls.note_handshake();
    std::future::poll_fn(|cx| {
        ready!(tls.poll_flush(socket, cx))?;
        std::mem::replace(&mut begun, Ok(()))?;
        // What came early is served before the handshake is complete.
        while tls.is_handshaking() && !tls.engine.has_plain() {
            ready!(tls.poll_receive(socket, cx, &mut []))?;
            if tls.engine.has_ended() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
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
