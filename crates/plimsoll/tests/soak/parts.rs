//! The kinds of clients in the load: each a small machine that is stepped, so that one thread plays many.

use std::io;

use crate::load::Doors;
use crate::stage::{FILE, UPLOAD, pattern, sum};
use crate::talk::{Talk, bad};

/// A client.
pub trait Part: Send {
    /// Goes on a little; how many requests that completed.
    fn step(&mut self, doors: &Doors) -> io::Result<u64>;
    /// Nothing is under way that would be lost if it stopped here.
    fn is_at_rest(&self) -> bool;
    /// Its connection, if it is one that is used again.
    fn kept(&self) -> Option<&Talk> {
        None
    }
    /// Starts over, with a new connection.
    fn reset(&mut self);
}

/// One connection for many requests: all of a kind ask, then all listen.
pub struct KeepAlive {
    pub tls: bool,
    pub proxied: bool,
    pub talk: Option<Talk>,
    pub asked: bool,
}

impl Part for KeepAlive {
    fn step(&mut self, doors: &Doors) -> io::Result<u64> {
        if self.talk.is_none() {
            self.talk = Some(if self.tls { Talk::tls(doors.tls)? } else { Talk::plain(doors.main)? });
            doors.connected();
        }
        let Some(talk) = &mut self.talk else { return Ok(0) };
        self.asked = !self.asked;
        if self.asked {
            let target = if self.proxied { "/p" } else { "/" };
            talk.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
            return Ok(0);
        }
        let (body, close) = talk.answer()?;
        if close {
            self.talk = None;
        }
        check(&body, if self.proxied { b"/p" } else { b"g" })
    }
    fn is_at_rest(&self) -> bool {
        !self.asked
    }
    fn kept(&self) -> Option<&Talk> {
        self.talk.as_ref()
    }
    fn reset(&mut self) {
        (self.talk, self.asked) = (None, false);
    }
}

/// A new connection for each request.
pub struct Fresh {
    pub reuseport: bool,
}

impl Part for Fresh {
    fn step(&mut self, doors: &Doors) -> io::Result<u64> {
        let mut talk = Talk::plain(if self.reuseport { doors.reuseport } else { doors.main })?;
        doors.connected();
        talk.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let (body, _) = talk.answer()?;
        check(&body, b"g")
    }
    fn is_at_rest(&self) -> bool {
        true
    }
    fn reset(&mut self) {}
}

/// A body sent slowly, checked by who receives it.
#[derive(Default)]
pub struct Upload {
    talk: Option<Talk>,
    sent: usize,
}

impl Part for Upload {
    fn step(&mut self, doors: &Doors) -> io::Result<u64> {
        if self.talk.is_none() {
            self.talk = Some(Talk::plain(doors.main)?);
            doors.connected();
        }
        let Some(talk) = &mut self.talk else { return Ok(0) };
        if self.sent == 0 {
            let head = format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {UPLOAD}\r\n\r\n");
            talk.send(head.as_bytes())?;
        }
        let next = UPLOAD.min(self.sent + 32 * 1024);
        talk.send(&pattern()[self.sent..next])?;
        self.sent = next;
        if self.sent < UPLOAD {
            return Ok(0);
        }
        let (body, close) = talk.answer()?;
        self.sent = 0;
        if close {
            self.talk = None;
        }
        check(&body, format!("{UPLOAD} {}", sum(&pattern()[..UPLOAD])).as_bytes())
    }
    fn is_at_rest(&self) -> bool {
        self.sent == 0
    }
    fn kept(&self) -> Option<&Talk> {
        self.talk.as_ref()
    }
    fn reset(&mut self) {
        *self = Upload::default();
    }
}

/// A large file read slowly, from the disk or through the proxy.
pub struct Download {
    target: &'static str,
    talk: Option<Talk>,
    got: usize,
    close: bool,
}

impl Download {
    pub fn of(target: &'static str) -> Download {
        Download { target, talk: None, got: 0, close: false }
    }
}

impl Part for Download {
    fn step(&mut self, doors: &Doors) -> io::Result<u64> {
        if self.talk.is_none() {
            self.talk = Some(Talk::plain(doors.main)?);
            doors.connected();
        }
        let Some(talk) = &mut self.talk else { return Ok(0) };
        if self.got == 0 {
            talk.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.target).as_bytes())?;
            let head = talk.head()?;
            self.close = head.close;
            if (head.status, head.length) != (200, FILE) {
                return Err(bad(format!("status {}, {} bytes", head.status, head.length)));
            }
        }
        let bytes = talk
            .some((FILE - self.got).min(128 * 1024))
            .map_err(|e| io::Error::new(e.kind(), format!("{} after {}: {e}", self.target, self.got)))?;
        if bytes != pattern()[self.got..self.got + bytes.len()] {
            return Err(bad(format!("other bytes from {} on", self.got)));
        }
        self.got += bytes.len();
        if self.got < FILE {
            return Ok(0);
        }
        talk.rest();
        self.got = 0;
        if self.close {
            self.talk = None;
        }
        Ok(1)
    }
    fn is_at_rest(&self) -> bool {
        self.got == 0
    }
    fn kept(&self) -> Option<&Talk> {
        self.talk.as_ref()
    }
    fn reset(&mut self) {
        *self = Download::of(self.target);
    }
}

/// A tunnel that echoes.
#[derive(Default)]
pub struct Tunnel {
    talk: Option<Talk>,
    count: u64,
}

impl Tunnel {
    /// Opens it.
    pub fn open(port: u16) -> io::Result<Talk> {
        let mut talk = Talk::plain(port)?;
        talk.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")?;
        match talk.head()?.status {
            101 => Ok(talk),
            status => Err(bad(format!("status {status} instead of a tunnel"))),
        }
    }
    /// Says something and hears it again.
    pub fn echo(talk: &mut Talk, text: &str) -> io::Result<()> {
        talk.send(text.as_bytes())?;
        let heard = talk.exactly(text.len())?;
        if heard == text.as_bytes() { Ok(()) } else { Err(bad("another echo")) }
    }
}

impl Part for Tunnel {
    fn step(&mut self, doors: &Doors) -> io::Result<u64> {
        if self.talk.is_none() {
            self.talk = Some(Tunnel::open(doors.main)?);
            doors.connected();
        }
        let Some(talk) = &mut self.talk else { return Ok(0) };
        self.count += 1;
        Tunnel::echo(talk, &format!("frame {}", self.count))?;
        Ok(1)
    }
    fn is_at_rest(&self) -> bool {
        true
    }
    fn reset(&mut self) {
        *self = Tunnel::default();
    }
}

fn check(body: &[u8], begins: &[u8]) -> io::Result<u64> {
    if body.starts_with(begins) { Ok(1) } else { Err(bad(format!("{:?}", String::from_utf8_lossy(body)))) }
}
