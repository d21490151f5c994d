//! What is in the cookie: four numbers, as nginx makes them.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use formats::base64;

/// Characters of the cookie that matter; what follows may be a mark.
const LENGTH: usize = 22;

/// A client's numbers, those it sent and those it gets; the last of four is never 0 in either.
#[derive(Clone, Default)]
pub struct Uid {
    pub got: [u32; 4],
    pub set: [u32; 4],
    /// What was sent is not to be used any more.
    pub reset: bool,
    /// The cookie as it was sent.
    cookie: Vec<u8>,
}

/// Different for each process, as nginx's for each worker.
static START: LazyLock<u32> = LazyLock::new(|| {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.subsec_micros() / 20) << 16 | std::process::id()
});
static NEXT_V1: AtomicU32 = AtomicU32::new(1);
static NEXT: AtomicU32 = AtomicU32::new(FIRST);
const FIRST: u32 = 0x0303_0302;

impl Uid {
    /// Reads a cookie's value.
    pub fn read(cookie: &[u8]) -> Result<Uid, &'static str> {
        let digits = cookie.get(..LENGTH).ok_or("too short")?;
        let mut bytes = Vec::new();
        if !base64::decode(digits, &mut bytes) || bytes.len() != 16 {
            return Err("invalid");
        }
        let mut got = [0; 4];
        for (number, bytes) in got.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *number = u32::from_ne_bytes(*bytes);
        }
        Ok(Uid { got, cookie: cookie.into(), ..Uid::default() })
    }
    pub fn is_known(&self) -> bool {
        self.got[3] != 0
    }
    pub fn is_set(&self) -> bool {
        self.set[3] != 0
    }
    /// The client keeps its numbers; sent again only where its cookie lacks the mark.
    pub fn keep(&mut self, mark: Option<u8>) {
        let Some(mark) = mark else { return };
        let marked = self.cookie.get(LENGTH..LENGTH + 2) == Some(&[mark, b'=']);
        if !marked {
            self.set = self.got;
        }
    }
    pub fn make_v1(&mut self, service: u32, now: u32) {
        self.set = [service, now, *START, NEXT_V1.fetch_add(0x100, Relaxed)];
    }
    /// `place`: the service or address, in the network's order of bytes.
    pub fn make(&mut self, place: u32, now: u32) {
        let after = |number: u32| Some(number.wrapping_add(0x100).max(FIRST));
        let number = NEXT.fetch_update(Relaxed, Relaxed, after).unwrap_or(FIRST);
        self.set = [place, now.to_be(), START.to_be(), number.to_be()];
    }
    /// `name=` and the numbers in hexadecimal digits.
    pub fn push(&self, name: &str, numbers: &[u32; 4], out: &mut Vec<u8>) -> bool {
        let [a, b, c, d] = numbers;
        out.extend_from_slice(format!("{name}={a:08X}{b:08X}{c:08X}{d:08X}").as_bytes());
        true
    }
    /// The cookie's value.
    pub fn push_cookie(&self, mark: Option<u8>, out: &mut Vec<u8>) {
        if self.is_known() && !self.reset {
            out.extend_from_slice(&self.cookie[..LENGTH]);
            out.extend([mark.unwrap_or(b'='), b'=']);
            return;
        }
        let mut bytes = Vec::with_capacity(16);
        self.set.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        base64::encode(&bytes, out);
        let last_but_one = out.len().wrapping_sub(2);
        if let (Some(mark), Some(byte)) = (mark, out.get_mut(last_but_one)) {
            *byte = mark;
        }
    }
}

/// The server's address, or the last four bytes of it; 0 on a unix-domain socket.
pub fn of_address(address: Option<IpAddr>) -> u32 {
    match address {
        Some(IpAddr::V4(ip)) => u32::from_ne_bytes(ip.octets()),
        Some(IpAddr::V6(ip)) => {
            let [.., a, b, c, d] = ip.octets();
            u32::from_ne_bytes([a, b, c, d])
        }
        None => 0,
    }
}

/// A date as cookies have it: `Sun, 06-Nov-94 08:49:37 GMT`, from 2038 on with four digits for the year.
pub fn push_date(seconds: u64, out: &mut Vec<u8>) {
    let mut date = wire::date::format(seconds).to_vec();
    (date[7], date[11]) = (b'-', b'-');
    if date[12..16] <= b"2037"[..] {
        date.drain(12..14);
    }
    out.extend_from_slice(&date);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let date = |seconds| {
            let mut out = Vec::new();
            push_date(seconds, &mut out);
            String::from_utf8(out).unwrap_or_default()
        };
        assert_eq!(date(784_111_777), "Sun, 06-Nov-94 08:49:37 GMT");
        assert_eq!(date(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }

    #[test]
    fn cookies_are_read_back() {
        let mut uid = Uid::default();
        uid.make(of_address("192.0.2.1".parse().ok()), 1_000_000_000);
        let mut cookie = Vec::new();
        uid.push_cookie(Some(b'z'), &mut cookie);
        assert_eq!((cookie.len(), cookie[22]), (24, b'z'));
        let read = Uid::read(&cookie).unwrap_or_default();
        assert_eq!(read.got, uid.set);
        assert!(Uid::read(b"short").is_err() && Uid::read(&[b'!'; 24]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(cookie: Vec<u8>, mark: Option<u8>) {
            if let Ok(mut uid) = Uid::read(&cookie) {
                uid.keep(mark);
                uid.push_cookie(mark, &mut Vec::new());
            }
        }
    }
}
