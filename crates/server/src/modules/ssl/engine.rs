//! rustls between ciphertext and plaintext, without buffers of its own: a connection that is idle holds keys and no bytes.
//! What is only passed through lies in buffers of the thread.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

use super::records::{Pieces, Records, WHOLE};
use crate::connection::Socket;

/// Room for what one read takes from a socket.
const READ: usize = 2 * WHOLE;
/// Plaintext that is encrypted for one write.
const WRITE: usize = 4 * WHOLE;

thread_local! {
    static RECEIVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ENCRYPTED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One end of an encrypted connection.
pub struct Engine {
    connection: UnbufferedServerConnection,
    /// Ciphertext whose end has not come yet.
    partial: Vec<u8>,
    /// Plaintext that nobody took yet.
    plain: Vec<u8>,
    /// Ciphertext that the socket did not take yet.
    unsent: Vec<u8>,
    records: Records,
    /// The client has said its last.
    ended: bool,
    /// It broke TLS's rules: nothing more is said but an alert.
    broken: bool,
}

/// Where plaintext goes first: to who asked for it.
struct Asked<'a> {
    into: &'a mut [u8],
    filled: usize,
}

impl Asked<'_> {
    /// Takes what there is room for; the rest goes behind what waits already.
    fn take(&mut self, payload: &[u8], waiting: &mut Vec<u8>) {
        let room = &mut self.into[self.filled..];
        let now = if waiting.is_empty() { payload.len().min(room.len()) } else { 0 };
        room[..now].copy_from_slice(&payload[..now]);
        self.filled += now;
        waiting.extend_from_slice(&payload[now..]);
    }
}

impl Engine {
    /// Goes on with what the client has said so far.
    ///
    /// # Errors
    /// rustls' own.
    pub fn new(config: Arc<ServerConfig>, said: Vec<u8>) -> Result<Engine, Error> {
        let records = Records::new(config.max_fragment_size.is_none());
        let connection = UnbufferedServerConnection::new(config)?;
        let (plain, unsent) = (Vec::new(), Vec::new());
        Ok(Engine { connection, partial: said, plain, unsent, records, ended: false, broken: false })
    }
    /// What is known of the connection.
    pub fn state(&self) -> &CommonState {
        &self.connection
    }
    /// Whether there is plaintext that nobody took.
    pub fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }
    /// Whether the client has said its last.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
    /// What is to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }
    /// Takes plaintext that has come; `None` while there is none, 0 behind the last.
    pub fn take(&mut self, into: &mut [u8]) -> Option<usize> {
        if self.plain.is_empty() {
            return self.ended.then_some(0);
        }
        let n = self.plain.len().min(into.len());
        into[..n].copy_from_slice(&self.plain[..n]);
        drop_front(&mut self.plain, n);
        Some(n)
    }
    /// Works on what came with the client's first message.
    ///
    /// # Errors
    /// As [`Engine::receive`].
    pub fn begin(&mut self) -> io::Result<()> {
        let mut received = std::mem::take(&mut self.partial);
        let (done, processed) = self.process(&mut received, &mut []);
        drop_front(&mut received, done);
        self.partial = received;
        processed.map(drop)
    }
    /// Reads what the socket has, and decrypts it: how much lies in `into`; what there is no room for can be taken.
    ///
    /// # Errors
    /// The socket's, and rustls' own as [`io::ErrorKind::InvalidData`].
    pub fn receive(&mut self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = RECEIVED.take();
        let outcome = self.receive_in(&mut buffer, socket, into);
        // What a long message of a handshake took is not kept.
        buffer.truncate(READ + WHOLE);
        buffer.shrink_to(READ + WHOLE);
        RECEIVED.set(buffer);
        outcome
    }
    fn receive_in(&mut self, buffer: &mut Vec<u8>, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        let before = self.partial.len();
        if buffer.len() < before + READ {
            buffer.resize(before + READ, 0);
        }
        let n = socket.try_read(&mut buffer[before..])?;
        if n == 0 {
            self.ended = true;
            return Ok(0);
        }
        let received = &mut buffer[..before + n];
        received[..before].copy_from_slice(&self.partial);
        let (done, processed) = self.process(received, into);
        self.partial.clear();
        match done == received.len() {
            true => self.partial = Vec::new(),
            false => self.partial.extend_from_slice(&received[done..]),
        }
        processed
    }
    /// Works on ciphertext: how much of it is done with, and how much plaintext lies in `into`.
    fn process(&mut self, received: &mut [u8], into: &mut [u8]) -> (usize, io::Result<usize>) {
        let mut asked = Asked { into, filled: 0 };
        let mut done = 0;
        let failed = loop {
            let (discard, again) = self.step(&mut received[done..], &mut asked);
            done += discard;
            match again {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => {
                    // The alert about it goes out, and what was said before; nothing more is to be decrypted.
                    while self.state().wants_write() {
                        let _ = self.step(&mut received[done..], &mut asked);
                    }
                    break Some(error);
                }
            }
        };
        if failed.is_some() {
            // What stands behind a forged record is nobody's.
            self.plain = Vec::new();
            (self.ended, self.broken) = (true, true);
        }
        let outcome =
            failed.map_or(Ok(asked.filled), |error| Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        (if self.ended { received.len() } else { done }, outcome)
    }
    /// What rustls does next with ciphertext: how much of it is done with, and whether there may be more to do.
    fn step(&mut self, received: &mut [u8], asked: &mut Asked<'_>) -> (usize, Result<bool, Error>) {
        let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(received);
        let mut take = |record: AppDataRecord<'_>| {
            discard += record.discard;
            asked.take(record.payload, &mut self.plain);
        };
        let again = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    take(record);
                }
                Ok(true)
            }
            Ok(ConnectionState::ReadEarlyData(mut early)) => {
                while let Some(Ok(record)) = early.next_record() {
                    take(record);
                }
                Ok(true)
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, &mut self.unsent);
                Ok(true)
            }
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                self.ended = true;
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        (discard, again)
    }
    /// Sends what the socket did not take before.
    ///
    /// # Errors
    /// The socket's.
    pub fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let n = socket.try_write(&self.unsent)?;
            drop_front(&mut self.unsent, n);
        }
        Ok(())
    }
    /// Encrypts, where nothing is unsent, and sends what the socket takes: how much was encrypted; `None` while the handshake
    /// has not come so far.
    ///
    /// # Errors
    /// The socket's, and rustls' own.
    pub fn write(
        &mut self,
        socket: &Socket,
        slices: &[IoSlice<'_>],
        now: Instant,
    ) -> Option<io::Result<usize>> {
        if self.broken {
            return None;
        }
        let mut out = ENCRYPTED.take();
        self.records.begin(slices.iter().map(|slice| slice.len()).sum(), now);
        let encrypted = match self.connection.process_tls_records(&mut self.partial).state {
            Ok(ConnectionState::WriteTraffic(mut writer)) => {
                Some(encrypt_all(&mut writer, Pieces::of(slices), &mut self.records, &mut out))
            }
            _ => None,
        };
        let written = encrypted.map(|encrypted| {
            let (taken, filled) = encrypted?;
            self.send(socket, &out[..filled]).map(|()| taken)
        });
        ENCRYPTED.set(out);
        written
    }
    /// Sends, and keeps what the socket does not take.
    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        let sent = match socket.try_write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            outcome => outcome?,
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }
    /// Says goodbye, where the handshake has come so far; it is to be flushed.
    pub fn say_goodbye(&mut self) {
        let mut goodbye = [0; 128];
        if !self.broken
            && let Ok(ConnectionState::WriteTraffic(mut writer)) =
                self.connection.process_tls_records(&mut self.partial).state
            && let Ok(n) = writer.queue_close_notify(&mut goodbye)
        {
            self.unsent.extend_from_slice(&goodbye[..n]);
        }
    }
}

/// Drops what is done with; who is empty keeps no memory.
fn drop_front(bytes: &mut Vec<u8>, n: usize) {
    match n == bytes.len() {
        true => *bytes = Vec::new(),
        false => drop(bytes.drain(..n)),
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    let before = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(before + size.required_size, 0);
        let n = data.encode(&mut out[before..]).unwrap_or_default();
        out.truncate(before + n);
    }
}

/// Encrypts what goes into one write: how much that is, and how many bytes of `out` it became.
fn encrypt_all<D>(
    writer: &mut WriteTraffic<'_, D>,
    mut pieces: Pieces<'_>,
    records: &mut Records,
    out: &mut Vec<u8>,
) -> io::Result<(usize, usize)> {
    let (mut taken, mut filled) = (0, 0);
    let mut gathered = GATHERED.take();
    while taken < WRITE {
        let piece = pieces.next(records.most(), &mut gathered);
        if piece.is_empty() {
            break;
        }
        filled = encrypt(writer, piece, out, filled)?;
        taken += piece.len();
        records.note(piece.len());
    }
    GATHERED.set(gathered);
    Ok((taken, filled))
}

/// Encrypts behind the first `filled` bytes of `out`, which grows where it is too short; how many there are then.
fn encrypt<D>(
    writer: &mut WriteTraffic<'_, D>,
    plain: &[u8],
    out: &mut Vec<u8>,
    filled: usize,
) -> io::Result<usize> {
    loop {
        match writer.encrypt(plain, &mut out[filled..]) {
            Ok(n) => return Ok(filled + n),
            Err(EncryptError::InsufficientSize(size)) => out.resize(filled + size.required_size, 0),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}
