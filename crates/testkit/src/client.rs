//! A client that says exactly what the test says. What goes wrong on the way is the test's failure.

use std::fmt::Write;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use crate::message::Response;
use crate::wire::Wire;

/// One connection to a server. The methods panic where the server does not do its part in time; the `try_` forms
/// give the error instead.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// A client on a connection of the test's own.
    pub fn new(wire: Wire) -> Client {
        Client { wire }
    }

    /// The socket itself.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// This end's port.
    pub fn port(&self) -> u16 {
        self.wire.local_port().unwrap_or(0)
    }

    /// Sends these bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(e) = self.wire.send(bytes) {
            panic!("sending: {e}");
        }
    }

    /// Sends these bytes; an error may be the very thing awaited.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes)
    }

    /// Sends the bytes one by one, each in a packet of its own.
    #[track_caller]
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            // Long enough for the server to be woken in between, which is the point; nothing depends on it.
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Ends our direction; the server's answer can still come.
    pub fn half_close(&mut self) {
        self.wire.shutdown(Shutdown::Write).ok();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.wire.reset().ok();
    }

    /// Sends a GET that keeps the connection.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// Sends a request and reads its response. `Host: localhost` and, with a body, `Content-Length` are added
    /// unless the fields have them.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        let mut message = format!("{method} {target} HTTP/1.1\r\n");
        let has = |name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !has("host") {
            message.push_str("Host: localhost\r\n");
        }
        for (name, value) in fields {
            let _ = write!(message, "{name}: {value}\r\n");
        }
        if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            let _ = write!(message, "Content-Length: {}\r\n", body.len());
        }
        message.push_str("\r\n");
        let mut bytes = message.into_bytes();
        bytes.extend_from_slice(body);
        // The server may answer and close before it has read everything: the answer counts.
        let sent = self.wire.send(bytes);
        match self.wire.read_response(method) {
            Ok(response) => response,
            Err(e) => panic!("{method} {target}: sent: {sent:?}, then: {e}"),
        }
    }

    /// Reads one response to a GET (or POST, ..).
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads one response to a request with this method, which decides whether a body is expected.
    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response(method) {
            Ok(response) => response,
            Err(e) => panic!("reading a response: {e}"),
        }
    }

    /// Reads one response, or says why there is none.
    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        self.wire.read_response(method)
    }

    /// Reads to the end of the stream.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        match self.wire.read_to_end() {
            Ok(bytes) => bytes,
            Err(e) => panic!("reading to the end: {e}"),
        }
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        match self.wire.read_exact(count) {
            Ok(bytes) => bytes,
            Err(e) => panic!("reading {count} bytes: {e}"),
        }
    }

    /// Waits for the server to close, having sent nothing more. A reset counts as closing.
    #[track_caller]
    pub fn expect_close(&mut self) {
        let (rest, error) = self.wire.read_what_comes();
        assert!(rest.is_empty(), "before closing came {:?}", String::from_utf8_lossy(&rest));
        if let Some(e) = error {
            assert_eq!(e.kind(), io::ErrorKind::ConnectionReset, "waiting for the close: {e}");
        }
    }

    /// The connection is open and silent: shown by one more request being answered on it.
    #[track_caller]
    pub fn expect_open(&mut self) {
        self.request("GET", "/", &[], b"");
    }
}
